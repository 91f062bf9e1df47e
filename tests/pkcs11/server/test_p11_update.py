# SPDX-License-Identifier: Apache-2.0
"""EF_ACTUA, the marker of card updates: what programs see of a card that was updated, was not to the end, or is just now."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from p11_daemon import Daemon, refused, until
from p11_wire import Refused, Wire

from simulator import personalise, personas
from simulator.cardos import make_card
from simulator.cardos.card import VirtualCard
from simulator.image import Model
from simulator.lab import Lab
from simulator.personas.model import Update

BAD_EF_ACTUA, REINIT_NEEDED, SESSION_DEAD = 0x80000001, 0x80000002, 0xB3
LABEL, VALUE = 0x3, 0x11
RESET = """
from smartcard.scard import *
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
_, handle, _ = SCardConnect(context, "{reader}", SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0)
assert SCardReconnect(handle, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0, SCARD_RESET_CARD)[0] == 0
"""


def card(update: Update | None, model: Model = "cps3") -> VirtualCard:
    persona = personas.load("cps-medecin")
    changed = dataclasses.replace(persona.card, update=update)
    return make_card(personalise.personalise(dataclasses.replace(persona, card=changed), model))


class Updated:
    """A card that another program updates: `inner` is replaced, the chip stays."""

    def __init__(self, inner: VirtualCard) -> None:
        self.inner, self.atr = inner, inner.atr

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def put(lab: Lab, daemon: Daemon, inserted: Any) -> None:
    with daemon.client() as client:
        before = client.open(0)
        lab.insert(0, inserted)
        until(lambda: _dead(client, before))
        until(lambda: _shown(client))


def _dead(client: Wire, session: int) -> bool:
    try:
        client.GetSessionInfo(session)
    except Refused as error:
        return error.rv == SESSION_DEAD
    return False


def _shown(client: Wire) -> bool:
    try:
        return bool(client.GetTokenInfo(0))
    except Refused:
        return False


@pytest.mark.parametrize("update", [None, "complete", "interrupted"])
def test_the_token_is_shown_and_used(lab: Lab, fresh: Daemon, update: Update | None) -> None:
    """As the official library does; only what would be written is refused on a card whose update was interrupted."""
    put(lab, fresh, card(update))
    with fresh.client() as client:
        assert client.GetTokenInfo(0)[0].startswith(b"CPS3v3-")
        session = client.open(0)
        client.login(session)
        key = client.one(session, (0x0, 3), (LABEL, b"CPS_PRIV_AUT"))
        client.SignInit(session, 0x40, key)
        assert len(client.Sign(session, b"text", 256)) == 256
        free = client.one(session, (LABEL, b"CPS_DATA"))
        if update == "interrupted":
            refused(BAD_EF_ACTUA, client.SetAttributeValue, session, free, [(VALUE, b"text")])
        else:
            client.SetAttributeValue(session, free, [(VALUE, b"text")])
    marker = [answer for sent, answer in lab.card(0).trace if sent[-2:] == b"\xd0\x10"]
    assert marker and all(answer[-2:] == (b"\x6a\x82" if update is None else answer[-2:]) for answer in marker)


def test_a_card_that_is_updated_in_use_is_read_anew(lab: Lab, fresh: Daemon) -> None:
    inserted = Updated(card(None))
    put(lab, fresh, inserted)
    with fresh.client() as client:
        session = client.open(0)
        client.login(session)
        inserted.inner = card("complete")
        inserted.inner.power_on()
        subprocess.run([sys.executable, "-c", RESET.format(reader=lab.readers[0])], env=fresh.env, check=True, timeout=30)
        refused(REINIT_NEEDED, client.GenerateRandom, session, 8)
        refused(SESSION_DEAD, client.GetSessionInfo, session)
        until(lambda: _shown(client))
        session = client.open(0)
        assert client.GetSessionInfo(session)[1] == 2, "nobody is logged in"
        client.login(session)
