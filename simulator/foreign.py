# SPDX-License-Identifier: Apache-2.0
"""A card of another family, for a slot that must be left alone."""

from __future__ import annotations


class ForeignCard:
    """Answers 6D00, and keeps what it was sent (`seen`) and what was done to it (`power`: "on", "off", "reset")."""

    def __init__(self, atr: str | bytes) -> None:
        self.atr = bytes.fromhex(atr) if isinstance(atr, str) else atr
        self.seen: list[bytes] = []
        self.power: list[str] = []

    def power_on(self) -> None:
        self.power.append("on")

    def power_off(self) -> None:
        self.power.append("off")

    def reset(self) -> None:
        self.power.append("reset")

    def transmit(self, apdu: bytes) -> bytes:
        self.seen.append(apdu)
        return b"\x6d\x00"
