# SPDX-License-Identifier: Apache-2.0
"""`cpx-sim psc` as a developer starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psc_browser import Browser, card_of

from simulator.cli import main
from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options

COMMAND = [sys.executable, "-W", "error", "-m", "simulator.cli", "psc"]


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports a process listens on, IPv4 and IPv6."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(descriptor)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                address, port = words[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_start_use_stop(tmp_path: Path) -> None:
    options = ["--redirect-uri", "https://lgc.example/retour", "--client-id", "lgc", "--client-secret", "s3cret"]
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        addresses = Addresses(**json.loads(process.stdout.readline()))
        found = listening(process.pid)
        assert len(found) == 3 and {address for address, _ in found} == {"0100007F"}  # 127.0.0.1
        assert (addresses.client_id, addresses.client_secret) == ("lgc", "s3cret")
        browser = Browser(addresses, card_of("cps-medecin"))
        page = browser.open(browser.open(addresses.relying).link("login"))
        assert browser.open(page.link("login-card")).has("identity")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0 and out == ""
        assert err == "cpx-sim psc: card step: admitted 899700090014\n"
        assert not Path(addresses.ca).exists()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        port = str(busy.getsockname()[1])
        for words, why in (
            (["--port", port], f"port {port} : adresse déjà prise"),
            (["--folder", str(file)], f"{file} : existe déjà"),
            (["--folder", str(file / "under")], f"{file / 'under'} : un nom du chemin n'est pas un dossier"),
        ):
            assert main(["psc", "--lang", "fr", *words]) == 40
            said = capsys.readouterr()
            assert (said.out, said.err) == ("", f"cpx-sim: {why}\n")


@pytest.mark.parametrize("port", ["80", "65534", "00102499999", "9" * 5000, "٢٠٠٠", "-1", ""])
def test_ports_that_are_none(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert main(["psc", "--lang", "fr", f"--port={port}"]) == 2
    assert "1024 à 65533" in capsys.readouterr().err


def test_ports_in_a_row(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        port = _three_free_ports(stack)
        stack.close()
        with running(Options(port=port, folder=tmp_path / "psc")) as addresses:
            found = [urlsplit(a).port for a in (addresses.authorization, addresses.card, addresses.relying)]
            assert found == [port, port + 1, port + 2]
            assert addresses.ca == str(tmp_path / "psc" / "ca.pem")
            assert Browser(addresses).open(addresses.relying).has("login")
    names = {path.name for path in (tmp_path / "psc").iterdir()}
    assert names == {"ca.pem", "igc-sante-test.pem"}  # no key


def _three_free_ports(stack: contextlib.ExitStack) -> int:
    for port in range(20_000, 30_000, 3):
        try:
            for number in range(port, port + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
        except OSError:
            stack.close()
    raise AssertionError("no three free ports in a row")


@pytest.mark.parametrize(
    "words",
    [
        ["--fail", "other"],
        ["--port", "80"],
        ["--port", "x"],
        ["--tls12", "--tls13"],
        ["--redirect-uri", "/retour"],
        ["--redirect-uri", "https:///x"],
        ["--redirect-uri", "https://x/#f"],
        ["--redirect-uri", "javascript:alert(1)"],
        ["--redirect-uri", "https://[x/"],
        ["--logout-uri", "x y"],
    ],
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["psc", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cpx-sim: ") and error.count("\n") == 1


def test_help_lists_the_failures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["psc", "--help", "--lang", "en"])
    out = capsys.readouterr().out
    assert "Failures of --fail:" in out and "id-token-expired" in out
