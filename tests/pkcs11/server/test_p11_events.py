# SPDX-License-Identifier: Apache-2.0
"""Cards come and go; the slot stays, the sessions die, and nobody is taken for the holder before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from p11_daemon import Daemon, commands, put_in, refused, until
from p11_wire import Refused, Wire, decode

from simulator.foreign import ForeignCard
from simulator.lab import Lab

VALUE = 0x11


def gone(client: Wire, slot: int) -> bool:
    return not client.GetSlotInfo(slot)[2] & 1


def test_removal_and_return(client: Wire, lab: Lab, fresh: Daemon) -> None:
    session = client.open(0)
    client.login(session)
    key = client.private_key(session, b"CPS_PRIV_AUT")
    (certificate,) = client.find(session, (0, 1), (3, b"Certificat de Signature CPS"))
    slots = client.GetSlotList(0, 16)
    lab.remove(0)
    until(lambda: gone(client, 0))
    refused(0xB3, client.GetSessionInfo, session)
    refused(0xB3, client.SignInit, session, 0x40, key)
    refused(0xE0, client.GetTokenInfo, 0)
    refused(0xE0, client.OpenSession, 0, 4)
    assert client.GetSlotList(0, 16) == slots and client.GetSlotList(1, 16) == [1]
    other = client.open(1)
    assert client.GetSessionInfo(other)[1] == 2  # the other reader is not touched
    lab.insert(0, "cps-infirmier:cps3")
    until(lambda: not gone(client, 0))
    session = client.open(0)
    assert client.GetSessionInfo(session)[1] == 2  # nobody is logged in
    refused(0x82, client.GetAttributeValue, session, certificate, [(VALUE, 4096)])  # no handle is given twice
    refused(0x101, client.Logout, session)


def test_swaps(client: Wire, lab: Lab) -> None:
    """Two holders, one reader: never the login nor the certificate of the one before."""
    serials = set()
    for turn in range(10):
        session = client.open(0)
        client.login(session)
        (certificate,) = client.find(session, (0, 1), (3, b"Certificat d'Authentification CPS"))
        serials.add(client.read(session, certificate, 0x101)[0])
        lab.insert(0, "cps-infirmier:cps3" if turn % 2 == 0 else "cps-medecin:cps3")
        until(lambda before=session: dead(client, before))
        until(lambda: not gone(client, 0))
        assert client.GetSessionInfo(client.open(0))[1] == 2
        client.CloseAllSessions(0)
    assert len(serials) == 2


def dead(client: Wire, session: int) -> bool:
    try:
        client.GetSessionInfo(session)
    except Refused as error:
        return error.rv == 0xB3
    return False


def test_wait_for_slot_event(client: Wire, lab: Lab) -> None:
    refused(0x8, client.WaitForSlotEvent, 1)
    waiting = client.send("WaitForSlotEvent", 0)
    for _ in range(50):  # a call that waits keeps no other from being answered
        client.serial += 1
        serial = client.send("GetSlotInfo", 0)
        assert client.answer()[0] == serial
    lab.remove(1)
    serial, _, body = client.answer()
    assert serial == waiting and decode("WaitForSlotEvent", body) == 1
    refused(0x8, client.WaitForSlotEvent, 1)
    lab.insert(1, "cps-medecin:cps4")
    assert client.WaitForSlotEvent(0) == 1


def test_finalize_ends_the_wait(fresh: Daemon) -> None:
    with fresh.client() as client:
        client.send("WaitForSlotEvent", 0)
    with fresh.client() as client:
        assert client.GetSlotList(0, 16)


def test_foreign_and_mute_cards(client: Wire, lab: Lab) -> None:
    card = ForeignCard("3B6500002063CB6800")
    lab.insert(2, card)
    until(lambda: _rv(client, 2) == 0xE1)  # not recognised
    assert gone(client, 2) and card.seen == []  # not one command to a card that is not ours
    lab.remove(2)


def test_mute_card(short: Path) -> None:
    """It is no token, and keeps nobody waiting but those who ask for it first."""
    with (
        Lab(["cps-medecin:cps4"], slots=2, timeout_ms=3000) as lab,
        Daemon(lab, "[card]\nsilence = 2\n", folder=short) as daemon,
        daemon.client() as client,
    ):
        assert client.GetTokenInfo(0)
        lab.insert(1, "cps-medecin:cps3", fault="mute@*")
        assert client.WaitForSlotEvent(0) == 1
        assert not gone(client, 1)  # it may be a token: nobody knows yet
        until(lambda: gone(client, 1), 10)
        for _ in range(50):
            started = time.monotonic()
            refused(0xE0, client.OpenSession, 1, 4)
            assert client.GetTokenInfo(0) and client.GetSessionInfo(client.open(0))
            assert time.monotonic() - started < 0.5


def _rv(client: Wire, slot: int) -> int:
    try:
        client.GetTokenInfo(slot)
    except Refused as error:
        return error.rv
    return 0


@pytest.mark.parametrize("slot", [0, 1])
def test_pulled_at_every_command(client: Wire, lab: Lab, fresh: Daemon, slot: int) -> None:
    """Login and signature cut at each command: an error, no try lost, and the card works when it is back."""
    for index in range(5):
        session = client.open(slot)
        card = lab.card(slot)
        card.set_fault(f"pull@{index}")
        failed = None
        try:
            client.login(session)
            key = client.private_key(session, b"CPS_PRIV_AUT")
            client.sign(session, key, 0x1, b"data")
        except Refused as error:
            failed = error.rv
        except ValueError:  # the search came after the removal
            failed = 0xB3
        assert failed in (None, 0x30, 0x32, 0xB3, 0xE0), f"{failed:#x}"
        until(lambda: gone(client, slot))
        assert card.card._pins[1].tries_left >= (2 if index == 1 else 3)  # type: ignore[attr-defined]
        put_in(lab, fresh)
    session = client.open(slot)
    client.login(session)
    assert len(client.sign(session, client.private_key(session, b"CPS_PRIV_AUT"), 0x1, b"data")) == 256


def test_failed_pins_are_forgotten_with_the_card(client: Wire, lab: Lab, fresh: Daemon) -> None:
    session = client.open(0)
    refused(0xA0, client.Login, session, 1, b"9999")
    put_in(lab, fresh)
    session = client.open(0)
    start = len(lab.card(0).trace)
    refused(0xA0, client.Login, session, 1, b"9999")
    assert commands(lab.card(0).trace, start) == 2  # sent again: it may be right on another card


def test_pcscd_restarts(short: Path) -> None:
    with Lab(["cps-medecin:cps3"], slots=1) as lab, Daemon(lab, folder=short) as daemon, daemon.client() as client:
        session = client.open(0)
        client.login(session)
        lab.kill_pcscd()
        until(lambda: gone(client, 0))
        refused(0xB3, client.GetSessionInfo, session)
        lab.restart_pcscd()
        until(lambda: bool(client.GetSlotList(1, 4)), 10)
        session = client.open(0)
        assert client.GetSessionInfo(session)[1] == 2
        client.login(session)
        key = client.private_key(session, b"CPS_PRIV_AUT")
        assert len(client.sign(session, key, 0x40, b"again")) == 256


def test_on_removal_hook(short: Path) -> None:
    hook = short / "hook.sh"
    hook.write_text(f"#!/bin/sh\n: > {short}/called\n")
    hook.chmod(0o700)
    settings = f'[login]\non_removal = "hook"\nhook = "{hook}"\n'
    with Lab(["cps-medecin:cps3"], slots=1) as lab, Daemon(lab, settings, folder=short) as daemon, daemon.client() as client:
        client.open(0)
        lab.remove(0)
        until(lambda: gone(client, 0))
        assert not (short / "called").exists()  # nobody was logged in
        lab.insert(0, "cps-medecin:cps3")
        until(lambda: not gone(client, 0))
        client.login(client.open(0))
        lab.remove(0)
        until((short / "called").exists)
