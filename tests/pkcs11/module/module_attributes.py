# SPDX-License-Identifier: Apache-2.0
"""Answers to C_GetAttributeValue."""

from __future__ import annotations

import struct

from module_standin import body, number

NESTED = 0x40000211
ALLOWED = 0x40000600


def answered(*wire: bytes, rv: int = 0) -> bytes:
    return body(24, b"aAu", struct.pack(">I", len(wire)) + b"".join(wire) + number(rv))


def valid(kind: int, length: int, value: bytes) -> bytes:
    return struct.pack(">IBI", kind, 1, length) + value
