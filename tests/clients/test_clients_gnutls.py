# SPDX-License-Identifier: Apache-2.0
"""GnuTLS: `p11tool` and `gnutls-cli`, whose PIN comes from the environment."""

from __future__ import annotations

from pathlib import Path

from client_card import MODULE, NAME, PIN, Card
from client_tls import MutualTls

_PIN = {"GNUTLS_PIN": PIN}
_PRIORITY = {"1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2", "1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3"}


def p11tool(card: Card, *options: str) -> str:
    return card.run("p11tool", "--batch", "--provider", MODULE, *options, env=_PIN)


def gnutls_cli(card: Card, server: MutualTls, version: str) -> list[str | Path]:
    key, certificate = (card.uri(card.authentication, kind).partition("?")[0] for kind in ("private", "cert"))
    command: list[str | Path] = ["gnutls-cli", "--provider", MODULE, "--x509certfile", certificate, "--x509keyfile", key]
    command += [f"--x509cafile={server.trust}", "--priority", _PRIORITY[version], "-p", str(server.port), "localhost"]
    return command


def test_p11tool_lists(card: Card) -> None:
    assert f"Label: {card.token}" in p11tool(card, "--list-tokens")
    before = p11tool(card, "--list-all", f"pkcs11:token={card.token}")
    assert "CPS_PRIV_AUT" not in before and "Label: Certificat d'Authentification CPS" in before
    after = p11tool(card, "--list-all", "--login", f"pkcs11:token={card.token}")
    assert "Label: CPS_PRIV_AUT" in after and "Label: CPS_PRIV_SIG" in after


def test_p11tool_exports_the_certificate(card: Card) -> None:
    exported = p11tool(card, "--export", card.uri(card.authentication, "cert"))
    assert card.authentication.certificate.read_text() in exported


def test_p11tool_lists_the_authorities(card: Card) -> None:
    listed = p11tool(card, "--list-all-certs", f"pkcs11:token={card.token}")
    assert listed.count("Type: X.509 Certificate") == 4
    assert "Label: TEST AC IGC-SANTE FORT PERSONNES" in listed and "Label: TEST AC RACINE IGC-SANTE FORT" in listed


def test_p11tool_signs(card: Card) -> None:
    for key in card.keys:
        said = p11tool(card, "--test-sign", "--login", card.uri(key, "private").partition("?")[0])
        assert "ok" in said.splitlines()[-1].lower(), said


def test_gnutls_cli(card: Card, servers: dict[str, MutualTls]) -> None:
    for version in ["1.2", "1.3"] if card.has_pss else ["1.2"]:
        said = card.run(*gnutls_cli(card, servers[version], version), env=_PIN, typed="GET / HTTP/1.0\r\n\r\n")
        assert f"bonjour {NAME}, TLSv{version}" in said, said


def test_a_cps3_before_a_server_of_tls_1_3_alone(card: Card, servers: dict[str, MutualTls]) -> None:
    if card.has_pss:
        return
    said = card.run(*gnutls_cli(card, servers["1.3"], "1.3"), env=_PIN, typed="GET / HTTP/1.0\r\n\r\n", status=None)
    assert "bonjour" not in said
