# SPDX-License-Identifier: Apache-2.0
"""Cards as slow as real ones are (simulator/timing.py): the doctor still answers within two seconds, and rightly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cpxd_lab import CPXD
from doctor_bench import Bench
from doctor_faults_own import FAULTS

from cpxd.doctor.glance import Pace

SECONDS = 2.0
MOST_BYTES = 1200  # on the line of a CPS3: 1.26 ms each


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("slow"), timing="real") as opened:
        yield opened


def examined(bench: Bench, **changes: Any) -> dict[str, Any]:
    with bench.case() as case:
        for name, value in changes.items():
            setattr(case, name, value)
        bench.insert(case)
        answer = bench.examine(case)
        if str(changes.get("card", "")).endswith(":cps3") or "card" not in changes:
            said = sum(len(sent) + len(received) for sent, received in bench.lab.card(0).trace)
            assert said < MOST_BYTES, "whatever else the machine does"
        return answer


@pytest.mark.parametrize(
    ("what", "causes", "verdict"),
    [
        ("cps-medecin:cps3", [], 0),
        ("cps-medecin:cps4", [], 0),
        ("cps-expiree:cps3", ["CPX-110"], 4),
        ("cpe-opposee:cps3", ["CPX-111"], 4),
        ("cps-pin-bloque:cps3", ["CPX-107"], 2),
    ],
)
def test_in_two_seconds(slow: Bench, what: str, causes: list[str], verdict: int) -> None:
    answer = examined(slow, card=what)
    if answer["seconds"] >= SECONDS:  # the machine was busy with something else: the bytes are the measure, this is the proof
        answer = examined(slow, card=what)
    assert (answer["causes"], answer["verdict"]) == (causes, verdict), answer["screen"]
    assert answer["seconds"] < SECONDS
    assert any("TEST" in line for line in answer["screen"])


def test_other_faults_of_a_slow_card(slow: Bench) -> None:
    for name in ("damaged", "list_stale", "clock_late"):
        code, verdict, make = FAULTS[name]
        with slow.case() as case:
            make(slow, case)
            slow.insert(case)
            answer = slow.examine(case)
        assert (answer["first_cause"], answer["verdict"]) == (code, verdict), answer["screen"]


def test_what_was_kept_of_a_slow_card_tells_its_kind(slow: Bench) -> None:
    """The whole certificate is then known for the price of its last bytes: whom to ask is said by the kind of card."""
    with slow.case() as case:
        case.card = "cpe-opposee:cps3"
        slow.insert(case)
        first = slow.examine(case)
        environment = {**slow.environment(case), "LC_ALL": "C.UTF-8"}
        subprocess.run([CPXD, "card"], env=environment, capture_output=True, check=True, timeout=60)
        second = slow.examine(case)
    assert first["causes"] == second["causes"] == ["CPX-111"]
    advice = [next(c["fix"]["value"] for c in answer["checks"] if c["code"] == "CPX-111") for answer in (first, second)]
    assert advice[0] != advice[1], advice
    assert second["seconds"] < SECONDS


def test_a_busy_machine_is_no_slow_card() -> None:
    pace = Pace(None)
    for milliseconds in (900.0, 400.0, 2.0, 700.0):
        pace(bytes(5), bytes(41), milliseconds)
    assert not pace.slow
    pace = Pace(None)
    pace(bytes(5), bytes(41), 60.0)
    assert pace.slow
