# SPDX-License-Identifier: Apache-2.0
"""The files that a desktop starts the daemon with: systemd user units and the module file of p11-kit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from p11_wire import Wire

from simulator.lab import Lab

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent / "cpxd"


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    places = {"UNITS": tmp_path / "units", "MODULES": tmp_path / "pkcs11" / "modules", "BIN": BIN, "PREFIX": tmp_path}
    done = subprocess.run(
        [ROOT / "tools" / "install.sh", "files"],
        env={**os.environ, **{name: str(place) for name, place in places.items()}},
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(line).name: Path(line) for line in done.stdout.splitlines()}


def unit(path: Path) -> ConfigParser:
    found = ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text())
    return found


def test_systemd_takes_the_units(written: dict[str, Path]) -> None:
    names = ["cpxd.socket", "cpxd.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *(written[name] for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(written["cpxd.socket"].parent)},
    )
    assert done.returncode == 0 and "cpxd" not in done.stderr, done.stderr


def test_the_socket_starts_the_service(written: dict[str, Path], lab: Lab, short: Path) -> None:
    """As systemd does it: the socket of the one unit, passed under its name to the command of the other."""
    listen, service = unit(written["cpxd.socket"])["Socket"], unit(written["cpxd.service"])["Service"]
    environment = {**os.environ, **lab.env, "XDG_RUNTIME_DIR": str(short)}
    assert listen["SocketMode"] == "0600" and listen["DirectoryMode"] == "0700" and service["Type"] == "notify"
    path = Path(listen["ListenStream"].replace("%t", str(short)))
    asked = subprocess.run([BIN, "path", "socket"], env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(path)
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as told:
        told.bind(str(short / "notify"))
        program = ["systemd-socket-activate", "-l", str(path), f"--fdname={listen['FileDescriptorName']}"]
        kept = [f"-E{name}={value}" for name, value in environment.items() if name.startswith(("XDG_", "PCSC", "CPX_"))]
        process = subprocess.Popen([*program, *kept, *service["ExecStart"].split()], env=environment, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                if path.exists():
                    break
                subprocess.run(["sleep", "0.02"], check=True)
            with Wire(path, 2) as client:
                assert client.GetInfo()
        finally:
            process.terminate()
            assert process.wait(15) == 0
    assert path.exists(), "a socket of systemd stays"


def test_p11_kit_finds_the_module(written: dict[str, Path], lab: Lab) -> None:
    mounted = 'mount --bind "$0" /usr/share/p11-kit/modules && exec p11-kit list-modules'
    command = ["unshare", "-rm", "sh", "-c", mounted, written["cpxd.module"].parent]
    environment = {**os.environ, **lab.env}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert "cpxd: " in done.stdout and "libcpxd-pkcs11.so" in done.stdout, done.stdout + done.stderr
