# SPDX-License-Identifier: Apache-2.0
"""`make soak`: cards come and go, the daemon and pcscd are killed, other programs reset the card; all in a seeded random order.

SOAK_SECONDS: how long (600). SOAK_SEED: the same order of events again.
After each fault a login and a signature must work again, as the holder whose card is in. Exit 1 at the first that is not so,
at a call beyond its deadline, a try lost, a wrong holder, or a daemon that grows.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import select
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from simulator.cardos.card import VirtualCard
from simulator.daemon import Daemon
from simulator.lab import CardHandle, Lab

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
PIN = "1234"
CARDS = [
    f"{persona}:{model}"
    for persona in ("cps-medecin", "cps-infirmier", "cps-pharmacien", "cps-remplacant", "cpf-interne", "cpe-anonyme")
    for model in ("cps3", "cps4")
]
DEADLINE = 20.0  # seconds, of one operation: several calls that may each wait 10 s are no hang, but no fault here needs that
RECOVERY = 10.0  # seconds, from the end of a fault to an operation that works
# CK_RVs that a fault may cause: slot, device error or removed, session closed, not logged in, not present; nothing found
FAULTY = {0x03, 0x30, 0x32, 0xB3, 0x101, 0xE0, -1}
WARM_UP = 10  # cycles before a daemon is measured
DESCRIPTORS, THREADS, MEGABYTES = 8, 4, 16  # what it may grow by after that
CALM = 0.8  # of the time one daemon lives; in the rest it is killed too
APDUS = 8  # of an operation, about


class Failed(Exception):
    """What must not happen."""


@dataclass(frozen=True)
class Figures:
    """Of a process: open descriptors, threads, resident megabytes."""

    descriptors: int
    threads: int
    megabytes: float

    @classmethod
    def of(cls, pid: int) -> Figures:
        lines = (line.split(":") for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
        status = {name: value.split() for name, value in lines}
        return cls(len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"][0]), int(status["VmRSS"][0]) / 1024)

    def check(self, before: Figures) -> None:
        """Raises Failed when it has grown beyond the bounds."""
        if (
            self.descriptors > before.descriptors + DESCRIPTORS
            or self.threads > before.threads + THREADS
            or self.megabytes > before.megabytes + MEGABYTES
        ):
            raise Failed(f"the daemon grows: {before}, then {self}")


@dataclass(frozen=True)
class Answer:
    """Of one operation. rv: CK_RV. holder: SHA-256 of the certificate that the signature fits."""

    rv: int
    where: str
    holder: str
    ms: float


class Client:
    """A process with the module in it."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("soak_client.py")), str(MODULE), PIN]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def answer(self) -> Answer:
        """Raises Failed: none within the deadline, or the program has died."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], DEADLINE)[0]:
            raise Failed(f"an operation hangs: no answer in {DEADLINE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the program with the module in it died: {self._process.wait()}")
        return Answer(**json.loads(line))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@dataclass
class Told:
    """What is printed at the end."""

    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    operations: list[float] = field(default_factory=list)  # milliseconds
    recoveries: list[float] = field(default_factory=list)  # milliseconds
    at_once: int = 0


class Soak:
    """One lab, one slot, one client; a fault and its recovery at a time."""

    def __init__(self, lab: Lab, dice: random.Random) -> None:
        self.lab, self.dice, self.told = lab, dice, Told()
        self.environment = {**os.environ, **lab.env, "CPXD_NO_START": "1"}
        self.client = Client(self.environment)
        self.holders: dict[str, str] = {}
        self.card = ""
        self.life = 0  # cycles of this daemon
        self.before: Figures | None = None
        self.calm: dict[str, Callable[[], None]] = {
            "card swapped": self.swap,
            "card pulled in an operation": self.pull,
            "reset by another program": self.reset,
            "pcscd killed": self.kill_pcscd,
            "program killed in an operation": self.kill_client,
        }
        self.wild = self.calm | {"daemon killed": self.kill_daemon}

    # -- one cycle ---------------------------------------------------------------------------------------------

    def cycle(self, wild: bool) -> None:
        name, fault = self.dice.choice(list((self.wild if wild else self.calm).items()))
        try:
            fault()
            self.recover()
            self.check_tries(self.lab.card(0))
            self.check_lab()
        except Failed as error:
            raise Failed(f"{name}, card {self.card}: {error}") from None
        self.told.faults[name] += 1
        self.measure()

    def recover(self) -> None:
        """An operation must work, at once or very soon, and be that of the card that is in."""
        begin, tries = time.monotonic(), 0
        while True:
            self.client.begin()
            answer = self.client.answer()
            tries += 1
            if answer.rv == 0:
                break
            self.faulty(answer)
            if time.monotonic() - begin > RECOVERY:
                raise Failed(f"no operation works again: {answer}")
            time.sleep(0.02)
        self.told.at_once += tries == 1
        self.told.recoveries.append((time.monotonic() - begin) * 1000)
        self.works(answer)

    def works(self, answer: Answer) -> None:
        self.told.operations.append(answer.ms)
        if self.holders.setdefault(self.card, answer.holder) != answer.holder:
            raise Failed("signed as another holder than the card's")
        if len(set(self.holders.values())) != len(self.holders):
            raise Failed("two cards, one holder")

    def faulty(self, answer: Answer) -> None:
        if answer.rv not in FAULTY:
            raise Failed(f"an error that no fault explains: {answer.where} {answer.rv:#x}")
        self.told.errors[f"{answer.where} {answer.rv:#x}" if answer.rv >= 0 else answer.where] += 1

    def in_operation(self, fault: Callable[[], None], answers: bool = True) -> None:
        """The fault comes somewhere in the course of an operation."""
        usual = statistics.median(self.told.operations[-50:]) / 1000 if self.told.operations else 0.1
        self.client.begin()
        time.sleep(self.dice.uniform(0, usual))
        fault()
        if answers:
            answer = self.client.answer()
            if answer.rv:
                self.faulty(answer)

    # -- faults ------------------------------------------------------------------------------------------------

    def insert(self) -> None:
        self.card = self.dice.choice(CARDS)
        self.lab.insert(0, self.card)

    def swap(self) -> None:
        old = self.lab.card(0)
        self.lab.remove(0)
        self.check_tries(old)
        time.sleep(self.dice.choice((0, 0, 0.05, 0.3)))
        self.insert()

    def pull(self) -> None:
        old = self.lab.card(0)
        kind, number = self.dice.choice(("pull", "pull-before")), self.dice.randrange(APDUS)
        self.in_operation(lambda: old.set_fault(f"{kind}@{number}"))
        self.lab.remove(0)
        self.check_tries(old, in_flight=1)
        self.insert()

    def reset(self) -> None:
        command = ["opensc-tool", "--reader", self.lab.readers[0], "--reset"]

        def other() -> None:
            self.lab.run([*command, self.dice.choice(("warm", "cold"))], capture_output=True, timeout=DEADLINE)

        if self.dice.random() < 0.5:
            other()
        else:
            self.in_operation(other)

    def kill_pcscd(self) -> None:
        self.in_operation(self.lab.kill_pcscd)
        self.lab.restart_pcscd()

    def kill_client(self) -> None:
        self.in_operation(self.client.kill, answers=False)
        self.client = Client(self.environment)

    def kill_daemon(self) -> None:
        assert self.lab.daemon is not None and self.lab.folder is not None
        process = self.lab.daemon.process
        self.in_operation(process.kill)
        process.wait()
        self.lab.daemon = Daemon({**os.environ, **self.lab.env}, self.lab.folder / "daemon.log")
        self.life, self.before = 0, None

    # -- checks ------------------------------------------------------------------------------------------------

    def check_tries(self, handle: CardHandle, in_flight: int = 0) -> None:
        """Tries left, and no code ever refused."""
        assert isinstance(handle.card, VirtualCard)
        left = handle.card.state()["codes"]
        if left["1"]["tries_left"] < 3 - in_flight or left["2"]["tries_left"] < 10:
            raise Failed(f"tries lost: {left['1']['tries_left']} and {left['2']['tries_left']} left")
        if any(sent[1] in (0x20, 0x24, 0x2C) and answer[-2:-1] == b"\x63" for sent, answer in handle.trace if len(sent) > 5):
            raise Failed("a code was refused")

    def check_lab(self) -> None:
        assert self.lab.daemon is not None
        if self.lab.daemon.process.poll() is not None:
            raise Failed(f"the daemon died by itself: {self.lab.daemon.process.returncode}")
        if self.lab.errors():
            raise Failed(f"the simulated card: {self.lab.errors()}")

    def figures(self) -> Figures:
        assert self.lab.daemon is not None
        return Figures.of(self.lab.daemon.process.pid)

    def measure(self) -> None:
        self.life += 1
        if self.life == WARM_UP:
            self.before = self.figures()
        elif self.before is not None and self.life % 20 == 0:
            time.sleep(0.2)  # connections that end are still being closed
            self.figures().check(self.before)


def show(soak: Soak, seconds: float) -> None:
    told = soak.told
    print(f"{sum(told.faults.values())} cycles, {len(told.operations)} logins with a signature, {seconds:.0f} s")
    for title, counts in (("faults", told.faults), ("errors that they caused", told.errors)):
        print(f"  {title}: " + (", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"))
    if told.operations:
        print(f"  an operation: median {statistics.median(told.operations):.0f} ms, slowest {max(told.operations):.0f} ms")
        print(
            f"  after a fault: {told.at_once} of {len(told.recoveries)} at the first attempt,"
            f" the slowest {max(told.recoveries):.0f} ms"
        )


def campaign(seconds: float, seed: int) -> None:
    """Raises Failed."""
    with Lab([], slots=1, daemon=True) as lab:
        soak = Soak(lab, random.Random(seed))  # noqa: S311 - an order of events, no secret
        begin, still = time.monotonic(), None
        try:
            soak.insert()
            soak.recover()
            while (gone := time.monotonic() - begin) < seconds:
                if gone < CALM * seconds:
                    soak.cycle(wild=False)
                    continue
                if still is None and soak.before is not None:
                    time.sleep(0.5)
                    still = soak.figures()
                    still.check(soak.before)
                    print(f"one daemon, {soak.life} cycles: {soak.before}, then {still}", flush=True)
                soak.cycle(wild=True)
        finally:
            show(soak, time.monotonic() - begin)
            soak.client.kill()


def main() -> int:
    try:
        seconds = float(os.environ.get("SOAK_SECONDS") or 600)
        seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1 << 32))
    except ValueError:
        print("SOAK_SECONDS, SOAK_SEED: numbers", file=sys.stderr)
        return 2
    print(f"SOAK_SEED={seed} SOAK_SECONDS={seconds:.0f}", flush=True)
    try:
        campaign(seconds, seed)
    except Failed as error:
        print(f"soak: {error} (SOAK_SEED={seed})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
