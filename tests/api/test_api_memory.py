# SPDX-License-Identifier: Apache-2.0
"""Half a hundred PINs pass through the door, and nothing of any of them is left in the daemon or in what it writes."""

from __future__ import annotations

import re
import secrets
import sys
import time
from pathlib import Path

from api_lab import ApiLab, api_lab

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pkcs11" / "server"))
from test_p11_memory import LEFT_AFTER, count

from simulator.cardos.card import VirtualCard

NONCE = "n" * 44
PINS = 50  # half of them wrong ones


def written(lab: ApiLab) -> str:
    """All that the daemon has logged or said."""
    logs = [path.read_text() for path in lab.state().iterdir() if ".log" in path.suffixes]
    assert logs
    return "\n".join([*logs, Path(str(lab.lab.folder), "daemon.log").read_text()])


def login(lab: ApiLab, pin: bytes) -> str | None:
    lab.answers(f"pin {pin.decode()}")
    answer = lab.ask("POST", "/v1/authenticate", {"nonce": NONCE})
    assert pin not in answer.body
    return None if answer.status == 200 else answer.code


def test_nothing_of_a_pin_is_left() -> None:
    with api_lab(["cps-medecin:cps3"]) as lab:
        pid, used = lab.daemon.process.pid, [b"1234"]
        card = lab.lab.card(0).card
        assert isinstance(card, VirtualCard)
        assert login(lab, b"1234") is None
        for _ in range(PINS // 2):
            right, wrong = (b"%04d" % number for number in secrets.SystemRandom().sample(range(10_000), 2))
            card._pins[1].change(right.ljust(8, b"\xff"))
            assert login(lab, wrong) == "CPX-120" and login(lab, right) is None
            time.sleep(LEFT_AFTER)
            # as it goes to the card, alone and in VERIFY, and as the dialog says it
            needles = [form for pin in (right, wrong) for form in (pin + b"\xff" * 4, b"D " + pin)]
            assert count(pid, *needles) == [0, 0, 0, 0]
            used += [right, wrong]
        assert {block[5:9] for block, _ in lab.lab.card(0).trace if block[1] == 0x20 and len(block) > 5} == set(used)
        told = written(lab)
        assert '"defect"' not in told
        for pin in used[1:]:
            assert not re.search(rf"{pin.decode()}(?:ff|\\xff)|pin\W{{1,4}}{pin.decode()}\b", told, re.IGNORECASE)


def test_the_search_finds_what_is_there() -> None:
    """Else the test above could not fail: a nonce waits in the daemon while its dialog is open."""
    with api_lab(["cps-medecin:cps3"], ["hang"]) as lab:
        marker = f"{secrets.randbelow(1 << 60):044d}"
        with lab.unix() as channel:
            body = f'{{"nonce":"{marker}","origin":"https://a.example"}}'.encode()
            head = f"POST /v1/authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            channel.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            limit = time.monotonic() + 20
            while not lab.dialogs():
                assert time.monotonic() < limit
                time.sleep(0.02)
            assert count(lab.daemon.process.pid, marker.encode())[0] >= 1
