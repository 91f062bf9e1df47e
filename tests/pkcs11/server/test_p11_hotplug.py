# SPDX-License-Identifier: Apache-2.0
"""Readers that come and go under the daemon, as hubs, sleep and people make them: the stock pcscd's own hot plug. A login is for
one insertion of one card; whatever comes back, even the same card at once, has to be logged in to again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from p11_daemon import Daemon, until
from p11_wire import Refused, Wire

from simulator.lab import Lab
from simulator.usb import Terminal

CLASS, PRIVATE_KEY, RSA_PKCS, SHA256_RSA_PKCS = 0x0, 3, 0x1, 0x40
LOST = {0x30, 0x32, 0xB3, 0xE0, 0x101}  # DEVICE_ERROR, DEVICE_REMOVED, SESSION_HANDLE_INVALID, TOKEN_NOT_PRESENT, NOT_LOGGED_IN
LEO = "XIRING Leo v2"
FIRST, SECOND = b"99701001", b"99701005"  # the chips of the two cards


@pytest.fixture(scope="module")
def plugged() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3", "cpa:cps3"], usb=[Terminal(LEO), Terminal(LEO), Terminal("Lecteur Véga", 2)]) as lab:
        yield lab


@pytest.fixture(scope="module")
def hotplug(plugged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(plugged, folder=tmp_path_factory.mktemp("hot")) as daemon:
        yield daemon


@pytest.fixture
def wire(plugged: Lab, hotplug: Daemon) -> Iterator[Wire]:
    """A client before two fresh cards in readers 0 and 1."""
    for slot, card in enumerate(("cps-medecin:cps3", "cpa:cps3")):
        plugged.insert(slot, card)
    with hotplug.client() as client:
        soon(lambda: serials(client)[:2] == [FIRST, SECOND])
        yield client


def soon(condition: Callable[[], object]) -> None:
    until(condition, 20)


def serials(client: Wire) -> list[bytes]:
    """Of the token in each slot; empty where there is none."""
    found = []
    for slot in client.GetSlotList(0, 64):
        try:
            found.append(client.GetTokenInfo(slot)[3].strip())
        except Refused:
            found.append(b"")
    return found


def logged_in(client: Wire, slot: int = 0) -> tuple[int, int]:
    """A session with the PIN proved, and its key."""
    session = client.open(slot)
    client.login(session)
    return session, client.one(session, (CLASS, PRIVATE_KEY), (0x3, b"CPS_PRIV_AUT"))


def is_lost(client: Wire, session: int, key: int) -> bool:
    """The session is dead, and nothing is signed for it."""
    try:
        client.sign(session, key, SHA256_RSA_PKCS, b"data")
    except Refused as error:
        assert error.rv in LOST, hex(error.rv)
        return True
    return False


def starts_anew(client: Wire, slot: int = 0) -> None:
    """Nobody is logged in; the PIN is asked for, and then all works. The daemon may still be hearing of what has happened."""

    def works() -> bool:
        try:
            session = client.open(slot)
            state, found = client.GetSessionInfo(session)[1], client.find(session, (CLASS, PRIVATE_KEY))
            assert (state, found) == (2, []), "a read-write session of nobody"
            client.login(session)
            key = client.one(session, (CLASS, PRIVATE_KEY), (0x3, b"CPS_PRIV_AUT"))
            return bool(client.sign(session, key, SHA256_RSA_PKCS, b"data"))
        except Refused as error:
            assert error.rv in LOST, hex(error.rv)
            return False

    soon(works)


def tries(lab: Lab, slot: int = 0) -> int:
    virtual: Any = lab.card(slot).card
    return int(virtual.state()["codes"]["1"]["tries_left"])


def test_unplugged_while_logged_in(plugged: Lab, wire: Wire) -> None:
    session, key = logged_in(wire)
    plugged.unplug(0)
    soon(lambda: is_lost(wire, session, key))
    assert wire.GetTokenInfo(1)[3].strip() == SECOND, "the other reader goes on"
    plugged.plug(0)
    soon(lambda: serials(wire)[0] == FIRST)
    assert is_lost(wire, session, key)
    starts_anew(wire)
    assert tries(plugged) == 3


def test_unplugged_in_the_middle_of_a_command(plugged: Lab, wire: Wire) -> None:
    session, key = logged_in(wire)
    plugged.card(0).set_fault("delay@*=30s")
    pulling = threading.Timer(0.3, plugged.unplug, (0,))
    pulling.start()
    begun = time.monotonic()
    assert is_lost(wire, session, key)
    assert time.monotonic() - begun < 25, "an unplugged reader is not waited for until the card would have answered"
    pulling.join()
    plugged.plug(0)
    soon(lambda: serials(wire)[0] == FIRST)
    starts_anew(wire)
    assert tries(plugged) == 3


def test_a_hub_that_gives_the_readers_other_numbers(plugged: Lab, wire: Wire) -> None:
    """Two readers of one model: after the hub they have changed names. What was begun on one card is not done on the other."""
    session, key = logged_in(wire)
    before = list(plugged.readers[:2])
    for terminal in (0, 1):
        plugged.unplug(terminal)
    for terminal in (1, 0):
        plugged.plug(terminal)
    assert plugged.readers[:2] == before[::-1], "this test is about names that move"
    soon(lambda: serials(wire)[:2] == [SECOND, FIRST])
    assert is_lost(wire, session, key)
    for slot in (1, 0):
        starts_anew(wire, slot)
    for terminal in (0, 1):
        plugged.unplug(terminal)
    for terminal in (0, 1):
        plugged.plug(terminal)
    soon(lambda: serials(wire)[:2] == [FIRST, SECOND])


def test_sleep_and_wake(plugged: Lab, wire: Wire) -> None:
    """The bus loses its power and has it again, faster than anybody looks: all cards are reset."""
    session, key = logged_in(wire)
    count = len(wire.GetSlotList(0, 64))
    for terminal in range(3):
        plugged.unplug(terminal)
    for terminal in range(3):
        plugged.plug(terminal)
    soon(lambda: is_lost(wire, session, key))
    soon(lambda: serials(wire)[:2] == [FIRST, SECOND])
    starts_anew(wire)
    assert len(wire.GetSlotList(0, 64)) == count, "the same readers have the same slots"


def test_pcscd_restarted(plugged: Lab, wire: Wire) -> None:
    session, key = logged_in(wire)
    plugged.restart_pcscd()
    soon(lambda: is_lost(wire, session, key))
    soon(lambda: serials(wire)[:2] == [FIRST, SECOND])
    starts_anew(wire)


@pytest.mark.parametrize("rest", [0.0, 0.05, 0.15])
def test_yanked_and_put_back_at_once(plugged: Lab, wire: Wire, rest: float) -> None:
    session, key = logged_in(wire)
    virtual = plugged.card(0).card
    plugged.card(0).pull()
    time.sleep(rest)
    plugged.insert(0, virtual)
    soon(lambda: is_lost(wire, session, key))
    soon(lambda: serials(wire)[0] == FIRST)
    assert is_lost(wire, session, key)
    starts_anew(wire)


def test_sixteen_readers(tmp_path: Path) -> None:
    """As many as pcscd has; one comes and goes in the middle of them."""
    cards: list[str | None] = [None] * 16
    cards[3] = cards[15] = "cps-medecin:cps3"
    readers = [Terminal("Lecteur", serial=f"{number:02}") for number in range(16)]
    with Lab(cards, usb=readers) as lab, Daemon(lab, folder=tmp_path) as daemon, daemon.client() as client:
        assert len(client.GetSlotList(0, 64)) == 16
        soon(lambda: client.GetSlotList(1, 64) == [3, 15])
        soon(lambda: serials(client)[15] == FIRST)
        session, key = logged_in(client, 15)
        lab.unplug(3)
        soon(lambda: client.GetSlotList(1, 64) == [15])
        assert client.sign(session, key, SHA256_RSA_PKCS, b"data"), "the others do not notice"
        lab.plug(3)
        soon(lambda: client.GetSlotList(1, 64) == [3, 15])
        lab.insert(0, "cpa:cps4")
        soon(lambda: client.GetSlotList(1, 64) == [0, 3, 15])
        assert client.sign(session, key, SHA256_RSA_PKCS, b"data")
