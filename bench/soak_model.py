# SPDX-License-Identifier: Apache-2.0
"""Cards, other programs and the card service come and go as hypothesis makes it up, beside a model of what must be true.

soak_model.py [WAY SECONDS SEED]. WAY: driver (pcscd) or galss; without it both, as SOAK_SECONDS (600) and SOAK_SEED say.
After every step each slot of the hub must show the card that is in, nobody may be logged in whose proof is gone, no try may be
lost, no call may outlast its deadline; after every course all descriptors, threads and PC/SC contexts must be given back.
Exit 1, with the steps, at the first that is not so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from smartcard import scard

from cpxd import errors
from cpxd.apdu import Secret
from cpxd.card.application import Mechanism, NotAllowed
from cpxd.config import Settings
from cpxd.service.hub import Hub
from cpxd.service.slot import Slot
from simulator import personalise, personas
from simulator.cardos import VirtualCard, make_card
from simulator.lab import Lab, LabError

T = TypeVar("T")
WAYS = ("driver", "galss")
SLOTS = 2
HANG = 25.0  # seconds: a call that takes longer hangs
QUICK = Settings(reader_wait=1.0, card_silence=3.0, card_cache=False)
SETTLE = 12.0  # seconds until what happened is seen, at the latest: a machine may be busy, and GALSS is asked every 2 s
LOST = (errors.CardRemoved, errors.CardMute, errors.NoCard, errors.NoService, errors.CardReset, errors.CardChanged)
DIGEST = hashlib.sha256(b"soak").digest()
SHARED, T0_T1 = scard.SCARD_SHARE_SHARED, 3
SELECT_MF = list(bytes.fromhex("00A4000C023F00"))
slots = st.integers(0, SLOTS - 1)
cards = st.integers(0, 2)


class Wrong(AssertionError):
    """What must not be."""


def secret() -> Secret:
    read, write = os.pipe()
    os.write(write, b"1234\n")
    os.close(write)
    try:
        return Secret.from_fd(read)
    finally:
        os.close(read)


class Rig:
    """The lab, for all courses, and an event loop on a thread of its own."""

    def __init__(self, way: str, lab: Lab) -> None:
        self.lab, self.pcsc = lab, way != "galss"
        made = [("cps-medecin", "cps3"), ("cps-infirmier", "cps4" if self.pcsc else "cps3"), ("cpe-anonyme", "cps3")]
        self.cards: list[VirtualCard] = []
        self.serials: list[str] = []  # EF.SN.ICC, in hexadecimal
        for persona, model in made:
            image = personalise.personalise(personas.load(persona), model)  # type: ignore[arg-type]
            self.cards.append(make_card(image))
            self.serials.append(next(file.content.hex() for file in image.files if file.path[-1] == 0xD003))
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.steps: Counter[str] = Counter()
        self.before: tuple[int, int, int] | None = None
        self.seed = 0

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(HANG)
        except TimeoutError:
            if future.done():
                raise
            raise Wrong(f"a call hangs: {HANG:.0f} s") from None

    def figures(self) -> tuple[int, int, int]:
        """Open descriptors and threads of this process; clients that the card service has."""
        own = len(os.listdir("/proc/self/fd"))
        # the loop's own pool grows to what it once needed at a time, and keeps it
        threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
        return own, len(threads), self._clients()

    def _clients(self) -> int:
        if self.lab.galss is not None:
            return self.lab.galss.sessions
        folder = Path(f"/proc/{self.lab.pcscd_pid}/fd")
        found = 0
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(link).startswith("socket:")
        return found - len([handle for handle in self.lab._handles.values() if handle.session.running])  # cards are sockets too


RIG: list[Rig] = []


def until(condition: Callable[[], bool], what: Callable[[], object], seconds: float = SETTLE) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise Wrong(f"not so after {seconds:.0f} s: {what()}")
        time.sleep(0.005)


class Course(RuleBasedStateMachine):
    """One course: a hub, begun and ended in it. `inside`: the number of the card in each slot; `proved`: whose login must
    work (True), must not (False), or may (None: another program has died on the card)."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = RIG[0]
        self.lab = self.rig.lab
        self.inside: list[int | None] = [None] * SLOTS
        self.proved: list[bool | None] = [False] * SLOTS
        self.holder: tuple[int, int, int] | None = None  # slot, context, handle of another program
        self.up = True
        self.hub = self.rig.call(self._begin())
        until(lambda: len(self.hub.slots) == SLOTS, lambda: f"{len(self.hub.slots)} slots")

    @staticmethod
    async def _begin() -> Hub:
        hub = Hub(QUICK)
        await hub.start()
        return hub

    def _slot(self, number: int) -> Slot:
        name = self.lab.readers[number]
        return next(slot for slot in self.hub.slots if name in slot.reader)

    @property
    def free(self) -> list[int]:
        """Slots with a card that no other program holds."""
        held = self.holder[0] if self.holder is not None else None
        return [number for number, card in enumerate(self.inside) if self.up and card is not None and number != held]

    # -- what happens ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.up)
    @rule(number=slots, card=cards)
    def plug(self, number: int, card: int) -> None:
        if self.inside[number] is None and card not in self.inside:
            self.rig.steps["plug"] += 1
            self.lab.insert(number, self.rig.cards[card])
            self.inside[number] = card

    @precondition(lambda self: self.up)
    @rule(number=slots)
    def unplug(self, number: int) -> None:
        if self.inside[number] is not None:
            self.rig.steps["unplug"] += 1
            self._let_go(number)
            self.lab.remove(number)
            self.inside[number], self.proved[number] = None, False

    @precondition(lambda self: self.up)
    @rule(number=slots, milliseconds=st.sampled_from((0, 20, 200)))
    def out_and_in(self, number: int, milliseconds: int) -> None:
        card = self.inside[number]
        if card is not None:
            self.rig.steps["out and in"] += 1
            self._let_go(number)
            self.lab.remove(number)
            time.sleep(milliseconds / 1000)
            self.lab.insert(number, self.rig.cards[card])
            self.proved[number] = False

    @precondition(lambda self: self.free)
    @rule(number=slots, kind=st.sampled_from(("pull", "pull-before")), command=st.integers(0, 3))
    def pull_in_an_operation(self, number: int, kind: str, command: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["pull in an operation"] += 1
        self.lab.card(number).set_fault(f"{kind}@{command}")
        with contextlib.suppress(*LOST, errors.ReaderBusy):
            self.rig.call(self._slot(number).count())
        self.lab.remove(number)
        self.inside[number], self.proved[number] = None, False

    @precondition(lambda self: self.rig.pcsc and self.free)
    @rule(number=slots)
    def reset_by_another(self, number: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["reset"] += 1
        context, handle = self._other(number)
        if scard.SCardReconnect(handle, SHARED, T0_T1, scard.SCARD_RESET_CARD)[0] != 0:
            raise Wrong("the other program cannot reset the card")
        self._leave(context, handle)
        self.proved[number] = False

    @precondition(lambda self: self.rig.pcsc and self.free)
    @rule(number=slots)
    def share(self, number: int) -> None:
        """Another program selects something else, between two of our operations."""
        number = self.free[number % len(self.free)]
        self.rig.steps["share"] += 1
        context, handle = self._other(number)
        scard.SCardTransmit(handle, scard.SCARD_PCI_T0, SELECT_MF)
        self._leave(context, handle)

    @precondition(lambda self: self.rig.pcsc and self.holder is None and self.free)
    @rule(number=slots)
    def hold(self, number: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["hold"] += 1
        self._settle(number)  # its first reading would only wait here
        context, handle = self._other(number)
        if scard.SCardBeginTransaction(handle) != 0:
            raise Wrong("the other program does not get the card")
        self.holder = (number, context, handle)
        try:
            self.rig.call(self._slot(number).count())
        except (errors.ReaderBusy, *LOST):  # lost: a card out and in again, not seen yet
            return
        raise Wrong("an operation ran in another program's transaction")

    @precondition(lambda self: self.holder is not None)
    @rule()
    def let_go(self) -> None:
        assert self.holder is not None
        self._let_go(self.holder[0])

    @precondition(lambda self: self.free)
    @rule(chance=st.integers(0, 3))
    def kill_the_service(self, chance: int) -> None:
        if chance:
            return
        self.rig.steps["service killed"] += 1
        if self.lab.galss is not None:
            self.lab.galss.kill()
        else:
            self.lab.kill_pcscd()
        if self.holder is not None:
            scard.SCardReleaseContext(self.holder[1])
        self.up, self.holder = False, None
        self.proved = [False] * SLOTS

    @precondition(lambda self: not self.up)
    @rule()
    def start_the_service(self) -> None:
        if self.lab.galss is not None:
            self.lab.galss.restart()
        else:
            self.lab.restart_pcscd()
        self.up = True
        self.rig.call(self.hub.looked(0.0))

    @precondition(lambda self: self.free)
    @rule(number=slots, milliseconds=st.sampled_from((150, 300, 500)))
    def kill_a_program(self, number: int, milliseconds: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["program killed"] += 1
        command = [str(Path(sys.executable).with_name("cpxd")), "card", "--reader", self.lab.readers[number]]
        environment = {**os.environ, **self.lab.env}
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet) as program:
            time.sleep(milliseconds / 1000)
            program.kill()
        if self.proved[number]:
            self.proved[number] = None

    # -- what is asked for -------------------------------------------------------------------------------------

    @precondition(lambda self: self.free)
    @rule(number=slots)
    def login(self, number: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["login"] += 1
        self._settle(number)
        slot = self._slot(number)
        with secret() as pin:
            for last in (False, False, True):  # what happened before may be noticed by this one
                try:
                    self.rig.call(slot.login("us", pin))
                    break
                except LOST as error:
                    if last:
                        raise Wrong(f"no login: {error!r}") from error
                    self._settle(number)
        self.proved[number] = True

    @precondition(lambda self: self.free)
    @rule(number=slots)
    def sign(self, number: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["sign"] += 1
        slot = self._slot(number)
        try:
            self.rig.call(slot.sign("us", "authentication", Mechanism("pkcs1", "sha256"), DIGEST))
        except (NotAllowed, *LOST) as error:
            if self.proved[number]:
                raise Wrong(f"a login that must hold does not: {error!r}") from error
            self.proved[number] = False
        else:
            if self.proved[number] is False:
                raise Wrong("signed without a proof of the PIN")
            self.proved[number] = True

    @precondition(lambda self: self.free)
    @rule(number=slots)
    def logout(self, number: int) -> None:
        number = self.free[number % len(self.free)]
        self.rig.steps["logout"] += 1
        with contextlib.suppress(NotAllowed, *LOST):
            self.rig.call(self._slot(number).logout("us"))
        self.proved[number] = False

    # -- what must be true -------------------------------------------------------------------------------------

    @invariant()
    def no_try_is_lost(self) -> None:
        for card in self.rig.cards:
            codes = card.state()["codes"]
            if (codes["1"]["tries_left"], codes["2"]["tries_left"]) != (3, 10):
                raise Wrong(f"tries lost: {codes}")
        if self.lab.errors():
            raise Wrong(f"the simulator: {self.lab.errors()}")

    @invariant()
    def every_slot_shows_its_card(self) -> None:
        for number in range(SLOTS):
            if self.holder is None or self.holder[0] != number:
                self._settle(number)

    def _settle(self, number: int) -> None:
        slot, card = self._slot(number), self.inside[number] if self.up else None
        if card is None:
            until(lambda: not slot.present and slot.token is None, lambda: f"slot {number} shows a card that is not there")
            if slot.logged_in("us"):
                raise Wrong("somebody is logged in to an empty slot")
            return
        wanted = self.rig.serials[card]

        def shown() -> bool:
            if slot.error is not None and slot.error.retry:
                self.rig.call(slot.ready(0.0))
            return slot.present and slot.token is not None and slot.token.root.serial.pan in wanted

        until(shown, lambda: f"slot {number}, card {wanted}: {slot.present}, {slot.error!r}, {slot.token}")

    def teardown(self) -> None:
        if self.holder is not None:
            self._let_go(self.holder[0])
        if not self.up:
            self.start_the_service()
        for number in range(SLOTS):
            with contextlib.suppress(LabError):
                self.lab.remove(number)
        self.rig.call(self.hub.stop())
        before = self.rig.before = self.rig.before or self.rig.figures()
        until(
            lambda: all(now <= then for now, then in zip(self.rig.figures(), before, strict=True)),
            lambda: f"descriptors, threads, clients: {before}, then {self.rig.figures()}",
            10.0,
        )

    # -- another program ---------------------------------------------------------------------------------------

    def _other(self, number: int) -> tuple[int, int]:
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        limit = time.monotonic() + SETTLE
        while True:
            code, handle, _ = scard.SCardConnect(context, self.lab.readers[number], SHARED, T0_T1)
            if code == 0:
                return context, handle
            if time.monotonic() > limit:
                raise Wrong(f"the other program does not get at the card: {code & 0xFFFFFFFF:08X}")
            time.sleep(0.01)

    @staticmethod
    def _leave(context: int, handle: int) -> None:
        scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
        scard.SCardReleaseContext(context)

    def _let_go(self, number: int) -> None:
        if self.holder is not None and self.holder[0] == number:
            _, context, handle = self.holder
            self.holder = None
            scard.SCardEndTransaction(handle, scard.SCARD_LEAVE_CARD)
            self._leave(context, handle)


def campaign(way: str, seconds: float, first: int) -> None:
    with Lab([], slots=SLOTS, galss=way == "galss") as lab:
        os.environ.update(lab.env)
        RIG[:] = [Rig(way, lab)]
        how = settings(
            max_examples=2,  # hypothesis begins with a course that does next to nothing
            stateful_step_count=15,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        limit, number = time.monotonic() + seconds, first
        while time.monotonic() < limit:
            RIG[0].seed = number
            run_state_machine_as_test(seed(number)(Course), settings=how)
            number += 1
    steps = RIG[0].steps
    print(f"  {way}: {sum(steps.values())} steps: " + ", ".join(f"{name} {count}" for name, count in steps.most_common()))


def both(seconds: float, first: int) -> int:
    """Every way at once, in processes of their own: libpcsclite keeps the socket it first connected to."""
    print(f"SOAK_SEED={first} SOAK_SECONDS={seconds:.0f}", flush=True)
    command = [sys.executable, __file__]
    running = [subprocess.Popen([*command, way, str(seconds), str(first)]) for way in WAYS]
    return max(process.wait() for process in running)


def main() -> int:
    if not sys.argv[1:]:
        return both(float(os.environ.get("SOAK_SECONDS") or 600), int(os.environ.get("SOAK_SEED") or secrets.randbelow(1 << 32)))
    way, seconds, first = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    try:
        campaign(way, seconds, first)
    except BaseException as error:
        where = f"soak_model {way}, SOAK_SEED {RIG[0].seed if RIG else first}"
        causes = getattr(error, "exceptions", (error,))  # of a step that went well when it was tried once more
        lines = [f"{type(cause).__name__}: {cause}" for cause in causes]
        print(where, *lines, *getattr(error, "__notes__", ()), sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the loop's thread and a call that hangs keep nobody
