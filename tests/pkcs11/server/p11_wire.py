# SPDX-License-Identifier: Apache-2.0
"""A small client of the p11-kit RPC, independent of the daemon's own code: it writes what the three client generations write.

Offered 0: p11-kit up to 0.24; 1: 0.25.0 to 0.25.5; 2: since 0.25.6, with the other encoding of mechanisms.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

HANDSHAKE = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
ULONGS = {0x0, 0x80, 0x87, 0x100, 0x121, 0x166}
BYTES = {0x1, 0x2, 0x86, *range(0x103, 0x10D), *range(0x162, 0x166), 0x170, 0x171, 0x202, 0x210}
NULL = 0xFFFFFFFF
PSS = struct.Struct(">QQQ")
CALLS = {  # name: number, signature of the request, signature of the answer
    "Initialize": (1, "ayyay", ""),
    "Finalize": (2, "", ""),
    "GetInfo": (3, "", "vsusv"),
    "GetSlotList": (4, "yfu", "au"),
    "GetSlotInfo": (5, "u", "ssuvv"),
    "GetTokenInfo": (6, "u", "ssssuuuuuuuuuuuvvs"),
    "GetMechanismList": (7, "ufu", "au"),
    "GetMechanismInfo": (8, "uu", "uuu"),
    "InitToken": (9, "uayz", ""),
    "OpenSession": (10, "uu", "u"),
    "CloseSession": (11, "u", ""),
    "CloseAllSessions": (12, "u", ""),
    "GetSessionInfo": (13, "u", "uuuu"),
    "InitPIN": (14, "uay", ""),
    "SetPIN": (15, "uayay", ""),
    "Login": (18, "uuay", ""),
    "Logout": (19, "u", ""),
    "CreateObject": (20, "uaA", "u"),
    "GetAttributeValue": (24, "uufA", "aAu"),
    "SetAttributeValue": (25, "uuaA", ""),
    "FindObjectsInit": (26, "uaA", ""),
    "FindObjects": (27, "ufu", "au"),
    "FindObjectsFinal": (28, "u", ""),
    "EncryptInit": (29, "uMu", ""),
    "Encrypt": (30, "uayfy", "ay"),
    "DecryptInit": (33, "uMu", ""),
    "Decrypt": (34, "uayfy", "ay"),
    "DecryptUpdate": (35, "uayfy", "ay"),
    "DecryptFinal": (36, "ufy", "ay"),
    "DigestInit": (37, "uM", ""),
    "Digest": (38, "uayfy", "ay"),
    "DigestUpdate": (39, "uay", ""),
    "DigestFinal": (41, "ufy", "ay"),
    "SignInit": (42, "uMu", ""),
    "Sign": (43, "uayfy", "ay"),
    "SignUpdate": (44, "uay", ""),
    "SignFinal": (45, "ufy", "ay"),
    "VerifyInit": (48, "uMu", ""),
    "Verify": (49, "uayay", ""),
    "SeedRandom": (63, "uay", ""),
    "GenerateRandom": (64, "ufy", "ay"),
    "WaitForSlotEvent": (65, "u", "u"),
    "LoginUser": (66, "uuayay", ""),
    "SessionCancel": (67, "uu", ""),
    "MessageSignInit": (76, "uMu", ""),
    "InitToken2": (88, "uays", ""),
}


class Refused(Exception):
    """The daemon answered with this CK_RV."""

    def __init__(self, rv: int) -> None:
        super().__init__(f"CK_RV {rv:#x}")
        self.rv = rv


class Closed(Exception):
    """The daemon ended the connection."""


def words(signature: str) -> list[str]:
    found, at = [], 0
    while at < len(signature):
        found.append(signature[at : at + 2] if signature[at] in "af" else signature[at])
        at += len(found[-1])
    return found


def encode(word: str, value: Any, offered: int = 2) -> bytes:
    return mechanism(value, offered) if word == "M" else ENCODE[word](value)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def string(value: bytes | None) -> bytes:
    return u32(NULL) if value is None else u32(len(value)) + value


def template(value: Any) -> bytes:
    return u32(len(value)) + b"".join(attribute(kind, content) for kind, content in value)


ENCODE: dict[str, Any] = {
    "y": lambda value: bytes([value]),
    "u": lambda value: struct.pack(">Q", value),
    "fu": u32,
    "fy": lambda value: u32(0 if value is None else value or NULL),
    "s": string,
    "z": string,
    "ay": lambda value: b"\1" + string(value),
    "aA": template,
    "fA": lambda value: u32(len(value)) + b"".join(u32(kind) + u32(room) for kind, room in value),
}


def attribute(kind: int, value: Any) -> bytes:
    head = struct.pack(">IB", kind, 1)
    if kind in ULONGS:
        return head + struct.pack(">IQ", 8, value)
    if kind in BYTES:
        return head + struct.pack(">IB", 1, value)
    return head + struct.pack(">II", len(value), len(value)) + value


def mechanism(value: Any, offered: int) -> bytes:
    """None (cancels), a number, or (number, (hash, mgf, salt)) for PSS."""
    if value is None:
        return struct.pack(">I", NULL)
    kind, parameter = (value, None) if isinstance(value, int) else value
    if parameter is None:
        return struct.pack(">I", kind) + (b"" if offered >= 2 else struct.pack(">I", NULL))
    return struct.pack(">I", kind) + (b"\1" if offered >= 2 else b"") + PSS.pack(*parameter)


def frame(serial: int, name: str, *values: Any, offered: int = 2, options: bytes = b"client") -> bytes:
    number, signature, _ = CALLS[name]
    body = struct.pack(">II", number, len(signature)) + signature.encode()
    body += b"".join(encode(word, value, offered) for word, value in zip(words(signature), values, strict=True))
    return struct.pack(">III", serial, len(options), len(body)) + options + body


class Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        assert len(part) == count, "short answer"
        self.at += count
        return part

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def value(self, word: str) -> Any:
        if word == "u":
            return int.from_bytes(self.take(8), "big")
        if word == "v":
            return tuple(self.take(2))
        if word == "s":
            return self.take(self.u32())
        if word == "ay":
            valid, length = self.take(1)[0], self.u32()
            return self.take(length) if valid else length
        if word == "au":
            valid, count = self.take(1)[0], self.u32()
            return [self.value("u") for _ in range(count)] if valid else count
        if word == "aA":
            return [self.attribute() for _ in range(self.u32())]
        raise AssertionError(word)

    def attribute(self) -> tuple[int, Any]:
        kind = self.u32()
        if not self.take(1)[0]:
            return kind, None
        length = self.u32()
        if kind in ULONGS:
            assert length == 8, "ulValueLen must be exact"
            return kind, self.value("u")
        if kind in BYTES:
            assert length == 1, "ulValueLen must be exact"
            return kind, self.take(1)[0]
        content = self.take(self.u32())
        assert length == len(content), "ulValueLen must be exact"
        return kind, content


class Wire:
    """One application. Calls are methods of the names in CALLS; a refusal is raised."""

    def __init__(self, path: str | os.PathLike[str], offered: int = 2, *, start: bool = True, options: bytes = b"client") -> None:
        self.offered, self.options = offered, options
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        try:
            self.socket.connect(os.fspath(path))
        except OSError:
            self.socket.close()
            raise
        self.socket.sendall(bytes([offered]))
        self.version = self.receive(1)[0]
        self.serial = 0x10
        if start:
            self.call("Initialize", HANDSHAKE, 0, b"\0")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionError:
                raise Closed from None
            if not part:
                raise Closed
            data += part
        return data

    def send(self, name: str, *values: Any) -> int:
        """Without waiting for the answer; the serial number it will have."""
        self.serial += 1
        self.socket.sendall(frame(self.serial, name, *values, offered=self.offered, options=self.options))
        return self.serial

    def answer(self) -> tuple[int, bytes, bytes]:
        """The next answer, whichever it is: serial, options, body."""
        serial, options, body = struct.unpack(">III", self.receive(12))
        return serial, self.receive(options), self.receive(body)

    def call(self, name: str, *values: Any) -> Any:
        serial = self.send(name, *values)
        got, _, body = self.answer()
        assert got == serial
        return decode(name, body)

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)
        return lambda *values: self.call(name, *values)

    # --- what tests do all the time

    def open(self, slot: int = 0, *, writable: bool = True) -> int:
        handle = self.OpenSession(slot, 6 if writable else 4)
        assert isinstance(handle, int)
        return handle

    def login(self, session: int, pin: bytes = b"1234", user: int = 1) -> None:
        self.Login(session, user, pin)

    def find(self, session: int, *template: tuple[int, Any]) -> list[int]:
        self.FindObjectsInit(session, list(template))
        found: list[int] = []
        while part := self.FindObjects(session, 7):
            found += part
        self.FindObjectsFinal(session)
        return found

    def one(self, session: int, *template: tuple[int, Any]) -> int:
        (handle,) = self.find(session, *template)
        return handle

    def read(self, session: int, handle: int, *kinds: int) -> list[Any]:
        values, rv = self.GetAttributeValue(session, handle, [(kind, 65536) for kind in kinds])
        assert rv == 0, f"CK_RV {rv:#x}"
        return [value for _, value in values]

    def private_key(self, session: int, label: bytes) -> int:
        return self.one(session, (0, 3), (3, label))

    def sign(self, session: int, key: int, mechanism: Any, data: bytes) -> bytes:
        self.SignInit(session, mechanism, key)
        signature = self.Sign(session, data, 256)
        assert isinstance(signature, bytes)
        return signature


def decode(name: str, body: bytes) -> Any:
    """None, the value, or a tuple of the values."""
    number, _, signature = CALLS[name]
    decoder = Decoder(body)
    got, said = decoder.u32(), decoder.take(decoder.u32())
    if got == 0:
        assert said == b"u"
        raise Refused(decoder.value("u"))
    assert (got, said) == (number, signature.encode())
    values = [decoder.value(word) for word in words(signature)]
    assert decoder.at == len(body), "more than the signature says"
    return None if not values else values[0] if len(values) == 1 else tuple(values)
