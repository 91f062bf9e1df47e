# SPDX-License-Identifier: Apache-2.0
"""OpenSC's pkcs11-tool, and OpenSSH's ssh-keygen and ssh-agent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from client_card import MODULE, PIN, Card, Key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

_DATA = b"ordonnance" * 100


@dataclass(frozen=True)
class Way:
    """A mechanism as pkcs11-tool names it, who can use it, and how OpenSSL checks what comes out."""

    mechanism: str
    digest: str
    keys: str = "both"
    hashed: bool = False  # the program must be given the digest, not the data
    pss: bool = False


WAYS = [
    Way("SHA1-RSA-PKCS", "sha1"),
    Way("SHA256-RSA-PKCS", "sha256"),
    Way("SHA384-RSA-PKCS", "sha384", "authentication"),
    Way("SHA512-RSA-PKCS", "sha512", "authentication"),
    Way("RSA-PKCS-PSS", "sha1", hashed=True, pss=True),
    Way("RSA-PKCS-PSS", "sha256", hashed=True, pss=True),
    Way("RSA-PKCS-PSS", "sha384", "authentication", hashed=True, pss=True),
    Way("RSA-PKCS-PSS", "sha512", "authentication", hashed=True, pss=True),
    Way("SHA1-RSA-PKCS-PSS", "sha1", pss=True),
    Way("SHA256-RSA-PKCS-PSS", "sha256", pss=True),
    Way("SHA384-RSA-PKCS-PSS", "sha384", "authentication", pss=True),
    Way("SHA512-RSA-PKCS-PSS", "sha512", "authentication", pss=True),
]


def pkcs11_tool(card: Card, *options: str | Path, status: int | None = 0, module: Path = MODULE) -> str:
    return card.run("pkcs11-tool", "--module", module, *options, status=status)


def login(*options: str | Path) -> list[str | Path]:
    return ["--login", "--pin", PIN, *options]


def test_lists(card: Card) -> None:
    slots = pkcs11_tool(card, "-L")
    assert card.token in slots and "login required" in slots
    before, after = pkcs11_tool(card, "-O"), pkcs11_tool(card, *login("-O"))
    for key in card.keys:
        assert key.label not in before and key.label in after
        assert key.certificate_label in before
    assert "CPS_ACTIVITY_01_PS" not in before and "CPS_ACTIVITY_01_PS" in after
    mechanisms = set(re.findall(r"^  ([\w-]+), ", pkcs11_tool(card, "-M"), re.M))
    assert {"RSA-PKCS", "SHA1-RSA-PKCS", "SHA256-RSA-PKCS", "SHA-1", "SHA256"} <= mechanisms
    assert ("RSA-PKCS-PSS" in mechanisms) == ("SHA256-RSA-PKCS-PSS" in mechanisms) == card.has_pss
    assert "RSA-X-509" not in mechanisms


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.mechanism}-{way.digest}")
def test_signs(card: Card, way: Way) -> None:
    if way.pss and not card.has_pss:
        assert "CKR_MECHANISM_INVALID" in sign(card, way, card.authentication, status=None)
        return
    for key in card.keys:
        if way.keys in ("both", key.usage):
            sign(card, way, key)
            padding = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if way.pss else []
            card.check(key, way.digest, *padding)
        else:
            said = sign(card, way, key, status=None)
            assert re.search("CKR_(KEY_TYPE_INCONSISTENT|MECHANISM_PARAM_INVALID)", said), said


def sign(card: Card, way: Way, key: Key, status: int | None = 0) -> str:
    (card.folder / "data").write_bytes(_DATA)
    options: list[str | Path] = ["-s", "-m", way.mechanism, "--id", key.id, "-i", "data", "-o", "signature"]
    if way.hashed:
        card.run("openssl", "dgst", f"-{way.digest}", "-binary", "-out", "hashed", "data")
        options[options.index("data")] = "hashed"
        options += ["--hash-algorithm", way.digest.upper().replace("SHA1", "SHA-1")]
    return pkcs11_tool(card, *login(*options), status=status)


def test_signs_a_digest_info(card: Card) -> None:
    """CKM_RSA_PKCS, what TLS 1.2 signs with."""
    (card.folder / "data").write_bytes(_DATA)
    card.run("openssl", "dgst", "-sha256", "-binary", "-out", "hashed", "data")
    hashed = (card.folder / "hashed").read_bytes()
    (card.folder / "info").write_bytes(bytes.fromhex("3031300d060960864801650304020105000420") + hashed)
    for key in card.keys:
        pkcs11_tool(card, *login("-s", "-m", "RSA-PKCS", "--id", key.id, "-i", "info", "-o", "signature"))
        card.check(key, "sha256")


def test_decrypts(card: Card) -> None:
    (card.folder / "secret").write_bytes(b"un secret")
    encrypt: list[str | Path] = [
        "openssl",
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        card.authentication.public,
        "-in",
        "secret",
    ]
    card.run(*encrypt, "-out", "cryptogram")
    decrypt: list[str | Path] = ["--decrypt", "-m", "RSA-PKCS", "--id", card.authentication.id]
    pkcs11_tool(card, *login(*decrypt, "-i", "cryptogram", "-o", "plain"))
    assert (card.folder / "plain").read_bytes() == b"un secret"


def test_its_own_test(card: Card) -> None:
    said = pkcs11_tool(card, *login("--test"))
    assert re.search(r"RSA-PKCS: OK", said)
    assert "No errors" in said.splitlines()[-1], said


def test_a_wrong_pin(card: Card) -> None:
    said = pkcs11_tool(card, "--login", "--pin", "4321", "-O", status=None)
    assert "CKR_PIN_INCORRECT" in said and card.tries_left() == 2
    said = pkcs11_tool(card, "--login", "--pin", "4321", "-O", status=None)
    assert "CKR_PIN_INCORRECT" in said and card.tries_left() == 2, "a PIN that failed was sent again"
    assert "user PIN count low" in pkcs11_tool(card, "-L")
    pkcs11_tool(card, *login("-O"))
    assert card.tries_left() == 3


def test_ssh_keygen(card: Card) -> None:
    shown = card.run("ssh-keygen", "-D", MODULE).splitlines()
    for key in card.keys:
        public = load_pem_public_key(key.public.read_bytes()).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        assert any(line.startswith(public) for line in shown), shown


_IN_AGENT = """\
ssh-add -q -s "$1"
ssh-add -T key.pub
ssh-keygen -q -Y sign -n file -f key.pub letter
ssh-add -q -e "$1"
"""


def test_ssh_agent(card: Card) -> None:
    """It takes modules below /usr/lib and /usr/local/lib only, unless told otherwise, and gets the PIN from ssh-add."""
    ask = card.folder / "askpass"
    ask.write_text(f"#!/bin/sh\necho {PIN}\n")
    ask.chmod(0o700)
    public = load_pem_public_key(card.authentication.public.read_bytes()).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (card.folder / "key.pub").write_bytes(public + b"\n")
    (card.folder / "allowed").write_bytes(b"doctor " + public + b"\n")
    (card.folder / "letter").write_text("Compte rendu\n")
    (card.folder / "letter.sig").unlink(missing_ok=True)
    asked = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    card.run("ssh-agent", "-P", MODULE.resolve(), "sh", "-ec", _IN_AGENT, "sh", MODULE.resolve(), env=asked)
    verify: list[str | Path] = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "doctor", "-n", "file", "-s", "letter.sig"]
    assert "Good" in card.run(*verify, typed="Compte rendu\n")
