# SPDX-License-Identifier: Apache-2.0
"""Whatever bytes come in, the parser says WireError or gives values, and a connection ends or goes on: nothing else."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from p11_daemon import Daemon
from p11_wire import CALLS, HANDSHAKE, Closed, Wire, frame

from cpxd.pkcs11 import calls, wire
from cpxd.pkcs11.frames import Frames

SIGNATURES = sorted({call.request for call in calls.CALLS.values() if call.number not in calls.SECRET})
PLAIN = [s for s in SIGNATURES if not s.startswith("uM") or s in ("uM", "uMu")]  # the others are never read


@settings(max_examples=400, deadline=None)
@given(signature=st.sampled_from(PLAIN), body=st.binary(max_size=200), new=st.booleans())
def test_values(signature: str, body: bytes, new: bool) -> None:
    reader = wire.Reader(body, new_dialect=new)
    try:
        for step in wire.steps(signature):
            step(reader)
        reader.end()
    except wire.WireError:
        pass


frames = st.one_of(
    st.binary(max_size=64),
    st.builds(
        lambda call, signature, body, lie: (
            struct.pack(">III", 1, 0, max(0, 8 + len(signature) + len(body) + lie))
            + struct.pack(">II", call, len(signature))
            + signature
            + body
        ),
        st.sampled_from([*calls.CALLS, 0, 70, 90]),
        st.sampled_from([call.request.encode() for call in calls.CALLS.values()]),
        st.binary(max_size=100),
        st.sampled_from([0, 0, 0, 0, -1, 1, 5]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(data=st.lists(frames, max_size=5).map(b"".join), cut=st.integers(1, 64))
def test_frames(data: bytes, cut: int) -> None:
    received = Frames()
    try:
        for start in range(0, len(data), cut):
            part = data[start : start + cut]
            received.room()[: len(part)] = part
            for found in received.feed(len(part)):
                assert found.call == int.from_bytes(found.body[:4], "big") or found.call in calls.SECRET
                assert not (found.call in calls.SECRET and found.body)
    except wire.WireError:
        pass
    finally:
        received.close()


def flipped(name: str, values: tuple[object, ...], where: int, byte: int) -> bytes:
    whole = bytearray(frame(0x11, name, *values))
    whole[where % len(whole)] = byte
    return bytes(whole)


VALUES: dict[str, tuple[object, ...]] = {
    "GetSlotList": (1, 8),
    "GetTokenInfo": (0,),
    "GetMechanismList": (0, 4),
    "OpenSession": (0, 6),
    "GetSessionInfo": (1,),
    "Login": (1, 1, b"99999"),
    "SetPIN": (1, b"99999", b"1"),
    "InitPIN": (1, b"99999"),
    "FindObjectsInit": (1, [(0, 1), (3, b"label")]),
    "FindObjects": (1, 9),
    "GetAttributeValue": (1, 3, [(0, 8), (0x11, 64)]),
    "SignInit": (1, (0xD, (0x250, 2, 32)), 1),
    "Sign": (1, b"data", 256),
    "DigestInit": (1, 0x250),
    "Digest": (1, b"data", 32),
    "VerifyInit": (1, 1, 3),
    "SessionCancel": (1, 0xFFFF),
    "Initialize": (HANDSHAKE, 0, b"\0"),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(VALUES)), where=st.integers(0, 200), byte=st.integers(0, 255))
def test_the_daemon_lives_on(daemon: Daemon, name: str, where: int, byte: int) -> None:
    assert name in CALLS
    with daemon.client() as client:
        session = client.open(0)
        client.socket.settimeout(0.2)
        client.socket.sendall(flipped(name, VALUES[name], where, byte))
        with contextlib.suppress(Closed, TimeoutError):  # a length that grew: the daemon waits for the rest
            client.answer()
        assert session
    with daemon.client() as client:
        assert client.GetSlotList(0, 16)
    assert daemon.process.poll() is None


def test_no_defect_was_logged(daemon: Daemon) -> None:
    """Runs last in this file: what the tests above sent met no error of ours."""
    assert '"defect"' not in daemon.log.read_text()


@pytest.mark.parametrize("split", [1, 5, 1000])
def test_garbage_from_the_first_byte(daemon: Daemon, split: int) -> None:
    client = Wire(daemon.socket, start=False)
    junk = bytes(range(256)) * 20
    try:
        for start in range(0, len(junk), split):
            client.socket.sendall(junk[start : start + split])
    except OSError:
        pass
    finally:
        client.close()
    with daemon.client() as other:
        assert other.GetSlotList(0, 16)
