# SPDX-License-Identifier: Apache-2.0
"""What every decoder needs of BER: elements that raise RecordError, and the primitive types read as leniently as real cards ask.

The reading itself is `cpxd.tlv`. Padding (00, FF) before, between and after elements is skipped everywhere: neither is a tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from cpxd.record.errors import RecordError
from cpxd.tlv import Tlv, TlvError, items

MAX_INPUT = 1 << 16  # no file of these cards is near it
MAX_ELEMENTS = 256


def elements(data: bytes) -> list[Tlv]:
    """The elements of one level. RecordError when one is malformed, or there are more than 256."""
    found = list(entries(data))
    if None in found:
        raise RecordError("malformed or endless BER-TLV")
    return [element for element in found if element is not None]


def entries(data: bytes) -> Iterator[Tlv | None]:
    """Like `elements`, but a malformed element, or the one beyond the 256th, is a None that ends what stands before it."""
    if len(data) > MAX_INPUT:
        raise RecordError(f"{len(data)} bytes where at most {MAX_INPUT} can be")
    reader = items(data, padding=True)
    try:
        yield from islice(reader, MAX_ELEMENTS)
        if next(reader, None) is not None:
            yield None
    except TlvError:
        yield None


def first(items: Iterable[Tlv], *tags: int) -> Tlv | None:
    return next((item for item in items if item.tag in tags), None)


def only(data: bytes, *tags: int) -> Tlv:
    """The first element with one of these tags in `data`; RecordError when there is none."""
    found = first(elements(data), *tags)
    if found is None:
        raise RecordError(f"element {tags[0]:X} is missing")
    return found


def integer(element: Tlv) -> int:
    """Unsigned value: cards write 0x82 both as 02 02 00 82 and, wrongly, as 02 01 82. 1 to 8 bytes."""
    if not 1 <= len(element.value) <= 8:
        raise RecordError(f"integer of {len(element.value)} bytes")
    return int.from_bytes(element.value, "big")


def optional_integer(element: Tlv | None) -> int | None:
    return None if element is None else integer(element)


def bits(element: Tlv) -> frozenset[int]:
    """Numbers of the bits set, 0 first. `03 01 08` and `03 02 08 00`, seen on real cards, are the empty set."""
    if not element.value:
        return frozenset()
    body = element.value[1:17]
    count = len(body) * 8 - element.value[0]
    return frozenset(i for i in range(count) if body[i // 8] & 0x80 >> i % 8)


def names(element: Tlv | None, table: str) -> frozenset[str]:
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
