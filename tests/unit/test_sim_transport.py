# SPDX-License-Identifier: Apache-2.0
"""A card at the end of a socket: the wire, its end, its faults, its trace."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import faults
from simulator.errors import InputError
from simulator.tracefile import TraceWriter
from simulator.transport import CANCEL, NOBODY, Options, Pad, Session, connect_slot, connect_vpcd


class Echo:
    """Answers the command's own bytes and 9000; counts what happens to it."""

    atr = bytes.fromhex("3BAC00402A001225006480000310009000")

    def __init__(self) -> None:
        self.seen: list[str] = []

    def power_on(self) -> None:
        self.seen.append("on")

    def power_off(self) -> None:
        self.seen.append("off")

    def reset(self) -> None:
        self.seen.append("reset")

    def transmit(self, apdu: bytes) -> bytes:
        self.seen.append(apdu.hex())
        return apdu + b"\x90\x00"


class Host:
    """The reader's side of the wire."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        link.settimeout(5)

    def send(self, payload: bytes) -> None:
        self.link.sendall(len(payload).to_bytes(2, "big") + payload)

    def receive(self) -> bytes:
        size = int.from_bytes(self._exactly(2), "big")
        return self._exactly(size)

    def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return self.receive()

    def closed(self) -> bool:
        return self.link.recv(1) == b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.link.recv(count - len(data))
            assert part, "closed"
            data += part
        return data


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Host]]:
    card, host = socket.socketpair()
    yield card, Host(host)
    card.close()
    host.close()


def start(
    card: Echo, link: socket.socket, spec: str | None = None, pad: Pad | None = None, trace: TraceWriter | None = None
) -> Session:
    session = Session(card, link, Options(faults=faults.parse(spec) if spec else (), pad=pad, trace=trace))
    session.start()
    return session


def test_controls_and_commands(pair: tuple[socket.socket, Host]) -> None:
    card, (link, host) = Echo(), pair
    session = start(card, link)
    host.send(b"\x01")
    assert host.ask(b"\x04") == card.atr
    assert host.ask(bytes.fromhex("00A40400")) == bytes.fromhex("00A404009000")
    host.send(b"\x02")
    long = bytes(65000)
    assert host.ask(long) == long + b"\x90\x00"
    host.send(b"\x00")
    host.send(b"")  # an empty frame means nothing
    host.link.close()
    session.stop()
    assert card.seen == ["on", "00a40400", "reset", long.hex(), "off", "off"]
    assert not session.running and session.error is None


def test_a_frame_may_come_byte_by_byte(pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    session = start(Echo(), link)
    for byte in b"\x00\x04\x00\xa4\x04\x00":
        host.link.sendall(bytes([byte]))
        time.sleep(0.002)
    assert host.receive() == bytes.fromhex("00A404009000")
    session.stop()


def test_half_a_frame_and_gone(pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    session = start(Echo(), link)
    host.link.sendall(b"\x00\x09\x00\xa4")
    host.link.close()
    deadline = time.monotonic() + 5
    while session.running and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not session.running and session.error is None


def test_stop_from_another_thread_while_it_waits(pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    session = start(Echo(), link, "delay@0=60s")
    host.send(bytes(5))
    time.sleep(0.05)
    begun = time.monotonic()
    session.stop()
    assert time.monotonic() - begun < 1 and not session.running
    assert host.closed()


@pytest.mark.parametrize(("spec", "carried_out"), [("pull@1", 2), ("pull-before@1", 1)])
def test_pull(pair: tuple[socket.socket, Host], spec: str, carried_out: int) -> None:
    card, (link, host) = Echo(), pair
    start(card, link, spec)
    host.ask(bytes(4))
    host.send(bytes(4))
    assert host.closed()
    assert card.seen.count("00000000") == carried_out


def test_mute_until_reset(pair: tuple[socket.socket, Host]) -> None:
    card, (link, host) = Echo(), pair
    session = start(card, link, "mute@0")
    host.send(bytes(4))
    host.send(bytes(4))
    host.link.settimeout(0.1)
    with pytest.raises(TimeoutError):
        host.receive()
    host.link.settimeout(5)
    host.send(b"\x02")
    assert host.ask(b"\x04") == card.atr
    assert host.ask(bytes(4)) == bytes(4) + b"\x90\x00"
    session.stop()


def test_answers_made_up(pair: tuple[socket.socket, Host]) -> None:
    card, (link, host) = Echo(), pair
    session = start(card, link, "sw@0=6985,answer@1=6A82,cut@2=1,truncate@3=2")
    got = [host.ask(b"\x00\xb0\x00\x00") for _ in range(5)]
    assert [g.hex() for g in got] == ["6985", "6a82", "00", "00b09000", "00b000009000"]
    assert len([s for s in card.seen if s == "00b00000"]) == 3  # the first two never reached it
    session.stop()


def test_a_new_plan_counts_from_zero(pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    session = start(Echo(), link)
    host.ask(bytes(4))
    session.set_faults(faults.parse("sw@1=6F00"))
    assert [host.ask(bytes(4))[-2:].hex() for _ in range(3)] == ["9000", "6f00", "9000"]
    session.stop()


def test_a_fault_of_the_card_ends_the_session_and_is_told(pair: tuple[socket.socket, Host]) -> None:
    class Broken(Echo):
        def transmit(self, apdu: bytes) -> bytes:
            raise InputError("disque plein", "disk full")

    link, host = pair
    session = start(Broken(), link)
    host.send(bytes(4))
    assert host.closed()
    session.stop()
    assert isinstance(session.error, InputError)


def test_pad() -> None:
    pad = Pad(["1234", NOBODY, "5678"])
    assert [pad.next() for _ in range(4)] == [b"1234", b"\x00", b"5678", b"5678"]
    pad.type()
    assert pad.next() == CANCEL
    assert "1234" not in repr(Pad(["1234"]))


def test_keys_are_answered(pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    session = start(Echo(), link, pad=Pad(["1234"]))
    assert host.ask(b"\x08") == b"1234"
    session.stop()


def test_tcp_has_no_delayed_ack() -> None:
    """vpcd writes length and payload apart; 20 exchanges at 40 ms each would take 0.8 s."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = connect_vpcd("127.0.0.1", server.getsockname()[1])
        accepted, _ = server.accept()
    session = start(Echo(), link)
    with accepted:
        host = Host(accepted)
        begun = time.monotonic()
        for _ in range(20):
            accepted.sendall(b"\x00\x04")
            accepted.sendall(b"\x00\xa4\x04\x00")
            assert host.receive() == bytes.fromhex("00A404009000")
        assert time.monotonic() - begun < 0.5
        session.stop()


