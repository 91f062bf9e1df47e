# SPDX-License-Identifier: Apache-2.0
"""The exchange loop against scripts, hostile answers and failing terminals."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from apdu_vectors import Card, Exchange, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st

from cpxd import apdu
from cpxd.apdu import (
    SW,
    ApduError,
    CallbackTransport,
    Command,
    CommandError,
    PcscTransport,
    Protocol,
    Response,
    ResponseError,
    TransportError,
)

READ = Command(0x00, 0xB0, 0x00, 0x00, le=231)


@pytest.mark.parametrize("case", list(exchanges("exchange.txt")), ids=lambda case: case.name)
def test_script(case: Exchange) -> None:
    card = Card(case.script)
    seen: list[tuple[bytes, bytes]] = []
    transport = CallbackTransport(
        card, case.protocol, lambda sent, received, _: seen.append((sent, received)), max_le=case.max_le
    )
    if case.error:
        with pytest.raises(getattr(apdu, case.error)):
            transport.transmit(case.command, get_response_cla=case.get_response_cla)
    else:
        answer = transport.transmit(case.command, get_response_cla=case.get_response_cla)
        assert answer == Response(case.data, case.sw)
        assert answer.ok == (case.sw == 0x9000)
        assert seen == case.script
    assert card.left == []
    assert transport.apdus == len(case.script)
    assert transport.get_responses == sum(sent[1] == 0xC0 for sent, _ in case.script)


def test_the_scripts_are_there() -> None:
    assert len(list(exchanges("exchange.txt"))) > 40


def test_an_answer_without_end() -> None:
    transport = CallbackTransport(lambda _: b"\x61\x01", Protocol.T0)
    with pytest.raises(ResponseError):
        transport.transmit(READ)
    assert transport.apdus <= 600


def test_what_a_failed_exchange_left_does_not_leak_into_the_next() -> None:
    answers = iter([b"\xaa\x61\x01", b"", b"\x90\x00"])
    transport = CallbackTransport(lambda _: next(answers), Protocol.T0)
    with pytest.raises(ResponseError):
        transport.transmit(READ)
    assert transport.transmit(READ) == Response(b"", 0x9000)


class Broken(Exception):
    pass


def test_the_callbacks_exception_comes_out() -> None:
    def send(_: bytes) -> bytes:
        raise Broken

    seen: list[tuple[bytes, bytes]] = []
    transport = CallbackTransport(send, Protocol.T1, lambda sent, received, _: seen.append((sent, received)))
    with pytest.raises(Broken):
        transport.transmit(READ)
    assert seen == [(READ.encode(), b"")]


def test_the_observers_exception_comes_out_after_the_exchange() -> None:
    card = Card([(READ.encode(), b"\x61\x01"), (bytes.fromhex("00C0000001"), b"\x01\x90\x00")])

    def observe(sent: bytes, received: bytes, milliseconds: float) -> None:
        raise Broken

    transport = CallbackTransport(card, Protocol.T0, observe)
    with pytest.raises(Broken):
        transport.transmit(READ)
    assert card.left == []


def test_milliseconds() -> None:
    def send(_: bytes) -> bytes:
        time.sleep(0.02)
        return b"\x90\x00"

    times: list[float] = []
    CallbackTransport(send, Protocol.T0, lambda sent, received, ms: times.append(ms)).transmit(READ)
    assert len(times) == 1
    assert 20 <= times[0] < 2000


def test_not_twice_at_once() -> None:
    def send(_: bytes) -> bytes:
        with pytest.raises(CommandError):
            transport.transmit(READ)
        return b"\x90\x00"

    transport = CallbackTransport(send, Protocol.T0)
    assert transport.transmit(READ).ok
    assert transport.apdus == 1


def test_from_another_thread() -> None:
    transport = CallbackTransport(lambda _: b"\x01\x90\x00", Protocol.T1)
    answers: list[Response] = []
    thread = threading.Thread(target=lambda: answers.append(transport.transmit(READ)))
    thread.start()
    thread.join()
    assert answers == [Response(b"\x01", 0x9000)]


def test_pcsc_error_is_a_number() -> None:
    """No service or an invalid handle: what libpcsclite says comes back as pyscard would write it."""
    transport = PcscTransport(0x7FFFFFFF, Protocol.T0)
    with pytest.raises(TransportError) as caught:
        transport.transmit(READ)
    assert caught.value.code in (0x80100003, 0x8010001D)
    assert transport.apdus == 1


@pytest.mark.parametrize(("protocol", "max_le"), [(0, 231), (3, 231), (1, 257), (1, -1)])
def test_bad_transport(protocol: int, max_le: int) -> None:
    with pytest.raises(CommandError):
        CallbackTransport(lambda _: b"", protocol, max_le=max_le)


@pytest.mark.parametrize("cla", [-1, 256])
def test_bad_get_response_class(cla: int) -> None:
    with pytest.raises(CommandError):
        CallbackTransport(lambda _: b"\x90\x00", Protocol.T0).transmit(READ, get_response_cla=cla)


def test_a_transport_is_freed() -> None:
    class Sender:
        def __call__(self, _: bytes) -> bytes:
            return b"\x90\x00"

    sender = Sender()
    gone = weakref.ref(sender)
    transport = CallbackTransport(sender, Protocol.T0)
    transport.transmit(READ)
    del sender, transport
    gc.collect()
    assert gone() is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=8) | st.sampled_from([b"\x61\x05", b"\x6c\x02", b"\x9f\x01", b"\x90\x00"]), max_size=12),
    st.sampled_from(list(Protocol)),
    st.sampled_from([0x00, 0x01, 0xA0]),
    st.binary(max_size=300),
    st.none() | st.integers(1, 256),
)
def test_whatever_a_card_answers(answers: list[bytes], protocol: Protocol, cla: int, data: bytes, le: int | None) -> None:
    """An answer or a typed error, never more bytes than were received, and the same rules on the line each time."""
    sent: list[bytes] = []
    script = [*answers, b"\x6f\x00"]

    def card(raw: bytes) -> bytes:
        sent.append(raw)
        return script[min(len(sent), len(script)) - 1]

    transport = CallbackTransport(card, protocol)
    try:
        answer = transport.transmit(Command(cla, 0xCB, 0x3F, 0xFF, data, le))
    except ApduError:
        return
    assert len(answer.data) <= sum(max(0, len(raw) - 2) for raw in script[: len(sent)])
    assert answer.sw == int.from_bytes(script[min(len(sent), len(script)) - 1][-2:])
    assert all(raw[1] in (0xCB, 0xC0) for raw in sent)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=2000), st.integers(1, 255))
def test_chained_blocks_join_to_the_data(data: bytes, block: int) -> None:
    sent: list[bytes] = []

    def card(raw: bytes) -> bytes:
        sent.append(raw)
        return b"\x90\x00"

    CallbackTransport(card, Protocol.T0).transmit(Command(0x00, 0x2A, 0x80, 0x86, data, block=block))
    assert b"".join(raw[5:] for raw in sent) == data
    assert [raw[0] for raw in sent] == [0x10] * (len(sent) - 1) + [0x00]
    assert all(raw[4] == len(raw) - 5 <= block for raw in sent)


def test_status_word_compares() -> None:
    assert Response(b"", 0x6A82).sw == SW.FILE_NOT_FOUND
