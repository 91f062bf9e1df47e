# SPDX-License-Identifier: Apache-2.0
"""The e-CPS stand-in: activated by a card that names its holder, then a login without a card, in the browser and by CIBA."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psc_browser import Answer, Browser, card_of, json_of
from psc_client import REDIRECT, authorization, basic, endpoint, token, userinfo

from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options

DOCTOR = "899700090014"
CIBA = "urn:openid:params:grant-type:ciba"


@pytest.fixture(scope="module")
def psc() -> Iterator[Addresses]:
    """One of its own, where nobody activated anything yet."""
    with running(Options(redirect_uris=(REDIRECT,))) as addresses:
        yield addresses


def activate(psc: Addresses, persona: str) -> Answer:
    browser = Browser(psc, card_of(persona))
    return browser.open(browser.open(psc.ecps).link("activate"))


def identified(browser: Browser, identifier: str) -> Answer:
    """After the identifier was typed on the provider's page."""
    page = browser.open(browser.open(authorization(browser.addresses)).link("login-ecps"))
    address, hidden = page.form("ecps-form")
    return browser.post(address, hidden | {"identifier": identifier})


def test_unknown_before_activation(psc: Addresses) -> None:
    page = identified(Browser(psc), "899700090055")
    assert page.status == 403 and page.error_code == "ecps-unknown"


def test_an_anonymous_card_cannot_activate(psc: Addresses) -> None:
    page = activate(psc, "cpe-anonyme")
    assert page.status == 403 and page.error_code == "anonymous" and "nominative" in page.inside("error")
    assert identified(Browser(psc), "3990700585/000000018").error_code == "ecps-unknown"


@pytest.mark.parametrize(("persona", "code"), [("cpe-opposee", "revoked"), ("cps-expiree", "expired")])
def test_a_refused_card_cannot_activate(psc: Addresses, persona: str, code: str) -> None:
    assert activate(psc, persona).error_code == code


def test_login(psc: Addresses) -> None:
    assert activate(psc, "cps-medecin").has("ecps-activated")
    browser = Browser(psc)  # another browser, no card
    page = identified(browser, DOCTOR)
    address, hidden = page.form("ecps-phone")
    sent = browser.post(address, hidden | {"answer": "accept"})
    assert f'content="0; url={sent.link("continue").removeprefix(browser.origin(psc.ecps))}"' in sent.text
    answer = browser.open(sent.link("continue"), until=REDIRECT)
    info = json_of(userinfo(browser, json_of(token(browser, answer.query["code"]))["access_token"]))
    assert info["preferred_username"] == DOCTOR and info["family_name"] == "VALLEFICTIVE-MERCOEUR"
    assert info["Palier_Authentification"] == "APPPRIP3^1.2.250.1.213.1.5.1.1.1"
    assert browser.handshakes == 0


def test_refused_on_the_phone(psc: Addresses) -> None:
    activate(psc, "cpa")
    browser = Browser(psc)
    address, hidden = identified(browser, "599999031000024/CPAT0001").form("ecps-phone")
    sent = browser.post(address, hidden | {"answer": "refuse"})
    answer = browser.open(sent.link("continue"), until=REDIRECT)
    assert answer.query["error"] == "access_denied"
    assert browser.post(address, hidden | {"answer": "accept"}).error_code == "request"


def test_the_phone_cannot_be_skipped(psc: Addresses) -> None:
    activate(psc, "cps-medecin")
    browser = Browser(psc)
    page = browser.open(authorization(psc))
    login = page.link("login-ecps").partition("login=")[2]
    origin = browser.origin(psc.ecps)
    assert browser.post(origin + "/ecps/telephone", {"login": login, "answer": "accept"}).error_code == "request"
    assert browser.get(f"{origin}/auth/suite?login={login}").error_code == "no-card"
    address, hidden = identified(browser, DOCTOR).form("ecps-phone")
    accepted = hidden | {"answer": "accept"}
    assert browser.post(address, accepted, {"Origin": "https://evil.example"}).error_code == "request"
    assert Browser(psc).post(address, accepted).error_code == "request"
    assert browser.post(address, accepted).has("continue")
    # an activation is no login
    activation = browser.open(psc.ecps).link("activate").partition("login=")[2]
    assert browser.get(f"{origin}/auth/suite?login={activation}").error_code == "request"
    assert browser.get(f"{origin}/auth/annulation?login={activation}").error_code == "request"


def ask(browser: Browser, **other: str) -> Answer:
    form = {"scope": "openid scope_all", "login_hint": DOCTOR, "binding_message": "42", "acr_values": "eidas1"} | other
    return browser.post(endpoint(browser.addresses, "ext/ciba/auth"), form, basic(browser.addresses))


def poll(browser: Browser, auth_req_id: str) -> Answer:
    form = {"grant_type": CIBA, "auth_req_id": auth_req_id}
    return browser.post(endpoint(browser.addresses, "token"), form, basic(browser.addresses))


def test_ciba(psc: Addresses) -> None:
    activate(psc, "cps-medecin")
    browser = Browser(psc)
    asked = json_of(ask(browser))
    assert asked["expires_in"] > 0 and asked["interval"] > 0
    name = asked["auth_req_id"]
    assert json_of(poll(browser, name))["error"] == "authorization_pending"
    assert json_of(poll(browser, name))["error"] == "slow_down"
    page = browser.open(psc.ecps_requests)
    assert DOCTOR in page.text and "42" in page.text
    address, hidden = page.form(f"request-{name}")
    browser.post(address, hidden | {"answer": "accept"})
    answer = poll(browser, name)
    tokens = json_of(answer)
    assert answer.status == 200 and {"access_token", "id_token"} <= set(tokens)
    assert json_of(userinfo(browser, tokens["access_token"]))["preferred_username"] == DOCTOR
    assert json_of(poll(browser, name))["error"] == "invalid_grant"


def test_ciba_refused(psc: Addresses) -> None:
    activate(psc, "cps-medecin")
    browser = Browser(psc)
    name = json_of(ask(browser))["auth_req_id"]
    address, hidden = browser.open(psc.ecps_requests).form(f"request-{name}")
    browser.post(address, hidden | {"answer": "refuse"})
    assert json_of(poll(browser, name))["error"] == "access_denied"
    assert json_of(ask(browser, login_hint="unknown"))["error"] == "unknown_user_id"
    assert json_of(ask(browser, scope="openid"))["error"] == "invalid_scope"
    assert json_of(ask(browser, binding_message="x" * 101))["error"] == "invalid_binding_message"
    answer = browser.post(endpoint(psc, "ext/ciba/auth"), {"login_hint": DOCTOR}, basic(psc, "wrong"))
    assert answer.status == 401
