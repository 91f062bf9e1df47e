# SPDX-License-Identifier: Apache-2.0
"""Values on the wire of the p11-kit RPC protocol, as its signatures name them. Everything is big-endian.

Attribute values are held as PKCS#11 lays them out in memory (CK_BBOOL one byte, CK_ULONG eight native ones); how they travel
depends on the attribute's type.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cpxd.pkcs11.ck import CKM, HASH_RSA_PSS

NO_BYTES = 0xFFFFFFFF
COUNT_LIMIT = 4096  # entries of an array
DEPTH_LIMIT = 8  # templates in templates
_NATIVE = sys.byteorder

_BYTE = {0x1, 0x2, 0x86, *range(0x103, 0x10D), *range(0x162, 0x166), 0x170, 0x171, 0x200, 0x202, 0x210, 0x301, 0x302, 0x405}
_ULONG = {
    0x0,
    0x80,
    0x87,
    0x88,
    0x100,
    0x121,
    0x133,
    0x134,
    0x160,
    0x161,
    0x166,
    0x201,
    0x300,
    *range(0x400, 0x405),
    0x406,
    0x500,
}
_TEMPLATES = {0x40000211, 0x40000212, 0x40000213}
_MECHANISMS = 0x40000600
PSS_MECHANISMS = {CKM.RSA_PKCS_PSS, *HASH_RSA_PSS}


class WireError(Exception):
    """A request that is none: its connection ends."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where an answer's bytes go. `null`: the caller only asks for their number."""

    capacity: int
    null: bool


@dataclass(frozen=True, slots=True)
class Length:
    """In an answer: the length alone. A size query, or a buffer too small."""

    value: int


