# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, against the reader driver built with AddressSanitizer and UBSan inside the stock pcscd."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scard import StubCard, ask

from simulator.lab import Lab
from simulator.transport import Pad, connect_slot

SOURCES = Path(__file__).parents[2] / "simulator" / "driver"
ATR = StubCard().atr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Slot 0: a good card; the others are for attacks. pcscd must outlive them all, without a word from the sanitizers."""
    folder = tmp_path_factory.mktemp("asan")
    driver, log = folder / "libifdcpxsim.so", folder / "asan.log"
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fPIC", "-shared", "-I/usr/include/PCSC"]
    subprocess.run(["cc", *flags, *sorted(SOURCES.glob("*.c")), "-o", driver, "-lpthread"], check=True)
    runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {
        "LD_PRELOAD": os.path.realpath(runtime),
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={log}",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:log_path={log}",
    }
    with Lab(
        [StubCard()], timeout_ms=250, pinpad=True, pad=Pad(["1234"]), driver=driver, pcscd_environment=environment
    ) as opened:
        pid = opened.pcscd_pid
        yield opened
        assert opened.pcscd_pid == pid
        assert ask(opened, "h, _ = connect(); say(transmit(h, '00A40400'))") == "00a404009000"
    reports = [path.read_text() for path in folder.glob("asan.log*")]
    assert reports == []


class Peer:
    """A connection to a slot that says what it likes."""

    def __init__(self, lab: Lab, slot: int) -> None:
        self.link = connect_slot(lab.slot_path(slot))
        self.link.settimeout(0.7)

    def read(self) -> bytes:
        head = self.link.recv(2, socket.MSG_WAITALL)
        return self.link.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if len(head) == 2 else b""

    def serve(self, answer: Callable[[bytes], bytes]) -> None:
        """Raw bytes to send for each command and ATR request, until the driver has had enough."""
        with contextlib.suppress(OSError):
            while payload := self.read():
                if payload not in (b"\x00", b"\x01", b"\x02"):
                    self.link.sendall(answer(payload))
        self.link.close()


def recovers(lab: Lab, slot: int) -> None:
    """Once the attacker is gone a good card works in its slot."""
    lab.insert(slot, StubCard())
    assert ask(lab, f"h, _ = connect({slot}); say(transmit(h, '00B00000'))") == "00b000009000"
    lab.remove(slot)


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    "first",
    [b"", b"\x00", b"\xff\xff", b"\xff\xff" + bytes(40), frame(bytes(65535)), frame(b""), frame(ATR) * 2, frame(b"\x3b" * 34)],
    ids=["nothing", "half length", "length only", "half frame", "huge", "empty", "twice", "34 bytes"],
)
def test_odd_answers_to_the_atr_request(lab: Lab, first: bytes) -> None:
    peer = Peer(lab, 1)
    with contextlib.suppress(OSError):
        while peer.read() != b"\x04":
            pass
        peer.link.sendall(first)
    ask(lab, "say(hex(scard.SCardConnect(context(), readers()[1], 2, 3)[0] & 0xFFFFFFFF))", timeout=10)
    peer.link.close()
    recovers(lab, 1)


def test_flood_before_being_asked(lab: Lab) -> None:
    peer = Peer(lab, 1)
    stop = time.monotonic() + 1
    with contextlib.suppress(OSError):
        while time.monotonic() < stop:
            peer.link.send(os.urandom(65536), socket.MSG_DONTWAIT)
    peer.link.close()
    recovers(lab, 1)


def test_flood_after_an_answer(lab: Lab) -> None:
    peer = Peer(lab, 1)
    thread = threading.Thread(
        target=peer.serve, args=(lambda p: frame(ATR if p == b"\x04" else b"\x90\x00") + b"\x00\x02\x90\x00" * 50,)
    )
    thread.start()
    got = ask(lab, "r = scard.SCardConnect(context(), readers()[1], 2, 3); say([transmit(r[1], '00A40400') for _ in range(3)])")
    assert got[-1].startswith("error ")  # an answer before its question: out
    thread.join(5)
    assert not thread.is_alive()
    recovers(lab, 1)


def test_connections_that_come_and_go(lab: Lab) -> None:
    for _ in range(300):
        Peer(lab, 1).link.close()
    held = []
    for _ in range(20):  # more than the slot's queue holds
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        with contextlib.suppress(OSError):
            link.connect(str(lab.slot_path(1)))
        held.append(link)
    for link in held:
        link.close()
    recovers(lab, 1)


@pytest.mark.parametrize("seed", range(6))
def test_random_answers(lab: Lab, seed: int) -> None:
    """Proper ATR, then whatever: frames of any length, cut short, several at once; commands and PIN pad entries alike."""
    rng = random.Random(seed)  # noqa: S311 - a test's dice

    def answer(payload: bytes) -> bytes:
        if payload == b"\x04":
            return frame(ATR)
        raw = frame(rng.randbytes(rng.choice([0, 1, 2, 16, 256, 258, 4096, 65535])))
        return raw if rng.random() < 0.7 else raw[: rng.randrange(len(raw))]

    peer = Peer(lab, 1)
    thread = threading.Thread(target=peer.serve, args=(answer,))
    thread.start()
    code = """
r = scard.SCardConnect(context(), readers()[1], 2, 3)
f = features(r[1]) if r[0] == 0 else {}
for n in range(6):
    transmit(r[1], '00B0000000')
    if f:
        control(r[1], f[6], verify_structure('0020000108FFFFFFFFFFFFFFFF'))
    scard.SCardReconnect(r[1], 2, 3, scard.SCARD_RESET_CARD)
say(0)
"""
    assert ask(lab, code) == 0
    with contextlib.suppress(OSError):
        peer.link.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert not thread.is_alive()
    recovers(lab, 1)


def test_only_the_owner_may_put_in_a_card(lab: Lab) -> None:
    assert lab.folder is not None
    path = lab.slot_path(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.folder.stat().st_mode) == 0o700
    if os.geteuid() != 0:
        return  # nobody else to be
    lab.folder.chmod(0o711)
    path.chmod(0o666)  # so that the credentials of the peer alone protect the slot
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect({str(path)!r}); print(s.recv(1))"
    foreign = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", code]
    try:
        done = subprocess.run(foreign, capture_output=True, text=True, check=False, timeout=10, cwd="/")
    finally:
        path.chmod(0o600)
        lab.folder.chmod(0o700)
    assert (done.stdout.strip(), done.stderr) == ("b''", "")  # connected, and closed at once
    assert not lab.shown()[1].present
    recovers(lab, 1)
