# SPDX-License-Identifier: Apache-2.0
"""OpenSSL's PKCS#11 engine (libp11): `openssl` and `curl`."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_card import MODULE, NAME, Card
from client_tls import MutualTls

Servers = dict[str, MutualTls]
_CONFIGURATION = """\
openssl_conf = start
[start]
engines = engines
ssl_conf = ssl
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = {module}
init = 0
[ssl]
system_default = tls
[tls]
{signatures}
"""
# OpenSSL signs with PSS even in TLS 1.2 when the server lets it; a CPS3 cannot
ONLY_PKCS1 = "ClientSignatureAlgorithms = RSA+SHA256"


@pytest.fixture
def engine(card: Card) -> dict[str, str]:
    return {"OPENSSL_CONF": str(configuration(card.folder, "" if card.has_pss else ONLY_PKCS1))}


def configuration(folder: Path, signatures: str) -> Path:
    path = folder / "openssl.cnf"
    path.write_text(_CONFIGURATION.format(module=MODULE, signatures=signatures))
    return path


def s_client(card: Card, server: MutualTls) -> list[str | Path]:
    command: list[str | Path] = ["openssl", "s_client", "-connect", f"localhost:{server.port}", "-CAfile", server.trust]
    command += ["-verify_return_error", "-cert", card.authentication.certificate]
    return [*command, "-engine", "pkcs11", "-keyform", "engine", "-key", card.uri(card.authentication, "private"), "-quiet"]


def curl(card: Card, server: MutualTls) -> list[str | Path]:
    command: list[str | Path] = ["curl", "-sS", "--cacert", server.trust, "--engine", "pkcs11"]
    command += ["--cert-type", "ENG", "--cert", card.uri(card.authentication, "cert")]
    return [*command, "--key-type", "ENG", "--key", card.uri(card.authentication, "private"), server.address]


def versions(card: Card) -> list[str]:
    return ["1.2", "1.3"] if card.has_pss else ["1.2"]


def test_s_client(card: Card, servers: Servers, engine: dict[str, str]) -> None:
    for version in versions(card):
        said = card.run(*s_client(card, servers[version]), env=engine, typed="GET / HTTP/1.0\r\n\r\n")
        assert f"bonjour {NAME}, TLSv{version}" in said


def test_curl(card: Card, servers: Servers, engine: dict[str, str]) -> None:
    for version in versions(card):
        said = card.run(*curl(card, servers[version]), env=engine)
        assert said.strip().endswith(f"bonjour {NAME}, TLSv{version}")


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_dgst(card: Card, engine: dict[str, str], digest: str) -> None:
    (card.folder / "data").write_bytes(b"ordonnance")
    for key in card.keys if digest in ("sha1", "sha256") else [card.authentication]:
        sign = ["openssl", "dgst", f"-{digest}", "-engine", "pkcs11", "-keyform", "engine", "-sign", card.uri(key, "private")]
        card.run(*sign, "-out", "signature", "data", env=engine)
        card.check(key, digest)


def test_a_cps3_before_a_server_of_tls_1_3_alone(card: Card, servers: Servers) -> None:
    """PSS is asked of a card that has none: the program says so and ends, and the log explains it in one line."""
    if card.has_pss:
        return
    plain = {"OPENSSL_CONF": str(configuration(card.folder, ""))}
    said = card.run(*curl(card, servers["1.3"]), env=plain, status=None)
    assert "bonjour" not in said and "curl: (35)" in said
    before = card.log().count("mechanism-refused")
    assert "bonjour" not in card.run(*s_client(card, servers["1.3"]), env=plain, status=None)
    explained = [line for line in card.log().splitlines() if "mechanism-refused" in line][before:]
    assert len(explained) == 1 and "RSA-PSS (TLS 1.3)" in explained[0] and "CPS3" in explained[0]
