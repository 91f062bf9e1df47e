# SPDX-License-Identifier: Apache-2.0
"""One lab a test module, empty slots at the start of each test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import fork_server
import pytest

from simulator.lab import Lab, LabError


@pytest.fixture(scope="session", autouse=True)
def _fork_servers() -> Iterator[None]:
    yield
    fork_server.close_all()


@pytest.fixture(scope="module")
def open_lab() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3"], slots=3) as lab:  # by name: the lab then publishes its test PKI
        lab.remove(0)
        yield lab


@pytest.fixture
def desk(open_lab: Lab) -> Iterator[Lab]:
    """A lab whose slots are empty, before and after."""
    yield open_lab
    for slot in range(open_lab.slots):
        with contextlib.suppress(LabError):
            open_lab.remove(slot)


@pytest.fixture(scope="module")
def labs() -> Iterator[list[Lab]]:
    """Two labs of one slot each, for two threads."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Lab(["cps-medecin:cps3"], slots=1)) for _ in range(2)]
