# SPDX-License-Identifier: Apache-2.0
"""Events reach the API at once, and nothing wakes up the daemon while nothing happens; GALSS, which has to be asked, apart."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from simulator.foreign import ForeignCard
from simulator.lab import Lab

LATENCY = Path(__file__).parents[2] / "bench" / "latency.py"
BOUND = 100.0  # milliseconds beyond pcscd's own
IDLE = 1.5  # seconds


def test_an_insertion_is_told_at_most_100_ms_after_pcscd() -> None:
    done = subprocess.run([sys.executable, str(LATENCY), "driver", "5"], capture_output=True, text=True, timeout=60, check=True)
    own, api = json.loads(done.stdout)
    assert len(own) == len(api) == 5
    assert min(a - o for a, o in zip(api, own, strict=True)) < BOUND


def sleeps(pid: int) -> dict[str, int]:
    """How often each thread has gone to sleep: a thread that wakes up must go to sleep again."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text(encoding="ascii")
        found[task.name] = int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def idle_wakes(lab: Lab) -> int:
    """Wake-ups of the daemon in IDLE seconds, the calmest of some: what it began before may still be going on."""
    assert lab.daemon is not None
    pid, calmest = lab.daemon.process.pid, 1 << 30
    for _ in range(4):
        before = sleeps(pid)
        time.sleep(IDLE)
        after = sleeps(pid)
        calmest = min(calmest, sum(count - before.get(task, 0) for task, count in after.items()))
        if calmest == 0:
            break
    return calmest


def test_the_daemon_sleeps_with_pcsc_readers() -> None:
    with Lab(["cps-medecin:cps3"], slots=3, daemon=True) as lab:  # a card, a mute one, and an empty slot
        lab.insert(1, ForeignCard(""))
        assert idle_wakes(lab) == 0


def test_a_terminal_behind_galss_is_asked_again_and_again() -> None:
    with Lab(["cps-medecin:cps3"], slots=1, galss=True, daemon=True) as lab:
        assert lab.galss is not None and lab.daemon is not None
        read = -1
        while read != lab.card(0).apdu_count or read == 0:  # until the card is read: that asks for presence too
            read = lab.card(0).apdu_count
            time.sleep(0.7)
        quiet = sum(sleeps(lab.daemon.process.pid).values())
        before = lab.galss.slots[0].orders.count(0x16)
        begin = time.monotonic()
        time.sleep(5)
        asked = lab.galss.slots[0].orders.count(0x16) - before
        assert sum(sleeps(lab.daemon.process.pid).values()) > quiet, "and the count above would have shown it"
        assert 1 <= asked <= (time.monotonic() - begin) / 2 + 1, "every 2 s at the most"
