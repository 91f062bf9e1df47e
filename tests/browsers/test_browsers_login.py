# SPDX-License-Identifier: Apache-2.0
"""Firefox ESR and Chromium log in to the sandbox with a simulated card: stock pcscd, daemon, module, TLS client certificate."""

from __future__ import annotations

import pytest
from browser_bench import PIN, Bench, Outcome, artifact, finish_login, holder_of, sandbox, start_login, type_pin
from browser_chromium import Chromium
from browser_display import Display
from browser_firefox import Firefox
from browser_page import Browser

WAYS = [("cps3", "1.2"), ("cps4", "1.3")]
IDENTITY = Outcome(holder_of("cps-medecin"))


@pytest.mark.parametrize(("model", "tls"), WAYS)
def test_pin_in_the_window_of_the_browser(kind: type[Browser], display: Display, model: str, tls: str) -> None:
    """The way it works without any setting. The server names the roots alone: the token offers what is in between."""
    with Bench(f"cps-medecin:{model}") as bench, sandbox(tls, "roots") as addresses:
        with kind(bench.environment, addresses.ca, display.name) as browser:
            start_login(browser, addresses)
            type_pin(browser, display, shot=f"{browser.name}-{model}-pin")
            assert finish_login(browser) == IDENTITY
            display.screenshot(artifact(f"{browser.name}-{model}-logged-in"))
            start_login(browser, addresses)  # logs out of the page; the card stays unlocked for this browser
            assert finish_login(browser) == IDENTITY
        assert (bench.asked(), bench.verified()) == (0, 1)


@pytest.mark.parametrize(("model", "tls"), WAYS)
def test_pin_in_our_dialog_nobody_at_the_browser(kind: type[Browser], model: str, tls: str) -> None:
    """`pin = "agent"`: the browser is told of no PIN; headless."""
    with Bench(f"cps-medecin:{model}", pin="agent") as bench, sandbox(tls) as addresses:
        with kind(bench.environment, addresses.ca) as browser:
            start_login(browser, addresses)
            assert finish_login(browser) == IDENTITY
        assert (bench.asked(), bench.verified()) == (1, 1)


def test_pin_in_our_dialog_at_the_login_of_the_browser(kind: type[Browser], display: Display) -> None:
    """`pin = "protected"`. Chromium shows its own window all the same: what is typed there goes nowhere."""
    with Bench("cps-medecin:cps4", pin="protected") as bench, sandbox("1.3") as addresses:
        with kind(bench.environment, addresses.ca, display.name) as browser:
            start_login(browser, addresses)
            if kind is Chromium:
                type_pin(browser, display, "nothing")
            assert finish_login(browser) == IDENTITY
        assert (bench.asked(), bench.verified()) == (1, 1)


def test_pin_in_our_dialog_at_the_login_of_firefox_headless() -> None:
    """A login that takes less than half a second would leave Firefox's window open for ever."""
    with Bench("cps-medecin:cps3", pin="protected") as bench, sandbox("1.2") as addresses:
        with Firefox(bench.environment, addresses.ca) as browser:
            start_login(browser, addresses)
            assert finish_login(browser) == IDENTITY
        assert (bench.asked(), bench.verified()) == (1, 1)


def test_a_wrong_pin_then_the_right_one(kind: type[Browser], display: Display) -> None:
    with Bench("cps-medecin:cps4") as bench, sandbox() as addresses:
        with kind(bench.environment, addresses.ca, display.name) as browser:
            start_login(browser, addresses)
            type_pin(browser, display, "4321")
            type_pin(browser, display, PIN)
            assert finish_login(browser) == IDENTITY
        assert bench.verified() == 2


def test_a_cps3_before_a_server_of_tls_1_3_alone(kind: type[Browser], capfd: pytest.CaptureFixture[str]) -> None:
    """It cannot compute RSA-PSS. The browser shows a page and lives; the logs say why in one line."""
    with Bench("cps-medecin:cps3", pin="agent") as bench:
        with sandbox("1.3") as addresses, kind(bench.environment, addresses.ca) as browser:
            start_login(browser, addresses)
            outcome = finish_login(browser)
            assert outcome.holder is None
            # Firefox sends no certificate, the sandbox's page says so; Chromium shows a page of its own
            assert ("no-card" if kind is Firefox else "ERR_SSL_CLIENT_AUTH_NO_COMMON_ALGORITHMS") in outcome.error
            assert browser.alive
        assert (bench.asked(), bench.verified()) == (0, 0)
        explained = [line for line in bench.log().splitlines() if "TLS 1.3" in line and "CPS3" in line]
        assert len(explained) == 1, bench.log()
    if kind is Chromium:  # it breaks off the handshake; what Firefox does is for the server a person without a card
        assert "TLS 1.3 needs RSA-PSS, which a CPS3 cannot sign" in capfd.readouterr().err
