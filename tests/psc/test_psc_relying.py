# SPDX-License-Identifier: Apache-2.0
"""A holder logs in to the relying page with the card, over real TLS, and logs out."""

from __future__ import annotations

import ssl

import pytest
from psc_browser import Browser, card_of

from simulator import personas
from simulator.image import Model
from simulator.psc.sandbox import Addresses


@pytest.mark.parametrize(
    ("persona", "model", "tls"),
    [
        ("cps-medecin", "cps3", ssl.TLSVersion.TLSv1_2),
        ("cps-medecin", "cps3", ssl.TLSVersion.TLSv1_3),
        ("cps-medecin", "cps4", ssl.TLSVersion.TLSv1_3),
        ("cps-infirmier", "cps3", None),
        ("cpe-anonyme", "cps4", None),
        ("cpa", "cps3", None),
    ],
)
def test_login_and_logout(psc: Addresses, persona: str, model: Model, tls: ssl.TLSVersion | None) -> None:
    holder = personas.load(persona).holder
    browser = Browser(psc, card_of(persona, model), tls)
    page = browser.open(browser.open(psc.relying).link("login"))
    page = browser.open(page.link("login-card"))
    assert page.address == psc.relying and page.status == 200
    assert page.inside("claim-preferred_username") == holder.identifier
    assert page.has("claim-family_name") == (holder.family_name is not None)
    if holder.family_name is not None:
        assert page.inside("claim-family_name") == holder.family_name
        assert page.inside("claim-given_name") == holder.given_names
    assert browser.handshakes == 1  # a card is asked for one signature, not for one a page
    page = browser.follow(browser.post(*page.form("logout-form")))
    assert page.has("logged-out") and page.address.startswith(psc.relying)
    assert browser.open(psc.relying).has("login")


def test_pages_are_local_and_speak_both_languages(psc: Addresses) -> None:
    for language, word in (("fr-FR,en", "Annuler"), ("en-US,fr", "Cancel"), ("de", "Annuler")):
        browser = Browser(psc, language=language)
        page = browser.open(browser.open(psc.relying).link("login"))
        assert word in page.text and f'<html lang="{"en" if word == "Cancel" else "fr"}">' in page.text
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy and "*" not in policy
        assert page.headers["Cache-Control"] == "no-store" and page.headers["X-Content-Type-Options"] == "nosniff"
        assert "<script" not in page.text and "http://" not in page.text and " src=" not in page.text
        assert page.text.count("<h1>") == 1 and "&amp;#x27;" not in page.text


def test_answer_to_no_request(psc: Addresses) -> None:
    """Login CSRF: an answer that this browser did not ask for."""
    other = Browser(psc, card_of("cps-medecin"))
    page = other.open(other.open(psc.relying).link("login"))
    stolen = other.open(page.link("login-card"), until=psc.relying + "callback")
    victim = Browser(psc)
    victim.open(victim.open(psc.relying).link("login"))
    assert victim.open(stolen.location).error_code == "state"
    assert not victim.open(psc.relying).has("identity")
    assert Browser(psc).open(psc.relying + "callback?state=x&code=y").error_code == "state"


def test_another_site_cannot_log_out(psc: Addresses) -> None:
    browser = Browser(psc, card_of("cps-medecin"))
    page = browser.open(browser.open(psc.relying).link("login"))
    page = browser.open(page.link("login-card"))
    address, fields = page.form("logout-form")
    assert browser.post(address, fields, {"Origin": "https://evil.example"}).status == 403
    assert browser.open(psc.relying).has("identity")


def test_another_host_name_is_refused(psc: Addresses) -> None:
    for address in (psc.relying, psc.authorization, psc.card + "/carte"):
        assert Browser(psc).get(address, {"Host": "evil.example"}).status == 421
