# SPDX-License-Identifier: Apache-2.0
"""The directory files of a card: PKCS#15 v1.1 (section 6), which is ISO/IEC 7816-15.

Each file is a list of DER values followed by padding. They are walked rather than bound to an ASN.1 schema: the cards write
BIT STRINGs no schema accepts (`03 01 08`), and one bad entry must not hide its neighbours. A directory gives its good entries
and counts the others; RecordError only when a file has content and none of it is readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cpxd.record import ber
from cpxd.record.ciainfo import Algorithm, CiaInfo, parse_ciainfo
from cpxd.record.errors import RecordError
from cpxd.record.files import Fcp, parse_fcp
from cpxd.tlv import Tlv

__all__ = [
    "Algorithm",
    "CertificateObject",
    "CiaInfo",
    "DataObject",
    "Directory",
    "Fcp",
    "Location",
    "OdfEntry",
    "Path",
    "PinObject",
    "PrivateKeyObject",
    "parse_aodf",
    "parse_cdf",
    "parse_ciainfo",
    "parse_dodf",
    "parse_fcp",
    "parse_odf",
    "parse_prkdf",
]

T = TypeVar("T")
Path = tuple[int, ...]  # file identifiers as written: (0x7002,) relative to the application, (0x3F00, …) absolute, () none

_ODF_KINDS = {
    0xA0: "PrKDF",
    0xA1: "PuKDF",
    0xA2: "TrustedPuKDF",
    0xA3: "SKDF",
    0xA4: "CDF",
    0xA5: "TrustedCDF",
    0xA6: "UsefulCDF",
    0xA7: "DODF",
    0xA8: "AODF",
}
# Names of the bits of a BIT STRING, first bit first.
_OBJECT_FLAGS = "private modifiable internal"
_KEY_USAGE = "encrypt decrypt sign signRecover wrap unwrap verify verifyRecover derive nonRepudiation"
_KEY_ACCESS = "sensitive extractable alwaysSensitive neverExtractable local"
_PIN_FLAGS = (
    "case-sensitive local change-disabled unblock-disabled initialized needs-padding unblockingPin soPin"
    " disable-allowed integrity-protected confidentiality-protected exchangeRefData"
)


@dataclass(frozen=True, slots=True)
class Directory(Generic[T]):
    """The entries of a directory file, in file order, and how many could not be read (a truncated rest counts as one)."""

    entries: tuple[T, ...]
    damaged: int = 0

    def __iter__(self) -> Iterator[T]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> T:
        return self.entries[index]


@dataclass(frozen=True, slots=True)
class Location:
    path: Path
    index: int | None = None  # offset in bytes of the value in the file
    length: int | None = None  # bytes


@dataclass(frozen=True, slots=True)
class OdfEntry:
    kind: str  # "PrKDF", "PuKDF", "CDF", "DODF", "AODF"…
    path: Path


@dataclass(frozen=True, slots=True)
class PinObject:
    label: str
    auth_id: bytes  # what the objects it protects cite
    reference: int  # P2 of VERIFY
    is_unblock_code: bool  # flag soPin or unblockingPin
    min_length: int  # characters
    stored_length: int  # bytes sent to the card when padding is needed
    max_length: int  # characters; the stored length when the card does not say
    pad_char: int | None
    needs_padding: bool
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class PrivateKeyObject:
    label: str
    id: bytes  # CKA_ID
    key_reference: int | None  # CPS3: 0x81, 0x82 (0x80 = local to the DF); CPS4: 0x10, 0x20
    auth_id: bytes | None
    usage: frozenset[str]
    access: frozenset[str]
    flags: frozenset[str]
    modulus_length: int | None  # bits
    algorithm: str  # "rsa"; another kind by its tag, "A0"


@dataclass(frozen=True, slots=True)
class CertificateObject:
    label: str
    id: bytes
    path: Path
    index: int | None
    length: int | None
    auth_id: bytes | None
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class DataObject:
    label: str
    application: str | None
    path: Path
    auth_id: bytes | None
    private: bool
    modifiable: bool
    index: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class _Common:
    label: str
    flags: frozenset[str]
    auth_id: bytes | None


def parse_odf(data: bytes) -> Directory[OdfEntry]:
    """EF.OD (5031): where the other directories are. Tags A0…A8, each around a path."""

    def entry(element: Tlv) -> OdfEntry:
        if element.tag not in _ODF_KINDS:
            raise RecordError(f"no object class has the tag {element.tag:X}")
        return OdfEntry(_ODF_KINDS[element.tag], _location(ber.only(element.value, 0x30)).path)

    return _directory(data, entry)


def parse_aodf(data: bytes) -> Directory[PinObject]:
    """AODF (7001): the codes. Entries that are no password objects (biometric, keys) count as damaged."""

    def entry(element: Tlv) -> PinObject:
        common, own, attributes = _object(element)
        auth_id = ber.first(own, 0x04)
        if auth_id is None:
            raise RecordError("code without an authentication identifier")
        items = ber.elements(ber.only(attributes.value, 0x30).value)
        sizes = [ber.integer(item) for item in items if item.tag == 0x02]
        if len(sizes) < 2:
            raise RecordError("code without its lengths")
        flags = ber.names(ber.first(items, 0x03), _PIN_FLAGS)
        pad = ber.first(items, 0x04)
        return PinObject(
            label=common.label,
            auth_id=auth_id.value,
            reference=ber.optional_integer(ber.first(items, 0x80)) or 0,
            is_unblock_code=bool(flags & {"soPin", "unblockingPin"}),
            min_length=sizes[0],
            stored_length=sizes[1],
            max_length=sizes[2] if len(sizes) > 2 else sizes[1],
            pad_char=pad.value[0] if pad is not None and pad.value else None,
            needs_padding="needs-padding" in flags,
            flags=flags,
        )

    return _directory(data, entry)


def parse_prkdf(data: bytes) -> Directory[PrivateKeyObject]:
    """PrKDF (7002): the private keys."""

    def entry(element: Tlv) -> PrivateKeyObject:
        common, own, attributes = _object(element)
        bit_strings = [item for item in own if item.tag == 0x03]
        own_attributes = ber.elements(ber.only(attributes.value, 0x30).value)
        return PrivateKeyObject(
            label=common.label,
            id=_identifier(own),
            key_reference=ber.optional_integer(ber.first(own, 0x02)),
            auth_id=common.auth_id,
            usage=ber.names(bit_strings[0] if bit_strings else None, _KEY_USAGE),
            access=ber.names(bit_strings[1] if len(bit_strings) > 1 else None, _KEY_ACCESS),
            flags=common.flags,
            modulus_length=ber.optional_integer(ber.first(own_attributes, 0x02)),
            algorithm="rsa" if element.tag == 0x30 else f"{element.tag:02X}",
        )

    return _directory(data, entry)


def parse_cdf(data: bytes) -> Directory[CertificateObject]:
    """CDF (7005): the certificates and where their bytes are."""

    def entry(element: Tlv) -> CertificateObject:
        common, own, attributes = _object(element)
        where = _value_location(attributes)
        return CertificateObject(
            common.label, _identifier(own), where.path, where.index, where.length, common.auth_id, common.flags
        )

    return _directory(data, entry)


def parse_dodf(data: bytes) -> Directory[DataObject]:
    """DODF (7006): the data objects, opaque for PKCS#15."""

    def entry(element: Tlv) -> DataObject:
        common, own, attributes = _object(element)
        application = ber.first(own, 0x0C)
        where = _location(ber.only(attributes.value, 0x30))
        return DataObject(
            label=common.label,
            application=None if application is None else ber.text(application.value),
            path=where.path,
            auth_id=common.auth_id,
            private="private" in common.flags,
            modifiable="modifiable" in common.flags,
            index=where.index,
            length=where.length,
        )

    return _directory(data, entry)


