# SPDX-License-Identifier: Apache-2.0
"""A second program that holds the card: waited for with a bound, then named."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpxd_lab import PIN, card, cpxd, fails, succeeds, tries

from simulator.lab import Lab

HOLDER = """
import sys, time
from smartcard.scard import *
open("/proc/self/comm", "w").write("logiciel\\x1b[31m")
context = SCardEstablishContext(SCARD_SCOPE_USER)[1]
mode = SCARD_SHARE_EXCLUSIVE if sys.argv[2] == "exclusive" else SCARD_SHARE_SHARED
failed, handle, _ = SCardConnect(context, sys.argv[1], mode, 3)
failed = failed or SCardBeginTransaction(handle)
print("held" if not failed else SCardGetErrorMessage(failed), flush=True)
time.sleep(float(sys.argv[3]))
"""


@contextlib.contextmanager
def held(lab: Lab, how: str, seconds: float) -> Iterator[int]:
    """Another program of this user holds the card in slot 0 for so long; its number."""
    command = [sys.executable, "-c", HOLDER, lab.readers[0], how, str(seconds)]
    with subprocess.Popen(command, env={**os.environ, **lab.env}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def hasty(desk: Lab, tmp_path: Path) -> dict[str, str]:
    """An environment in which cpxd waits for the card for a second at most."""
    folder = tmp_path / "cpxd"
    folder.mkdir()
    (folder / "config.toml").write_text("[reader]\nwait = 1\n")
    return {"XDG_CONFIG_HOME": str(tmp_path)}


@pytest.mark.parametrize("how", ["transaction", "exclusive"])
def test_who_holds_the_card_is_said_after_a_bounded_wait(desk: Lab, hasty: dict[str, str], how: str) -> None:
    virtual = card()
    handle = desk.insert(0, virtual)
    with held(desk, how, 60) as pid:
        for arguments, codes in ((("card",), None), (("pin", "verify"), [PIN])):
            result = cpxd(desk, *arguments, codes=codes, env=hasty)
            message = fails(result, 14)
            assert "CPX-118" in message and f"logiciel\ufffd[31m ({pid})" in message
            assert 0.9 < result.seconds < 8
        assert f"logiciel\ufffd[31m ({pid})" in cpxd(desk, "status", env=hasty).out
        assert f"logiciel\ufffd[31m ({pid})" in cpxd(desk, "doctor").out
        assert handle.apdu_count == 0, "nothing of ours came between"
    assert tries(virtual) == 3
    succeeds(cpxd(desk, "card", env=hasty))


def test_a_program_that_gives_the_card_back_is_waited_for(desk: Lab) -> None:
    desk.insert(0, card())
    with held(desk, "transaction", 1.2):
        begun = time.monotonic()
        succeeds(cpxd(desk, "pin", "verify", codes=[PIN]))
        assert time.monotonic() - begun > 0.5


def test_nobody_is_accused_when_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cpxd.reader import neighbours

    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "no-such-socket"))
    assert neighbours.neighbours() == [] and str(neighbours.words()) == ""
