# SPDX-License-Identifier: Apache-2.0
"""Logins belong to the connection that proved the PIN; tries are never lost to software."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from p11_daemon import Daemon, commands, refused, until
from p11_wire import Wire

from simulator.lab import Lab

LOW, FINAL, LOCKED, SO_LOW = 0x10000, 0x20000, 0x40000, 0x100000
VERIFY = 0x20
AUT, SIG = b"CPS_PRIV_AUT", b"CPS_PRIV_SIG"


def counters(client: Wire, slot: int) -> int:
    flags = client.GetTokenInfo(slot)[4]
    assert isinstance(flags, int)
    return flags & 0x770000


def state(client: Wire, session: int) -> int:
    found = client.GetSessionInfo(session)[1]
    assert isinstance(found, int)
    return found


def verifies(lab: Lab, slot: int, start: int = 0) -> int:
    """VERIFY commands that carried a code."""
    return sum(command[1] == VERIFY and len(command) > 5 for command, _ in lab.card(slot).trace[start:])


@pytest.mark.parametrize("slot", [0, 1])
def test_login_and_out(client: Wire, lab: Lab, slot: int) -> None:
    writable, reading = client.open(slot), client.open(slot, writable=False)
    assert (state(client, writable), state(client, reading)) == (2, 0)
    start = len(lab.card(slot).trace)
    client.login(reading)
    assert commands(lab.card(slot).trace, start) == 2  # the counter, then VERIFY
    assert (state(client, writable), state(client, reading)) == (3, 1)
    refused(0x100, client.Login, writable, 1, b"1234")
    refused(0x104, client.Login, writable, 0, b"12345678")
    key = client.private_key(writable, AUT)
    client.Logout(writable)
    assert (state(client, writable), state(client, reading)) == (2, 0)
    refused(0x101, client.Logout, writable)
    refused(0x101, client.SignInit, writable, 0x40, key)
    start = len(lab.card(slot).trace)
    client.login(writable)
    assert commands(lab.card(slot).trace, start) == 2


@pytest.mark.parametrize("slot", [0, 1])
def test_logout_ends_the_proof_on_the_card(client: Wire, lab: Lab, slot: int) -> None:
    session = client.open(slot)
    client.login(session)
    assert lab.card(slot).card._pins.verified(1)  # type: ignore[attr-defined]
    client.Logout(session)
    assert not lab.card(slot).card._pins.verified(1)  # type: ignore[attr-defined]


def test_closing_the_last_session_logs_out(client: Wire, lab: Lab) -> None:
    first, second = client.open(0), client.open(0)
    client.login(first)
    client.CloseSession(first)
    assert state(client, second) == 3
    client.CloseAllSessions(0)
    refused(0xB3, client.GetSessionInfo, second)
    assert not lab.card(0).card._pins.verified(1)  # type: ignore[attr-defined]
    assert state(client, client.open(0)) == 2


@pytest.mark.parametrize("slot", [0, 1])
def test_two_applications(client: Wire, fresh: Daemon, lab: Lab, slot: int) -> None:
    with fresh.client() as other:
        mine, theirs = client.open(slot), other.open(slot)
        client.login(mine)
        key = client.private_key(mine, AUT)
        assert state(other, theirs) == 2 and other.find(theirs, (0, 3)) == []
        refused(0x101, other.SignInit, theirs, 0x40, key)
        start = len(lab.card(slot).trace)
        other.login(theirs)
        assert verifies(lab, slot, start) == 1  # it must prove the PIN itself
        client.Logout(mine)
        assert len(other.sign(theirs, key, 0x40, b"still in")) == 256
        refused(0x101, client.SignInit, mine, 0x40, key)
        other.Logout(theirs)
    assert not lab.card(slot).card._pins.verified(1)  # type: ignore[attr-defined]


def test_a_dead_application_is_logged_out(client: Wire, fresh: Daemon, lab: Lab) -> None:
    dying = fresh.client()
    dying.login(dying.open(0))
    assert lab.card(0).card._pins.verified(1)  # type: ignore[attr-defined]
    dying.close()
    until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]


def test_a_killed_program_is_logged_out(fresh: Daemon, lab: Lab) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            client = fresh.client()
            client.login(client.open(0))
            signal.pause()
        finally:
            os._exit(1)
    until(lambda: lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]


@pytest.mark.parametrize("slot", [0, 1])
def test_wrong_pins(client: Wire, lab: Lab, slot: int) -> None:
    session = client.open(slot)
    assert counters(client, slot) == 0
    refused(0xA0, client.Login, session, 1, b"9999")
    assert counters(client, slot) == LOW
    start = len(lab.card(slot).trace)
    refused(0xA0, client.Login, session, 1, b"9999")  # the same again: not sent
    refused(0xA0, client.Login, session, 1, b"12345")
    refused(0xA0, client.Login, session, 1, b"12a4")
    refused(0xA0, client.Login, session, 1, b"")
    refused(0xA0, client.Login, session, 1, b"1" * 1000)
    assert verifies(lab, slot, start) == 0 and counters(client, slot) == LOW
    refused(0xA0, client.Login, session, 1, b"8888")
    assert counters(client, slot) == LOW | FINAL
    start = len(lab.card(slot).trace)
    refused(0x200, client.Login, session, 1, b"1234")  # the last try: nobody to confirm it
    assert verifies(lab, slot, start) == 0
    assert lab.card(slot).card._pins[1].tries_left == 1  # type: ignore[attr-defined]


def test_last_try_and_blocked(lab: Lab, fresh: Daemon, short: Path) -> None:
    with Daemon(lab, '[pkcs11]\nlast_try = "allow"\n', folder=short) as daemon, daemon.client() as client:
        for slot in (0, 1):
            session = client.open(slot)
            for pin in (b"9999", b"8888"):
                refused(0xA0, client.Login, session, 1, pin)
            refused(0xA4, client.Login, session, 1, b"7777")
            assert counters(client, slot) == LOCKED
            start = len(lab.card(slot).trace)
            refused(0xA4, client.Login, session, 1, b"1234")
            assert verifies(lab, slot, start) == 0  # blocked is seen by the counter
            client.Login(session, 0, b"12345678")
            assert state(client, session) == 4
            refused(0xA2, client.InitPIN, session, b"12345")
            refused(0xA1, client.InitPIN, session, b"12a4")
            client.InitPIN(session, b"4321")
            assert counters(client, slot) == 0
            client.Logout(session)
            client.login(session, b"4321")
            refused(0x101, client.InitPIN, session, b"1111")


def test_wrong_unblock_code(client: Wire) -> None:
    session, reading = client.open(0), client.open(0, writable=False)
    refused(0xB7, client.Login, session, 0, b"12345678")
    client.CloseSession(reading)
    refused(0xA0, client.Login, session, 0, b"87654321")
    assert counters(client, 0) == SO_LOW
    client.Login(session, 0, b"12345678")
    assert counters(client, 0) == 0
    refused(0xB8, client.OpenSession, 0, 4)
    assert client.find(session, (0, 3)) == []  # the security officer sees no key


@pytest.mark.parametrize("slot", [0, 1])
def test_change(client: Wire, lab: Lab, slot: int) -> None:
    session = client.open(slot)
    start = len(lab.card(slot).trace)
    refused(0xA2, client.SetPIN, session, b"1234", b"12345")
    refused(0xA0, client.SetPIN, session, b"12345", b"4321")
    refused(0xA1, client.SetPIN, session, b"1234", b"1234")
    refused(0xB5, client.SetPIN, client.open(slot, writable=False), b"1234", b"4321")
    assert commands(lab.card(slot).trace, start) == 0
    refused(0xA0, client.SetPIN, session, b"9999", b"4321")
    assert counters(client, slot) == LOW
    client.SetPIN(session, b"1234", b"4321")
    assert counters(client, slot) == 0
    assert not lab.card(slot).card._pins.verified(1)  # type: ignore[attr-defined]
    refused(0xA0, client.Login, session, 1, b"1234")
    client.login(session, b"4321")


def test_context_and_strange_users(client: Wire) -> None:
    session = client.open(0)
    refused(0x91, client.Login, session, 2, b"1234")
    refused(0x103, client.Login, session, 7, b"1234")
    refused(0x07, client.Login, session, 1, None)  # nobody asked for our dialog
    refused(0x54, client.LoginUser, session, 1, b"1234", b"somebody")
    client.LoginUser(session, 1, b"1234", None)
    assert state(client, session) == 3


def test_a_reset_by_another_program_ends_the_logins(client: Wire, lab: Lab) -> None:
    session = client.open(0)
    client.login(session)
    key = client.private_key(session, AUT)
    script = (
        "from smartcard.scard import *\n"
        "import sys\n"
        "c = SCardEstablishContext(SCARD_SCOPE_USER)[1]\n"
        "hr, h, p = SCardConnect(c, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0)\n"
        "assert hr == 0\n"
        "assert SCardReconnect(h, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0, SCARD_RESET_CARD)[0] == 0\n"
        "verify = [0, 0x20, 0, 1, 8, *b'1234', 255, 255, 255, 255]\n"
        "assert SCardTransmit(h, SCARD_PCI_T0, verify)[1] == [0x90, 0]\n"
        "SCardDisconnect(h, SCARD_LEAVE_CARD)\n"
    )
    lab.run([sys.executable, "-c", script, lab.readers[0]], check=True)
    client.SignInit(session, 0x40, key)
    refused(0x101, client.Sign, session, b"the other program's login is not ours", 256)
    assert state(client, session) == 2
    client.login(session)
    assert len(client.sign(session, key, 0x40, b"ours")) == 256


def test_idle(lab: Lab, fresh: Daemon, short: Path) -> None:
    with Daemon(lab, "[login]\nidle = 1\n", folder=short) as daemon, daemon.client() as client:
        session = client.open(0)
        client.login(session)
        key = client.private_key(session, AUT)
        for _ in range(4):
            time.sleep(0.4)
            client.sign(session, key, 0x40, b"in use")
        assert state(client, session) == 3
        until(lambda: state(client, session) == 2, 3)
        until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]
        refused(0x101, client.SignInit, session, 0x40, key)
