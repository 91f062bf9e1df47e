# SPDX-License-Identifier: Apache-2.0
"""One lab and one daemon for most tests: fresh cards in slots 0 (CPS3) and 1 (CPS4) at the start of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from p11_daemon import Daemon, until
from p11_wire import Refused, Wire

from simulator.lab import Lab, LabError

CARDS = ("cps-medecin:cps3", "cps-medecin:cps4")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab(list(CARDS)) as lab:
        yield lab


@pytest.fixture(scope="session")
def daemon(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(lab, folder=tmp_path_factory.mktemp("p11")) as daemon:
        yield daemon


@pytest.fixture
def fresh(lab: Lab, daemon: Daemon) -> Iterator[Daemon]:
    """Cards as new in both slots, read by the daemon."""
    put_in(lab, daemon)
    yield daemon


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


@pytest.fixture
def client(fresh: Daemon) -> Iterator[Wire]:
    with fresh.client() as client:
        yield client


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A folder whose sockets fit: pytest's own can be long."""
    assert len(str(tmp_path)) < 80
    return tmp_path
