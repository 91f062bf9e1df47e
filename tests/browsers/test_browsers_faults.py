# SPDX-License-Identifier: Apache-2.0
"""Two browsers at one card; a daemon that is killed; a card that leaves while its PIN is being typed."""

from __future__ import annotations

import signal
import time

from browser_bench import PIN, Bench, Outcome, artifact, finish_login, holder_of, sandbox, start_login, type_pin
from browser_chromium import Chromium
from browser_display import Display
from browser_firefox import Firefox
from browser_page import Browser

from simulator import source
from simulator.cardos.card import VirtualCard
from simulator.psc.sandbox import Addresses

IDENTITY = Outcome(holder_of("cps-medecin"))


def test_two_browsers_each_with_a_login_of_its_own(display: Display) -> None:
    with Bench("cps-medecin:cps4") as bench, sandbox() as addresses:
        with Chromium(bench.environment, addresses.ca, display.name) as second:
            with Firefox(bench.environment, addresses.ca, display.name) as first:
                start_login(first, addresses)
                type_pin(first, display)
                assert finish_login(first) == IDENTITY
                start_login(second, addresses)
                type_pin(second, display)  # the other one's login is not its own
                assert finish_login(second) == IDENTITY
                display.screenshot(artifact("two-browsers"))
                start_login(first, addresses)
                assert finish_login(first) == IDENTITY
            start_login(second, addresses)  # the end of the first took nothing away
            assert finish_login(second) == IDENTITY
        assert bench.verified() == 2


def test_the_daemon_is_killed(kind: type[Browser], display: Display) -> None:
    """kill -9 in a session: the browser lives; its next login starts a daemon and works."""
    with Bench("cps-medecin:cps4", self_starting=True) as bench, sandbox() as addresses:
        with kind(bench.environment, addresses.ca, display.name, bench.module) as browser:
            start_login(browser, addresses)
            type_pin(browser, display)
            assert finish_login(browser) == IDENTITY
            bench.daemon.process.send_signal(signal.SIGKILL)
            bench.daemon.process.wait()
            errors = again(browser, display, addresses)
            assert browser.alive
        print(kind.name, errors)
        assert bench.verified() == 2


def again(browser: Browser, display: Display, addresses: Addresses) -> list[str]:
    """Log in with the PIN, once more if need be. What went wrong before."""
    errors: list[str] = []
    for _ in range(4):
        start_login(browser, addresses)
        if display.finds(browser.pin_window, 5):
            type_pin(browser, display)
        outcome = finish_login(browser)
        if outcome == IDENTITY:
            return errors
        errors.append(outcome.error)
        time.sleep(1.1)
    raise AssertionError(errors)


def test_a_card_leaves_while_its_pin_is_typed(kind: type[Browser], display: Display) -> None:
    with (
        Bench("cps-medecin:cps4") as bench,
        sandbox() as addresses,
        kind(bench.environment, addresses.ca, display.name) as browser,
    ):
        start_login(browser, addresses)
        window = display.wait_window(browser.pin_window)
        bench.lab.remove(0)
        display.type(window, PIN)
        assert finish_login(browser).error == "no-card"
        assert browser.alive


def test_cards_are_swapped_while_a_pin_is_typed(kind: type[Browser], display: Display) -> None:
    """What is typed for the card that has left is not for the one that came."""
    other = source.make("cps-infirmier:cps4")
    assert isinstance(other, VirtualCard)
    with Bench("cps-medecin:cps4") as bench, sandbox() as addresses:
        with kind(bench.environment, addresses.ca, display.name) as browser:
            start_login(browser, addresses)
            window = display.wait_window(browser.pin_window)
            bench.lab.insert(0, other)
            display.type(window, PIN)
            outcome = finish_login(browser)
            assert outcome.holder is None and browser.alive
        assert bench.verified() == 0 and other.state()["codes"]["1"]["tries_left"] == 3
