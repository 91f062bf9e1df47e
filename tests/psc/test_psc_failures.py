# SPDX-License-Identifier: Apache-2.0
"""Each scripted failure, as the relying page meets it."""

from __future__ import annotations

import ssl
import time

import pytest
from psc_browser import Browser, card_of

from simulator.errors import UsageError
from simulator.psc.sandbox import running
from simulator.psc.settings import FAILURES, Options, parse_failures

# failure → status and code that the person ends up with
SEEN = {
    "no-card": (403, "no-card"),
    "expired": (403, "expired"),
    "revoked": (403, "revoked"),
    "unknown-ca": (403, "unknown-ca"),
    "unavailable": (403, "wallet-openid-configuration"),
    "denied": (403, "access_denied"),
    "state": (403, "state"),
    "code-expired": (403, "token"),
    "token-error": (403, "token"),
    "token-down": (403, "token"),
    "acr": (403, "acr"),
    "nonce": (403, "nonce"),
    "audience": (403, "aud"),
    "signature": (403, "signature"),
    "id-token-expired": (403, "exp"),
    "token-expired": (403, "userinfo"),
    "userinfo-error": (403, "userinfo"),
    "subject": (403, "subject"),
}


def test_every_failure_is_tested() -> None:
    assert set(SEEN) | {"slow", "handshake"} == set(FAILURES)


@pytest.mark.parametrize("name", SEEN)
def test_failure(name: str) -> None:
    with running(Options(failures=parse_failures(name))) as psc:
        browser = Browser(psc, card_of("cps-medecin"))
        page = browser.open(browser.open(psc.relying).link("login"))
        if page.has("login-card"):
            page = browser.open(page.link("login-card"))
        assert (page.status, page.error_code) == SEEN[name]
        assert not browser.open(psc.relying).has("identity")


def test_refused_by_an_alert() -> None:
    with running(Options(failures=parse_failures("handshake"))) as psc:
        browser = Browser(psc, card_of("cps-medecin"))
        page = browser.open(browser.open(psc.relying).link("login"))
        with pytest.raises(ssl.SSLError, match="alert"):
            browser.open(page.link("login-card"))


def test_slow() -> None:
    with running(Options(failures=parse_failures("slow=0.3"))) as psc:
        start = time.monotonic()
        assert Browser(psc).get(psc.discovery).status == 200
        assert 0.3 <= time.monotonic() - start < 3


def test_specifications() -> None:
    assert parse_failures("slow").delay == 5 and parse_failures(" acr , slow=1.5 ").names == {"acr", "slow"}
    assert parse_failures("").names == frozenset()
    for wrong in ("other", "acr=1", "slow=", "slow=-1", "slow=nan", "slow=1e3", "slow=601", "slow=٣", "slow=."):
        with pytest.raises(UsageError):
            parse_failures(wrong)
