# SPDX-License-Identifier: Apache-2.0
"""BER-TLV (ISO/IEC 7816-4 5.2.2, X.690 8.1): tags of 1 to 4 bytes, definite lengths of at most 4 bytes, read in C.

Tags are written as they stand in the bytes: 0x5F20, 0xBF8101. With `padding=True`, bytes 00 and FF before, between and after
objects are skipped (card files are padded); without, 00 is malformed and FF begins a tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cpxd._apdu_ffi import ffi, lib
from cpxd.secret import ApduError


class TlvError(ApduError):
    """Malformed BER-TLV, or a tag that cannot be written."""


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object."""

    tag: int
    value: bytes

    @property
    def constructed(self) -> bool:
        """Whether the value is made of data objects (bit 6 of the first tag byte)."""
        return bool(self.tag >> (_tag_bytes(self.tag) - 1) * 8 & 0x20)

    def children(self, *, padding: bool = False) -> tuple[Tlv, ...]:
        """The objects in the value. Raises TlvError."""
        return parse(self.value, padding=padding)

    def encode(self) -> bytes:
        return tlv(self.tag, self.value)


def _tag_bytes(tag: int) -> int:
    return max(1, (tag.bit_length() + 7) // 8)


def items(data: bytes, *, padding: bool = False) -> Iterator[Tlv]:
    """The objects of one level, one after the other. Raises TlvError where it meets a malformed one."""
    buffer = ffi.from_buffer(data)
    pos = ffi.new("size_t *", 0)
    item = ffi.new("apdu_tlv *")
    while (rc := lib.apdu_tlv_next(buffer, len(data), pos, padding, item)) == 1:
        yield Tlv(item.tag, bytes(data[item.value : item.value + item.length]))
    if rc != 0:
        raise TlvError(f"malformed BER-TLV at byte {pos[0]} of {len(data)}")


def parse(data: bytes, *, padding: bool = False) -> tuple[Tlv, ...]:
    """The objects of one level. Raises TlvError."""
    return tuple(items(data, padding=padding))


def find(data: bytes, *path: int, padding: bool = False) -> bytes | None:
    """The value of the first object at the end of a path of 1 to 16 tags; None if there is none.

    `find(answer, 0x70, 0xBF8101, 0xA0, 0x9B)`. Raises TlvError where it meets malformed bytes on its way.
    """
    if not 1 <= len(path) <= 16:
        raise TlvError("a path has 1 to 16 tags")
    item = ffi.new("apdu_tlv *")
    tags = [tag if 0 <= tag <= 0xFFFFFFFF else 0 for tag in path]  # 0 is no tag: never found
    rc = lib.apdu_tlv_find(ffi.from_buffer(data), len(data), tags, len(tags), padding, item)
    if rc == lib.APDU_E_ABSENT:
        return None
    if rc != 0:
        raise TlvError("malformed BER-TLV")
    return bytes(data[item.value : item.value + item.length])


def extent(data: bytes) -> int | None:
    """How many bytes the objects take that a padded file begins with, as soon as its beginning tells; else None.

    It tells once a byte 00 or FF follows a whole object. None when the last object is cut short, when the data end with an
    object (another may follow) and when the file begins with no object.
    """
    pos = ffi.new("size_t *", 0)
    item = ffi.new("apdu_tlv *")
    buffer = ffi.from_buffer(data)
    while data[pos[0] : pos[0] + 1] not in (b"", b"\x00", b"\xff"):
        if lib.apdu_tlv_next(buffer, len(data), pos, False, item) != 1:
            return None
    return int(pos[0]) if 0 < pos[0] < len(data) else None


def check(data: bytes, *, padding: bool = False) -> bool:
    """Whether every constructed object is well formed down to the last, at most 16 levels deep."""
    return int(lib.apdu_tlv_check(ffi.from_buffer(data), len(data), padding)) == 0


def tlv(tag: int, value: bytes) -> bytes:
    """One object, in the shortest form. Raises TlvError when the tag is none."""
    header = ffi.new("uint8_t[9]")
    length = ffi.new("size_t *")
    if not 0 <= tag <= 0xFFFFFFFF or lib.apdu_tlv_header(tag, len(value), header, len(header), length) != 0:
        raise TlvError(f"{tag:X} is no BER tag of 1 to 4 bytes")
    return bytes(ffi.buffer(header, length[0])) + value
