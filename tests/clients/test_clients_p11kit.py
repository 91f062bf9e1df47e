# SPDX-License-Identifier: Apache-2.0
"""The distribution's p11-kit-client.so in front of the daemon, instead of our module: the same socket serves both."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_card import NAME, PIN, Card
from client_tls import MutualTls

CLIENT = Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so")


@pytest.fixture
def remote(card: Card) -> dict[str, str]:
    return {"P11_KIT_SERVER_ADDRESS": f"unix:path={card.socket}", "GNUTLS_PIN": PIN}


def test_pkcs11_tool(card: Card, remote: dict[str, str]) -> None:
    tool: list[str | Path] = ["pkcs11-tool", "--module", CLIENT]
    assert card.token in card.run(*tool, "-L", env=remote)
    (card.folder / "data").write_bytes(b"ordonnance")
    for key in card.keys:
        sign: list[str | Path] = ["--login", "--pin", PIN, "-s", "-m", "SHA256-RSA-PKCS", "--id", key.id, "-i", "data"]
        card.run(*tool, *sign, "-o", "signature", env=remote)
        card.check(key, "sha256")


def test_p11tool(card: Card, remote: dict[str, str]) -> None:
    listed = card.run(
        "p11tool", "--batch", "--provider", CLIENT, "--list-all", "--login", f"pkcs11:token={card.token}", env=remote
    )
    assert "Label: CPS_PRIV_AUT" in listed and "Label: CPS_PRIV_SIG" in listed


def test_gnutls_cli(card: Card, remote: dict[str, str], servers: dict[str, MutualTls]) -> None:
    key, certificate = (card.uri(card.authentication, kind).partition("?")[0] for kind in ("private", "cert"))
    for version in ["1.2", "1.3"] if card.has_pss else ["1.2"]:
        server = servers[version]
        command: list[str | Path] = ["gnutls-cli", "--provider", CLIENT, "--x509certfile", certificate, "--x509keyfile", key]
        command += [f"--x509cafile={server.trust}", "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}"]
        said = card.run(*command, "-p", str(server.port), "localhost", env=remote, typed="GET / HTTP/1.0\r\n\r\n")
        assert f"bonjour {NAME}, TLSv{version}" in said, said


def test_nss(card: Card, remote: dict[str, str]) -> None:
    folder = card.folder / "remote-nssdb"
    folder.mkdir()
    (card.folder / "pin").write_text(f"{PIN}\n")
    card.run("certutil", "-d", f"sql:{folder}", "-N", "--empty-password")
    card.run("modutil", "-dbdir", f"sql:{folder}", "-add", "remote", "-libfile", CLIENT, "-force", env=remote)
    keys = card.run("certutil", "-d", f"sql:{folder}", "-K", "-h", card.token, "-f", "pin", env=remote)
    assert all(key.id in keys for key in card.keys)
