# SPDX-License-Identifier: Apache-2.0
"""Secret codes: presentation, counters, and what they open until the power goes."""

from __future__ import annotations

import hmac
from typing import Any

from simulator.cardos.apdu import Status
from simulator.image import Pin

USER = 1
UNBLOCK = 2
BLOCK = 8  # stored length of both codes: the user PIN is padded with FF (AODF pinFlags needs-padding)


class Code:
    """One code. Its value never shows in repr."""

    def __init__(self, pin: Pin) -> None:
        self.reference = pin.reference
        self.length = len(pin.value)
        self.max_tries = pin.max_tries
        self.tries_left = pin.tries_left
        self.uses_left = pin.uses_left
        self.verified = False
        self._value = pin.value

    def check_usable(self) -> None:
        if self.uses_left == 0:
            raise Status(0x6984)  # worn out: it opens nothing any more
        if self.tries_left == 0:
            raise Status(0x6983)

    def present(self, block: bytes) -> None:
        """One try, counted before the comparison; returns when the code is right."""
        if not self.length <= len(block) <= BLOCK:
            raise Status(0x6700)
        self.check_usable()
        self.tries_left -= 1
        self.verified = False
        if not hmac.compare_digest(block.rstrip(b"\xff"), self._value):
            raise Status(0x63C0 | min(self.tries_left, 15) if self.tries_left else 0x6983)
        self.tries_left = self.max_tries
        if self.uses_left is not None:
            self.uses_left -= 1
        self.verified = True

    def digits(self, block: bytes) -> bytes:
        """A new value out of its padded block, or `Status`: the length of the old one, digits only."""
        if len(block) != BLOCK:
            raise Status(0x6700)
        value = block.rstrip(b"\xff")
        if len(value) != self.length or not value.isdigit():
            raise Status(0x6A80)
        return value

    def change(self, block: bytes) -> None:
        self._value = self.digits(block)

    def unblock(self) -> None:
        self.tries_left = self.max_tries
        self.verified = False

    def state(self) -> dict[str, Any]:
        state = {"value": self._value.decode("ascii"), "tries_left": self.tries_left}
        return state if self.uses_left is None else state | {"uses_left": self.uses_left}

    def restore(self, state: dict[str, Any]) -> None:
        value, tries, uses = state["value"], state["tries_left"], state.get("uses_left")
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == self.length):
            raise ValueError("code value")
        if not (type(tries) is int and 0 <= tries <= self.max_tries):
            raise ValueError("tries_left")
        if (uses is None) != (self.uses_left is None) or (uses is not None and not (type(uses) is int and uses >= 0)):
            raise ValueError("uses_left")
        self._value, self.tries_left, self.uses_left = value.encode("ascii"), tries, uses


class Pins:
    """The codes of a card, by reference."""

    def __init__(self, pins: tuple[Pin, ...]) -> None:
        self._codes = {pin.reference: Code(pin) for pin in pins}

    def __getitem__(self, reference: int) -> Code:
        if reference not in self._codes:
            raise Status(0x6A88)
        return self._codes[reference]

    def verified(self, reference: int) -> bool:
        return reference in self._codes and self._codes[reference].verified

    def forget(self) -> None:
        for code in self._codes.values():
            code.verified = False

    def state(self) -> dict[str, Any]:
        return {str(reference): code.state() for reference, code in self._codes.items()}

    def restore(self, state: dict[str, Any]) -> None:
        for reference, code in self._codes.items():
            code.restore(state[str(reference)])
