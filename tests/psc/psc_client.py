# SPDX-License-Identifier: Apache-2.0
"""A client written for the tests: every parameter of every request can be another one."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import urlencode

from psc_browser import Answer, Browser, json_of

from simulator.psc.sandbox import Addresses

REDIRECT = "https://lgc.example/retour"
OTHER = "lgc.essai:/retour"  # of a program that owns a scheme
LOGOUT = "https://lgc.example/fin"
VERIFIER = "a-verifier-of-enough-characters-0123456789-0123"


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization(psc: Addresses, **other: str | None) -> str:
    """The address that starts a login. None leaves a parameter out."""
    query: dict[str, str | None] = {
        "response_type": "code",
        "client_id": psc.client_id,
        "redirect_uri": REDIRECT,
        "scope": "openid scope_all",
        "acr_values": "eidas1",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
    }
    sent = {name: value for name, value in (query | other).items() if value is not None}
    return f"{psc.authorization}?{urlencode(sent)}"


def with_card(browser: Browser, **other: str | None) -> Answer:
    """The redirect to the client, or the page that stopped the login."""
    page = browser.open(authorization(browser.addresses, **other))
    return browser.open(page.link("login-card"), until="https://lgc.example") if page.has("login-card") else page


def basic(psc: Addresses, secret: str | None = None) -> dict[str, str]:
    pair = f"{psc.client_id}:{secret or psc.client_secret}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def token(browser: Browser, code: str, secret: str | None = None, **other: str | None) -> Answer:
    form: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    sent = {name: value for name, value in (form | other).items() if value is not None}
    return browser.post(endpoint(browser.addresses, "token"), sent, basic(browser.addresses, secret))


def endpoint(psc: Addresses, name: str) -> str:
    return f"{psc.issuer}/protocol/openid-connect/{name}"


def userinfo(browser: Browser, access_token: str) -> Answer:
    return browser.get(endpoint(browser.addresses, "userinfo"), {"Authorization": f"Bearer {access_token}"})


def logged_in(browser: Browser) -> dict[str, Any]:
    """The tokens of a login with the card."""
    answer = token(browser, with_card(browser).query["code"])
    assert answer.status == 200, answer.text
    tokens = json_of(answer)
    assert isinstance(tokens, dict)
    return tokens