def test_no_reader(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        connect_slot(tmp_path / "none")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError):
        connect_vpcd("127.0.0.1", port)


def test_trace(tmp_path: Path, pair: tuple[socket.socket, Host]) -> None:
    link, host = pair
    trace = TraceWriter(tmp_path / "t.apdu")
    session = start(Echo(), link, "pull@1", trace=trace)
    host.send(b"\x01")
    host.ask(bytes.fromhex("00A40400"))
    host.send(bytes.fromhex("00B00000"))
    assert host.closed()
    session.stop()
    text = (tmp_path / "t.apdu").read_text(encoding="ascii")  # flushed line by line
    trace.close()
    trace.comment("after the end")
    assert re.sub(r"@\d+\.\d{3}", "@", text).splitlines()[1:] == [
        "# @ inserted",
        "# @ power on",
        "# @",
        "> 00A40400",
        "< 00A404009000",
        "# @",
        "> 00B00000",
        "# @ fault: pull",
        "# @ removed",
    ]


def test_a_trace_of_several_cards_says_whose_line_it_is(tmp_path: Path) -> None:
    trace = TraceWriter(tmp_path / "t.apdu")

    def talk(slot: int) -> None:
        for _ in range(200):
            trace.command(bytes([slot]) * 4, slot)
            trace.answer(bytes([slot]) * 2, slot)

    threads = [threading.Thread(target=talk, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace.close()
    slot, count = -1, 0
    for line in (tmp_path / "t.apdu").read_text().splitlines():
        if found := re.search(r"slot (\d+):", line):
            slot = int(found[1])
        if line[0] in "<>":
            count += 1
            assert bytes.fromhex(line[2:])[0] == slot
    assert count == 1600


def test_no_trace_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        TraceWriter(tmp_path / "none" / "t.apdu")
    assert caught.value.exit_code == 40
