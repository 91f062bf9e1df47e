# SPDX-License-Identifier: Apache-2.0
"""300 times in and out, of what `make soak` does 10,000 times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CYCLES = Path(__file__).resolve().parents[3] / "bench" / "cycles.py"


def test_cards_come_and_go_under_a_program() -> None:
    environment = {**os.environ, "SOAK_CYCLES": "300"}
    done = subprocess.run(
        [sys.executable, str(CYCLES)], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("300 cycles")
