# SPDX-License-Identifier: Apache-2.0
"""A site that wants the PIN, with a reader that has a keypad: the PIN is typed there."""

from __future__ import annotations

import threading
import time

from api_lab import api_lab

from simulator.transport import CANCEL, Pad

NONCE = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWZnaGlqa2xtbm9wcQ=="


class Keys(Pad):
    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = threading.Event(), threading.Event()
        self.go.set()

    def next(self) -> bytes:
        self.asked.set()
        assert self.go.wait(30)
        return super().next()


def test_the_pin_of_a_site_is_typed_on_the_reader() -> None:
    pad = Keys()
    with api_lab(["cps-medecin:cps4"], [], pinpad=True, pad=pad) as lab:
        lab.lab.type_keys("1234")
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).status == 200
        lab.lab.type_keys(CANCEL)
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-138"
        lab.lab.type_keys("123")
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-122"
        assert "GETPIN" not in lab.said()
        assert lab.ask("GET", "/v1/readers").json["readers"][0]["pin"] == {"tries_left": 3, "blocked": False}


def test_closing_the_dialog_lets_the_page_go_and_the_card_is_reset() -> None:
    pad = Keys()
    with api_lab(["cps-medecin:cps4"], ["close"], pinpad=True, pad=pad) as lab:
        lab.lab.type_keys("1234")
        pad.go.clear()
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-138"
        assert "clavier du lecteur" in lab.said() and lab.lab.card(0).apdu_count
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-183"  # the reader still waits
        pad.go.set()
        while lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).status != 200:
            time.sleep(0.1)  # until what was typed for nobody has been undone
