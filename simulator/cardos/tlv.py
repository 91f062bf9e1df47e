# SPDX-License-Identifier: Apache-2.0
"""BER-TLV of the card's own objects (ISO 8825-1): tags are kept as their bytes, lengths are definite."""

from __future__ import annotations

from simulator.cardos.apdu import Status


def encode(tag: int, *values: bytes) -> bytes:
    """One object; `tag` is written in as many bytes as it needs."""
    value = b"".join(values)
    return tag.to_bytes((tag.bit_length() + 7) // 8, "big") + length(len(value)) + value


def length(n: int) -> bytes:
    if n < 0x80:
        return bytes([n])
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def decode(data: bytes) -> list[tuple[int, bytes]]:
    """The objects of one level, or `Status(6A80)`: nothing is read outside `data`."""
    found = []
    at = 0
    while at < len(data):
        tag, at = _tag(data, at)
        size, at = _length(data, at)
        if size > len(data) - at:
            raise Status(0x6A80)
        found.append((tag, data[at : at + size]))
        at += size
    return found


def tag_list(data: bytes) -> list[int]:
    """An extended header list of whole objects (ISO 7816-4 section 8.4.5): each tag is followed by 80 or 00."""
    tags = []
    at = 0
    while at < len(data):
        tag, at = _tag(data, at)
        if at >= len(data) or data[at] not in (0x00, 0x80):
            raise Status(0x6A80)
        tags.append(tag)
        at += 1
    return tags


def _tag(data: bytes, at: int) -> tuple[int, int]:
    tag = data[at]
    at += 1
    if tag & 0x1F == 0x1F:
        while True:
            if at >= len(data) or tag > 0xFFFF:
                raise Status(0x6A80)
            tag = tag << 8 | data[at]
            at += 1
            if not tag & 0x80:
                break
    return tag, at


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise Status(0x6A80)
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    count = first & 0x7F
    if not 1 <= count <= 2 or count > len(data) - at:
        raise Status(0x6A80)
    return int.from_bytes(data[at : at + count], "big"), at + count
