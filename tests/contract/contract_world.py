# SPDX-License-Identifier: Apache-2.0
"""What the reader contract is played in: one reader with a card in it, reached in one of the ways there are."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smartcard import scard

from cpxd import errors
from cpxd.apdu import Secret
from cpxd.config import Settings
from cpxd.reader import doors
from cpxd.reader.link import Door, Link, ReaderState
from cpxd.service.desk import OpenCard
from simulator import personalise, personas
from simulator.cardos import VirtualCard, make_card
from simulator.lab import CardHandle, Lab

TRACE = Path(__file__).with_name("reader.apdu")
WAYS: dict[str, dict[str, bool]] = {
    "driver": {},
    "vpcd": {"vpcd": True},
    "pinpad": {"pinpad": True},
    "galss": {"galss": True},
    "trace": {},
}
# the card cache is off: what is sent must not depend on what other tests left on the disk
QUICK = Settings(reader_wait=1.0, card_silence=1.0, card_cache=False)
_OTHER_GALSS = """
import ctypes, sys
galss = ctypes.CDLL("libgalcllux.so")
number, lad = ctypes.c_uint16(), ctypes.c_uint8()
assert galss.OuvrirSession(b"other", b"CPS", ctypes.byref(number), ctypes.byref(lad)) == 0
assert galss.DebutExclusivite(number) == 0
print("held", flush=True)
sys.stdin.read()
"""


def courses(path: Path) -> tuple[bytes, list[list[tuple[bytes, bytes]]]]:
    """The ATR, and what was exchanged from one reset to the next."""
    atr, found, command = b"", [], b""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("# atr "):
            atr = bytes.fromhex(line[6:])
        elif line.startswith("# reset"):
            found.append([])
        elif line.startswith("> "):
            command = bytes.fromhex(line[2:])
        elif line.startswith("< "):
            found[-1].append((command, bytes.fromhex(line[2:])))
    return atr, found


class Recorded:
    """A card that is a recording. What was sent since the last SELECT decides the answer; a command that was never sent there
    is kept in `strange`, and refused."""

    def __init__(self, path: Path) -> None:
        self.atr, found = courses(path)
        self.strange: list[bytes] = []
        self._answers: dict[tuple[bytes, ...], bytes] = {}
        for course in found:
            self._past: tuple[bytes, ...] = ()
            for command, answer in course:
                self._past = self._after(command)
                assert self._answers.setdefault(self._past, answer) == answer, f"two answers to {command.hex()}"
        self._past = ()

    def _after(self, command: bytes) -> tuple[bytes, ...]:
        return (command,) if command[1] == 0xA4 else (*self._past, command)

    def power_on(self) -> None:
        self._past = ()

    power_off = reset = power_on

    def transmit(self, apdu: bytes) -> bytes:
        self._past = self._after(apdu)
        if self._past not in self._answers:
            self.strange.append(apdu)
        return self._answers.get(self._past, b"\x6f\x00")


class Recorder:
    """Writes a card's courses down, each once, for `Recorded`."""

    def __init__(self, card: VirtualCard) -> None:
        self._card, self.atr = card, card.atr
        self._courses: list[list[tuple[bytes, bytes]]] = [[]]

    def power_on(self) -> None:
        self._courses.append([])
        self._card.power_on()

    def power_off(self) -> None:
        self._courses.append([])
        self._card.power_off()

    def reset(self) -> None:
        self._courses.append([])
        self._card.reset()

    def transmit(self, apdu: bytes) -> bytes:
        answer = self._card.transmit(apdu)
        self._courses[-1].append((apdu, answer))
        return answer

    def write(self, path: Path) -> None:
        lines = [
            "# SPDX-License-Identifier: Apache-2.0",
            "# the reader contract, recorded (README.md)",
            f"# atr {self.atr.hex()}",
        ]
        known: set[tuple[bytes, ...]] = set()
        for course in self._courses:
            new, past = False, ()
            for command, _ in course:
                past = (command,) if command[1] == 0xA4 else (*past, command)
                new = new or past not in known
                known.add(past)
            if new:
                lines.append("# reset")
                lines += [line for sent, said in course for line in (f"> {sent.hex()}", f"< {said.hex()}")]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        Recorded(path)


