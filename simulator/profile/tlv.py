# SPDX-License-Identifier: Apache-2.0
"""Building BER-TLV and DER: a tag, a minimal definite length, values put end to end (ISO/IEC 8825-1, 8.1)."""

from __future__ import annotations


def tlv(tag: int, *values: bytes) -> bytes:
    """One data object. `tag` is written as it stands: 0x30, 0x8F, 0x5F24."""
    value = b"".join(values)
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes([0x80 | len(digits)]) + digits
    return tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big") + length + value


def sequence(*values: bytes) -> bytes:
    return tlv(0x30, *values)


def integer(value: int) -> bytes:
    """INTEGER of a value that is not negative."""
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def boolean(value: bool) -> bytes:
    return tlv(0x01, b"\xff" if value else b"\x00")


def bits(*positions: int) -> bytes:
    """BIT STRING with these named bits set, trailing zero bits left out (X.690, 11.2.2)."""
    last = max(positions)
    content = bytearray(last // 8 + 1)
    for position in positions:
        content[position // 8] |= 0x80 >> position % 8
    return tlv(0x03, bytes([7 - last % 8]), bytes(content))
