# SPDX-License-Identifier: Apache-2.0
"""The module built from its sources, SoftHSM2 tokens, and Debian's stock `p11-kit server` in front of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from p11 import Module, initialized

SOURCES = Path(__file__).parents[3] / "cpxd" / "pkcs11" / "module"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"
SO_PIN = "12345678"


def build(target: Path, *options: str) -> Path:
    command = ["gcc", "-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-pedantic"]
    command += ["-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,nodelete", "-Wl,-z,now"]
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    subprocess.run([*command, *options, *sources, "-o", str(target)], check=True)
    return target


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


@dataclass
class Stock:
    """Debian's `p11-kit server` with SoftHSM2 behind it: one process that listens, one for each connection."""

    folder: Path
    socket: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"), "CPXD_PKCS11_SOCKET": str(self.socket)}

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = ["p11-kit", "server", "-f", "--name", str(self.socket), "--provider", SOFTHSM, "pkcs11:"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while not self.socket.is_socket():
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.01)

    def family(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def kill(self) -> None:
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.kill()


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
