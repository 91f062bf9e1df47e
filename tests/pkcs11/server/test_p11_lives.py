# SPDX-License-Identifier: Apache-2.0
"""A code is for the card, the session and the program it was typed for: none of them outlives the wait."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from p11_daemon import Daemon, refused, until
from p11_wire import HANDSHAKE, Wire

from simulator.lab import Lab

SLOW_DIALOG = """#!/usr/bin/python3 -IS
import sys, time
print("OK ready", flush=True)
for line in sys.stdin:
    word = line.split()[:1]
    if word == ["GETPIN"]:
        time.sleep(1.2)
        print("D 1234", flush=True)
    print("OK", flush=True)
    if word == ["BYE"]:
        break
"""
OK, DEVICE_REMOVED, SESSION_CLOSED, ALREADY = None, 0x32, 0xB0, 0x100
RO = 0


@contextmanager
def slow_dialog(lab: Lab, folder: Path, mode: str) -> Iterator[Daemon]:
    program = folder / "slow-pinentry"
    program.write_text(SLOW_DIALOG)
    program.chmod(0o755)
    settings = f'[pkcs11]\npin = "{mode}"\n[dialog]\npinentry = "{program}"\n'
    with Daemon(lab, settings, folder=folder) as daemon:
        yield daemon


def verifies(lab: Lab) -> int:
    """VERIFY commands with a code that the card in slot 0 has seen."""
    return sum(1 for sent, _ in lab.card(0).trace if sent[1] == 0x20 and len(sent) > 5)


def answers(client: Wire, count: int) -> dict[int, int | None]:
    """CK_RV by serial number; None is CKR_OK."""
    found = {}
    for _ in range(count):
        serial, _, body = client.answer()
        (call,) = struct.unpack(">I", body[:4])
        found[serial] = struct.unpack(">Q", body[-8:])[0] if call == 0 else None
    return found


def state(client: Wire) -> int:
    found = client.GetSessionInfo(client.open(0))[1]
    assert isinstance(found, int)
    return found


def test_card_exchanged_while_the_person_types(lab: Lab, fresh: Daemon, short: Path) -> None:
    with slow_dialog(lab, short, "protected") as daemon, daemon.client() as client:
        login = client.send("Login", client.open(0), 1, None)
        time.sleep(0.5)
        lab.remove(0)
        lab.insert(0, "cps-pharmacien:cps3")
        begun = time.monotonic()
        assert answers(client, 1) == {login: DEVICE_REMOVED}
        assert time.monotonic() - begun < 1, "the dialog ends with the card, not with the person"
        time.sleep(1)
        assert verifies(lab) == 0
        until(lambda: state(client) == 2)


@pytest.mark.parametrize("ending", ["CloseSession", "Finalize"])
def test_session_ends_while_the_person_types(lab: Lab, fresh: Daemon, short: Path, ending: str) -> None:
    with slow_dialog(lab, short, "protected") as daemon, daemon.client() as client:
        session = client.open(0)
        login = client.send("Login", session, 1, None)
        time.sleep(0.5)
        end = client.send(ending, *([session] if ending == "CloseSession" else []))
        assert answers(client, 2) == {end: OK, login: SESSION_CLOSED}
        if ending == "Finalize":
            client.Initialize(HANDSHAKE, 0, b"\0")
        assert verifies(lab) == 0
        assert state(client) == 2, "nobody is logged in"


def test_session_ends_while_the_card_verifies(lab: Lab, client: Wire) -> None:
    session = client.open(0)
    lab.card(0).set_fault("delay@*=200ms")
    login = client.send("Login", session, 1, b"1234")
    time.sleep(0.1)
    end = client.send("CloseSession", session)
    found = answers(client, 2)
    lab.card(0).set_fault(None)
    assert found[end] is OK and found[login] == SESSION_CLOSED
    assert state(client) == 2
    until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]


def test_logins_at_once_cost_one_verify(lab: Lab, client: Wire) -> None:
    session = client.open(0)
    serials = [client.send("Login", session, 1, pin) for pin in (b"1234", b"1234", b"9999")]
    found = answers(client, 3)
    assert [found[serial] for serial in serials] == [OK, ALREADY, ALREADY]
    assert verifies(lab) == 1


def test_first_signatures_at_once_are_one_question(lab: Lab, fresh: Daemon, short: Path) -> None:
    with slow_dialog(lab, short, "agent") as daemon, daemon.client() as client:
        sessions = [client.open(0), client.open(0)]
        for session in sessions:
            client.SignInit(session, (0x40, None), client.private_key(session, b"CPS_PRIV_AUT"))
        serials = [client.send("Sign", session, b"data", 256) for session in sessions]
        assert answers(client, 2) == dict.fromkeys(serials, OK)
        assert verifies(lab) == 1


def test_waiters_never_deafen_a_connection(lab: Lab, fresh: Daemon) -> None:
    with fresh.client() as client:
        client.login(client.open(0))
        waits = [client.send("WaitForSlotEvent", 0) for _ in range(70)]
        refusals = answers(client, 70 - 16)
        assert set(refusals.values()) == {0x31} and set(refusals) <= set(waits)
        assert client.GetSessionInfo(client.open(0))
    until(lambda: not lab.card(0).card._pins.verified(1))  # type: ignore[attr-defined]


def test_too_long_is_refused_and_the_session_lives(lab: Lab, client: Wire) -> None:
    session = client.open(0)
    refused(0xA0, client.Login, session, 1, b"1" * 5000)
    refused(0xA2, client.SetPIN, session, b"1234", b"1" * 5000)
    client.login(session)
    client.DigestInit(session, (0x250, None))
    assert len(client.Digest(session, bytes(2 << 20), 32)) == 32
    client.DigestInit(session, (0x250, None))
    refused(0x21, client.Digest, session, bytes(17 << 20), 32)
    assert client.GetSessionInfo(session)[1] == 3
    assert verifies(lab) == 1
