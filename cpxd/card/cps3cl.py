# SPDX-License-Identifier: Apache-2.0
"""CPS3 without contact (T=1): the application of AID …0020 in DF 0002. One technical key and its certificate; no code, no data
objects, no key that is the holder's (docs/CARDS.md). The chip's serial number is the same as in contact."""

from __future__ import annotations

from cpxd import errors
from cpxd.apdu import Response
from cpxd.card.application import CONTACTLESS_DF, Code, Entry, Mechanism, Usage
from cpxd.card.cps3 import Cps3
from cpxd.record.sdo import PinState


class Cps3Contactless(Cps3):
    folder = CONTACTLESS_DF
    contactless = True
    update_marker = False  # the official library does not ask for it on this side

    def pin_state(self, code: Code) -> PinState:
        raise errors.ContactlessCard()

    def verify(self, code: Code, entry: Entry) -> int:
        raise errors.ContactlessCard()

    def change_pin(self, old: Entry, new: Entry) -> int:
        raise errors.ContactlessCard()

    def renew_pin(self, new: Entry) -> int:
        raise errors.ContactlessCard()

    def mechanisms(self, usage: Usage) -> frozenset[Mechanism]:
        return super().mechanisms(usage) if usage == "technical" else frozenset()

    def decrypt(self, key_reference: int, cryptogram: bytes) -> Response:
        raise errors.ContactlessCard()
