# SPDX-License-Identifier: Apache-2.0
"""What only PC/SC has: resets and holds by other programs. The rest is in tests/contract. Each scenario in a process of its own,
because libpcsclite keeps the socket it first connected to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from smartcard import scard

from cpxd import errors
from cpxd.card.session import CodeStates
from cpxd.config import Settings
from cpxd.reader import doors
from cpxd.service import desk
from cpxd.service.desk import OpenCard
from simulator.lab import Lab

READER = "cpx-sim 00 00"
SHARED, EXCLUSIVE, T0_T1 = scard.SCARD_SHARE_SHARED, scard.SCARD_SHARE_EXCLUSIVE, 3
QUICK = Settings(reader_wait=1.0, card_silence=1.0)


def raised(kind: type[errors.CpxError], call: Callable[[], object]) -> float:
    """Seconds until `call` raised exactly `kind`."""
    begin = time.monotonic()
    try:
        call()
    except errors.CpxError as error:
        assert type(error) is kind, repr(error)
        return time.monotonic() - begin
    raise AssertionError(f"{kind.__name__} was not raised")


def soon(action: Callable[[], object], seconds: float = 0.2) -> None:
    threading.Timer(seconds, action).start()


def codes(card: OpenCard) -> CodeStates:
    return card.run(lambda session, begin: session.code_states(begin))


def other_program(mode: int = SHARED) -> int:
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    code, handle, _ = scard.SCardConnect(context, READER, mode, T0_T1)
    assert code == 0
    return int(handle)


def scenario_pcscd_hangs(lab: Lab) -> None:
    """It takes the connection and never answers."""
    doors._SERVICE_WAIT = 0.5
    os.kill(pid := lab.pcscd_pid, signal.SIGSTOP)
    try:
        assert raised(errors.SilentService, desk.places) < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    doors._SERVICE_WAIT = 10.0
    assert [place.state.name for place in desk.places()][:1] == [READER]


def scenario_reset_by_another_program(lab: Lab) -> None:
    with OpenCard(READER, QUICK) as card:
        card.run(lambda session, begin: session.tree(begin))
        before = len(lab.card(0).trace)
        assert scard.SCardReconnect(other_program(), SHARED, T0_T1, scard.SCARD_RESET_CARD)[0] == 0
        assert codes(card).pin.tries_left == 3
        sent = [apdu.hex() for apdu, _ in lab.card(0).trace[before:]]
        assert sent[0].startswith("00a409") and sent[0].endswith("3f00d003"), "the serial number is read again first"
        assert card.run(lambda session, begin: session.link.epoch) == 1


def scenario_power_cut_by_another_program(lab: Lab) -> None:
    """What many a program does when it ends: pcscd then tells the others that the card is mute, until one asks for power."""
    with OpenCard(READER, QUICK) as card:
        card.run(lambda session, begin: session.tree(begin))
        assert scard.SCardDisconnect(other_program(), scard.SCARD_UNPOWER_CARD) == 0
        assert codes(card).pin.tries_left == 3
        assert card.run(lambda session, begin: session.link.epoch) == 1


def scenario_reset_in_a_transaction(lab: Lab) -> None:
    """pcscd looks whether a card is held before it waits for the reader: a reset may be let in after our begin."""
    with OpenCard(READER, QUICK) as card:
        codes(card)

        def told(code: int) -> errors.CpxError:
            return card.run(lambda session, begin: session.link._diagnose(code))

        assert type(told(scard.SCARD_E_PROTO_MISMATCH)) is errors.CardReset
        assert type(told(scard.SCARD_E_NOT_TRANSACTED)) is errors.CardMute


def scenario_swapped_card(lab: Lab) -> None:
    with OpenCard(READER, QUICK) as card:
        first = card.run(lambda session, begin: session.root(begin)).serial
        lab.remove(0)
        lab.insert(0, "cpa:cps3")
        raised(errors.CardRemoved, lambda: codes(card))
        assert not lab.card(0).trace, "nothing was sent to the other card"
        assert card.run(lambda session, begin: session.root(begin)).serial != first


def scenario_card_held_by_another_program(lab: Lab) -> None:
    handle = other_program()
    with OpenCard(READER, QUICK) as card:
        codes(card)
        assert scard.SCardBeginTransaction(handle) == 0
        before = len(lab.card(0).trace)
        assert 0.9 < raised(errors.ReaderBusy, lambda: codes(card)) < 1.5
        scard.SCardEndTransaction(handle, scard.SCARD_LEAVE_CARD)
        time.sleep(0.3)
        assert len(lab.card(0).trace) == before, "an operation given up must not run behind the caller's back"
        assert codes(card).pin.tries_left == 3
        assert scard.SCardBeginTransaction(handle) == 0
        soon(lambda: scard.SCardEndTransaction(handle, scard.SCARD_LEAVE_CARD), 0.4)
        assert codes(card).pin.tries_left == 3, "a short hold is waited for"


def scenario_exclusive_holder(lab: Lab) -> None:
    handle = other_program(EXCLUSIVE)
    with OpenCard(READER, QUICK) as card:
        assert 0.9 < raised(errors.ReaderBusy, lambda: codes(card)) < 1.6
        soon(lambda: scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD), 0.3)
        assert codes(card).pin.tries_left == 3


def scenario_codes_end_with_us(lab: Lab) -> None:
    other_program()  # its handle keeps the card powered after us
    with OpenCard(READER, QUICK) as card:
        read, write = os.pipe()
        os.write(write, b"1234\n")
        from cpxd.apdu import Secret

        with Secret.from_fd(read) as pin:
            card.run(lambda session, begin: session.verify(begin, pin))
        private = card.run(lambda session, begin: session.data(begin, private=True))
        assert "CPS_ACTIVITY_01_PS" in private
    with OpenCard(READER, QUICK) as card:
        raised(errors.CardReset, lambda: card.run(lambda session, begin: session.data(begin, private=True)))


SCENARIOS = {name.removeprefix("scenario_"): call for name, call in list(globals().items()) if name.startswith("scenario_")}


@pytest.mark.parametrize("name", SCENARIOS)
def test_reader(name: str) -> None:
    done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    with Lab(["cps-medecin:cps3"], slots=2) as here:
        os.environ.update(here.env)
        SCENARIOS[sys.argv[1]](here)
