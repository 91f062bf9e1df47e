# SPDX-License-Identifier: Apache-2.0
"""The server of the demonstration page: what it serves, and which tokens it takes. The page itself runs in tests/browsers."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from psc_browser import Answer, Browser, card_of

from simulator.psc.arguments import read
from simulator.psc.sandbox import Addresses
from simulator.psc.settings import check_api


def signed(browser: Browser, origin: str, nonce: str) -> dict[str, str]:
    """As a card would, in software."""
    assert browser.card is not None
    key = load_pem_private_key(browser.card.pem, None)
    certificate = x509.load_pem_x509_certificate(browser.card.pem)
    assert isinstance(key, rsa.RSAPrivateKey)
    value = hashlib.sha256(origin.encode()).digest() + hashlib.sha256(nonce.encode()).digest()
    return {
        "unverifiedCertificate": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        "algorithm": "RS256",
        "signature": base64.b64encode(key.sign(value, padding.PKCS1v15(), hashes.SHA256())).decode(),
        "format": "web-eid:1.0",
        "appVersion": "test",
    }


def post(browser: Browser, path: str, body: Any, origin: str | None = None) -> Answer:
    origin = origin or browser.origin(browser.addresses.demo)
    return browser.send("POST", f"{browser.addresses.demo}{path}", json.dumps(body), {"Origin": origin})


def test_the_page_and_its_scripts(psc: Addresses) -> None:
    browser = Browser(psc)
    page = browser.get(psc.demo)
    assert page.status == 200 and page.has("authenticate") and '<html lang="fr">' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://localhost:14443" in policy and "frame-ancestors 'none'" in policy
    for name in ("demo.js", "cpxd.js"):
        script = browser.get(f"{psc.demo}/{name}")
        assert script.status == 200 and script.headers["Content-Type"].startswith("text/javascript")
    assert "Log in with the card" in Browser(psc, language="en").get(psc.demo).text


def test_tokens(psc: Addresses) -> None:
    browser = Browser(psc, card_of("cps-medecin"))
    origin = browser.origin(psc.demo)

    def nonce() -> str:
        value = str(json.loads(post(browser, "/nonce", {}).text)["nonce"])
        assert 44 <= len(value) <= 128
        return value

    answer = post(browser, "/login", signed(browser, origin, nonce()))
    assert answer.status == 200 and json.loads(answer.text)["identifier"] == "899700090014"
    used = nonce()
    token = signed(browser, origin, used)
    assert post(browser, "/login", token).status == 200
    assert post(browser, "/login", token).status == 403  # a nonce serves once
    for wrong in (
        signed(browser, "https://evil.example", nonce()),
        signed(browser, origin, nonce() + "x"),
        signed(browser, origin, nonce()) | {"format": "web-eid:2"},
        signed(browser, origin, nonce()) | {"algorithm": "PS256"},
        signed(browser, origin, nonce()) | {"algorithm": "none"},
        signed(browser, origin, nonce()) | {"signature": "=="},
        signed(browser, origin, nonce()) | {"unverifiedCertificate": "AAAA"},
        [nonce()],
        {"format": nonce()},
    ):
        assert post(browser, "/login", wrong).status == 403
    assert post(browser, "/nonce", {}, "https://evil.example").status == 403
    assert post(browser, "/login", signed(browser, origin, nonce()), "https://evil.example").status == 403


def test_a_revoked_card_does_not_log_in(psc: Addresses) -> None:
    browser = Browser(psc, card_of("cpe-opposee"))
    nonce = json.loads(post(browser, "/nonce", {}).text)["nonce"]
    answer = post(browser, "/login", signed(browser, browser.origin(psc.demo), nonce))
    assert answer.status == 403 and "opposition" in json.loads(answer.text)["error"]


@pytest.mark.parametrize(
    "address", ["http://localhost:1", "https://evil.example", "https://localhost:1/x", "https://localhost' x"]
)
def test_the_service_is_on_this_machine(address: str) -> None:
    import argparse

    from simulator.errors import UsageError
    from simulator.psc.arguments import add

    parser = argparse.ArgumentParser()
    add(parser, False)
    assert read(parser.parse_args(["--api", "https://[::1]:2"])).api == "https://[::1]:2"
    with pytest.raises(UsageError):
        check_api(address)
