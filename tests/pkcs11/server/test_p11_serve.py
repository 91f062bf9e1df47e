# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process: its socket, one a user, started by systemd, ended by a signal, quiet in between."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from p11_daemon import SETUP, Daemon
from p11_wire import Closed, Wire

from simulator.lab import Lab


def test_socket_is_private(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o700


def test_a_second_one_says_so(daemon: Daemon) -> None:
    said = subprocess.run([sys.executable, "-c", SETUP], env=daemon.env, capture_output=True, text=True, timeout=20, check=False)
    assert said.returncode == 40 and "CPX-143" in said.stderr and said.stderr.count("\n") == 1
    with daemon.client() as client:
        assert client.GetSlotList(0, 16)


def test_sigterm_and_stale_socket(lab: Lab, short: Path) -> None:
    with Daemon(lab, folder=short) as daemon:
        with daemon.client() as client:
            client.GetSlotList(0, 16)
            daemon.process.send_signal(signal.SIGTERM)
            with pytest.raises(Closed):
                client.receive(1)
        assert daemon.process.wait(10) == 0
        assert not daemon.socket.exists()
    with Daemon(lab, folder=short) as daemon:
        daemon.process.kill()
        daemon.process.wait()
        assert daemon.socket.exists()
        daemon.socket.with_name("left-over").symlink_to(daemon.socket)
    with Daemon(lab, folder=short) as daemon:
        deadline = time.monotonic() + 10
        while True:
            try:
                with daemon.client() as client:
                    assert client.GetSlotList(0, 16)
                break
            except ConnectionRefusedError:  # the socket that was left
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_sigterm_from_who_held_it_back_at_the_start(lab: Lab, short: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        daemon = Daemon(lab, folder=short)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with daemon:
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0


def test_sigterm_while_pcscd_hangs(lab: Lab, short: Path) -> None:
    with Daemon(lab, folder=short) as daemon, daemon.client() as client:
        assert client.GetSlotList(0, 16)
        os.kill(pid := lab.pcscd_pid, signal.SIGSTOP)
        try:
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(20) == 0
        finally:
            os.kill(pid, signal.SIGCONT)


def test_sigterm_ends_logins(lab: Lab, fresh: Daemon, short: Path) -> None:
    with Daemon(lab, folder=short) as daemon, daemon.client() as client:
        client.login(client.open(0))
        assert lab.card(0).card._pins.verified(1)  # type: ignore[attr-defined]
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        assert not lab.card(0).card._pins.verified(1)  # type: ignore[attr-defined]


def test_socket_activation_and_notify(lab: Lab, short: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(short / "passed.sock"))
    listening.listen(8)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(short / "notify"))
    notify.settimeout(10)
    (short / "run").mkdir(mode=0o700)
    env = {**os.environ, **lab.env, "XDG_RUNTIME_DIR": str(short / "run"), "NOTIFY_SOCKET": str(short / "notify")}
    code = (
        f"import os; os.dup2({listening.fileno()}, 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1',"
        f" LISTEN_FDNAMES='pkcs11'); {SETUP}"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=env, pass_fds=(listening.fileno(),))
    try:
        assert notify.recv(64) == b"READY=1"
        with Wire(short / "passed.sock") as client:
            assert client.GetSlotList(0, 16)
        assert not (short / "run" / "cpxd" / "pkcs11.sock").exists()
        process.send_signal(signal.SIGTERM)
        assert notify.recv(64) == b"STOPPING=1"
        assert process.wait(10) == 0
        assert (short / "passed.sock").exists()  # systemd's, not ours to remove
    finally:
        process.kill()
        process.wait()
        listening.close()
        notify.close()


def test_a_path_too_long(lab: Lab, short: Path) -> None:
    folder = short / ("x" * 100)
    folder.mkdir()
    env = {**os.environ, **lab.env, "XDG_RUNTIME_DIR": str(folder)}
    said = subprocess.run([sys.executable, "-c", SETUP], env=env, capture_output=True, text=True, timeout=20, check=False)
    assert said.returncode == 40 and "107" in said.stderr and said.stderr.count("\n") == 1


def test_paths(daemon: Daemon) -> None:
    def path(what: str) -> str:
        code = f"import sys; from cpxd.cli.main import main; sys.exit(main(['path', '{what}']))"
        return subprocess.run([sys.executable, "-c", code], env=daemon.env, capture_output=True, text=True, check=True).stdout

    assert path("socket") == f"{daemon.socket}\n"
    assert path("pkcs11") == path("module")
    assert path("pkcs11").endswith("/libcpxd-pkcs11.so\n")


def test_idle_costs_nothing(fresh: Daemon) -> None:
    """Not one wake-up of any thread while nothing happens."""

    def switches() -> int:
        count = 0
        for task in Path(f"/proc/{fresh.process.pid}/task").iterdir():
            lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            count += int(lines["voluntary_ctxt_switches"])
        return count

    with fresh.client() as client:
        client.open(0)
        time.sleep(0.3)
        before = switches()
        time.sleep(1.5)
        assert switches() == before


def test_bridge(fresh: Daemon) -> None:
    """`remote: |cpxd p11-bridge` of a p11-kit module file."""
    code = "import sys; from cpxd.cli.main import main; sys.exit(main(['p11-bridge']))"
    program = f'|{sys.executable} -c "{code}"'
    bridge = fresh.socket.parent.parent / "bridge"
    bridge.write_text(f"#!/bin/sh\nexec {program[1:]}\n")
    bridge.chmod(0o700)
    env = {**fresh.env, "P11_KIT_SERVER_ADDRESS": f"|{bridge}"}
    module = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
    said = subprocess.run(
        ["pkcs11-tool", "--module", module, "-L"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert said.returncode == 0 and "CPS3v3-" in said.stdout, said


def test_log_has_no_name_and_no_code(fresh: Daemon) -> None:
    with fresh.client() as client:
        session = client.open(0)
        client.login(session)
    lines = fresh.log.read_text().splitlines()
    assert lines and all(json.loads(line)["event"] for line in lines)
    assert "1234" not in "".join(json.dumps({**json.loads(line), "time": ""}) for line in lines)
    assert "VALLEFICTIVE" not in "".join(lines)
