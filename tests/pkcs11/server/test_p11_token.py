# SPDX-License-Identifier: Apache-2.0
"""What the token shows, and that looking at it costs no command to the card."""

from __future__ import annotations

import pytest
from asn1crypto import x509
from p11_daemon import Daemon, commands, refused
from p11_wire import Wire

from simulator.lab import Lab

AID = bytes.fromhex("E828BD080F8025000001FF0010")
CLASS, TOKEN, PRIVATE, LABEL, APPLICATION, VALUE, OBJECT_ID = 0x0, 0x1, 0x2, 0x3, 0x10, 0x11, 0x12
ISSUER, SERIAL, TRUSTED, ID, SUBJECT, MODULUS, MODULUS_BITS = 0x81, 0x82, 0x86, 0x102, 0x101, 0x120, 0x121
DATA, CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY, PROFILE = 0, 1, 2, 3, 9
IDS = {0: (AID + b"\x01", AID + b"\x02"), 1: (AID + b"\x10", AID + b"\x20")}
PUBLIC_DATA = {b"CPS_ID_CARD", b"CPS_NAME_PS", b"CPS_LANG_PS", b"CPS_INFO_PS", b"CPS_DATA"}
CPS4_ONLY = {b"CPS2TER_" + name for name in (b"ATR", b"ID", b"ICC", b"NAME", b"LANG", b"PSINFO", b"DIRAMO")}


def token_flags(client: Wire, slot: int) -> int:
    flags = client.GetTokenInfo(slot)[4]
    assert isinstance(flags, int)
    return flags


@pytest.mark.parametrize("slot", [0, 1])
def test_info(client: Wire, lab: Lab, slot: int) -> None:
    label, manufacturer, model, serial, flags, *numbers = client.GetTokenInfo(slot)
    number = b"CPS3v3-" if slot == 0 else b"CPS4v1-"
    assert label.startswith(number) and len(label) == 32
    assert manufacturer == b"ASIP SANTE".ljust(32)
    assert model == b"IAS ECC".ljust(16)
    assert serial == (b"99701001" if slot == 0 else b"99704001").ljust(16)
    assert flags == 0x40C  # TOKEN_INITIALIZED, USER_PIN_INITIALIZED, LOGIN_REQUIRED; no RNG
    assert numbers[4:6] == [4, 4]  # PIN lengths
    description, _, slot_flags, _, _ = client.GetSlotInfo(slot)
    assert description == lab.readers[slot].encode().ljust(64)
    assert slot_flags == 7


def test_slots(client: Wire, lab: Lab) -> None:
    assert client.GetSlotList(0, 16) == list(range(lab.slots))
    assert client.GetSlotList(1, 16) == [0, 1]
    assert client.GetSlotList(1, 0) == 2
    assert client.GetSlotList(1, 1) == 2  # too small
    refused(0x3, client.GetSlotInfo, 99)
    refused(0xE0, client.GetTokenInfo, 2)
    refused(0xE0, client.OpenSession, 2, 4)


def test_a_program_that_never_closes_a_session(client: Wire) -> None:
    opened = [client.open(0) for _ in range(4096)]
    refused(0xB1, client.OpenSession, 0, 4)
    client.CloseSession(opened[7])
    assert client.GetSessionInfo(client.open(1))[0] == 1
    client.CloseAllSessions(0)


@pytest.mark.parametrize("slot", [0, 1])
def test_mechanisms(client: Wire, slot: int) -> None:
    found = client.GetMechanismList(slot, 64)
    plain = {0x1, 0x6, 0x40, 0x41, 0x42, 0x46, 0x220, 0x250, 0x255, 0x260, 0x270}
    pss = {0xD, 0xE, 0x43, 0x44, 0x45, 0x47}
    assert set(found) == (plain if slot == 0 else plain | pss)
    assert client.GetMechanismList(slot, 0) == len(found)
    assert client.GetMechanismInfo(slot, 0x1) == (2048, 2048, 0x2B01)
    assert client.GetMechanismInfo(slot, 0x40) == (2048, 2048, 0x2800)
    assert client.GetMechanismInfo(slot, 0x250) == (0, 0, 0x400)
    refused(0x70, client.GetMechanismInfo, slot, 0x3)  # RSA_X_509: never


