# SPDX-License-Identifier: Apache-2.0
"""A daemon in front of a lab, with settings of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p11_wire import Refused, Wire

from simulator.lab import Lab, LabError

CARDS = ("cps-medecin:cps3", "cps-medecin:cps4")
SETUP = "import sys; from cpxd.cli.main import main; sys.exit(main(['serve']))"


class Daemon:
    """`settings`: TOML, laid over what the lab has. `environment`: added to the lab's."""

    def __init__(self, lab: Lab, settings: str = "", *, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.run = folder / "run"
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = folder / "config" / "cpxd"
        config.mkdir(parents=True, exist_ok=True)
        (config / "config.toml").write_text(settings, encoding="utf-8")
        self.env = {
            **os.environ,
            **lab.env,
            "XDG_RUNTIME_DIR": str(self.run),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            **(environment or {}),
        }
        self.socket = self.run / "cpxd" / "pkcs11.sock"
        self.log = folder / "state" / "cpxd" / "cpxd.log"
        self.process = subprocess.Popen([sys.executable, "-c", SETUP], env=self.env, stderr=subprocess.PIPE, text=True)
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.communicate()
            time.sleep(0.01)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=15)
        assert self.process.returncode in (0, -signal.SIGKILL), said
        assert said == "", said

    def client(self, offered: int = 2, **options: Any) -> Wire:
        return Wire(self.socket, offered, **options)


def refused(rv: int, call: Any, *values: Any) -> None:
    """The call must be refused with this CK_RV."""
    try:
        got = call(*values)
    except Refused as error:
        assert error.rv == rv, f"CK_RV {error.rv:#x}, not {rv:#x}"
    else:
        raise AssertionError(f"not refused: {got!r}")


def until(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.01)


def commands(trace: list[tuple[bytes, bytes]], start: int = 0) -> int:
    """APDUs from a place in a trace on, GET RESPONSE not counted."""
    return sum(command[1] != 0xC0 for command, _ in trace[start:])


def put_in(lab: Lab, daemon: Daemon) -> None:
    with daemon.client() as client:
        before = [client.open(slot) for slot in client.GetSlotList(1, 16)]
        for slot, card in enumerate(CARDS):
            with contextlib.suppress(LabError):
                lab.remove(slot)
            lab.insert(slot, card)
        until(lambda: all(_dead(client, session) for session in before))  # the daemon has seen the old ones go
        until(lambda: all(_read(client, slot) for slot in (0, 1)))


def _dead(client: Wire, session: int) -> bool:
    try:
        client.GetSessionInfo(session)
    except Refused as error:
        assert error.rv == 0xB3
        return True
    return False


def _read(client: Wire, slot: int) -> bool:
    try:
        return bool(client.GetTokenInfo(slot))
    except Refused as error:
        assert error.rv == 0xE0
        return False
