# SPDX-License-Identifier: Apache-2.0
"""A card as slow as a real CPS3, never seen on this workstation: whoever asks while it is read has the answer, not an error."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api_lab import ApiLab, api_lab

MODULE = Path(__file__).parents[2] / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"


def test_asked_while_the_card_is_read() -> None:
    with api_lab(["cps-remplacant:cps3"], wait=False, timing="real") as desk, ThreadPoolExecutor(1) as other:
        module = other.submit(token_label, desk)
        assert desk.lab.card(0).apdu_count < 20, "it is asked before the card is read"
        found = answered(desk)
        assert found["holder"]["family_name"] == "RELAISFICTIF-BEAUCHAMP"
        assert "CPS3v3-2600997010" in module.result()


def answered(desk: ApiLab) -> dict[str, dict[str, str]]:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            answer = desk.ask("POST", "/v1/identity", {}, native=True)
            assert answer.status == 200, answer.body
            found: dict[str, dict[str, str]] = answer.json
            return found
        time.sleep(0.02)
    raise AssertionError("the API does not answer")


def token_label(desk: ApiLab) -> str:
    """What a program is shown that looks for tokens at once."""
    limit = time.monotonic() + 10
    while not Path(desk.lab.env["XDG_RUNTIME_DIR"], "cpxd", "pkcs11.sock").exists():
        assert time.monotonic() < limit
        time.sleep(0.02)
    command = ["pkcs11-tool", "--module", str(MODULE), "--list-token-slots"]
    done = subprocess.run(command, env={**os.environ, **desk.lab.env}, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout
