# SPDX-License-Identifier: Apache-2.0
"""Screen lock and sleep end all logins: real messages over a real bus, only logind is played."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from p11_daemon import Daemon, until
from p11_wire import Refused, Wire

sys.path.append(str(Path(__file__).parents[2] / "lab"))

from logind import Logind

from simulator.lab import Lab


@pytest.fixture
def logind(short: Path) -> Iterator[Logind]:
    made = Logind(short)
    yield made
    made.close()


def state(client: Wire, session: int) -> int:
    found = client.GetSessionInfo(session)[1]
    assert isinstance(found, int)
    return found


def gone(client: Wire, session: int) -> bool:
    try:
        client.GetSessionInfo(session)
    except Refused as refused:
        assert refused.rv == 0xB3
        return True
    return False


def test_lock_and_sleep(lab: Lab, fresh: Daemon, logind: Logind, short: Path) -> None:
    with Daemon(lab, folder=short, environment=logind.env) as daemon, daemon.client() as client:
        session, other = client.open(0), client.open(1)
        for word in ("lock", "sleep", "hint"):
            client.login(session)
            client.login(other)
            for harmless in ("wake", "lock-theirs"):
                logind.says(harmless)
            assert (state(client, session), state(client, other)) == (3, 3)
            logind.says(word)
            for dead in (session, other):
                until(lambda dead=dead: gone(client, dead))
            session, other = client.open(0), client.open(1)
            assert (state(client, session), state(client, other)) == (2, 2)
            until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]


def test_without_a_bus(lab: Lab, fresh: Daemon, short: Path) -> None:
    nowhere = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={short}/none"}
    with Daemon(lab, folder=short, environment=nowhere) as daemon, daemon.client() as client:
        client.login(client.open(0))
        assert "no-lock-signals" in daemon.log.read_text()
