# SPDX-License-Identifier: Apache-2.0
"""Frames of the p11-kit RPC protocol, received into memory that is locked, never dumped and wiped frame by frame.

A request that carries a PIN is read in C: its values become numbers and `Secret`s, and its bytes never become an object.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from cpxd._apdu_ffi import ffi, lib
from cpxd.pkcs11.calls import CALLS, SECRET
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.wire import WireError
from cpxd.secret import Secret, SecretError

_SIZE = 16384  # of the locked buffer; longer frames carry no PIN and are gathered elsewhere
_BODY_LIMIT = 1 << 20
_DATA_LIMIT = 16 << 20  # of the calls that carry a document at once
_DATA_CALLS = frozenset({30, 31, 34, 35, 38, 39, 43, 44, 49, 50})  # Encrypt, Decrypt, Digest, Sign, Verify and their updates
_NEW_PIN_CALLS = frozenset({14, 15})  # C_InitPIN, C_SetPIN
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


class Frame(NamedTuple):
    serial: int
    options: bytes
    call: int
    body: bytes  # from the call number on; empty when the request carries secrets
    values: tuple[int, ...] = ()
    pins: tuple[Pin, ...] = ()
    refused: CKR | None = None  # the request is longer than what is taken: it was passed over


class Frames:
    """`room()` is where received bytes go; `feed` then yields what is complete. Raises WireError."""

    def __init__(self) -> None:
        memory = lib.apdu_locked_new(_SIZE)
        if memory == ffi.NULL:
            raise SecretError("memory")
        self._owner = ffi.gc(memory, lambda m: lib.apdu_locked_free(m, _SIZE))
        self._memory: Any = ffi.cast("uint8_t *", memory)
        self._view = memoryview(ffi.buffer(self._memory, _SIZE))
        self._start = self._end = 0  # what was received and not yet read
        self._long: tuple[int, bytes, int, bytearray, int] | None = None  # serial, options, call, body so far, its length
        self._over: tuple[Frame, int] | None = None  # how to refuse a request, and how many bytes of it are to come

    def room(self) -> memoryview:
        return self._view[self._end :]

    def first_byte(self, received: int) -> int | None:
        """The version a client offers, before any frame; the rest of what came stays for `feed(0)`."""
        self._end += received
        if self._end == 0:
            return None
        self._start = 1
        return self._view[0]

    def feed(self, received: int) -> Iterator[Frame]:
        self._end += received
        while (frame := self._next()) is not None:
            yield frame
        if self._start:  # what is left of a frame moves to the front
            left = self._end - self._start
            if left:
                ffi.memmove(self._memory, self._memory + self._start, left)
                lib.apdu_wipe(self._memory + left, self._start)
            self._start, self._end = 0, left

    def close(self) -> None:
        lib.apdu_wipe(self._memory, _SIZE)
        self._start = self._end = 0

    def _next(self) -> Frame | None:
        if self._over is not None:
            return self._pass_over(*self._over)
        if self._long is not None:
            return self._gather(*self._long)
        first, here = self._start, self._end - self._start
        if here < _header.size:
            return None
        serial, options_length, body_length = _header.unpack_from(self._view, first)
        if options_length > _OPTIONS_LIMIT or body_length < 8:
            raise WireError("frame length")
        head = _header.size + options_length
        if here < head + 4:
            return None
        return self._frame(serial, first + head, body_length)

    def _frame(self, serial: int, body: int, body_length: int) -> Frame | None:
        """The frame whose body begins at `body` in the buffer, when it is whole."""
        (call,) = _u32.unpack_from(self._view, body)
        options = bytes(self._view[self._start + _header.size : body])
        if body_length > _limit(call):
            self._start = body
            return self._pass_over(Frame(serial, options, call, b"", refused=_too_long(call)), body_length)
        if self._end < body + body_length:
            if body - self._start + body_length > _SIZE:
                self._long = serial, options, call, bytearray(self._view[body : self._end]), body_length
                self._start = self._end
            return None
        self._start = body + body_length
        if call in SECRET:
            return self._read_secrets(serial, options, call, body, body_length)
        return Frame(serial, options, call, bytes(self._view[body : self._start]))

    def _pass_over(self, refusal: Frame, length: int) -> Frame | None:
        count = min(self._end - self._start, length)
        self._start += count
        self._over = (refusal, length - count) if count < length else None
        return refusal if self._over is None else None

    def _gather(self, serial: int, options: bytes, call: int, body: bytearray, length: int) -> Frame | None:
        count = min(self._end - self._start, length - len(body))
        body += self._view[self._start : self._start + count]
        self._start += count
        if len(body) < length:
            return None
        self._long = None
        return Frame(serial, options, call, bytes(body))

    def _read_secrets(self, serial: int, options: bytes, call: int, start: int, length: int) -> Frame:
        secrets = Secret(), Secret()
        request = ffi.new("apdu_request *")
        handles = ffi.new("apdu_secret *[2]", [secret._handle for secret in secrets])
        signature = CALLS[call].request.encode()
        status = lib.apdu_request_read(self._memory + start, length, call, signature, request, handles)
        lib.apdu_wipe(self._memory + start, length)
        if status != 0:
            raise WireError("secret request")
        pins = []
        for secret, how in zip(secrets[: request.secret_count], request.secrets, strict=False):
            pins.append(Pin(None if how == lib.APDU_E_ABSENT else secret, how == lib.APDU_E_LONG))
        return Frame(serial, options, call, b"", tuple(request.values[0 : request.value_count]), tuple(pins))


def _limit(call: int) -> int:
    """The longest body that is taken, in bytes."""
    if call in SECRET:
        return _SECRET_LIMIT
    return _DATA_LIMIT if call in _DATA_CALLS else _BODY_LIMIT


def _too_long(call: int) -> CKR:
    if call in SECRET:
        return CKR.PIN_LEN_RANGE if call in _NEW_PIN_CALLS else CKR.PIN_INCORRECT
    return CKR.DATA_LEN_RANGE if call in _DATA_CALLS else CKR.DEVICE_MEMORY
