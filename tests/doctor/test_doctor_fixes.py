# SPDX-License-Identifier: Apache-2.0
"""What is printed as a fix is run as it is printed, and the next examination is then green; --fix touches what is local only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from doctor_bench import MODULE, Bench
from doctor_faults_own import FAULTS

from simulator.daemon import Daemon

PRINTED = ("cache_blocked", "log_blocked", "socket_stale", "socket_taken", "not_registered", "not_loadable", "competitor")
PRINTED += ("browser_distrusts", "key_exposed", "registered_twice", "not_loadable_beside")
AUTOMATIC = (
    "cache_blocked",
    "log_blocked",
    "socket_stale",
    "socket_taken",
    "not_registered",
    "not_loadable",
    "browser_distrusts",
    "registered_twice",
    "not_loadable_beside",
)
ON_THE_CARD = ("pin_blocked", "pin_last", "both_blocked", "revoked", "expired", "damaged")


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_fix_works(bench: Bench, name: str) -> None:
    code, _, make = FAULTS[name]
    with bench.case() as case:
        make(bench, case)
        bench.insert(case)
        first = next(check for check in bench.examine(case)["checks"] if check["code"] == code)
        assert first["fix"]["kind"] == "command"
        environment = bench.environment(case)
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        line = first["fix"]["value"]
        subprocess.run(line, shell=True, check=True, capture_output=True, timeout=60, env=environment)  # noqa: S602 - as a person does
        answer = bench.examine(case)
    assert (answer["verdict"], answer["causes"]) == (0, []), answer["screen"]


@pytest.mark.parametrize("name", AUTOMATIC)
def test_fix_repairs_by_itself(bench: Bench, name: str) -> None:
    code, _, make = FAULTS[name]
    with bench.case() as case:
        make(bench, case)
        bench.insert(case)
        answer = bench.examine(case, fix=True)
    assert answer["repaired"] == [code]
    assert (answer["verdict"], answer["causes"]) == (0, []), answer["screen"]


@pytest.mark.parametrize("name", ON_THE_CARD)
def test_fix_does_nothing_to_a_card(bench: Bench, name: str) -> None:
    with bench.case() as case:
        FAULTS[name][2](bench, case)
        bench.insert(case)
        before = bench.lab.card(0).card.state()  # type: ignore[attr-defined]
        answer = bench.examine(case, fix=True)
        assert answer["repaired"] == [] and bench.lab.card(0).card.state() == before  # type: ignore[attr-defined]


def test_nothing_is_lost_when_something_is_moved_aside(bench: Bench) -> None:
    with bench.case() as case:
        FAULTS["cache_blocked"][2](bench, case)
        bench.insert(case)
        bench.examine(case, fix=True)
        assert (case.folder / "cache" / "cpxd.old").read_text() == "a file"


def test_nss_really_loads_the_module(bench: Bench, tmp_path: Path) -> None:
    """Without the daemon NSS sees no slot, and the doctor says so; with it, it loads."""

    def status() -> list[str]:
        return [check["status"] for check in bench.examine(case, browser=True)["checks"] if check["id"] == "load"]

    with bench.case() as case:
        case.firefox(("cpxd", str(MODULE)))
        bench.insert(case)
        assert status() == ["error"]
        daemon = Daemon(bench.environment(case), tmp_path / "daemon.log")
        try:
            assert status() == ["ok"]
        finally:
            daemon.stop()
