# SPDX-License-Identifier: Apache-2.0
"""How many commands the card is asked: the bounds of the README, on the real path through pcscd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> str:
    # bench/run.py measures in a process of its own: libpcsclite keeps the socket it first connected to
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "run.py"), "cps3"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"PATH": "/usr/bin:/bin", "BENCH_RUNS": "1", "HOME": str(Path.home())},
    )
    return done.stdout


def number(figures: str, line: str, column: int) -> int:
    found = [text for text in figures.splitlines() if line in text]
    assert len(found) == 1, figures
    return int(found[0].rsplit(maxsplit=3)[column])


def test_cold_identity_and_certificates(figures: str) -> None:
    """At most 15 commands, plus one a block of 231 bytes of the certificates."""
    line = next(text for text in figures.splitlines() if "the others:" in text)
    assert int(line.split("the others:")[1].split()[0]) <= 15, figures


def test_pin_and_authentication_signature(figures: str) -> None:
    """Counter, VERIFY, MSE, INTERNAL AUTHENTICATE."""
    assert number(figures, "PIN + one authentication-key signature", 1) <= 4, figures


def test_next_signature(figures: str) -> None:
    """The environment is in force already."""
    assert number(figures, "next authentication-key signature", 1) == 1, figures