class World:
    """`lab` has one slot. Methods that change something return once the door can see it, GALSS apart, which is asked."""

    def __init__(self, way: str, lab: Lab, *, record: bool = False) -> None:
        self.way, self.lab = way, lab
        image = personalise.personalise(personas.load("cps-medecin"), "cps3")
        self.serial_file = next(file.content for file in image.files if file.path[-1] == 0xD003)
        self._virtual = make_card(image)
        self.card: Any = self._virtual
        if way == "trace":
            self.card = Recorded(TRACE)
        elif record:
            self.card = Recorder(self._virtual)
        self.polled = way == "galss"

    @property
    def handle(self) -> CardHandle:
        return self.lab.card(0)

    @property
    def sent(self) -> list[bytes]:
        return [command for command, _ in self.handle.trace]

    def fresh(self) -> None:
        """A card in the reader that nothing is wrong with."""
        with contextlib.suppress(Exception):
            self.lab.remove(0)
        self.lab.insert(0, self.card)

    def check(self) -> None:
        """After each scenario: no try lost, no command that the recording has not, no fault of the simulator."""
        assert not self.lab.errors(), self.lab.errors()
        if isinstance(self.card, Recorded):
            assert not self.card.strange, f"not recorded (tests/contract/README.md): {self.card.strange[0].hex()}"
        codes = self._virtual.state()["codes"]
        assert (codes["1"]["tries_left"], codes["2"]["tries_left"]) == (3, 10)

    # -- the product -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def door(self) -> Iterator[Door]:
        found = doors.door_to(self.reader())
        try:
            yield found
        finally:
            found.close()

    def mine(self, states: list[ReaderState]) -> ReaderState:
        """Of this world's reader, which must be there once; vpcd shows another one that nobody asked for."""
        (only,) = [state for state in states if self.lab.readers[0] in state.name]
        return only

    def state(self) -> ReaderState:
        return self.mine(doors.look())

    def reader(self) -> str:
        return self.state().name

    @contextlib.contextmanager
    def link(self) -> Iterator[Link]:
        with self.door() as door:
            link = door.connect(self.reader(), wait=1.0, allowed=lambda: None)
            try:
                yield link
            finally:
                link.close()

    def open(self) -> OpenCard:
        return OpenCard(self.reader(), QUICK)

    # -- the others --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def held_by_another(self) -> Iterator[None]:
        """Another program has the card for itself, until the block is left."""
        with self._galss_holder() if self.polled else self._pcsc_holder():
            yield

    @contextlib.contextmanager
    def _galss_holder(self) -> Iterator[None]:
        command = [sys.executable, "-c", _OTHER_GALSS]
        environment = {**os.environ, **self.lab.env}
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None and other.stdout.readline() == b"held\n"
            try:
                yield
            finally:
                other.kill()  # without FinExclusivite: as a program that crashes

    @contextlib.contextmanager
    def _pcsc_holder(self) -> Iterator[None]:
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        code, handle, _ = scard.SCardConnect(context, self.lab.readers[0], scard.SCARD_SHARE_SHARED, 3)
        assert code == 0 and scard.SCardBeginTransaction(handle) == 0
        try:
            yield
        finally:
            scard.SCardEndTransaction(handle, scard.SCARD_LEAVE_CARD)
            scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
            scard.SCardReleaseContext(context)

    def kill_service(self) -> None:
        if self.lab.galss is not None:
            self.lab.galss.kill()
        else:
            self.lab.kill_pcscd()

    def restart_service(self) -> None:
        if self.lab.galss is not None:
            self.lab.galss.restart()
        else:
            self.lab.restart_pcscd()


def raises(kinds: type[errors.CpxError] | tuple[type[errors.CpxError], ...], call: Callable[[], object]) -> errors.CpxError:
    """The error of one of these kinds that `call` raised."""
    try:
        call()
    except errors.CpxError as error:
        assert isinstance(error, kinds), repr(error)
        assert error.sentence()
        return error
    raise AssertionError(f"{kinds} was not raised")


def soon(action: Callable[[], object], seconds: float = 0.2) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def secret(digits: bytes) -> Secret:
    read, write = os.pipe()
    os.write(write, digits + b"\n")
    os.close(write)
    try:
        return Secret.from_fd(read)
    finally:
        os.close(read)