@dataclass(frozen=True, slots=True)
class Pss:
    hash: int
    mgf: int
    salt: int


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`parameter`: None, PSS parameters, or bytes that are none we know."""

    type: int
    parameter: Pss | bytes | None


Attribute = tuple[int, bytes | None]  # type, value; None: a value that was not given, or cannot be

ulong = struct.Struct(">Q")
_u32 = struct.Struct(">I")
_pss = struct.Struct(">QQQ")


def native(number: int) -> bytes:
    """A CK_ULONG in memory."""
    return number.to_bytes(8, _NATIVE)


def from_native(value: bytes) -> int:
    return int.from_bytes(value, _NATIVE)


class Reader:
    """Reads a body from its start. Every way to run over its end is a WireError."""

    __slots__ = ("_data", "_new", "at")

    def __init__(self, data: bytes, *, new_dialect: bool, at: int = 0) -> None:
        self._data = data
        self._new = new_dialect
        self.at = at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise WireError("short")
        part = self._data[self.at : end]
        self.at = end
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(_u32.unpack(self.take(4))[0])

    def number(self) -> int:
        return int(ulong.unpack(self.take(8))[0])

    def count(self) -> int:
        count = self.u32()
        if count > COUNT_LIMIT:
            raise WireError("too many")
        return count

    def string(self) -> bytes | None:
        length = self.u32()
        return None if length == NO_BYTES else self.take(length)

    def array(self) -> bytes | None:
        """`ay`: None for NULL, whatever length the caller gave it."""
        if self.byte():
            return self.string()
        self.u32()
        return None

    def room(self) -> Room:
        """`fy`: FFFFFFFF is a buffer of no bytes, since p11-kit 0.25."""
        capacity = self.u32()
        return Room(0, False) if capacity == NO_BYTES else Room(capacity, capacity == 0)

    def numbers(self) -> list[int] | None:
        valid, count = self.byte(), self.u32()
        if not valid:
            return None
        if count > COUNT_LIMIT:
            raise WireError("too many")
        return [self.number() for _ in range(count)]

    def template(self, depth: int = 0) -> list[Attribute]:
        if depth > DEPTH_LIMIT:
            raise WireError("too deep")
        return [self._attribute(depth) for _ in range(self.count())]

    def _attribute(self, depth: int) -> Attribute:
        kind = self.u32()
        if not self.byte():
            return kind, None
        self.u32()  # ulValueLen: what follows says it again
        if kind in _BYTE:
            return kind, self.take(1)
        if kind in _ULONG:
            return kind, native(self.number())
        if kind in _TEMPLATES:
            self.template(depth + 1)
            return kind, None
        if kind == _MECHANISMS:
            return kind, b"".join(native(self.number()) for _ in range(self.count()))
        return kind, self.string() or b""

    def query(self) -> list[tuple[int, int]]:
        """`fA`, always the last of its request: attribute types and room. Whether templates nest tells no version."""
        start = self.at
        for nested in (self._new, not self._new):
            self.at = start
            try:
                found = self._query(nested, 0)
            except WireError:
                continue
            if self.at == len(self._data):
                return found
        raise WireError("query")

    def _query(self, nested: bool, depth: int) -> list[tuple[int, int]]:
        if depth > DEPTH_LIMIT:
            raise WireError("too deep")
        found = []
        for _ in range(self.count()):
            kind, room = self.u32(), self.u32()
            found.append((kind, room))
            if nested and kind in _TEMPLATES and room:
                self._query(nested, depth + 1)
        return found

    def mechanism(self, after: int) -> Mechanism | None:
        """`M`, with `after` bytes of other values behind it. None: the NULL mechanism, which cancels."""
        length = len(self._data) - after - self.at
        if length < 4:
            raise WireError("mechanism")
        kind, rest = self.u32(), self.take(length - 4)
        if kind == NO_BYTES and not rest:
            return None
        for new in (self._new, not self._new):  # the length tells the dialects apart, should a client offer another version
            found = _mechanism(kind, rest, new=new)
            if found is not None:
                return found
        return Mechanism(kind, rest)

    def end(self) -> None:
        if self.at != len(self._data):
            raise WireError("too long")


def _mechanism(kind: int, rest: bytes, *, new: bool) -> Mechanism | None:
    """In the dialect of clients that offer version 2 (`new`) or an older one; None when it is not in that dialect."""
    if new:
        if rest in (b"", b"\x00"):
            return Mechanism(kind, None)
        if rest[0] != 1:
            return None
        rest = rest[1:]
    elif rest == b"\xff\xff\xff\xff":
        return Mechanism(kind, None)
    if kind in PSS_MECHANISMS and len(rest) == _pss.size:
        return Mechanism(kind, Pss(*_pss.unpack(rest)))
    if len(rest) >= 4 and _u32.unpack_from(rest)[0] == len(rest) - 4:
        return Mechanism(kind, rest[4:])
    return None


_READ: dict[str, Callable[[Reader], Any]] = {
    "y": Reader.byte,
    "u": Reader.number,
    "z": Reader.string,
    "ay": Reader.array,
    "fy": Reader.room,
    "au": Reader.numbers,
    "fu": Reader.u32,
    "aA": Reader.template,
    "fA": Reader.query,
    "M": lambda reader: reader.mechanism(0),
    "Mu": lambda reader: reader.mechanism(8),
}


def steps(signature: str) -> tuple[Callable[[Reader], Any], ...]:
    """How the values of a request are read, one step a value."""
    found = []
    at = 0
    while at < len(signature):
        word = signature[at : at + 2] if signature[at] in "af" else signature[at]
        at += len(word)
        found.append(_READ["Mu" if word == "M" and signature[at:] == "u" else word])
    return tuple(found)


def _bytes(value: bytes) -> bytes:
    return _u32.pack(len(value)) + value


def _array(value: bytes | Length) -> bytes:
    return b"\x00" + _u32.pack(value.value) if isinstance(value, Length) else b"\x01" + _bytes(value)


def _numbers(value: Sequence[int] | Length) -> bytes:
    if isinstance(value, Length):
        return b"\x00" + _u32.pack(value.value)
    return b"\x01" + _u32.pack(len(value)) + b"".join(map(ulong.pack, value))


def _attribute(attribute: Attribute) -> bytes:
    kind, value = attribute
    if value is None:
        return _u32.pack(kind) + b"\x00"
    head = _u32.pack(kind) + b"\x01" + _u32.pack(len(value))
    if kind in _BYTE:
        return head + value[:1]
    if kind in _ULONG:
        return head + ulong.pack(from_native(value))
    return head + _bytes(value)


_WRITE: dict[str, Callable[[Any], bytes]] = {
    "u": ulong.pack,
    "v": bytes,
    "s": _bytes,
    "ay": _array,
    "au": _numbers,
    "aA": lambda value: _u32.pack(len(value)) + b"".join(map(_attribute, value)),
}


def writers(signature: str) -> tuple[Callable[[Any], bytes], ...]:
    found = []
    at = 0
    while at < len(signature):
        word = signature[at : at + 2] if signature[at] == "a" else signature[at]
        at += len(word)
        found.append(_WRITE[word])
    return tuple(found)