@pytest.mark.parametrize("slot", [0, 1])
def test_objects_before_and_after_login(client: Wire, slot: int) -> None:
    session = client.open(slot)
    before = client.find(session)
    shown = [client.read(session, handle, CLASS, PRIVATE) for handle in before]
    assert all(not private for _, private in shown)
    count = 9 if slot == 0 else 16
    assert len(before) == count + 1  # and the profile object
    assert client.find(session, (CLASS, PRIVATE_KEY)) == []
    client.login(session)
    after = client.find(session)
    kinds = [client.read(session, handle, CLASS)[0] for handle in after]
    assert kinds[:6] == [PRIVATE_KEY, CERTIFICATE, PUBLIC_KEY] * 2
    private = {client.read(session, handle, LABEL)[0] for handle in after if handle not in before}
    assert private == {
        b"CPS_PRIV_SIG",
        b"CPS_PRIV_AUT",
        b"CPS_ACTIVITY_01_PS",
        b"CPS2TER_ACTIVITY_01_PS",
        b"CPS_SIT_FACT",
    }
    client.Logout(session)
    assert client.find(session) == before
    refused(0x82, client.GetAttributeValue, session, after[0], [(LABEL, 64)])


@pytest.mark.parametrize("slot", [0, 1])
def test_keys_and_certificates(client: Wire, slot: int) -> None:
    session = client.open(slot)
    client.login(session)
    for (label, certificate_label), identifier in zip(
        ((b"CPS_PRIV_SIG", b"Certificat de Signature CPS"), (b"CPS_PRIV_AUT", b"Certificat d'Authentification CPS")),
        IDS[slot],
        strict=True,
    ):
        certificate, key, public = (client.one(session, (CLASS, kind), (ID, identifier)) for kind in (1, 3, 2))
        name, value, serial, subject, issuer = client.read(session, certificate, LABEL, VALUE, SERIAL, SUBJECT, ISSUER)
        parsed = x509.Certificate.load(value)
        assert name == certificate_label
        assert serial == parsed["tbs_certificate"]["serial_number"].contents  # bare, as the official library shows it
        assert (subject, issuer) == (parsed.subject.dump(), parsed.issuer.dump())
        assert client.find(session, (SERIAL, parsed["tbs_certificate"]["serial_number"].dump()), (ISSUER, issuer)) == [
            certificate
        ]
        assert client.read(session, public, LABEL) == [b"Cle publique - " + certificate_label]
        modulus = parsed.public_key["public_key"].parsed["modulus"].native.to_bytes(256, "big")
        assert client.read(session, key, LABEL, MODULUS, MODULUS_BITS) == [label, modulus, 2048]
        assert client.read(session, public, MODULUS) == [modulus]
        # SENSITIVE, EXTRACTABLE, ALWAYS_SENSITIVE, NEVER_EXTRACTABLE, LOCAL, SIGN, DECRYPT, ALWAYS_AUTHENTICATE
        flags = client.read(session, key, 0x103, 0x162, 0x165, 0x164, 0x163, 0x108, 0x105, 0x202)
        assert flags == [1, 0, 1, 1, 1, 1, int(label == b"CPS_PRIV_AUT"), 0]
        values, rv = client.GetAttributeValue(session, key, [(LABEL, 64), (0x123, 512), (0x61234567, 8)])
        assert rv in (0x11, 0x12) and [value for _, value in values] == [label, None, None]


@pytest.mark.parametrize("slot", [0, 1])
def test_data_objects(client: Wire, lab: Lab, slot: int) -> None:
    session = client.open(slot)
    found = {client.read(session, handle, LABEL)[0]: handle for handle in client.find(session, (CLASS, DATA))}
    assert set(found) == (PUBLIC_DATA if slot == 0 else PUBLIC_DATA | CPS4_ONLY)
    application, identifier, value = client.read(session, found[b"CPS_NAME_PS"], APPLICATION, OBJECT_ID, VALUE)
    assert (application, identifier) == (b"CPS", b"\xff" * 4 + bytes(60))
    assert value.startswith(b"\xe1")
    (whole,) = client.read(session, found[b"CPS_DATA"], VALUE)
    assert len(whole) == 128  # the whole file, trailing zeros kept
    assert [label for label, handle in found.items() if client.read(session, handle, 0x170)[0]] == [b"CPS_DATA"]
    start = len(lab.card(slot).trace)
    assert client.find(session, (CLASS, DATA), (VALUE, value)) == [found[b"CPS_NAME_PS"]]
    start = len(lab.card(slot).trace)
    client.read(session, found[b"CPS_NAME_PS"], VALUE)
    assert commands(lab.card(slot).trace, start) == 0  # known by now


