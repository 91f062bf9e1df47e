# SPDX-License-Identifier: Apache-2.0
"""A trace of what was said to the card, without what it holds of a person: support can follow it, and replay it.

    # cpxd-trace 1
    # card CPS3, ATR 3BAC…
    # @12.3 +0.8          milliseconds since the start, and of this exchange
    > 0020000108[8]       hidden bytes are counted, not shown
    < [231]9000

Shown whole: selections, security environments, questions about counters. Hidden: codes, file contents, hashes, signatures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from cpxd.text import printable

_SELECT, _GET_DATA, _ENVIRONMENT, _GET_RESPONSE = 0xA4, 0xCB, 0x22, 0xC0
_PLAIN_COMMANDS = frozenset({_SELECT, _GET_DATA, _ENVIRONMENT})
_CODE_OBJECT = bytes.fromhex("4D087006BF81")  # GET DATA on a code, see card/cps3.py


class Recorder:
    """An observer of exchanges (service.desk.Observer)."""

    def __init__(self, card: str, atr: bytes) -> None:
        self._lines = ["# cpxd-trace 1", f"# card {printable(card)}, ATR {atr.hex().upper()}"]
        self._started = time.monotonic()
        self._open = False  # whether the answer that a GET RESPONSE fetches may be shown

    def __call__(self, sent: bytes, received: bytes, milliseconds: float) -> None:
        now = (time.monotonic() - self._started) * 1000
        self._lines += [
            f"# @{now - milliseconds:.1f} +{milliseconds:.1f}",
            f"> {self._command(sent)}",
            f"< {self._answer(received)}",
        ]

    def _command(self, sent: bytes) -> str:
        instruction = sent[1] if len(sent) > 1 else 0
        if instruction != _GET_RESPONSE:
            self._open = instruction == _SELECT or (instruction == _GET_DATA and _CODE_OBJECT in sent)
        if instruction in _PLAIN_COMMANDS or len(sent) <= 5:
            return sent.hex().upper()
        count = sent[4]
        if count == 0 or len(sent) < 5 + count:  # extended length
            return sent[:5].hex().upper() + f"[{len(sent) - 5}]"
        return sent[:5].hex().upper() + f"[{count}]" + sent[5 + count :].hex().upper()

    def _answer(self, received: bytes) -> str:
        data, status = received[:-2], received[-2:].hex().upper()
        if not data:
            return status or "-"
        return (data.hex().upper() if self._open else f"[{len(data)}]") + status

    def lines(self) -> Iterator[str]:
        yield from self._lines

    def content(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()
