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
from pathlib import Path

from run import READER, secret

from cpxd.config import load
from cpxd.service import identity
from cpxd.service.desk import OpenCard
from cpxd.usages.holder import matches
from simulator.lab import Lab
from simulator.timing import delay_model

MODELS = ("cps3", "cps4")
LIMIT = 5.0  # seconds, from insertion to situations and usages


def visit(lab: Lab, *, whole: bool) -> tuple[tuple[int, float], tuple[int, float]]:
    """(commands, seconds) until identity, and until situations and usages, on a card that was just inserted."""
    card, trace = lab.card(0).card, lab.card(0).trace
    delay, start = delay_model("real", card.atr), len(trace)
    assert delay is not None

    def spent() -> tuple[int, float]:
        done = trace[start:]
        return sum(command[1] != 0xC0 for command, _ in done), sum(delay(command, answer) for command, answer in done)

    with OpenCard(READER, load()) as opened:
        identity.read(opened, private=False, whole=whole)
        first = spent()
        with secret(b"1234") as pin:
            opened.run(lambda session, begin: session.verify(begin, pin))
        matches(identity.read(opened, private=True, whole=whole).record)
    return first, spent()


def measure(model: str, persona: str = "cps-remplacant") -> dict[str, tuple[tuple[int, float], tuple[int, float]]]:
    """In a process of its own: libpcsclite keeps the socket it first connected to."""
    found = {}
    with Lab([f"{persona}:{model}"], slots=1) as lab:
        os.environ.update(lab.env)
        for name, whole in (("what is awaited", False), ("all of the card", True)):
            shutil.rmtree(Path(lab.env["XDG_CACHE_HOME"], "cpxd", "cards"), ignore_errors=True)
            for turn in ("cold", "warm"):
                found[f"{name}, {turn}"] = visit(lab, whole=whole)
    return found


def report(model: str) -> None:
    print(f"{model.upper()}, persona cps-remplacant, delays of a real card")
    print(f"  {'':<30}{'identity':>18}{'situations, usages':>24}")
    for name, ((few, soon), (all_of_them, late)) in measure(model).items():
        print(f"  {name:<30}{few:>8} APDU {soon:>4.1f} s{all_of_them:>13} APDU {late:>4.1f} s")
        if name.startswith("what") and late > LIMIT:
            raise SystemExit(f"{model}, {name}: {late:.1f} s, bound {LIMIT}")


def main() -> None:
    if sys.argv[1:]:
        report(sys.argv[1])
        return
    for model in MODELS:
        subprocess.run([sys.executable, __file__, model], check=True)


if __name__ == "__main__":
    main()
