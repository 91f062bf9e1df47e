# SPDX-License-Identifier: Apache-2.0
"""Security data objects of the CPS3: the answer to GET DATA on a code (IAS-ECC DOCP; class 01, `BF 81 xx`)."""

from __future__ import annotations

from dataclasses import dataclass

from cpxd.record import ber
from cpxd.record.errors import RecordError


@dataclass(frozen=True, slots=True)
class PinState:
    reference: int  # of the code: 1 user PIN, 2 unblock code
    max_tries: int | None
    tries_left: int
    uses_left: int | None  # None: not counted

    @property
    def blocked(self) -> bool:
        """No try left, or no use left: then it is blocked for good."""
        return self.tries_left == 0 or self.uses_left == 0


def parse_pin_state(data: bytes) -> PinState:
    """`70 {BF 81 ref {A0 {9A max, 9B left, 9D uses left} …}}` → PinState. RecordError when tries left (9B) is absent."""
    code = next((e for e in ber.elements(ber.only(data, 0x70).value) if e.tag & 0xFFFF00 == 0xBF8100), None)
    if code is None:
        raise RecordError("no security data object of a code (BF81xx)")
    parameters = ber.first(ber.elements(code.value), 0xA0)
    counters = [] if parameters is None else ber.elements(parameters.value)
    tries_left = ber.first(counters, 0x9B)
    if tries_left is None:
        raise RecordError("no tries counter (9B)")
    max_tries, uses_left = ber.first(counters, 0x9A), ber.first(counters, 0x9D)
    return PinState(
        reference=code.tag & 0xFF,
        max_tries=ber.optional_integer(max_tries),
        tries_left=ber.integer(tries_left),
        uses_left=ber.optional_integer(uses_left),
    )
