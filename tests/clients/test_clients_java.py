# SPDX-License-Identifier: Apache-2.0
"""Java's SunPKCS11: keytool, and a program that lists, signs and speaks HTTPS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from client_card import MODULE, NAME, PIN, Card
from client_tls import MutualTls

_QUICK = "-XX:TieredStopAtLevel=1"
PKCS1 = ["SHA1withRSA", "SHA256withRSA", "SHA384withRSA", "SHA512withRSA"]
PSS = ["SHA1withRSAandMGF1PSS", "SHA256withRSAandMGF1PSS", "SHA384withRSAandMGF1PSS", "SHA512withRSAandMGF1PSS"]


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("java")
    source = Path(__file__).with_name("CardClient.java")
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", folder, source], check=True)
    return folder


@pytest.fixture(scope="session")
def configuration(card: Card) -> Path:
    path = card.folder / "java.cfg"
    path.write_text(f"name = cpxd\nlibrary = {MODULE}\nslotListIndex = 0\n")
    return path


def java(card: Card, classes: Path, configuration: Path, *words: str | Path, status: int = 0) -> str:
    return card.run("java", _QUICK, "-cp", classes, "CardClient", configuration, PIN, *words, status=status)


def test_keytool(card: Card, configuration: Path) -> None:
    listed = card.run(
        "keytool", f"-J{_QUICK}", "-list", "-keystore", "NONE", "-storetype", "PKCS11", "-storepass", PIN,
        "-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", configuration,
    )  # fmt: skip
    for key in card.keys:
        assert f"{key.certificate_label}, PrivateKeyEntry" in listed


def test_lists(card: Card, classes: Path, configuration: Path) -> None:
    listed = java(card, classes, configuration, "list").splitlines()
    assert listed == [f"{key.certificate_label}: key, chain of 3" for key in card.keys]


def test_signs(card: Card, classes: Path, configuration: Path) -> None:
    for key in card.keys:
        said = java(card, classes, configuration, "sign", key.certificate_label, *PKCS1, *PSS).splitlines()
        results = dict(line.split(": ", 1) for line in said)
        expected = {name for name in PKCS1 + (PSS if card.has_pss else [])}
        if key.usage == "signature":
            expected = {name for name in expected if name.startswith(("SHA1w", "SHA256"))}
        assert {name for name, result in results.items() if result == "verified"} == expected, said
        assert all(result.startswith("refused, ") for name, result in results.items() if name not in expected), said


def test_https(card: Card, classes: Path, configuration: Path, servers: dict[str, MutualTls]) -> None:
    for version in ["1.2", "1.3"] if card.has_pss else ["1.2"]:
        server = servers[version]
        said = java(card, classes, configuration, "get", server.address, server.trust, f"TLSv{version}")
        assert said == f"bonjour {NAME}, TLSv{version}\n"


def test_a_cps3_before_a_server_of_tls_1_3_alone(
    card: Card, classes: Path, configuration: Path, servers: dict[str, MutualTls]
) -> None:
    if card.has_pss:
        return
    server = servers["1.3"]
    said = java(card, classes, configuration, "get", server.address, server.trust, "TLSv1.3", status=1)
    assert "No supported CertificateVerify signature algorithm" in said and "bonjour" not in said