@pytest.mark.parametrize("slot", [0, 1])
def test_private_data(client: Wire, fresh: Daemon, lab: Lab, slot: int) -> None:
    session = client.open(slot)
    client.login(session)
    handles = {
        label: client.one(session, (LABEL, label))
        for label in (b"CPS_ACTIVITY_01_PS", b"CPS2TER_ACTIVITY_01_PS", b"CPS_SIT_FACT")
    }
    values = {label: client.read(session, handle, VALUE)[0] for label, handle in handles.items()}
    assert values[b"CPS_ACTIVITY_01_PS"][:1] == b"\xee" and values[b"CPS_SIT_FACT"][:1] in (b"\xef", b"\xe5")
    assert values[b"CPS2TER_ACTIVITY_01_PS"][:1] == b"\xee"
    key = client.private_key(session, b"CPS_PRIV_SIG")
    assert len(client.sign(session, key, 0x40, b"after the other view")) == 256  # the login outlives class A0
    with fresh.client() as other:
        strange = other.open(slot)
        refused(0x82, other.GetAttributeValue, strange, handles[b"CPS_SIT_FACT"], [(VALUE, 512)])
    client.Logout(session)
    start = len(lab.card(slot).trace)
    client.login(session)
    assert client.read(session, handles[b"CPS_ACTIVITY_01_PS"], VALUE) == [values[b"CPS_ACTIVITY_01_PS"]]
    assert commands(lab.card(slot).trace, start) > 2  # read again: nothing private outlives a login


def test_profile(client: Wire) -> None:
    session = client.open(0)
    handle = client.one(session, (CLASS, PROFILE))
    assert client.read(session, handle, 0x601, TOKEN, PRIVATE) == [(4).to_bytes(8, "little"), 1, 0]


def test_write(client: Wire) -> None:
    session = client.open(0)
    handle = client.one(session, (LABEL, b"CPS_DATA"))
    client.SetAttributeValue(session, handle, [(VALUE, b"essai")])
    assert client.read(session, handle, VALUE) == [b"essai".ljust(128, b"\0")]
    client.SetAttributeValue(session, handle, [(VALUE, b"x" * 128)])
    refused(0x13, client.SetAttributeValue, session, handle, [(VALUE, b"x" * 129)])
    assert client.read(session, handle, VALUE) == [b"x" * 128]
    other = client.one(session, (LABEL, b"CPS_NAME_PS"))
    refused(0x10, client.SetAttributeValue, session, other, [(VALUE, b"x")])
    refused(0xB5, client.SetAttributeValue, client.open(0, writable=False), handle, [(VALUE, b"x")])


def test_buffers(client: Wire) -> None:
    session = client.open(0)
    handle = client.one(session, (CLASS, CERTIFICATE), (ID, IDS[0][1]))
    (whole,) = client.read(session, handle, VALUE)
    sizes, rv = client.GetAttributeValue(session, handle, [(VALUE, 0), (TRUSTED, 0)])
    assert rv == 0 and [len(sizes[0][1]), sizes[1][1]] == [len(whole), 0]
    values, rv = client.GetAttributeValue(session, handle, [(VALUE, len(whole) - 1), (TRUSTED, 1)])
    assert rv == 0x150 and values == [(VALUE, None), (TRUSTED, 0)]


def test_looking_costs_nothing(client: Wire, lab: Lab) -> None:
    """A second application reads everything public but data without one command to a card."""
    before = [len(lab.card(slot).trace) for slot in (0, 1)]
    for slot in (0, 1):
        for _ in range(20):
            client.GetTokenInfo(slot)
        session = client.open(slot)
        for _ in range(20):
            client.GetSessionInfo(session)
        for handle in client.find(session, (CLASS, CERTIFICATE)):
            client.read(session, handle, VALUE)
    assert [len(lab.card(slot).trace) for slot in (0, 1)] == before


@pytest.mark.parametrize("slot", [0, 1])
def test_not_offered(client: Wire, slot: int) -> None:
    session = client.open(slot)
    refused(0x54, client.CreateObject, session, [(CLASS, DATA)])
    refused(0x54, client.SeedRandom, session, b"seed")
    refused(0x54, client.InitToken, slot, b"12345678", b"label")
    refused(0x54, client.InitToken2, slot, b"12345678", b"label".ljust(32))
    refused(0x54, client.MessageSignInit, session, 1, 1)


def test_random(client: Wire, lab: Lab) -> None:
    session = client.open(0)
    start = len(lab.card(0).trace)
    seen = {client.GenerateRandom(session, count) for count in (32, 32, 1000)}
    assert {len(data) for data in seen} == {32, 1000} and len(seen) == 3
    assert [command for command, _ in lab.card(0).trace[start:]] == [bytes.fromhex("0084000008")] * 12
