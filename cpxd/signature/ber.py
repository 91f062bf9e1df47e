# SPDX-License-Identifier: Apache-2.0
"""A CMS written as it came, with lengths that are not known in advance (X.690 §8.1.3.6, RFC 5652 §5.2), rewritten with them.

Streams of OpenSSL, Bouncy Castle and many mail programs are such. Nothing else of BER is taken: whatever is not indefinite stays
as it is, to be read strictly.
"""

from __future__ import annotations

from cpxd.tlv import tlv

_CONSTRUCTED_OCTETS, _OCTETS = 0x24, 0x04
_ENDLESS, _DEEPEST = 0x80, 16
_END = b"\x00\x00"


def definite(data: bytes) -> bytes:
    """The same value with definite lengths; unchanged when its outermost length is definite. Raises ValueError."""
    if data[1:2] != bytes([_ENDLESS]):
        return data
    value, end = _read(memoryview(data), 0, 0)
    if end != len(data):
        raise ValueError("bytes after the end")
    return value


def _read(data: memoryview, start: int, depth: int) -> tuple[bytes, int]:
    """One object, and where it ends. Tags have one byte in a CMS."""
    if depth > _DEEPEST or start + 2 > len(data) or data[start] & 0x1F == 0x1F:
        raise ValueError("structure")
    tag, length = data[start], data[start + 1]
    if length == _ENDLESS:
        if not tag & 0x20:
            raise ValueError("an endless length of something simple")
        in_parts = tag == _CONSTRUCTED_OCTETS
        inside, at = bytearray(), start + 2  # no list: of a piece of two bytes it would keep twenty times as much
        while data[at : at + 2] != _END:
            part, at = _read(data, at, depth + 1)
            inside += _octets(part) if in_parts else part
        return tlv(_OCTETS if in_parts else tag, bytes(inside)), at + 2
    begin = start + 2
    if length > _ENDLESS:
        begin += length & 0x7F
        length = int.from_bytes(data[start + 2 : begin], "big")
    if begin + length > len(data):
        raise ValueError("length")
    return bytes(data[start : begin + length]), begin + length


def _octets(part: bytes) -> bytes:
    """What is in a part of an octet string that was written in parts."""
    if part[0] != _OCTETS:
        raise ValueError("a part of another kind")
    return part[2 + (part[1] & 0x7F if part[1] & 0x80 else 0) :]
