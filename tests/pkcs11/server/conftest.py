# SPDX-License-Identifier: Apache-2.0
"""One lab and one daemon for most tests: fresh cards in slots 0 (CPS3) and 1 (CPS4) at the start of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from p11_daemon import CARDS, Daemon, put_in
from p11_wire import Wire

from simulator.lab import Lab


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


@pytest.fixture
def client(fresh: Daemon) -> Iterator[Wire]:
    with fresh.client() as client:
        yield client


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A folder whose sockets fit: pytest's own can be long."""
    assert len(str(tmp_path)) < 80
    return tmp_path
