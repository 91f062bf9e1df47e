# SPDX-License-Identifier: Apache-2.0
"""NSS without a browser: modutil, certutil, signatures (p7sign, pdfsig), TLS (tstclnt)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_card import MODULE, NAME, PIN, Card
from client_tls import MutualTls
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pypdf import PdfWriter


@pytest.fixture(scope="session")
def database(card: Card) -> str:
    database = f"sql:{card.folder / 'nssdb'}"
    (card.folder / "nssdb").mkdir()
    (card.folder / "pin").write_text(f"{PIN}\n")
    card.run("certutil", "-d", database, "-N", "--empty-password")
    card.run("modutil", "-dbdir", database, "-add", "cpxd", "-libfile", MODULE, "-force")
    return database


@pytest.fixture(scope="session")
def roots_only(card: Card) -> Iterator[MutualTls]:
    """A server that knows the roots alone: the client must find the way to them and send it along."""
    roots = card.folder / "roots.pem"
    with roots.open("wb") as file:
        for name in ("ACR-FO-TEST", "ACR-ST-TEST"):
            certificate = x509.load_der_x509_certificate((card.authorities.parent / f"{name}.cer").read_bytes())
            file.write(certificate.public_bytes(Encoding.PEM))
    with MutualTls("1.2", roots, card.folder) as server:
        yield server


def name_of(card: Card, usage: str) -> str:
    """As NSS calls a certificate of a token."""
    return f"{card.token}:{next(key for key in card.keys if key.usage == usage).certificate_label}"


def trust(card: Card, database: str, server: MutualTls) -> None:
    card.run("certutil", "-d", database, "-A", "-n", f"server {server.port}", "-t", "C,,", "-a", "-i", server.trust)


def test_modutil(card: Card, database: str) -> None:
    listed = card.run("modutil", "-dbdir", database, "-list", "cpxd")
    assert f"Token Name: {card.token}" in listed and "Manufacturer: ASIP SANTE" in listed
    assert "Login Type: Login required" in listed


def test_certutil(card: Card, database: str) -> None:
    """The certificates without the PIN (the token's profile says that they are public), the keys with it."""
    for key in card.keys:
        certificates = card.run("certutil", "-d", database, "-L", "-h", card.token)
        assert f"{card.token}:{key.certificate_label}" in certificates
        shown = card.run("certutil", "-d", database, "-L", "-a", "-n", f"{card.token}:{key.certificate_label}")
        assert key.certificate.read_text().strip() in shown.replace("\r", "")
        assert key.id in card.run("certutil", "-d", database, "-K", "-h", card.token, "-f", "pin")


def test_p7sign(card: Card, database: str) -> None:
    """With the key that may sign documents. (cmsutil wants a certificate to encrypt for beside it: a CPS has none.)"""
    root = card.authorities.with_name("ACR-FO-TEST.cer")
    card.run("certutil", "-d", database, "-A", "-n", "root", "-t", ",C,", "-i", root)
    (card.folder / "letter").write_bytes(b"Compte rendu\n")
    card.run("p7sign", "-d", database, "-k", name_of(card, "signature"), "-f", "pin", "-i", "letter", "-o", "letter.p7s")
    verify: list[str | Path] = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "letter.p7s", "-binary"]
    said = card.run(*verify, "-content", "letter", "-CAfile", card.authorities, "-purpose", "any", "-out", "read")
    assert "CMS Verification successful" in said
    assert "signatureValid=yes" in card.run("signver", "-d", database, "-v", "-s", "letter.p7s", "-i", "letter")


def test_pdfsig(card: Card, database: str) -> None:
    """Poppler signs PDF documents through NSS, as LibreOffice does."""
    blank = PdfWriter()
    blank.add_blank_page(200, 200)
    blank.write(card.folder / "blank.pdf")
    nick = name_of(card, "signature")
    sign: list[str | Path] = ["pdfsig", "-nssdir", database, "-nss-pwd", PIN, "-add-signature", "-nick", nick]
    card.run(*sign, "blank.pdf", "signed.pdf")
    said = card.run("pdfsig", "-nssdir", database, "-nocert", "signed.pdf")
    assert "Signature is Valid" in said and f"Signer Certificate Common Name: {NAME}" in said


def test_tstclnt(card: Card, database: str, servers: dict[str, MutualTls]) -> None:
    for version in ["1.2", "1.3"] if card.has_pss else ["1.2"]:
        trust(card, database, servers[version])
        assert f"bonjour {NAME}, TLSv{version}" in tstclnt(card, database, servers[version], version)


def test_a_server_that_names_roots_alone(card: Card, database: str, roots_only: MutualTls) -> None:
    trust(card, database, roots_only)
    assert f"bonjour {NAME}, TLSv1.2" in tstclnt(card, database, roots_only, "1.2")


def test_a_cps3_before_a_server_of_tls_1_3_alone(card: Card, database: str, servers: dict[str, MutualTls]) -> None:
    if card.has_pss:
        return
    trust(card, database, servers["1.3"])
    assert "bonjour" not in tstclnt(card, database, servers["1.3"], "1.3", status=None)


def tstclnt(card: Card, database: str, server: MutualTls, version: str, status: int | None = 0) -> str:
    (card.folder / "request").write_text("GET / HTTP/1.0\r\n\r\n")
    return card.run(
        "tstclnt", "-4", "-h", "localhost", "-p", str(server.port), "-d", database, "-w", PIN, "-V", f"tls{version}:tls{version}",
        "-n", name_of(card, "authentication"), "-A", "request", status=status,
    )  # fmt: skip
