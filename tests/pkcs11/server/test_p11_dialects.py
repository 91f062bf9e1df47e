# SPDX-License-Identifier: Apache-2.0
"""The three client generations: what each writes, byte by byte, and that each gets its signature."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from p11_daemon import Daemon
from p11_wire import HANDSHAKE, Closed, frame

from cpxd.pkcs11 import calls
from cpxd.pkcs11.frames import Frame, Frames
from cpxd.pkcs11.wire import Mechanism, Pss, Reader, Room, WireError, steps

# Behind the session of a C_SignInit, as p11-kit clients write it: 0.24.1 (offers 0), 0.25.5 (1), 0.26.4 (2)
KEY = struct.pack(">Q", 7)
PSS_VALUES = struct.pack(">QQQ", 0x250, 2, 32)
WRITTEN = {
    (0, "pkcs"): "00000001 ffffffff",
    (1, "pkcs"): "00000001 ffffffff",
    (2, "pkcs"): "00000001",
    (0, "pss"): "0000000d" + PSS_VALUES.hex(),
    (1, "pss"): "0000000d" + PSS_VALUES.hex(),
    (2, "pss"): "0000000d 01" + PSS_VALUES.hex(),
    (2, "no parameter"): "0000000d 00",
    (0, "cancel"): "ffffffff",
    (2, "cancel"): "ffffffff",
}
MEANT = {
    "pkcs": Mechanism(1, None),
    "pss": Mechanism(0xD, Pss(0x250, 2, 32)),
    "no parameter": Mechanism(0xD, None),
    "cancel": None,
}
RECORDED = [
    (int(number), bytes.fromhex(text))
    for number, text in (
        line.split()
        for line in (Path(__file__).parent / "p11-kit-0.24.1.frames").read_text().splitlines()
        if not line.startswith("#")
    )
]
MEANING = {  # of those recorded frames that carry values worth a look
    1: [HANDSHAKE, 0, b"\0"],
    10: [1, 4],
    24: [1, 4, [(0x202, 1)]],
    26: [1, [(0, (3).to_bytes(8, "little")), (0x102, bytes.fromhex("e828bd080f8025000001ff001020"))]],
    27: [1, 1],
    43: [1, b"x" * 32, Room(512, False)],
}


@pytest.mark.parametrize(("offered", "what"), list(WRITTEN))
def test_mechanisms(offered: int, what: str) -> None:
    written = bytes.fromhex(WRITTEN[offered, what]) + KEY
    reader = Reader(written, new_dialect=offered >= 2)
    assert reader.mechanism(8) == MEANT[what]
    assert reader.number() == 7
    reader.end()


def received(data: bytes) -> Frame:
    frames = Frames()
    frames.room()[: len(data)] = data
    (found,) = frames.feed(len(data))
    frames.close()
    return found


@pytest.mark.parametrize(("number", "sent"), RECORDED, ids=[f"call {number}, {len(sent)} bytes" for number, sent in RECORDED])
def test_recorded(number: int, sent: bytes) -> None:
    found = received(sent)
    assert (found.call, found.options) == (number, b"client")
    if number in calls.SECRET:
        assert found.body == b"" and found.values[0] == 1
        assert all(pin.secret is not None and pin.secret.is_digits(4) for pin in found.pins)
        return
    reader = Reader(found.body, new_dialect=False, at=4)
    signature = calls.CALLS[number].request
    assert reader.string() == signature.encode()
    values = [step(reader) for step in steps(signature)]
    reader.end()
    if number in MEANING:
        assert values == MEANING[number]
    if number == 42:
        assert values[1] in (Mechanism(0xD, Pss(0x250, 2, 32)), Mechanism(0x40, None))


def test_our_client_writes_the_same() -> None:
    """The client of these tests is a fair stand-in: byte for byte what was recorded."""
    sent = dict(RECORDED)
    assert frame(0x10, "Initialize", HANDSHAKE, 0, b"\0", offered=0) == sent[1]
    assert frame(0x14, "OpenSession", 1, 4, offered=0) == sent[10]
    assert frame(0x16, "Login", 1, 1, b"1234", offered=0) == sent[18]
    assert frame(0x1C, "Sign", 1, b"x" * 32, 512, offered=0) == sent[43]
    pss = [data for number, data in RECORDED if number == 42 and len(data) > 64]
    assert [frame(0x1A, "SignInit", 1, (0xD, (0x250, 2, 32)), 4, offered=0)] == pss


@pytest.mark.parametrize("offered", [0, 1, 2, 3, 200])
def test_version(daemon: Daemon, offered: int) -> None:
    with daemon.client(offered) as client:
        assert client.version == min(offered, 2)
        assert client.GetSlotList(0, 16)


@pytest.mark.parametrize("offered", [0, 1, 2])
def test_signatures(fresh: Daemon, offered: int) -> None:
    with fresh.client(offered) as client:
        for slot, mechanism in ((0, 0x40), (1, 0x40), (1, (0xD, (0x250, 2, 32)))):
            session = client.open(slot)
            client.login(session)
            key = client.private_key(session, b"CPS_PRIV_AUT")
            (info,) = client.read(session, key, 0x129)
            public = load_der_public_key(info)
            data = b"three generations"
            if mechanism == 0x40:
                public.verify(client.sign(session, key, mechanism, data), data, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type]
            else:
                form = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
                signature = client.sign(session, key, mechanism, hashlib.sha256(data).digest())
                public.verify(signature, data, form, hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type]
            client.CloseAllSessions(slot)


def test_our_module_is_marked_back(daemon: Daemon) -> None:
    with daemon.client(options=b"cpx1;DISPLAY=%3A0;LANG=fr_FR.UTF-8;") as client:
        client.send("GetInfo")
        assert client.answer()[1] == b"cpx1;"
    with daemon.client() as client:
        client.send("GetInfo")
        assert client.answer()[1] == b""


def test_initialisation(daemon: Daemon) -> None:
    with daemon.client(start=False) as client:
        for name, *values in (("GetSlotList", 0, 16), ("GetInfo",), ("OpenSession", 0, 4), ("Finalize",)):
            with pytest.raises(Exception, match="0x190"):
                client.call(name, *values)
        with pytest.raises(Exception, match="0x7"):
            client.Initialize(b"another protocol", 0, b"\0")
        client.Initialize(HANDSHAKE, 0, b"\0")
        with pytest.raises(Exception, match="0x191"):
            client.Initialize(HANDSHAKE, 0, b"\0")
        session = client.open(0)
        client.Finalize()
        client.Initialize(HANDSHAKE, 0, b"\0")
        with pytest.raises(Exception, match="0xb3"):
            client.GetSessionInfo(session)


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">III", 1, 0, 0),  # no body
        struct.pack(">III", 1, 1 << 20, 16),
        struct.pack(">III", 1, 0, 12) + struct.pack(">II", 3, 4) + b"vsus",  # another signature than the call has
        struct.pack(">III", 1, 0, 8) + struct.pack(">II", 999, 0),  # no such call
        struct.pack(">III", 1, 0, 8) + struct.pack(">II", 0, 0),
        struct.pack(">III", 1, 0, 9) + struct.pack(">II", 3, 0) + b"x",  # more than the signature says
        struct.pack(">III", 1, 0, 16) + struct.pack(">II", 5, 1) + b"u" + bytes(7),  # less
        struct.pack(">III", 1, 0, 13) + struct.pack(">II", 18, 4) + b"uuay" + b"\0",
        struct.pack(">III", 1, 0, 23) + struct.pack(">II", 26, 3) + b"uaA" + bytes(8) + struct.pack(">I", 1 << 20),
    ],
)
def test_a_bad_frame_ends_its_connection_only(daemon: Daemon, bad: bytes) -> None:
    with daemon.client() as other, daemon.client() as client:
        client.socket.sendall(bad)
        with pytest.raises(Closed):
            client.receive(1)
        assert other.GetSlotList(0, 16)


def test_nested_templates_are_bounded(daemon: Daemon) -> None:
    def nested(depth: int) -> bytes:
        if depth == 0:
            return struct.pack(">I", 0)
        return struct.pack(">IIBI", 1, 0x40000211, 1, 0) + nested(depth - 1)

    with daemon.client() as other, daemon.client() as client:
        session = client.open(0)
        for depth, ends in ((3, False), (9, True)):
            body = struct.pack(">II", 26, 3) + b"uaA" + struct.pack(">Q", session) + nested(depth)
            client.socket.sendall(struct.pack(">III", 1, 0, len(body)) + body)
            if ends:
                with pytest.raises(Closed):
                    client.receive(1)
            else:
                client.answer()
                client.FindObjectsFinal(session)
        assert other.GetSlotList(0, 16)


def test_queries_of_both_generations() -> None:
    flat = struct.pack(">IIIII", 2, 0x40000211, 16, 0x3, 64)
    nested = struct.pack(">IIIIIIII", 2, 0x40000211, 16, 1, 0x3, 8, 0x3, 64)
    for new in (False, True):
        assert Reader(flat, new_dialect=new).query() == [(0x40000211, 16), (0x3, 64)]
        assert Reader(nested, new_dialect=new).query() == [(0x40000211, 16), (0x3, 64)]
    with pytest.raises(WireError):
        Reader(flat + b"\0", new_dialect=True).query()


def test_long_frames_and_slow_ones(daemon: Daemon) -> None:
    """Frames longer than the locked buffer, in pieces, and many at once."""
    with daemon.client() as client:
        session = client.open(0)
        client.DigestInit(session, 0x250)
        data = bytes(range(256)) * 3000
        client.serial += 1
        whole = frame(client.serial, "Digest", session, data, 32)
        for start in range(0, len(whole), 50_000):
            client.socket.sendall(whole[start : start + 50_000])
        assert client.answer()[2][-32:] == hashlib.sha256(data).digest()
        many = b"".join(frame(1000 + n, "GetSessionInfo", session) for n in range(500))
        for start in range(0, len(many), 7001):
            client.socket.sendall(many[start : start + 7001])
        assert [client.answer()[0] for _ in range(500)] == list(range(1000, 1500))
        client.serial = 2000
        one = frame(2001, "GetSessionInfo", session)
        for byte in one:
            client.socket.sendall(bytes([byte]))
        assert client.answer()[0] == 2001


def test_a_client_that_does_not_read(daemon: Daemon) -> None:
    """It is not read from any more, and keeps nobody else waiting."""
    with daemon.client() as deaf, daemon.client() as other:
        session = deaf.open(0)
        deaf.socket.setblocking(False)
        request = frame(1, "GetTokenInfo", 0)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += deaf.socket.send(request * 1000)
        except BlockingIOError:
            pass
        assert sent < 20_000_000, "the daemon reads on without end"
        assert other.GetSlotList(0, 16) and session
