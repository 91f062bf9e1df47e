# SPDX-License-Identifier: Apache-2.0
"""What an application costs the card, and what a call for information costs the application (bench/pkcs11.py)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from simulator.lab import Lab

_REPEATS = 4


def load_bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "pkcs11.py"
    spec = importlib.util.spec_from_file_location("bench_pkcs11", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bench = load_bench()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built: Path = bench.build(tmp_path_factory.mktemp("bench"))
    return built


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_commands_sent_to_the_card(program: Path, model: str) -> None:
    limits = bench.bounds(model)
    with Lab([f"cps-medecin:{model}"], slots=1, daemon=True) as lab:
        bench.reading(lab, program)
        counts = bench.counted(lab, program, bench.MODULE, model)
    assert set(limits) <= set(counts)
    assert {name: counts[name] for name in limits if counts[name] > limits[name]} == {}


def test_a_call_for_information_costs_at_most_two_echoes(program: Path, tmp_path: Path) -> None:
    """Measured again when the machine was busy with something else: what is too slow stays too slow."""
    with Lab(["cps-medecin:cps3"], slots=1, daemon=True) as lab:
        seen = []
        for _ in range(_REPEATS):
            times = bench.latencies(lab, program, tmp_path)
            seen.append(max(time for name, time in times.items() if name != "echo") / times["echo"])
            if seen[-1] <= bench.RATIO:
                return
    raise AssertionError(f"times an echo: {seen}")
