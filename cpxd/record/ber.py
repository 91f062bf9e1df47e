# SPDX-License-Identifier: Apache-2.0
"""What every decoder needs of BER: a list of elements, and the primitive types read with the tolerance real cards ask for.

Tags are integers of their encoded bytes (0x30, 0x9F70, 0xBF8101), as the cards' documents write them. Source: ISO/IEC 7816-4
(5.2.2, BER-TLV) and ITU-T X.690 (8, definite form only).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cpxd.record.errors import RecordError

MAX_INPUT = 1 << 16  # the largest file a short READ BINARY offset or a 16-bit FCP size can describe, and then some
MAX_ELEMENTS = 256
_PADDING = b"\x00\xff"


@dataclass(frozen=True, slots=True)
class Element:
    tag: int
    value: bytes
    raw: bytes  # tag, length and value

    @property
    def constructed(self) -> bool:
        first = self.tag
        while first > 0xFF:
            first >>= 8
        return bool(first & 0x20)


def read(data: bytes, offset: int = 0) -> Element:
    """The element at `offset`. Truncated, over-long (tag over 3 bytes, length over 3) or indefinite: RecordError."""
    start = offset
    try:
        tag = data[offset]
        offset += 1
        if tag & 0x1F == 0x1F:
            for _ in range(2):
                tag = tag << 8 | data[offset]
                offset += 1
                if not tag & 0x80:
                    break
            else:
                raise RecordError("tag longer than three bytes")
        length = data[offset]
        offset += 1
        if length > 0x80:
            size = length & 0x7F
            if size > 3:
                raise RecordError("length field longer than three bytes")
            length = int.from_bytes(data[offset : offset + size], "big")
            if len(data) < offset + size:
                raise RecordError("truncated length")
            offset += size
        elif length == 0x80:
            raise RecordError("indefinite length")
    except IndexError:
        raise RecordError("truncated element") from None
    end = offset + length
    if end > len(data):
        raise RecordError(f"element {tag:X} says {length} bytes, {len(data) - offset} are there")
    return Element(tag, data[offset:end], data[start:end])


def skip_padding(data: bytes, offset: int) -> int:
    """Offset of the next byte that is neither 00 nor FF: both may stand before, between and after data objects."""
    while offset < len(data) and data[offset] in _PADDING:
        offset += 1
    return offset


def elements(data: bytes) -> list[Element]:
    """All elements of `data`, padding skipped. RecordError when one is malformed or there are more than 256."""
    if len(data) > MAX_INPUT:
        raise RecordError(f"{len(data)} bytes where at most {MAX_INPUT} can be")
    found: list[Element] = []
    offset = skip_padding(data, 0)
    while offset < len(data):
        if len(found) == MAX_ELEMENTS:
            raise RecordError(f"more than {MAX_ELEMENTS} elements")
        found.append(read(data, offset))
        offset = skip_padding(data, offset + len(found[-1].raw))
    return found


def entries(data: bytes) -> Iterator[Element | bytes]:
    """Like `elements`, but what cannot be read comes last, as bytes, instead of losing what stands before it."""
    if len(data) > MAX_INPUT:
        raise RecordError(f"{len(data)} bytes where at most {MAX_INPUT} can be")
    offset = skip_padding(data, 0)
    for _ in range(MAX_ELEMENTS):
        if offset >= len(data):
            return
        try:
            element = read(data, offset)
        except RecordError:
            break
        yield element
        offset = skip_padding(data, offset + len(element.raw))
    if offset < len(data):
        yield data[offset:]


def first(items: Iterable[Element], *tags: int) -> Element | None:
    return next((item for item in items if item.tag in tags), None)


def only(data: bytes, *tags: int) -> Element:
    """The first element with one of these tags in `data`; RecordError when there is none."""
    found = first(elements(data), *tags)
    if found is None:
        raise RecordError(f"element {tags[0]:X} is missing")
    return found


def integer(element: Element) -> int:
    """Unsigned value: cards write 0x82 both as 02 02 00 82 and, wrongly, as 02 01 82. 1 to 8 bytes."""
    if not 1 <= len(element.value) <= 8:
        raise RecordError(f"integer of {len(element.value)} bytes")
    return int.from_bytes(element.value, "big")


def optional_integer(element: Element | None) -> int | None:
    return None if element is None else integer(element)


def bits(element: Element) -> frozenset[int]:
    """Numbers of the bits set, 0 first. `03 01 08` and `03 02 08 00`, seen on real cards, are the empty set."""
    if not element.value:
        return frozenset()
    body = element.value[1:17]
    count = len(body) * 8 - element.value[0]
    return frozenset(i for i in range(count) if body[i // 8] & 0x80 >> i % 8)


def names(element: Element | None, table: str) -> frozenset[str]:
    """The bits set, named by their place among the words of `table`; those beyond it are left out."""
    words = table.split()
    return frozenset() if element is None else frozenset(words[i] for i in bits(element) if i < len(words))


def text(value: bytes) -> str:
    """UTF-8, else Latin-1 (which never fails); NUL padding and surrounding blanks dropped."""
    try:
        decoded = value.decode("utf-8")
    except UnicodeDecodeError:
        decoded = value.decode("latin-1")
    return decoded.strip("\x00 \t\r\n")


def time(value: bytes) -> datetime | None:
    """GeneralizedTime or UTCTime characters as an aware datetime in UTC; None when they are no date."""
    chars = value.decode("latin-1").strip("\x00 ")
    digits = chars.rstrip("Z").split(".")[0]
    offset = timedelta(0)
    if len(digits) > 5 and digits[-5] in "+-" and digits[-4:].isascii() and digits[-4:].isdigit():
        offset = timedelta(hours=int(digits[-4:-2]), minutes=int(digits[-2:]))
        offset, digits = (-offset if digits[-5] == "-" else offset), digits[:-5]
    if not (digits.isascii() and digits.isdigit()):
        return None
    layouts = {14: "%Y%m%d%H%M%S", 12: "%y%m%d%H%M%S", 8: "%Y%m%d"}
    try:
        return datetime.strptime(digits, layouts[len(digits)]).replace(tzinfo=UTC) - offset
    except (KeyError, ValueError, OverflowError):
        return None
