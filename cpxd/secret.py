# SPDX-License-Identifier: Apache-2.0
"""Secrets (PIN, unblock code) that no Python object ever holds: C reads them, keeps them and wipes them.

A `Secret` is a handle on a page that is locked in memory, left out of core dumps and of forks, and wiped when the secret is
wiped, dropped or used in a `with` block. What can be asked about it is listed here and nothing else can.
"""

from __future__ import annotations

import os
import time
from typing import Any, NoReturn

from cpxd._apdu_ffi import ffi, lib


class ApduError(Exception):
    """Root of the errors of the APDU core."""


class SecretError(ApduError):
    """A secret could not be read. `reason` is one of:

    "eof" nothing to read · "too-long" over 64 bytes · "timeout" · "no-terminal" · "cancelled" by a signal ·
    "busy" the terminal is asking already · "memory" no memory that can be locked · "system" the descriptor failed.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


_REASONS = {
    lib.APDU_E_EOF: "eof",
    lib.APDU_E_LONG: "too-long",
    lib.APDU_E_TIMEOUT: "timeout",
    lib.APDU_E_TERMINAL: "no-terminal",
    lib.APDU_E_CANCELLED: "cancelled",
    lib.APDU_E_BUSY: "busy",
    lib.APDU_E_MEMORY: "memory",
}


def _fail(rc: int, errno: int) -> NoReturn:
    reason = _REASONS.get(rc)
    if reason is None:
        raise SecretError("system", os.strerror(errno))
    raise SecretError(reason)


def _deadline(timeout: float | None) -> int:
    """CLOCK_MONOTONIC milliseconds, as the C side counts them; -1 for none."""
    return -1 if timeout is None else int((time.monotonic() + min(max(timeout, 0.0), 1e9)) * 1000)


class Secret:
    """One secret of 0 to 64 bytes. Filled by `from_fd`, `from_terminal` and the dialogs only; not copied, pickled or shown."""

    __slots__ = ("__weakref__", "_handle")

    def __init__(self) -> None:
        memory = lib.apdu_secret_new()
        if memory == ffi.NULL:
            raise SecretError("memory")
        self._handle: Any = ffi.gc(memory, lib.apdu_secret_free)

    @classmethod
    def from_fd(cls, fd: int, timeout: float | None = None) -> Secret:
        """Reads one line (ended by LF, CR LF or the end of file) from a descriptor and not a byte more.

        So several secrets, one a line, are read one after the other. An empty line is an empty secret.
        `timeout` is in seconds. Raises SecretError.
        """
        if not 0 <= fd < 1 << 31:
            raise SecretError("system", "bad descriptor")
        secret = cls()
        deadline = _deadline(timeout)
        while (rc := lib.apdu_secret_read_fd(secret._handle, fd, deadline)) == lib.APDU_E_INTERRUPTED:
            pass  # between two calls the interpreter runs its signal handlers; the line goes on where it was
        if rc != 0:
            _fail(rc, ffi.errno)
        return secret

    @classmethod
    def from_terminal(cls, path: str = "/dev/tty", prompt: str = "", timeout: float | None = None) -> Secret:
        """Asks on a terminal, echo off while the secret is typed and back on every way out.

        Ctrl-C is KeyboardInterrupt (SecretError "cancelled" outside the main thread), Ctrl-D on an empty line
        SecretError "eof"; after Ctrl-Z and `fg` the prompt comes again. Raises SecretError.
        """
        secret = cls()
        if "\0" in path or "\0" in prompt:
            raise SecretError("no-terminal")
        rc = lib.apdu_secret_read_terminal(secret._handle, os.fsencode(path), prompt.encode(errors="replace"), _deadline(timeout))
        if rc != 0:
            _fail(rc, ffi.errno)
        return secret

    def __len__(self) -> int:
        return int(lib.apdu_secret_len(self._handle))

    def __bool__(self) -> bool:
        """A secret is there, even an empty one."""
        return True

    def is_digits(self, minimum: int, maximum: int | None = None) -> bool:
        """Whether it is made of `minimum` to `maximum` (default: exactly `minimum`) ASCII digits."""
        maximum = minimum if maximum is None else maximum
        return 0 <= minimum <= maximum and bool(lib.apdu_secret_is_digits(self._handle, minimum, maximum))

    def equals(self, other: Secret) -> bool:
        """Compares in constant time."""
        return bool(lib.apdu_secret_equal(self._handle, other._handle))

    def equals_word(self, word: bytes) -> bool:
        """Whether it is this word (lower-case ASCII letters), whatever its case and the blanks round it."""
        return bool(lib.assuan_is_word(self._handle, word, len(word)))

    def digest(self, salt: bytes) -> bytes:
        """SHA-256(salt ‖ secret), 32 bytes. Four digits are found from it in no time: keep it in memory only."""
        out = ffi.new("uint8_t[32]")
        if lib.apdu_secret_digest(self._handle, ffi.from_buffer(salt), len(salt), out) != 0:
            raise SecretError("memory")
        return bytes(ffi.buffer(out))

    def wipe(self) -> None:
        """Forgets the secret now; it is then empty."""
        lib.apdu_secret_wipe(self._handle)

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, *exc: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not copied and not pickled")


class RefusedSecrets:
    """Secrets that were refused, as salted digests in locked memory; the salt never leaves it. At most 64 are remembered."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        memory = lib.apdu_refused_new()
        if memory == ffi.NULL:
            raise SecretError("memory")
        self._handle: Any = ffi.gc(memory, lib.apdu_refused_free)

    def add(self, secret: Secret) -> None:
        if lib.apdu_refused_add(self._handle, secret._handle) != 0:
            raise SecretError("memory")

    def holds(self, secret: Secret) -> bool:
        found = lib.apdu_refused_holds(self._handle, secret._handle)
        if found < 0:
            raise SecretError("memory")
        return bool(found)

    def clear(self) -> None:
        lib.apdu_refused_clear(self._handle)
