# SPDX-License-Identifier: Apache-2.0
"""A port that is taken, and by whom; the clock of the machine moved by libfaketime."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cpxd_lab import card, command

from cpxd.doctor import ports
from cpxd.doctor.checks.web import judged
from cpxd.doctor.machine import Machine
from simulator.lab import Lab

_LISTEN = """
import socket, sys
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_who_holds_a_port() -> None:
    process = subprocess.Popen([sys.executable, "-c", _LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        port = int(process.stdout.readline())
        holder = ports.holder(Machine(), port)
        assert holder is not None and (holder.pid, holder.uid) == (process.pid, os.getuid())
        found = judged(Machine(), port)
        assert found.code == "CPX-115" and f"pid {process.pid}" in found.title.fr and f"Port {port} is held" in found.title.en
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
    assert judged(Machine(), port).status == "ok"


def test_the_service_itself_is_no_stranger(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        inode = os.fstat(server.fileno()).st_ino
        for line in Path("/proc/net/tcp").read_text().splitlines():
            if f":{port:04X}" in line:
                (tmp_path / "proc/net").mkdir(parents=True)
                (tmp_path / "proc/net/tcp").write_text(f"head\n{line}\n")
    folder = tmp_path / "proc/77"
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text("cpxd\n")
    (folder / "cmdline").write_text("/usr/bin/python3\0/usr/bin/cpxd\0serve\0")
    (folder / "fd/7").symlink_to(f"socket:[{inode}]")
    assert judged(Machine(tmp_path), port).status == "ok"
    (folder / "cmdline").write_text("/usr/bin/java\0-jar\0x.jar\0")
    assert judged(Machine(tmp_path), port).code == "CPX-115"
    (folder / "fd/7").unlink()
    mine = pwd.getpwuid(os.getuid()).pw_name
    assert f"un programme (utilisateur {mine})" in judged(Machine(tmp_path), port).title.fr


def test_the_service_of_another_user_is_a_stranger_who_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an administrator sees it, who may look into its process, and as anybody does."""
    row = "   0: 0100007F:3862 00000000:0000 0A 00000000:00000000 00:00000000 00000000     1        0 9000 1"
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(f"head\n{row}\n")
    other = pwd.getpwuid(1).pw_name
    assert f"(utilisateur {other})" in judged(Machine(tmp_path), 14434).title.fr
    (tmp_path / "proc/77/fd").mkdir(parents=True)
    (tmp_path / "proc/77/comm").write_text("cpxd\n")
    (tmp_path / "proc/77/cmdline").write_text("/usr/bin/python3\0/usr/bin/cpxd\0serve\0")
    (tmp_path / "proc/77/fd/7").symlink_to("socket:[9000]")
    assert judged(Machine(tmp_path), 14434).status == "ok"
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert judged(Machine(tmp_path), 14434).code == "CPX-115"


@pytest.mark.parametrize(("moment", "code"), [("2020-01-01 12:00:00", 3), ("2040-01-01 12:00:00", 4)], ids=["late", "far ahead"])
def test_the_clock_of_the_whole_machine(lab: Lab, moment: str, code: int) -> None:
    lab.insert(0, card())
    result = command(lab, "doctor", prefix=("faketime", moment))
    assert result.code == code, result.out
    assert ("CPX-112" if code == 3 else "CPX-110") in result.out
    assert "sudo" in result.out if code == 3 else "est-ce bien la date" in result.out


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("user@1000.service/app.slice/cpxd.service", "systemctl --user restart cpxd.service"),
        ("user@1000.service/app.slice/app-gnome-terminal.scope", "kill 42 ; cpxd serve"),
    ],
)
def test_a_service_is_started_anew_as_it_was_started(tmp_path: Path, group: str, line: str) -> None:
    """Also where the unit is installed, and the service that runs is one that was typed."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/user").mkdir(parents=True)
    (tmp_path / "etc/systemd/user/cpxd.service").touch()
    (tmp_path / "proc/42").mkdir(parents=True)
    (tmp_path / "proc/42/cgroup").write_text(f"0::/user.slice/user-1000.slice/{group}\n")
    assert Machine(tmp_path).restart_ours(42) == line