def _directory(data: bytes, entry: Callable[[Tlv], T]) -> Directory[T]:
    good: list[T] = []
    damaged = 0
    for element in ber.entries(data):
        try:
            if element is None:
                raise RecordError("malformed element")
            good.append(entry(element))
        except RecordError:
            damaged += 1
    if damaged and not good:
        raise RecordError("no readable entry")
    return Directory(tuple(good), damaged)


def _object(element: Tlv) -> tuple[_Common, list[Tlv], Tlv]:
    """The three parts of every PKCS#15 object: common attributes, class attributes, [1] type attributes (6.1.1)."""
    if not element.constructed:
        raise RecordError("object is not constructed")
    parts = ber.elements(element.value)
    sequences = [part for part in parts if part.tag == 0x30]
    attributes = ber.first(parts, 0xA1)
    if len(sequences) < 2 or attributes is None:
        raise RecordError("object without its three parts")
    items = ber.elements(sequences[0].value)
    label, auth_id = ber.first(items, 0x0C), ber.first(items, 0x04)
    common = _Common(
        label="" if label is None else ber.text(label.value),
        flags=ber.names(ber.first(items, 0x03), _OBJECT_FLAGS),
        auth_id=None if auth_id is None else auth_id.value,
    )
    return common, ber.elements(sequences[1].value), attributes


def _identifier(items: list[Tlv]) -> bytes:
    found = ber.first(items, 0x04)
    if found is None:
        raise RecordError("object without an identifier")
    return found.value


def _location(sequence: Tlv) -> Location:
    """Path ::= SEQUENCE { path OCTET STRING, index INTEGER OPTIONAL, length [0] INTEGER OPTIONAL } (6.1.5)."""
    items = ber.elements(sequence.value)
    path = ber.first(items, 0x04)
    if path is None or len(path.value) % 2 or len(path.value) > 16:
        raise RecordError("no path of whole file identifiers")
    identifiers = tuple(int.from_bytes(path.value[i : i + 2], "big") for i in range(0, len(path.value), 2))
    return Location(identifiers, ber.optional_integer(ber.first(items, 0x02)), ber.optional_integer(ber.first(items, 0x80)))


def _value_location(attributes: Tlv) -> Location:
    """ObjectValue as a path, inside the type attributes: [1] SEQUENCE { value SEQUENCE {path…}, … }."""
    return _location(ber.only(ber.only(attributes.value, 0x30).value, 0x30))
