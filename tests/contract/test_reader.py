# SPDX-License-Identifier: Apache-2.0
"""The reader contract: the same assertions for every way to a card. One process a way: libpcsclite keeps its first socket.

By hand: `python tests/contract/test_reader.py WAY [NAME…]`; `… record` writes the trace anew (README.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from contract_world import QUICK, TRACE, WAYS, Recorder, World, raises, secret, soon

from cpxd import errors
from cpxd.apdu import SW, Command, CommandError, Protocol, TransportError
from cpxd.card.application import Mechanism
from cpxd.card.session import CodeStates
from cpxd.reader import doors
from cpxd.service.desk import OpenCard
from simulator.lab import Lab

HANGS = 120.0  # seconds without a word: then a scenario hangs
PATIENCE = 8.0  # seconds, for an event: GALSS is asked every 2 s
SELECT_SERIAL = Command(0x00, 0xA4, 0x09, 0x04, bytes.fromhex("3F00D003"), 256)
LOST = (errors.CardRemoved, errors.CardMute, errors.NoCard)


def codes(card: OpenCard) -> CodeStates:
    return card.run(lambda session, begin: session.code_states(begin))


def holds_the_reader_is_listed_once(world: World) -> None:
    name = world.mine(doors.look()).name
    assert name.strip() and name.isprintable()
    with world.door() as door:
        assert world.mine(door.states()).name == name


def holds_presence_and_atr(world: World) -> None:
    state = world.state()
    assert (state.present, state.mute, state.atr) == (True, False, world.card.atr)
    with world.link() as link:
        assert link.atr == world.card.atr
    world.lab.remove(0)
    assert not world.state().present
    with world.door() as door:
        raises((errors.NoCard, errors.CardRemoved), lambda: door.connect(world.reader(), wait=1.0, allowed=lambda: None))


def holds_looking_touches_no_card(world: World) -> None:
    for _ in range(3):
        world.state()
    assert world.sent == []


def holds_select_and_read(world: World) -> None:
    with world.link() as link, link.transaction(lambda: None):
        assert link.transport.transmit(SELECT_SERIAL).ok
        answer = link.transport.transmit(Command(0x00, 0xB0, 0, 0, b"", len(world.serial_file)))
        assert (answer.sw, answer.data) == (SW.OK, world.serial_file)


def holds_every_iso_case(world: World) -> None:
    with world.link() as link, link.transaction(lambda: None):
        send = link.transport.transmit
        assert link.transport.protocol is Protocol.T0, "the ATR of a CPS3 offers nothing else"
        assert send(Command(0x00, 0x20, 0x00, 0x01)).sw == 0x63C3, "case 1: nothing in, nothing out"
        case3 = send(Command(0x00, 0xA4, 0x09, 0x0C, bytes.fromhex("3F00D003")))
        assert (case3.sw, case3.data) == (SW.OK, b"")
        case4 = send(SELECT_SERIAL)
        assert case4.ok and case4.data[0] == 0x62, "case 4: fetched by GET RESPONSE"
        case2 = send(Command(0x00, 0xB0, 0, 0, b"", 256))
        assert (case2.sw, case2.data) == (SW.OK, world.serial_file), "case 2, the length corrected after 6Cxx"
        assert send(Command(0x00, 0xB0, 0, 0, b"", 1)).data == world.serial_file[:1]
        for size in (1, 254, 255):
            assert send(Command(0x00, 0xA4, 0x09, 0x0C, b"\x3f" * size)).sw >> 8 in (0x6A, 0x67)
        assert send(Command(0x00, 0xD6, 0x00, 0x00, bytes(600))).sw != SW.OK, "chained: three blocks, one answer"
        assert send(Command(0x80, 0xFE, 0x00, 0x00)).sw in (SW.INSTRUCTION_NOT_SUPPORTED, SW.CLASS_NOT_SUPPORTED)
        assert send(SELECT_SERIAL).ok, "a refusal breaks nothing"


def holds_a_command_that_cannot_be_written_is_not_sent(world: World) -> None:
    with world.link() as link, link.transaction(lambda: None):
        before = len(world.sent)
        for command in (Command(0x00, 0x20, 0, 1, b"1234"), Command(0x100, 0xB0, 0, 0), Command(0, 0xB0, 0, 0, b"", 257)):
            with pytest.raises(CommandError):
                link.transport.transmit(command)
        assert len(world.sent) == before


def holds_a_card_held_by_another_is_waited_for(world: World) -> None:
    with world.open() as card:
        assert codes(card).pin.tries_left == 3
        with world.held_by_another():
            before, begin = len(world.sent), time.monotonic()
            raises((errors.ReaderBusy, errors.CardMute), lambda: codes(card))
            assert 0.5 < time.monotonic() - begin < 5
            assert len(world.sent) == before, "nothing is sent in another program's section"
        time.sleep(1.2)
        assert len(world.sent) == before, "an operation given up does not run behind the caller's back"
        assert codes(card).pin.tries_left == 3


def holds_operations_do_not_mix(world: World) -> None:
    """Two users of one card in one process: each operation is whole, in commands that follow each other."""
    answers: queue.Queue[object] = queue.Queue()

    def user() -> None:
        try:
            with world.open() as card:
                answers.put([codes(card).pin.tries_left for _ in range(3)])
        except BaseException as error:
            answers.put(error)

    threads = [threading.Thread(target=user) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [answers.get(timeout=1) for _ in threads] == [[3, 3, 3], [3, 3, 3]]


def _removed(world: World, kind: str, number: int) -> None:
    world.fresh()
    with world.open() as card:
        world.handle.set_fault(f"{kind}@{number}")
        begin = time.monotonic()
        raises(LOST, lambda: codes(card))
        assert time.monotonic() - begin < 3
        raises((*LOST, errors.UnknownReader), lambda: codes(card))
        world.fresh()
        assert codes(card).pin.tries_left == 3, "the same user goes on with the card put back"


def holds_a_removal_in_an_exchange_is_told(world: World) -> None:
    for kind, number in (("pull-before", 0), ("pull", 1)):
        _removed(world, kind, number)


def holds_insertion_and_removal_are_noticed(world: World) -> None:
    with world.door() as door:
        known = door.states()
        for action, present in ((lambda: world.lab.remove(0), False), (lambda: world.lab.insert(0, world.card), True)):
            timer, begin = soon(action), time.monotonic()
            found = known
            while time.monotonic() - begin < PATIENCE and world.mine(found).present is not present:
                found = door.wait(found, PATIENCE)
            timer.join()
            assert world.mine(found).present is present
            assert world.mine(found).events != world.mine(known).events
            known = found


def holds_a_card_out_and_in_again_is_another_insertion(world: World) -> None:
    with world.door() as door, world.open() as card:
        known = door.states()
        codes(card)
        world.lab.remove(0)
        world.lab.insert(0, world.card)
        found = door.wait(known, PATIENCE)
        assert world.mine(found).present and world.mine(found).events != world.mine(known).events
        begin = len(world.sent)
        try:
            codes(card)
        except errors.CpxError as error:
            assert isinstance(error, LOST), error
        assert codes(card).pin.tries_left == 3
        assert world.sent[begin][:2] == b"\x00\xa4", "nothing of the card before is believed"


def holds_rest_and_cancel(world: World) -> None:
    with world.door() as door:
        known, begin = door.states(), time.monotonic()
        assert door.wait(known, 0.3) == known
        assert 0.25 < time.monotonic() - begin < 2
        timer, begin = soon(door.cancel, 0.3), time.monotonic()
        assert door.wait(known, 30) == known
        assert time.monotonic() - begin < 5
        timer.join()


def holds_a_silent_card_has_a_deadline(world: World) -> None:
    with world.open() as card:
        codes(card)
        world.handle.set_fault("mute@0")
        begin = time.monotonic()
        raises(errors.CardMute, lambda: codes(card))
        assert 0.9 < time.monotonic() - begin < 3


def holds_a_late_answer_is_nobodys(world: World) -> None:
    with world.open() as card:
        codes(card)
        world.handle.set_fault("delay@0=1500ms")
        raises(errors.CardMute, lambda: codes(card))
        limit = time.monotonic() + 10
        while True:
            try:
                assert codes(card).pin.tries_left == 3
                return
            except errors.CpxError as error:
                assert isinstance(error, (errors.CardMute, errors.ReaderBusy, errors.CardReset)), repr(error)
                assert time.monotonic() < limit


def holds_bad_answers_are_typed(world: World) -> None:
    for fault in ("cut@0=1", "cut@0=0", "garbage@0=300", "truncate@0=0", "sw@*=6F00"):
        world.fresh()
        with world.open() as card:
            world.handle.set_fault(fault)
            try:
                codes(card)
            except errors.CpxError as error:
                assert type(error) is not errors.Internal, repr(error)


def holds_a_closed_handle_is_refused(world: World) -> None:
    with world.link() as link:
        with link.transaction(lambda: None):
            assert link.transport.transmit(SELECT_SERIAL).ok
        link.close()
        before = len(world.sent)

        def use() -> None:
            with link.transaction(lambda: None):
                link.transport.transmit(SELECT_SERIAL)

        raises(errors.CpxError, use)
        with pytest.raises(TransportError):
            link.transport.transmit(SELECT_SERIAL)
        assert len(world.sent) == before


def holds_a_caller_who_left_gets_no_card(world: World) -> None:
    def left() -> None:
        raise errors.ReaderBusy(seconds=0)

    with world.link() as link:
        before = len(world.sent)

        def use() -> None:
            with link.transaction(left):
                raise AssertionError("not reached")

        raises(errors.ReaderBusy, use)
        assert len(world.sent) == before
        with link.transaction(lambda: None):
            assert link.transport.transmit(SELECT_SERIAL).ok, "and it was given back"


def holds_no_try_is_lost(world: World) -> None:
    """The right PIN, and the card pulled at each command of the operation: before it, and before its answer."""
    for kind in ("pull-before", "pull"):
        for number in range(3):
            world.fresh()
            with world.open() as card, secret(b"1234") as pin:
                card.run(lambda session, begin: session.root(begin))
                world.handle.set_fault(f"{kind}@{number}")
                try:
                    card.run(lambda session, begin, pin=pin: session.verify(begin, pin))
                except errors.CpxError as error:
                    assert isinstance(error, LOST), repr(error)
            world.check()
    verified = [command for command in world.sent if command[1] == 0x20 and len(command) > 5]
    assert len(verified) <= 1, "a PIN is sent once, whatever is answered"


def holds_proof_and_signature(world: World) -> None:
    with world.open() as card, secret(b"1234") as pin:
        card.run(lambda session, begin: session.verify(begin, pin))
        digest = hashlib.sha256(b"contract").digest()
        mechanism = Mechanism("pkcs1", "sha256")
        signature = card.run(lambda session, begin: session.sign(begin, "authentication", mechanism, digest))
        assert len(signature) == 256, "and it was verified with the card's certificate before it came here"
    with world.open() as card:
        raises(errors.CardReset, lambda: card.run(lambda session, begin: session.data(begin, private=True)))


def holds_a_reset_by_hand_is_counted(world: World) -> None:
    with world.link() as link:
        assert link.epoch == 0
        link.release(reset=True)
        assert link.epoch == 1
        with link.transaction(lambda: None):
            assert link.transport.transmit(SELECT_SERIAL).ok
        told = link.epoch  # pcscd tells us of our own reset once more
        with link.transaction(lambda: None):
            assert link.transport.transmit(SELECT_SERIAL).ok
        assert link.epoch == told


def holds_the_service_dies_and_comes_back(world: World) -> None:
    with world.open() as card:
        codes(card)
        world.kill_service()
        raises((errors.NoService, errors.CardRemoved), lambda: codes(card))
        world.restart_service()
        limit = time.monotonic() + 10
        while True:
            try:
                assert codes(card).pin.tries_left == 3
                return
            except errors.CpxError as error:
                assert isinstance(error, (errors.NoService, *LOST)), repr(error)
                assert time.monotonic() < limit


def holds_handles_are_given_back(world: World) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use() -> None:
        with world.open() as card:
            codes(card)
        with world.link():
            pass

    use()
    before, threads = descriptors(), threading.active_count()
    for _ in range(10):
        use()
    limit = time.monotonic() + 5

    def left() -> tuple[int, int, int]:
        sessions = world.lab.galss.sessions if world.lab.galss is not None else 0
        return max(0, descriptors() - before), max(0, threading.active_count() - threads), sessions

    while any(left()) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not any(left()), left()


SCENARIOS = {name.removeprefix("holds_"): call for name, call in list(globals().items()) if name.startswith("holds_")}


class Worker:
    """The process of one way, which plays these scenarios one after the other and says "" or why one does not hold."""

    def __init__(self, way: str, names: list[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by _listen
        command = [sys.executable, __file__, way, "-", *names]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._said: queue.Queue[tuple[str, str]] = queue.Queue()
        self._known: dict[str, str] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, why = json.loads(line)
            self._said.put((name, why))
        status = self._process.wait()
        self._errors.seek(0)
        self._said.put(("", f"the process has ended, {status}: {self._errors.read()[-2000:]}"))
        self._errors.close()

    def why(self, name: str) -> str:
        while name not in self._known and "" not in self._known:
            try:
                told, why = self._said.get(timeout=HANGS)
            except queue.Empty:
                self._process.kill()
                return f"hangs: nothing in {HANGS:.0f} s"
            self._known[told] = why
        return self._known.get(name, self._known.get("", ""))

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def workers(request: pytest.FixtureRequest) -> Iterator[dict[str, Worker]]:
    """All ways at once: they spend their time waiting."""
    wanted: dict[str, list[str]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.function is test_contract:
            wanted.setdefault(item.callspec.params["way"], []).append(item.callspec.params["name"])
    made = {way: Worker(way, names) for way, names in wanted.items()}
    yield made
    for worker in made.values():
        worker.close()


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("way", WAYS)
def test_contract(workers: dict[str, Worker], way: str, name: str) -> None:
    why = workers[way].why(name)
    assert not why, why


def play(world: World, name: str) -> str:
    try:
        world.fresh()
        SCENARIOS[name](world)
        world.check()
    except BaseException:
        return traceback.format_exc()
    return ""


def main(way: str, *names: str) -> None:
    record = way == "record"
    options = WAYS["driver" if record else way]
    with Lab([], slots=1, timeout_ms=4000, **options) as lab:  # type: ignore[arg-type]
        os.environ.update(lab.env)
        world = World("driver" if record else way, lab, record=record)
        told_to_a_program = names[:1] == ("-",)
        for name in (names[1:] if told_to_a_program else names) or SCENARIOS:
            begin = time.monotonic()
            said = play(world, name)
            shown = f"{name}: {said or 'holds'} {time.monotonic() - begin:.2f}"
            print(json.dumps([name, said]) if told_to_a_program else shown, flush=True)
        if isinstance(world.card, Recorder):
            world.card.write(TRACE)


if __name__ == "__main__":
    assert not QUICK.card_cache
    main(*sys.argv[1:])
