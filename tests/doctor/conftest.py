# SPDX-License-Identifier: Apache-2.0
"""One lab and one fork server for all examinations; what the command line's tests share lies in tests/lab."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("lab", "browsers")]

import fork_server
from doctor_bench import Bench

from simulator.lab import Lab, LabError


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench")) as opened:
        yield opened


@pytest.fixture(scope="session")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3"], slots=1) as opened:
        opened.env["HOME"] = str(tmp_path_factory.mktemp("home"))  # the browsers of whoever runs the tests are not examined
        yield opened


@pytest.fixture
def lab(_lab: Lab) -> Iterator[Lab]:
    """With the test PKI published, and no card, before and after."""
    with contextlib.suppress(LabError):
        _lab.remove(0)
    yield _lab
    with contextlib.suppress(LabError):
        _lab.remove(0)


@pytest.fixture(scope="session", autouse=True)
def _fork_servers() -> Iterator[None]:
    yield
    fork_server.close_all()
