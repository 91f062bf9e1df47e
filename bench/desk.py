# SPDX-License-Identifier: Apache-2.0
"""A holder at the desk: what the card is sent, and the seconds a real one would take, until identity and situations are known.

Cold: the card was never seen on this workstation. Warm: it was, and its certificates are kept (docs/DATA.md). Counts are exact,
GET RESPONSE apart; the seconds are the delays of `simulator/timing.py` added up, which are invented in part.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from run import READER, secret

from cpxd.config import load
from cpxd.service import identity
from cpxd.service.desk import OpenCard
from cpxd.service.token import read_token
from cpxd.usages.holder import matches
from simulator.lab import Lab
from simulator.timing import delay_model

MODELS = ("cps3", "cps4")
LIMIT = 5.0  # seconds, from insertion to situations and usages


Spent = tuple[int, float]  # commands, seconds


def meter(lab: Lab) -> Callable[[], Spent]:
    """What the card in reader 0 was asked since now."""
    card, trace = lab.card(0).card, lab.card(0).trace
    delay, start = delay_model("real", card.atr), len(trace)
    assert delay is not None

    def spent() -> Spent:
        done = trace[start:]
        return sum(command[1] != 0xC0 for command, _ in done), sum(delay(command, answer) for command, answer in done)

    return spent


def daemon(lab: Lab) -> Spent:
    """What the daemon reads at an insertion, before any program asks."""
    spent = meter(lab)
    with OpenCard(READER, load()) as opened:
        opened.run(read_token)
    return spent()


def visit(lab: Lab, *, whole: bool) -> tuple[Spent, Spent]:
    """Until identity, and until situations and usages, on a card that was just inserted."""
    spent = meter(lab)
    with OpenCard(READER, load()) as opened:
        identity.read(opened, private=False, whole=whole)
        first = spent()
        with secret(b"1234") as pin:
            opened.run(lambda session, begin: session.verify(begin, pin))
        matches(identity.read(opened, private=True, whole=whole).record)
    return first, spent()


def measure(model: str, persona: str = "cps-remplacant") -> dict[str, tuple[Spent, Spent | None]]:
    """In a process of its own: libpcsclite keeps the socket it first connected to."""
    found: dict[str, tuple[Spent, Spent | None]] = {}
    with Lab([f"{persona}:{model}"], slots=1) as lab:
        os.environ.update(lab.env)
        for name, whole in (("what is awaited", False), ("all of the card", True), ("by the daemon", None)):
            shutil.rmtree(Path(lab.env["XDG_CACHE_HOME"], "cpxd", "cards"), ignore_errors=True)
            for turn in ("cold", "warm"):
                found[f"{name}, {turn}"] = (daemon(lab), None) if whole is None else visit(lab, whole=whole)
    return found


def report(model: str) -> None:
    print(f"{model.upper()}, persona cps-remplacant, delays of a real card")
    print(f"  {'':<30}{'identity':>18}{'situations, usages':>24}")
    for name, ((few, soon), end) in measure(model).items():
        print(f"  {name:<30}{few:>8} APDU {soon:>4.1f} s" + (f"{end[0]:>13} APDU {end[1]:>4.1f} s" if end else ""))
        if name.startswith("what") and end is not None and end[1] > LIMIT:
            raise SystemExit(f"{model}, {name}: {end[1]:.1f} s, bound {LIMIT}")


def main() -> None:
    if sys.argv[1:]:
        report(sys.argv[1])
        return
    for model in MODELS:
        subprocess.run([sys.executable, __file__, model], check=True)


if __name__ == "__main__":
    main()
