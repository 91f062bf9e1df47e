# SPDX-License-Identifier: Apache-2.0
"""Cards that are not used as a CPS in a contact slot: the contactless side of a CPS3, a CPS2ter, a Vitale card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_der_x509_certificate
from p11_daemon import Daemon, refused, until
from p11_wire import Refused, Wire

from simulator.foreign import ForeignCard
from simulator.lab import Lab, LabError

SLOT = 2
CLASS, PRIVATE, LABEL, VALUE, ID, DECRYPT = 0x0, 0x2, 0x3, 0x11, 0x102, 0x105
CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY = 1, 2, 3
RSA_PKCS, SHA256_RSA_PKCS = 0x1, 0x40
NO_PIN, NOT_LOGGED_IN = 0x102, 0x101
TECHNICAL = bytes.fromhex("E828BD080F8025000001FF001003")


@pytest.fixture
def third(lab: Lab) -> Iterator[Lab]:
    """The lab, whose third slot is emptied afterwards."""
    yield lab
    with contextlib.suppress(LabError):
        lab.remove(SLOT)


def test_the_contactless_side_has_one_key_and_no_pin(client: Wire, third: Lab) -> None:
    handle = third.insert(SLOT, "cps-medecin:cps3cl")
    until(lambda: SLOT in client.GetSlotList(1, 16), 20)
    label, _, _, serial, flags, *numbers = client.GetTokenInfo(SLOT)
    assert (label, serial) == (b"CPS3v3_CL".ljust(32), b"99701001".ljust(16)), "the chip's own number, as in contact"
    assert (flags, numbers[4:6]) == (0x400, [8, 4]), "TOKEN_INITIALIZED alone; longest and shortest PIN as the official library"
    session = client.open(SLOT)
    asked = handle.apdu_count
    refused(NO_PIN, client.login, session)
    refused(NO_PIN, client.login, session, b"12345678", 0)
    refused(NO_PIN, client.SetPIN, session, b"1234", b"2580")
    refused(NOT_LOGGED_IN, client.Logout, session)
    refused(NOT_LOGGED_IN, client.InitPIN, session, b"2580")
    assert handle.apdu_count == asked, "none of that is a question to the card"


def test_the_technical_key_signs_without_login(client: Wire, third: Lab) -> None:
    third.insert(SLOT, "cps-medecin:cps3cl")
    until(lambda: SLOT in client.GetSlotList(1, 16), 20)
    session = client.open(SLOT)
    ours = client.find(session, (ID, TECHNICAL))
    shown = {client.read(session, item, CLASS)[0]: client.read(session, item, LABEL, ID, PRIVATE) for item in ours}
    assert set(shown) == {PRIVATE_KEY, CERTIFICATE, PUBLIC_KEY}
    assert shown[PRIVATE_KEY][0] == b"CPS_PRIV_TECH_AUT" and shown[CERTIFICATE][0] == b"Certificat Technique CPS"
    assert not any(private for _, _, private in shown.values())
    key = client.one(session, (CLASS, PRIVATE_KEY))
    assert not client.read(session, key, DECRYPT)[0]
    signature = client.sign(session, key, SHA256_RSA_PKCS, b"what is signed")
    der = client.read(session, client.one(session, (CLASS, CERTIFICATE), (ID, TECHNICAL)), VALUE)[0]
    public = load_der_x509_certificate(der).public_key()
    public.verify(signature, b"what is signed", padding.PKCS1v15(), SHA256())
    assert client.GetMechanismInfo(SLOT, RSA_PKCS)[2] & 0x200 == 0, "it decrypts nothing"


def test_the_contact_side_keeps_its_rules_beside_it(client: Wire, third: Lab) -> None:
    """One holder, two doors: the same serial number, and what one door allows the other does not."""
    third.insert(SLOT, "cps-medecin:cps3cl")
    until(lambda: SLOT in client.GetSlotList(1, 16), 20)
    assert client.GetTokenInfo(0)[3] == client.GetTokenInfo(SLOT)[3]
    session = client.open(0)
    assert client.find(session, (CLASS, PRIVATE_KEY)) == []
    client.login(session)
    assert len(client.find(session, (CLASS, PRIVATE_KEY))) == 2
    refused(NO_PIN, client.login, client.open(SLOT))


@pytest.mark.parametrize(
    "atr",
    ["3BAC00402A001225006480820212009000", "3F6525002C09699000", "3B751300004309EA9000"],
    ids=["CPS2ter", "Vitale 1", "Vitale 2"],
)
def test_a_card_that_is_not_used_is_sent_nothing(client: Wire, fresh: Daemon, third: Lab, atr: str) -> None:
    stranger = ForeignCard(atr)
    third.insert(SLOT, stranger)
    until(lambda: _not_recognized(client), 20)
    assert SLOT not in client.GetSlotList(1, 16)
    refused(0xE1, client.OpenSession, SLOT, 4)
    third.remove(SLOT)
    assert stranger.seen == [] and "reset" not in stranger.power


def _not_recognized(client: Wire) -> bool:
    try:
        client.GetTokenInfo(SLOT)
    except Refused as error:
        return error.rv == 0xE1
    return False
