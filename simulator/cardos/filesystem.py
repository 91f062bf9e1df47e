# SPDX-License-Identifier: Apache-2.0
"""Files of the card: lookup, access rules as FCP bytes and as decisions, contents written since delivery."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.cardos.apdu import Status
from simulator.cardos.tlv import encode
from simulator.image import Access, DedicatedFile, ElementaryFile, Image, Path

MF: Path = ()
MF_ID = 0x3F00
IAS_APPLET = bytes.fromhex("8025000001FF0100")
CONTACT_DF: Path = (0x0001,)
CONTACTLESS_DF: Path = (0x0002,)
SFI_SERIAL_NUMBER = 0x1C

# One security condition byte a right (ISO 7816-4 section 5.4.3.2): always, after the user PIN, never or by secure
# messaging under security environment 5.
_CONDITION = {Access.ALWAYS: 0x00, Access.PIN: 0x11, Access.NEVER: 0xFF}
_SECURE_MESSAGING = 0x45
_RIGHTS = 0x7B  # access mode byte: delete, terminate, activate, deactivate, update, read


@dataclass(frozen=True)
class Rules:
    """What an interface may do with an elementary file."""

    read: Access
    update: Access


@dataclass
class Cursor:
    """What is selected: a directory, and a file in it or none."""

    df: Path = MF
    ef: Path | None = None


class FileSystem:
    def __init__(self, image: Image) -> None:
        self._files = {file.path: file for file in image.files}
        self._directories = {MF: DedicatedFile(MF, IAS_APPLET)}
        for file in image.files:
            for depth in range(1, len(file.path)):
                self._directories[file.path[:depth]] = DedicatedFile(file.path[:depth])
        self._directories |= {directory.path: directory for directory in image.directories}
        self._delivered = {path: _padded(file) for path, file in self._files.items()}
        self.written: dict[Path, bytes] = {}

    def content(self, path: Path) -> bytes:
        return self.written.get(path, self._delivered[path])

    def size(self, path: Path) -> int | None:
        """Size in bytes, None when there is no such file."""
        return len(self._delivered[path]) if path in self._delivered else None

    def write(self, path: Path, offset: int, data: bytes) -> None:
        old = self.content(path)
        if offset >= len(old):
            raise Status(0x6B00)
        if offset + len(data) > len(old):
            raise Status(0x6700)
        new = old[:offset] + data + old[offset + len(data) :]
        if new == self._delivered[path]:
            self.written.pop(path, None)
        else:
            self.written[path] = new

    def rules(self, path: Path, contactless: bool) -> Rules:
        """Over the air: public files of the MF and of the contactless application only, and nothing is written."""
        file = self._files[path]
        home = self._directories[path[:-1]]
        if not contactless:
            return Rules(Access.NEVER, Access.NEVER) if home.contactless else Rules(file.read, file.update)
        public = file.contactless and file.read is not Access.PIN and (home.contactless or home.path == MF)
        return Rules(Access.ALWAYS if public else Access.NEVER, Access.NEVER)

    # -- SELECT ------------------------------------------------------------------------------------------------

    def by_name(self, aid: bytes) -> Path:
        for path, directory in self._directories.items():
            if aid and directory.aid == aid:
                return path
        raise Status(0x6A82)

    def by_id(self, current: Path, data: bytes) -> Path:
        """Below the current directory, itself, then its sisters and its parent (ISO 7816-4 section 7.1.1)."""
        if not data:
            return MF
        if len(data) != 2:
            raise Status(0x6A80)
        fid = int.from_bytes(data, "big")
        if fid == MF_ID:
            return MF
        for path in ((*current, fid), (*current[:-1], fid)):
            if path in self._directories or (path in self._files and path[:-1] == current):
                return path
        if len(current) > 1 and current[-2] == fid:
            return current[:-1]
        raise Status(0x6A82)

    def by_path(self, start: Path, data: bytes) -> Path:
        if not data or len(data) % 2:
            raise Status(0x6A80)
        path = start + tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
        if path not in self._directories and path not in self._files:
            raise Status(0x6A82)
        return path

    def by_sfi(self, directory: Path, sfi: int) -> Path:
        for path, file in self._files.items():
            if file.sfi == sfi and path[:-1] == directory:
                return path
        raise Status(0x6A82)

    def move(self, cursor: Cursor, path: Path) -> bool:
        """Selects; tells whether a directory was entered or changed."""
        directory = path if path in self._directories else path[:-1]
        entered = directory == path or directory != cursor.df
        cursor.df = directory
        cursor.ef = None if directory == path else path
        return entered

    def is_directory(self, path: Path) -> bool:
        return path in self._directories

    def control_parameters(self, path: Path, tag: int = 0x62) -> bytes:
        """The FCP (tag 62) or FCI (tag 6F) of a selected file."""
        fid = (path[-1] if path else MF_ID).to_bytes(2, "big")
        if path in self._directories:
            aid = self._directories[path].aid
            name = encode(0x84, aid) if aid else b""
            rule = encode(0xA1, encode(0x8C, bytes([_RIGHTS, 0xFF, 0xFF, *[_SECURE_MESSAGING] * 4])))
            return encode(tag, b"\x82\x01\x38", encode(0x83, fid), name, rule, b"\x8a\x01\x05")
        file = self._files[path]
        sfi = b"" if file.sfi is None else bytes([file.sfi << 3])
        return encode(
            tag,
            encode(0x80, len(self._delivered[path]).to_bytes(2, "big")),
            b"\x82\x01\x01",
            encode(0x83, fid),
            encode(0x88, sfi),
            encode(0xA1, encode(0x8C, self._contact_rule(file)), encode(0x9C, self._contactless_rule(path))),
            b"\x8a\x01\x05",
        )

    def _contact_rule(self, file: ElementaryFile) -> bytes:
        if file.sfi == SFI_SERIAL_NUMBER and len(file.path) == 1:
            return bytes([_RIGHTS, *[0xFF] * 5, _CONDITION[file.read]])
        read = self.rules(file.path, contactless=False).read
        update = _SECURE_MESSAGING if file.update is Access.NEVER else _CONDITION[file.update]
        return bytes([_RIGHTS, _SECURE_MESSAGING, 0xFF, 0xFF, 0xFF, update, _CONDITION[read]])

    def _contactless_rule(self, path: Path) -> bytes:
        return bytes([_RIGHTS, *[0xFF] * 5, _CONDITION[self.rules(path, contactless=True).read]])


def _padded(file: ElementaryFile) -> bytes:
    size = len(file.content) if file.size is None else file.size
    if not file.path or size < len(file.content) or size > 0x7FFF:
        raise ValueError(f"file {file.path}: {len(file.content)} bytes do not fit in {size}")
    return file.content.ljust(size, b"\0")
