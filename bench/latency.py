# SPDX-License-Identifier: Apache-2.0
"""From a card put in to what is told of it: by pcscd itself, and by cpxd's API. One row a way to the card.

LATENCY_RUNS: insertions a way (20). Exit 1 when on the own driver the API tells, in the median, more than 100 ms after pcscd.
GALSS has no events: cpxd asks it every 2 s (docs/CARDS.md), so up to that passes there, by design.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from smartcard import scard

from simulator import personalise, personas
from simulator.cardos import make_card
from simulator.lab import Lab

WAYS = {"driver": {}, "vpcd": {"vpcd": True}, "pinpad": {"pinpad": True}, "galss": {"galss": True}}
BOUND = 100.0  # milliseconds beyond pcscd's own, on the own driver
LIMIT = 20.0  # seconds for one event
RUNS = int(os.environ.get("LATENCY_RUNS") or 20)
Times = tuple[list[float], list[float]]  # milliseconds: pcscd's own (none over GALSS), the API's


class Events:
    """GET /v1/events of the API's unix socket: (time, states of the readers), one a line."""

    def __init__(self, path: Path) -> None:
        self.told: queue.Queue[tuple[float, list[str]]] = queue.Queue()
        self._link = self._connect(path)
        self._link.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        threading.Thread(target=self._listen, daemon=True).start()

    @staticmethod
    def _connect(path: Path) -> socket.socket:
        limit = time.monotonic() + LIMIT
        while True:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(path))
                return link
            except OSError:
                link.close()
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)

    def _listen(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                now = time.monotonic()
                if line.startswith(b"{"):
                    self.told.put((now, [reader["state"] for reader in json.loads(line)["readers"]]))

    def until(self, empty: bool) -> float:
        """When it was told that every slot is empty, or that one is not (time.monotonic)."""
        while True:
            when, states = self.told.get(timeout=LIMIT)
            if all(state == "no-card" for state in states) is empty:
                return when

    def close(self) -> None:
        self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()


def watched(reader: str, ready: threading.Event, seen: list[float]) -> None:
    """When pcscd tells a plain client of an insertion."""
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    _, states = scard.SCardGetStatusChange(context, 0, [(reader, scard.SCARD_STATE_UNAWARE)])
    known = states[0][1]
    ready.set()
    while not known & scard.SCARD_STATE_PRESENT:
        _, states = scard.SCardGetStatusChange(context, int(LIMIT * 1000), [(reader, known)])
        known = states[0][1]
    seen.append(time.monotonic())
    scard.SCardReleaseContext(context)


def measure(way: str, runs: int) -> Times:
    """In a process of its own: libpcsclite keeps the socket it first connected to."""
    own: list[float] = []
    api: list[float] = []
    card = make_card(personalise.personalise(personas.load("cps-medecin"), "cps3"))  # before: it takes a while
    with Lab([], slots=1, daemon=True, **WAYS[way]) as lab:
        os.environ.update(lab.env)
        events = Events(Path(lab.env["XDG_RUNTIME_DIR"]) / "cpxd" / "api.sock")
        events.until(empty=True)
        for number in range(runs):
            time.sleep(0.03 + 0.137 * (number % 16) if way in ("galss", "vpcd") else 0.05)  # at any moment between two looks
            put, seen = put_in(lab, card, polled=way == "galss")
            api.append((events.until(empty=False) - put) * 1000)
            own += [(when - put) * 1000 for when in seen]
            lab.remove(0)
            events.until(empty=True)
        events.close()
    return own, api


def put_in(lab: Lab, card: object, *, polled: bool) -> tuple[float, list[float]]:
    """When it was put in, and when pcscd told of it."""
    seen: list[float] = []
    watch = None
    if not polled:
        ready = threading.Event()
        watch = threading.Thread(target=watched, args=(lab.readers[0], ready, seen))
        watch.start()
        ready.wait(LIMIT)
        time.sleep(0.02)  # it rests in pcscd now
    put = time.monotonic()
    lab.insert(0, card)  # type: ignore[arg-type]
    if watch is not None:
        watch.join(LIMIT)
    return put, seen


def apart(ways: list[str], runs: int) -> Iterator[tuple[str, Times]]:
    for way in ways:
        done = subprocess.run([sys.executable, __file__, way, str(runs)], stdout=subprocess.PIPE, check=True, timeout=600)
        own, api = json.loads(done.stdout)
        yield way, (own, api)


def main() -> int:
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return 0
    print(f"From a card put in to the event, ms, {RUNS} insertions a row: median (slowest)", flush=True)
    status = 0
    for way, (own, api) in apart(list(WAYS), RUNS):
        text = f"  {way:<8} API {statistics.median(api):7.1f} ({max(api):.1f})"
        if own:
            more = statistics.median(a - o for a, o in zip(api, own, strict=True))
            text += f"   pcscd {statistics.median(own):7.1f} ({max(own):.1f})   API beyond pcscd {more:7.1f}"
            if way == "driver":
                text += f" (bound: {BOUND:.0f})"
                status = int(more > BOUND)
        print(text, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
