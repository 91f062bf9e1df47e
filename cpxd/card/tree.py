# SPDX-License-Identifier: Apache-2.0
"""The PKCS#15 tree of a card (ISO/IEC 7816-15), read once and kept as long as the card is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cpxd import errors
from cpxd.card.application import APPLICATION_DF, SERIAL_FILE, UPDATE_FILE, Application, Code, FileMissing, NotAllowed, Path
from cpxd.card.shelf import Shelf
from cpxd.record.certificate import parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.files import SerialNumber, UpdateMarker, parse_serial_number, parse_update_marker
from cpxd.record.pkcs15 import (
    CertificateObject,
    CiaInfo,
    DataObject,
    Directory,
    PinObject,
    PrivateKeyObject,
    parse_aodf,
    parse_cdf,
    parse_ciainfo,
    parse_dodf,
    parse_odf,
    parse_prkdf,
)
from cpxd.text import tr

T = TypeVar("T")
OBJECT_DIRECTORY, TOKEN_INFORMATION = 0x5031, 0x5032


@dataclass(frozen=True)
class Root:
    """What every request needs to know of the card: whose it is, where its directories are, how its codes are sent."""

    serial: SerialNumber
    update: UpdateMarker | None  # EF_ACTUA; None: this card was never updated, or its generation does not say
    directories: dict[str, Path]  # "AODF", "PrKDF", "CDF", "DODF" → path
    pins: tuple[PinObject, ...]
    warnings: tuple[str, ...]

    @property
    def update_interrupted(self) -> bool:
        return self.update is not None and not self.update.complete


@dataclass(frozen=True)
class Tree:
    """What the directories list. Data objects are named, not read; certificates are read (DER, as stored).

    As `read_holder` gives it, it has the authentication certificate alone, and no keys."""

    information: CiaInfo
    keys: tuple[PrivateKeyObject, ...]
    certificates: tuple[tuple[CertificateObject, bytes], ...]
    warnings: tuple[str, ...]
    contactless: bool = False

    def key(self, usage: str) -> PrivateKeyObject | None:
        """The private key for "signature" (nonRepudiation) or "authentication"; without contact, for "technical" alone."""
        if (usage == "technical") != self.contactless:
            return None
        wanted = "nonRepudiation" if usage == "signature" else "sign"
        return next((key for key in self.keys if wanted in key.usage and key.key_reference is not None), None)

    def certificate(self, key: PrivateKeyObject) -> bytes | None:
        """The certificate with the key's identifier."""
        return next((der for entry, der in self.certificates if entry.id == key.id), None)


def read_serial(card: Application) -> SerialNumber:
    """EF.SN.ICC. Raises DamagedCard."""
    try:
        return parse_serial_number(card.read(SERIAL_FILE))
    except (FileMissing, RecordError):
        raise errors.DamagedCard(part="EF.SN.ICC") from None


def read_update(card: Application) -> UpdateMarker | None:
    """EF_ACTUA of a generation that has it. One that is there and cannot be read is incomplete."""
    if not card.update_marker:
        return None
    try:
        return parse_update_marker(card.read(UPDATE_FILE, padding=True))
    except (FileMissing, errors.CardRefused):
        return None
    except (NotAllowed, errors.DamagedCard):
        return parse_update_marker(b"")


def read_root(shelf: Shelf) -> Root:
    """Serial number, update marker, EF.OD, AODF; the card is told its PIN references, if they can be read. Raises DamagedCard."""
    card = shelf.card
    serial, update = read_serial(card), read_update(card)
    shelf.open(serial, update)
    warnings: list[str] = []
    entries = _part(shelf.read, (*card.folder, OBJECT_DIRECTORY), parse_odf, "EF.OD", warnings)
    directories = {entry.kind: absolute(entry.path, card.folder) for entry in entries or ()}
    pins = _part(shelf.read, directories.get("AODF"), parse_aodf, "AODF", warnings)
    card.pins = codes(pins.entries if pins else ())
    return Root(serial, update, directories, pins.entries if pins else (), tuple(warnings))


