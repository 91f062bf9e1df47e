# SPDX-License-Identifier: Apache-2.0
"""Traces of exchanges: `> command`, `< answer` in hex, `#` comments with milliseconds since the trace began.

A trace of the virtual card shows everything, PINs included: it is the card's own record, and the codes are test codes.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TextIO

from simulator.errors import unusable


class TraceWriter:
    """One trace file, written line by line, for one card or for all the cards of a lab.

    With several slots a comment says whose the next lines are, each time another slot speaks.
    Raises InputError when the file cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._slot: int | None = None
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from None
        self._file: TextIO | None = os.fdopen(descriptor, "w", encoding="ascii", buffering=1)
        self._write("# cpx-sim: virtual card, test codes shown in clear")

    def comment(self, text: str, slot: int | None = None) -> None:
        with self._lock:
            self._write(f"# @{self._now():.3f} {self._tag(slot)}{text}")

    def command(self, apdu: bytes, slot: int | None = None) -> None:
        with self._lock:
            self._write(f"# @{self._now():.3f}{self._tag(slot, before=' ').rstrip()}")
            self._write(f"> {apdu.hex().upper()}")

    def answer(self, apdu: bytes, slot: int | None = None) -> None:
        with self._lock:
            if slot != self._slot:
                self._write(f"# {self._tag(slot).rstrip()}")
            self._write(f"< {apdu.hex().upper()}")

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _tag(self, slot: int | None, before: str = "") -> str:
        if slot == self._slot:
            return ""
        self._slot = slot
        return f"{before}slot {slot}: "

    def _now(self) -> float:
        return (time.monotonic() - self._start) * 1000

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")
