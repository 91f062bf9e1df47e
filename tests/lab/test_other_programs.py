# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian that look for cards of other families: none may hang, end pcscd, or leave a card that does not go on."""

from __future__ import annotations

import subprocess

import pytest
from cpxd_lab import card, cpxd, succeeds, tries

from simulator.lab import Lab

PROGRAMS = [
    ["cardos-tool", "-r", "0", "-i"],
    ["dnie-tool", "-r", "0", "-a"],
    ["egk-tool", "-r", "0"],
    ["eidenv", "-r", "0"],
    ["gids-tool", "-r", "0"],
    ["goid-tool", "-r", "0"],
    ["iasecc-tool", "--reader", "0", "--list-applications"],
    ["netkey-tool", "-r", "0"],
    ["openpgp-tool", "-r", "0"],
    ["opensc-tool", "-r", "0", "-f"],
    ["piv-tool", "-r", "0", "-n"],
    ["sc-hsm-tool", "-r", "0"],
    ["pcsc_scan", "-r"],
]
SCRIPT = """reset
00 A4 00 0C 02 3F 00
00 A4 02 0C 02 D0 03
00 B0 00 00 00
00 B0 00 00
FF CA 00 00 00
reset
00 B0 00 00 0C
"""


@pytest.mark.parametrize("model", ["cps3", "cps4", "cps3cl"])
def test_programs_for_other_cards(model: str) -> None:
    virtual = card(model=model)
    with Lab([virtual], slots=1) as lab:
        pid = lab.pcscd_pid
        for program in PROGRAMS:
            done = lab.run(program, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
            assert done.returncode >= 0, f"{program}: ended by a signal"
        assert lab.pcscd_pid == pid and lab.errors() == []
        assert model == "cps3cl" or tries(virtual) == 3
        assert "CPx" in succeeds(cpxd(lab, "readers")).out
        succeeds(cpxd(lab, "card"))


def test_a_script_of_raw_commands() -> None:
    with Lab([card()], slots=1) as lab:
        said = lab.run(["scriptor"], input=SCRIPT, capture_output=True, timeout=60).stdout
    answers = [line[2:].split(" :")[0].strip() for line in said.splitlines() if line.startswith("<")]
    assert answers[0].startswith("OK: 3B AC 00 40") and answers[6].startswith("OK: 3B AC")
    assert answers[1:6] == ["90 00", "90 00", "6C 0C", "6C 0C", "6E 00"]
    assert answers[7] == "69 86", "the reset has forgotten the file"
