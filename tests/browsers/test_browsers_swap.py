# SPDX-License-Identifier: Apache-2.0
"""Two holders share one account, one browser and one reader: after a swap of cards nobody is logged in as the other.

CPX_SWAPS: how many swaps (`make soak`: 500). CPX_TEST_ARTIFACTS gets what each swap took.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser_bench import PIN, Bench, artifact, finish_login, holder_of, sandbox, start_login
from browser_display import Display
from browser_page import Browser
from browser_typist import Typist

from simulator import source
from simulator.psc.sandbox import Addresses

SWAPS = int(os.environ.get("CPX_SWAPS", "10"))
PERSONAS = ("cps-medecin", "cps-infirmier")
_HEADLESS = 5
_TRIES = 6
# NSS looks at a slot once a second at most. A login begun sooner finds no card at all: Firefox is right at the next attempt,
# Chromium sends no certificate to that server until it is started anew.
_NSS_LOOKS = 1.1


@dataclasses.dataclass
class Swap:
    """What it took until the holder of the card that is in was logged in."""

    waited: float  # between the swap and the login
    errors: list[str]  # of the attempts before
    seconds: float


@pytest.mark.parametrize("pin", ["host", "agent"])
def test_nobody_is_logged_in_as_the_previous_holder(kind: type[Browser], display: Display, pin: str) -> None:
    """The PIN in the browser's window; in our own dialog, headless."""
    count = SWAPS if pin == "host" else _HEADLESS
    dice = random.Random(2026)  # noqa: S311 - moments, no secrets
    cards = [(source.make(f"{persona}:cps4"), holder_of(persona)) for persona in PERSONAS]
    done: list[Swap] = []
    with Bench("cps-medecin:cps4", pin=pin) as bench, sandbox() as addresses:
        bench.lab.insert(0, cards[0][0])
        with kind(bench.environment, addresses.ca, display.name if pin == "host" else None) as browser:
            with answered(browser, display, pin):
                start_login(browser, addresses)
                assert finish_login(browser).holder == cards[0][1]
                for number in range(1, count + 1):
                    card, holder = cards[number % 2]
                    bench.lab.remove(0)
                    bench.lab.insert(0, card)
                    done.append(attempt(browser, addresses, holder, _NSS_LOOKS + dice.choice((0.0, 0.1, 0.5))))
                    assert bench.verified() >= 1, "logged in without a PIN proved to this card"
            assert browser.alive
    summary = {
        "swaps": len(done),
        "attempts": dict(Counter(len(swap.errors) + 1 for swap in done)),
        "errors": dict(Counter(error for swap in done for error in swap.errors)),
        "slowest": max(swap.seconds for swap in done),
    }
    text = json.dumps({"summary": summary, "swaps": [dataclasses.asdict(swap) for swap in done]}, indent=1)
    artifact(f"swaps-{browser.name}-{pin}", "json").write_text(text)
    print(browser.name, pin, json.dumps(summary))


@contextmanager
def answered(browser: Browser, display: Display, pin: str) -> Iterator[None]:
    if pin == "host":
        with Typist(display, browser, PIN):
            yield
    else:
        yield


def attempt(browser: Browser, addresses: Addresses, holder: str, wait: float) -> Swap:
    """Log in as a person does, again when it fails. Anybody else's name ends the test."""
    begin = time.monotonic()
    errors: list[str] = []
    time.sleep(wait)
    for _ in range(_TRIES):
        start_login(browser, addresses)
        outcome = finish_login(browser, 40)
        if outcome.holder is not None:
            assert outcome.holder == holder, "logged in as the previous holder"
            return Swap(wait, errors, round(time.monotonic() - begin, 2))
        errors.append(outcome.error)
        time.sleep(0.3)
    raise AssertionError(f"no login after the swap: {errors}")
