# SPDX-License-Identifier: Apache-2.0
"""The card step: who is refused, in which words, and how TLS is spoken."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from psc_browser import Answer, Browser, SoftCard, card_of, soft_card
from psc_client import authorization, with_card

from simulator import personas
from simulator.pki import AUTHORITIES, authorities, leaf
from simulator.psc.admission import today
from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options


def foreign_card(with_chain: bool) -> SoftCard:
    """The same holder and the same names of authorities, under keys of somebody else."""
    root, issuer, key = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    certificate = leaf.leaf_certificate(personas.load("cps-medecin"), "authentication", key, issuer, today())
    chain = [
        authorities.authority_certificate(AUTHORITIES["FORT PERSONNES"], issuer, root),
        authorities.authority_certificate(AUTHORITIES["FORT"], root, root),
    ]
    return soft_card(key, *(c.public_bytes(Encoding.DER) for c in (certificate, *(chain if with_chain else ()))))


@pytest.mark.parametrize(
    ("persona", "usage", "code", "word"),
    [
        ("cpe-opposee", "authentication", "revoked", "opposition"),
        ("cps-expiree", "authentication", "expired", "expiré"),
        ("cps-medecin", "signature", "wrong-certificate", "certificat d'authentification"),
    ],
)
def test_refused_in_words(psc: Addresses, persona: str, usage: str, code: str, word: str) -> None:
    browser = Browser(psc, card_of(persona, usage=usage))
    page = with_card(browser)
    assert page.status == 403 and page.error_code == code and word in page.inside("error")
    browser.card = card_of("cps-medecin")  # another card in the reader
    assert browser.open(page.link("login-card"), until="https://lgc.example").query["code"]


@pytest.mark.parametrize("with_chain", [False, True])
def test_foreign_authority(psc: Addresses, with_chain: bool) -> None:
    page = with_card(Browser(psc, foreign_card(with_chain), language="en"))
    assert page.status == 403 and page.error_code == "unknown-ca" and "authority known here" in page.inside("error")


def test_self_signed(psc: Addresses) -> None:
    key = rsa.generate_private_key(65537, 2048)
    certificate = leaf.leaf_certificate(personas.load("cps-medecin"), "authentication", key, key, today())
    page = with_card(Browser(psc, soft_card(key, certificate.public_bytes(Encoding.DER))))
    assert page.error_code == "unknown-ca" and "autorité reconnue" in page.inside("error")


def test_no_certificate(psc: Addresses) -> None:
    assert with_card(Browser(psc)).error_code == "no-card"


def test_every_connection_is_signed_anew(psc: Addresses, tmp_path: Path) -> None:
    """A resumed TLS session would be the holder before, not the card that is there now."""
    file = tmp_path / "card.pem"
    file.write_bytes(card_of("cps-medecin").pem)
    port = urlsplit(psc.card).port
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=psc.ca)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(file)
        session = None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", port), 5) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
            ):
                tls.sendall(f"GET /carte HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
                head = b"".join(iter(lambda: tls.recv(4096), b""))
                assert head.startswith(b"HTTP/1.1 303 ") and b"connection: close" in head.lower()
                assert not tls.session_reused
                session = tls.session


@pytest.mark.parametrize("names", ["issuers", "roots"])
def test_authorities_named_to_the_client(names: str) -> None:
    with running(Options(ca_names="roots" if names == "roots" else "issuers")) as psc:
        said = _s_client(psc, "-tls1_2")
        found = set(re.findall(r"CN ?= ?(TEST AC [A-Z -]+)", said.split("Acceptable client certificate CA names")[1]))
        roots = {"TEST AC RACINE IGC-SANTE FORT", "TEST AC RACINE IGC-SANTE STANDARD"}
        issuers = {"TEST AC IGC-SANTE FORT PERSONNES", "TEST AC IGC-SANTE STANDARD PERSONNES"}
        assert found == (roots if names == "roots" else roots | issuers)
        assert with_card_at_the_relying_page(Browser(psc, card_of("cps-medecin"))).has("identity")


def with_card_at_the_relying_page(browser: Browser) -> Answer:
    page = browser.open(browser.open(browser.addresses.relying).link("login"))
    return browser.open(page.link("login-card"))


def _s_client(psc: Addresses, *options: str) -> str:
    at = f"localhost:{urlsplit(psc.card).port}"
    command = ["openssl", "s_client", "-connect", at, "-CAfile", psc.ca, *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tls", "spoken", "refused"),
    [("1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ("1.3", ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)],
)
def test_versions(tls: str, spoken: ssl.TLSVersion, refused: ssl.TLSVersion, capfd: pytest.CaptureFixture[str]) -> None:
    with running(Options(tls="1.2" if tls == "1.2" else "1.3")) as psc:
        card = card_of("cps-medecin", "cps4")
        assert with_card_at_the_relying_page(Browser(psc, card, spoken)).has("identity")
        with pytest.raises(ssl.SSLError):
            with_card_at_the_relying_page(Browser(psc, card, refused))
    lines = [line for line in capfd.readouterr().err.splitlines() if "no TLS" in line]
    assert len(lines) == 1 and "unsupported protocol" in lines[0]


def test_a_card_that_cannot_sign_pss_is_explained(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What a CPS3 does before a server that speaks TLS 1.3 alone: one line tells why."""
    with running(Options(tls="1.3")) as psc:
        (tmp_path / "card.pem").write_bytes(card_of("cps-medecin").pem)
        said = _s_client(psc, "-cert", str(tmp_path / "card.pem"), "-key", str(tmp_path / "card.pem"), "-sigalgs", "RSA+SHA256")
        assert "handshake" in said or "alert" in said
    lines = [line for line in capfd.readouterr().err.splitlines() if "no TLS" in line]
    assert len(lines) == 1 and "RSA-PSS" in lines[0]


@pytest.mark.parametrize(
    "sent", [b"", b"GET /carte HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", bytes(range(256)) * 300, b"\x16\x03\x01\x00\x05\x01"]
)
def test_what_is_no_tls(psc: Addresses, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(psc.card).port), 5) as plain:
        plain.sendall(sent)
        plain.shutdown(socket.SHUT_WR)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert with_card(Browser(psc, card_of("cps-medecin"))).query["code"]


def test_the_card_step_alone_says_nothing(psc: Addresses) -> None:
    browser = Browser(psc, card_of("cps-medecin"))
    for address in (psc.card + "/carte", psc.card + "/carte?login=unknown"):
        assert browser.open(address).error_code == "request"
    assert browser.get(psc.card + "/").status == 404
    assert browser.get(authorization(psc).replace(psc.authorization, psc.card + "/auth")).status == 404
