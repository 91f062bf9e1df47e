# SPDX-License-Identifier: Apache-2.0
"""Frames of the p11-kit RPC protocol, received into memory that is locked, never dumped and wiped frame by frame.

A request that carries a PIN is read in C: its values become numbers and `Secret`s, and its bytes never become an object.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cpxd._apdu_ffi import ffi, lib
from cpxd.pkcs11.calls import CALLS, SECRET
from cpxd.pkcs11.wire import WireError
from cpxd.secret import Secret, SecretError

_SIZE = 16384  # of the locked buffer; longer frames carry no PIN and are gathered elsewhere
_BODY_LIMIT = 1 << 20
_OPTIONS_LIMIT = 8192
_SECRET_LIMIT = 4096
_header = struct.Struct(">III")  # serial, length of options, length of body
_u32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Pin:
    """A byte string of a request that may be a PIN. `secret` None: NULL. `unfit`: longer than any PIN, and not kept."""

    secret: Secret | None
    unfit: bool = False

    def wipe(self) -> None:
        if self.secret is not None:
            self.secret.wipe()


@dataclass(frozen=True, slots=True)
class Frame:
    serial: int
    options: bytes
    call: int
    body: bytes  # from the call number on; empty when the request carries secrets
    values: tuple[int, ...] = ()
    pins: tuple[Pin, ...] = ()


class Frames:
    """`room()` is where received bytes go; `feed` then yields what is complete. Raises WireError."""

    def __init__(self) -> None:
        memory = lib.apdu_locked_new(_SIZE)
        if memory == ffi.NULL:
            raise SecretError("memory")
        self._owner = ffi.gc(memory, lambda m: lib.apdu_locked_free(m, _SIZE))
        self._memory: Any = ffi.cast("uint8_t *", memory)
        self._view = memoryview(ffi.buffer(self._memory, _SIZE))
        self._length = 0
        self._long: tuple[int, bytes, int, bytearray, int] | None = None  # serial, options, call, body so far, its length

    def room(self) -> memoryview:
        return self._view[self._length :]

    def first_byte(self, received: int) -> int | None:
        """The version a client offers, before any frame; the rest of what came stays for `feed(0)`."""
        self._length += received
        if self._length == 0:
            return None
        offered = self._view[0]
        self._drop(1)
        return offered

    def feed(self, received: int) -> Iterator[Frame]:
        self._length += received
        while (frame := self._next()) is not None:
            yield frame

    def close(self) -> None:
        lib.apdu_wipe(self._memory, _SIZE)
        self._length = 0

    def _next(self) -> Frame | None:
        if self._long is not None:
            return self._gather(*self._long)
        if self._length < _header.size:
            return None
        serial, options_length, body_length = _header.unpack_from(self._view)
        if options_length > _OPTIONS_LIMIT or not 8 <= body_length <= _BODY_LIMIT:
            raise WireError("frame length")
        start = _header.size + options_length
        if self._length < start + 4:
            return None
        (call,) = _u32.unpack_from(self._view, start)
        if call in SECRET and body_length > _SECRET_LIMIT:
            raise WireError("secret length")
        if self._length < start + body_length:
            if start + body_length > _SIZE:
                body = bytearray(self._view[start : self._length])
                self._long = serial, bytes(self._view[_header.size : start]), call, body, body_length
                self._drop(self._length)
            return None
        options = bytes(self._view[_header.size : start])
        try:
            if call in SECRET:
                return self._read_secrets(serial, options, call, start, body_length)
            return Frame(serial, options, call, bytes(self._view[start : start + body_length]))
        finally:
            self._drop(start + body_length)

    def _gather(self, serial: int, options: bytes, call: int, body: bytearray, length: int) -> Frame | None:
        count = min(self._length, length - len(body))
        body += self._view[:count]
        self._drop(count)
        if len(body) < length:
            return None
        self._long = None
        return Frame(serial, options, call, bytes(body))

    def _read_secrets(self, serial: int, options: bytes, call: int, start: int, length: int) -> Frame:
        secrets = Secret(), Secret()
        request = ffi.new("apdu_request *")
        handles = ffi.new("apdu_secret *[2]", [secret._handle for secret in secrets])
        signature = CALLS[call].request.encode()
        if lib.apdu_request_read(self._memory + start, length, call, signature, request, handles) != 0:
            raise WireError("secret request")
        pins = []
        for secret, status in zip(secrets[: request.secret_count], request.secrets, strict=False):
            pins.append(Pin(None if status == lib.APDU_E_ABSENT else secret, status == lib.APDU_E_LONG))
        return Frame(serial, options, call, b"", tuple(request.values[0 : request.value_count]), tuple(pins))

    def _drop(self, count: int) -> None:
        left = self._length - count
        ffi.memmove(self._memory, self._memory + count, left)
        lib.apdu_wipe(self._memory + left, count)
        self._length = left
