# SPDX-License-Identifier: Apache-2.0
"""Signatures, digests, decryption: right, in the fewest commands, with PKCS#11's rules on buffers and order."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from p11_daemon import commands, refused
from p11_wire import Wire

from simulator.lab import Lab

AUT, SIG = b"CPS_PRIV_AUT", b"CPS_PRIV_SIG"
HASHES = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
PKCS1 = {0x6: "sha1", 0x46: "sha224", 0x40: "sha256", 0x41: "sha384", 0x42: "sha512"}
PSS = {0xE: "sha1", 0x47: "sha224", 0x43: "sha256", 0x44: "sha384", 0x45: "sha512"}
DIGEST = {"sha1": 0x220, "sha224": 0x255, "sha256": 0x250, "sha384": 0x260, "sha512": 0x270}
MGF = {"sha1": 1, "sha256": 2, "sha384": 3, "sha512": 4, "sha224": 5}
INFO = bytes.fromhex("3031300D060960864801650304020105000420")
CONTENT = b"ordonnance" * 100


def ready(client: Wire, slot: int, label: bytes) -> tuple[int, int, rsa.RSAPublicKey]:
    session = client.open(slot)
    client.login(session)
    key = client.private_key(session, label)
    (info,) = client.read(session, key, 0x129)
    public = load_der_public_key(info)
    assert isinstance(public, rsa.RSAPublicKey)
    return session, key, public


def pss(name: str, salt: int | None = None) -> tuple[int, int, int]:
    return DIGEST[name], MGF[name], HASHES[name].digest_size if salt is None else salt


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("label", [AUT, SIG])
def test_pkcs1(client: Wire, slot: int, label: bytes) -> None:
    session, key, public = ready(client, slot, label)
    for mechanism, name in PKCS1.items():
        if label == SIG and name not in ("sha1", "sha256"):
            refused(0x63, client.SignInit, session, mechanism, key)
            continue
        signature = client.sign(session, key, mechanism, CONTENT)
        public.verify(signature, CONTENT, padding.PKCS1v15(), HASHES[name])


@pytest.mark.parametrize("label", [AUT, SIG])
def test_pss(client: Wire, label: bytes) -> None:
    session, key, public = ready(client, 1, label)
    for mechanism, name in PSS.items():
        size = HASHES[name].digest_size
        if label == SIG and name not in ("sha1", "sha256"):
            refused(0x71, client.SignInit, session, (mechanism, pss(name)), key)
            continue
        signature = client.sign(session, key, (mechanism, pss(name)), CONTENT)
        public.verify(signature, CONTENT, padding.PSS(padding.MGF1(HASHES[name]), size), HASHES[name])
        digest = hashlib.new(name, CONTENT).digest()
        signature = client.sign(session, key, (0xD, pss(name)), digest)
        public.verify(signature, CONTENT, padding.PSS(padding.MGF1(HASHES[name]), size), HASHES[name])
    other = pss("sha256", 20)
    if label == SIG:
        refused(0x71, client.SignInit, session, (0x43, other), key)
    else:
        signature = client.sign(session, key, (0x43, other), CONTENT)
        public.verify(signature, CONTENT, padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256())
    refused(0x71, client.SignInit, session, (0x43, (0x250, 1, 32)), key)  # another hash in MGF1
    refused(0x71, client.SignInit, session, (0x43, (0x220, 1, 20)), key)  # another hash than the mechanism's
    refused(0x71, client.SignInit, session, (0xD, (0x250, 2, 300)), key)  # a salt the modulus cannot hold
    refused(0x71, client.SignInit, session, (0xD, None), key)
    client.SignInit(session, (0xD, pss("sha256")), key)
    refused(0x21, client.Sign, session, b"no hash", 256)


def test_no_pss_on_a_cps3(client: Wire) -> None:
    session, key, _ = ready(client, 0, AUT)
    for mechanism in (0xD, 0x43):
        refused(0x70, client.SignInit, session, (mechanism, pss("sha256")), key)
    refused(0x70, client.SignInit, session, 0x3, key)


@pytest.mark.parametrize("slot", [0, 1])
def test_raw(client: Wire, slot: int) -> None:
    digest = hashlib.sha256(CONTENT).digest()
    session, key, public = ready(client, slot, AUT)
    public.verify(client.sign(session, key, 0x1, INFO + digest), CONTENT, padding.PKCS1v15(), hashes.SHA256())
    bare = client.sign(session, key, 0x1, b"thirty-six bytes as TLS 1.0 has them")
    numbers = public.public_numbers()
    block = pow(int.from_bytes(bare, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    assert block == b"\0\1" + b"\xff" * 217 + b"\0" + b"thirty-six bytes as TLS 1.0 has them"
    limit = 102 if slot == 0 else 245
    assert len(client.sign(session, key, 0x1, b"x" * limit)) == 256
    client.SignInit(session, 0x1, key)
    refused(0x21, client.Sign, session, b"x" * (limit + 1), 256)
    client.SignInit(session, 0x1, key)
    if slot == 0:  # INTERNAL AUTHENTICATE of nothing is no command
        refused(0x21, client.Sign, session, b"", 256)
    else:
        assert len(client.Sign(session, b"", 256)) == 256
    key = client.private_key(session, SIG)
    (info,) = client.read(session, key, 0x129)
    public = load_der_public_key(info)  # type: ignore[assignment]
    for data in (INFO + digest, digest):
        public.verify(client.sign(session, key, 0x1, data), CONTENT, padding.PKCS1v15(), hashes.SHA256())
    client.SignInit(session, 0x1, key)
    refused(0x21, client.Sign, session, b"neither a hash nor a DigestInfo", 256)
    client.SignInit(session, 0x1, key)
    refused(0x20, client.Sign, session, bytes.fromhex("3051300D060960864801650304020305000440") + bytes(64), 256)


@pytest.mark.parametrize(("slot", "label", "mechanism", "counts"), [
    (0, AUT, 0x40, (2, 1)),
    (0, AUT, 0x1, (2, 1)),
    (0, SIG, 0x40, (2, 2)),
    (1, AUT, 0x1, (3, 2)),
    (1, AUT, 0x40, (3, 2)),
    (1, AUT, (0x43, (0x250, 2, 32)), (2, 2)),
    (1, SIG, 0x40, (2, 2)),
    (1, SIG, (0x43, (0x250, 2, 32)), (2, 2)),
])  # fmt: skip
def test_counts(client: Wire, lab: Lab, slot: int, *, label: bytes, mechanism: object, counts: tuple[int, int]) -> None:
    """The first signature of a login, and the next one."""
    session, key, _ = ready(client, slot, label)
    data = INFO + bytes(32) if mechanism == 0x1 else CONTENT
    for wanted in counts:
        start = len(lab.card(slot).trace)
        client.sign(session, key, mechanism, data)
        assert commands(lab.card(slot).trace, start) == wanted


def test_warm_daemon_signs_in_four(client: Wire, lab: Lab) -> None:
    """From C_Initialize on: counter, VERIFY, environment, signature."""
    start = len(lab.card(0).trace)
    ready_session, key, _ = ready(client, 0, AUT)
    client.sign(ready_session, key, 0x40, CONTENT)
    assert commands(lab.card(0).trace, start) == 4


def test_buffers_and_order(client: Wire) -> None:
    session, key, public = ready(client, 0, AUT)
    refused(0x91, client.Sign, session, CONTENT, 256)
    client.SignInit(session, 0x40, key)
    refused(0x90, client.SignInit, session, 0x40, key)
    assert client.Sign(session, CONTENT, None) == 256
    assert client.Sign(session, CONTENT, 255) == 256  # too small: still active
    assert client.Sign(session, CONTENT, 0) == 256
    public.verify(client.Sign(session, CONTENT, 4096), CONTENT, padding.PKCS1v15(), hashes.SHA256())
    client.SignInit(session, 0x40, key)
    for start in range(0, len(CONTENT), 300):
        client.SignUpdate(session, CONTENT[start : start + 300])
    refused(0x90, client.Sign, session, CONTENT, 256)
    assert client.SignFinal(session, 16) == 256
    public.verify(client.SignFinal(session, 256), CONTENT, padding.PKCS1v15(), hashes.SHA256())
    client.SignInit(session, 0x40, key)
    refused(0x07, client.Sign, session, None, 256)
    refused(0x60, client.SignInit, session, 0x40, 999999)
    refused(0x60, client.SignInit, session, 0x40, client.one(session, (0, 9)))
    refused(0x63, client.SignInit, session, 0x40, client.find(session, (0, 2))[0])
    refused(0xB3, client.SignInit, 999, 0x40, key)


def test_cancel(client: Wire) -> None:
    session, key, _ = ready(client, 0, AUT)
    client.SignInit(session, 0x40, key)
    client.SignInit(session, None, 0)
    refused(0x91, client.Sign, session, CONTENT, 256)
    client.SignInit(session, 0x40, key)
    client.DigestInit(session, 0x250)
    client.FindObjectsInit(session, [])
    client.SessionCancel(session, 0x800 | 0x40)
    refused(0x91, client.Sign, session, CONTENT, 256)
    refused(0x91, client.FindObjects, session, 1)
    assert client.Digest(session, b"", 32) == hashlib.sha256(b"").digest()
    refused(0xB3, client.SessionCancel, 999, 0x800)


def test_digests(client: Wire, lab: Lab) -> None:
    session = client.open(0)
    start = len(lab.card(0).trace)
    for name, mechanism in DIGEST.items():
        expected = hashlib.new(name, CONTENT).digest()
        client.DigestInit(session, mechanism)
        assert client.Digest(session, CONTENT, None) == len(expected)
        assert client.Digest(session, CONTENT, len(expected)) == expected
        client.DigestInit(session, mechanism)
        client.DigestUpdate(session, CONTENT[:7])
        client.DigestUpdate(session, CONTENT[7:])
        assert client.DigestFinal(session, 1) == len(expected)
        assert client.DigestFinal(session, 64) == expected
    assert len(lab.card(0).trace) == start
    refused(0x70, client.DigestInit, session, 0x210)


@pytest.mark.parametrize("slot", [0, 1])
def test_verify_and_decrypt(client: Wire, slot: int) -> None:
    session, key, _ = ready(client, slot, AUT)
    (identifier,) = client.read(session, key, 0x102)
    public = client.one(session, (0, 2), (0x102, identifier))
    signature = client.sign(session, key, 0x40, CONTENT)
    client.VerifyInit(session, 0x40, public)
    client.Verify(session, CONTENT, signature)
    client.VerifyInit(session, 0x40, public)
    refused(0xC0, client.Verify, session, b"other", signature)
    client.VerifyInit(session, 0x40, public)
    refused(0xC1, client.Verify, session, CONTENT, signature[1:])
    refused(0x91, client.Verify, session, CONTENT, signature)
    client.VerifyInit(session, 0x1, public)
    client.Verify(session, INFO + hashlib.sha256(CONTENT).digest(), signature)

    client.EncryptInit(session, 0x1, public)
    assert client.Encrypt(session, b"secret", None) == 256
    cryptogram = client.Encrypt(session, b"secret", 256)
    client.DecryptInit(session, 0x1, key)
    assert client.Decrypt(session, cryptogram, None) == 245
    assert client.Decrypt(session, cryptogram, 3) == 6  # too small: still active
    assert client.Decrypt(session, cryptogram, 6) == b"secret"
    client.DecryptInit(session, 0x1, key)
    client.DecryptUpdate(session, cryptogram[:100], 0)
    client.DecryptUpdate(session, cryptogram[100:], 0)
    assert client.DecryptFinal(session, 245) == b"secret"
    client.DecryptInit(session, 0x1, key)
    refused(0x41, client.Decrypt, session, cryptogram[1:], 256)
    client.DecryptInit(session, 0x1, key)
    refused(0x40, client.Decrypt, session, b"\x00" * 255 + b"\x07", 256)
    refused(0x68, client.DecryptInit, session, 0x1, client.private_key(session, SIG))
    refused(0x70, client.EncryptInit, session, 0x9, public)


def test_in_the_middle_of_a_call_others_are_answered(client: Wire, lab: Lab) -> None:
    """Several requests of one connection are worked on at once, and answered as they are done."""
    session, key, _ = ready(client, 0, AUT)
    lab.card(0).set_fault("delay@0=300ms")
    client.SignInit(session, 0x40, key)
    slow = client.send("Sign", session, CONTENT, 256)
    quick = client.send("GetSessionInfo", session)
    assert [client.answer()[0], client.answer()[0]] == [quick, slow]