def read_tree(shelf: Shelf, root: Root) -> Tree:
    """The directories of keys and certificates, and the certificates.

    A directory or certificate that cannot be read costs its objects and leaves a warning; DamagedCard without any directory.
    """
    if not root.directories:
        raise errors.DamagedCard(part="EF.OD")
    warnings: list[str] = list(root.warnings)
    place = (*shelf.card.folder, TOKEN_INFORMATION)
    information = _part(shelf.read, place, parse_ciainfo, "EF.CIAInfo", warnings) or _NO_INFORMATION
    keys = _part(shelf.read, root.directories.get("PrKDF"), parse_prkdf, "PrKDF", warnings)
    listed = _part(shelf.read, root.directories.get("CDF"), parse_cdf, "CDF", warnings)
    return Tree(
        information=information,
        keys=keys.entries if keys else (),
        certificates=tuple(_certificates(shelf, listed.entries if listed else (), warnings)),
        warnings=tuple(warnings),
        contactless=shelf.card.contactless,
    )


def read_holder(shelf: Shelf, root: Root) -> Tree | None:
    """What it takes to say whose card it is: the CDF and the authentication certificate. None when it cannot be told so."""
    warnings = list(root.warnings)
    listed = _part(shelf.read, root.directories.get("CDF"), parse_cdf, "CDF", warnings)
    # the label only says where to look first; what a certificate is for stands in itself
    likely = sorted(listed.entries if listed else (), key=lambda entry: "authentif" not in entry.label.casefold())
    for found in _certificates(shelf, likely, warnings):
        try:
            if parse_certificate(found[1]).is_authentication:
                return Tree(_NO_INFORMATION, (), (found,), tuple(warnings), shelf.card.contactless)
        except RecordError:
            continue
    return None


def read_beginning(shelf: Shelf, root: Root, most: int, *, kept: bool) -> bytes:
    """Of the authentication certificate, `most` bytes; whole where it was `kept`. Raises DamagedCard when there is none."""
    warnings: list[str] = []
    listed = _part(shelf.read, root.directories.get("CDF"), parse_cdf, "CDF", warnings)
    likely = sorted(listed.entries if listed else (), key=lambda entry: "authentif" not in entry.label.casefold())
    if not likely:
        raise errors.DamagedCard(part="CDF")
    if kept:
        shelf.consult(root.serial, root.update)
    path, start = absolute(likely[0].path, shelf.card.folder), likely[0].index or 0
    name = f"certificate {path[-1]:04X}"
    content = _part(lambda place: shelf.beginning(place, start + most), path, bytes, name, warnings)
    if not content:
        raise errors.DamagedCard(part=name)
    return content[start:]


def read_data_directory(shelf: Shelf, root: Root, warnings: list[str]) -> Directory[DataObject] | None:
    """The DODF: names, places and protection of the data objects; None when the card has none."""
    return _part(shelf.read, root.directories.get("DODF"), parse_dodf, "DODF", warnings)


def absolute(path: Path, folder: Path = APPLICATION_DF) -> Path:
    """A path as the directories write it, as file identifiers from the MF: 3F00 dropped, else under the application's."""
    if path[:1] == (0x3F00,):
        return path[1:]
    return (*folder, *path)


def codes(pins: tuple[PinObject, ...]) -> dict[Code, PinObject]:
    """Which entry of the AODF is which code. Lengths that do not fit the rules of these cards are not believed."""
    found: dict[Code, PinObject] = {}
    for pin in pins:
        code = Code.UNBLOCK if pin.is_unblock_code else Code.PIN
        if 0 < pin.reference < 0x80 and code.digits <= pin.stored_length <= 16:
            found.setdefault(code, pin)
    return found


_NO_INFORMATION = CiaInfo(None, "", None, None, frozenset(), (), None)


def _part(
    read: Callable[[Path], bytes], path: Path | None, parse: Callable[[bytes], T], name: str, warnings: list[str]
) -> T | None:
    if path is None:
        return None
    try:
        found = parse(read(path))
        if isinstance(found, Directory) and found.damaged:
            warnings.append(tr(f"{name} ({found.damaged} entrées)", f"{name} ({found.damaged} entries)"))
        return found
    except (FileMissing, NotAllowed):
        warnings.append(tr(f"{name} (manquant)", f"{name} (missing)"))
    except (RecordError, errors.DamagedCard):
        warnings.append(name)
    return None


def _certificates(
    shelf: Shelf, listed: Sequence[CertificateObject], warnings: list[str]
) -> Iterator[tuple[CertificateObject, bytes]]:
    for entry in listed[:16]:
        path = absolute(entry.path, shelf.card.folder)
        content = _part(shelf.certificate, path, bytes, f"certificate {path[-1]:04X}" if path else "certificate", warnings)
        if content == b"":
            warnings.append(entry.label)
        if content:
            start = entry.index or 0
            yield entry, content[start : start + entry.length] if entry.length else content[start:]
