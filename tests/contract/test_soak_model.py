# SPDX-License-Identifier: Apache-2.0
"""8 seconds of what `make soak` does for ten minutes: steps that hypothesis makes up, beside a model of what must be true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[2] / "bench" / "soak_model.py"


def test_whatever_comes_in_whatever_order() -> None:
    environment = {**os.environ, "SOAK_SECONDS": "8", "SOAK_SEED": ""}
    done = subprocess.run([sys.executable, str(MODEL)], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " driver: " in done.stdout and " galss: " in done.stdout
