# SPDX-License-Identifier: Apache-2.0
"""The module, ready to be called; a SoftHSM2 token; the stock server in front of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from module_p11 import Module, initialized
from module_stock import PIN, SO_PIN, SOFTHSM, Stock, build


@pytest.fixture(scope="session")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("module") / "libcpxd-pkcs11.so")


@pytest.fixture(scope="session")
def hasty_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module with its long deadlines shortened, so that they can be seen to pass."""
    limits = ("-DLIMIT_INFO=300", "-DLIMIT_READ=500", "-DLIMIT_CRYPTO=900", "-DLIMIT_DIALOG=1300")
    return build(tmp_path_factory.mktemp("hasty") / "libcpxd-pkcs11.so", *limits)


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pkcs11.sock"
    monkeypatch.setenv("CPXD_PKCS11_SOCKET", str(path))
    return path


@pytest.fixture
def module(module_path: Path, socket_path: Path) -> Iterator[Module]:
    with initialized(Module(module_path)) as ready:
        yield ready


@pytest.fixture
def hasty(hasty_path: Path, socket_path: Path) -> Iterator[Module]:
    with initialized(Module(hasty_path)) as ready:
        yield ready


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SoftHSM2 token "lab" with an RSA key pair 01 and its certificate."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(conf)}

    def run(*command: str) -> None:
        subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True)

    run("softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", PIN, "--so-pin", SO_PIN)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
        "-subj", "/CN=lab", "-days", "30")  # fmt: skip
    run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-out", "key8.pem")
    run("openssl", "x509", "-in", "cert.pem", "-outform", "DER", "-out", "cert.der")
    run("openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey", "-out", "public.pem")
    run("softhsm2-util", "--import", "key8.pem", "--token", "lab", "--label", "lab", "--id", "01", "--pin", PIN)
    run("pkcs11-tool", "--module", SOFTHSM, "--token-label", "lab", "--login", "--pin", PIN,
        "--write-object", "cert.der", "--type", "cert", "--id", "01", "--label", "lab")  # fmt: skip
    return folder


@pytest.fixture
def stock(token_folder: Path, socket_path: Path) -> Iterator[Stock]:
    server = Stock(token_folder, socket_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
