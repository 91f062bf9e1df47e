# SPDX-License-Identifier: Apache-2.0
"""PIN commands: built in C, sent once, masked for observers, refused before they are sent."""

from __future__ import annotations

import os

import pytest

from cpxd.apdu import (
    CallbackTransport,
    CommandError,
    PinBlock,
    PinFormatError,
    Protocol,
    Response,
    ResponseError,
    Secret,
    TransportError,
)


def secret(text: bytes) -> Secret:
    reader, writer = os.pipe()
    try:
        os.write(writer, text + b"\n")
        return Secret.from_fd(reader)
    finally:
        os.close(reader)
        os.close(writer)


def pin_block(text: bytes) -> PinBlock:
    return PinBlock(secret(text), stored_length=8, pad=0xFF, minimum=4, maximum=4)


class Recorder:
    def __init__(self, answer: str) -> None:
        self.answer = bytes.fromhex(answer)
        self.sent: list[str] = []
        self.observed: list[tuple[str, str]] = []
        self.transport = CallbackTransport(self.send, Protocol.T0, self.observe)

    def send(self, raw: bytes) -> bytes:
        self.sent.append(raw.hex().upper())
        return self.answer

    def observe(self, sent: bytes, received: bytes, milliseconds: float) -> None:
        assert milliseconds >= 0
        self.observed.append((sent.hex().upper(), received.hex().upper()))


def test_verify_as_the_official_library_sends_it() -> None:
    card = Recorder("9000")
    assert card.transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(b"1234")]) == Response(b"", 0x9000)
    assert card.sent == ["002000010831323334FFFFFFFF"]
    assert card.observed == [("00200001082A2A2A2A2A2A2A2A", "9000")]


def test_change_holds_both() -> None:
    card = Recorder("9000")
    card.transport.pin(0x00, 0x24, 0x00, 0x01, [pin_block(b"1234"), pin_block(b"4321")])
    assert card.sent == ["002400011031323334FFFFFFFF34333231FFFFFFFF"]
    assert card.observed == [("0024000110" + "2A" * 16, "9000")]


def test_unblock_code_fills_its_block() -> None:
    card = Recorder("9000")
    card.transport.pin(0x01, 0x20, 0x00, 0x02, [PinBlock(secret(b"12345678"), 8, None, 8, 8)])
    assert card.sent == ["01200002083132333435363738"]


@pytest.mark.parametrize("answer", ["63C2", "6983", "6C08", "6108", "9804", "9000"])
def test_never_sent_twice(answer: str) -> None:
    card = Recorder(answer)
    assert card.transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(b"1234")]).sw == int(answer, 16)
    assert len(card.sent) == 1
    assert (card.transport.apdus, card.transport.get_responses) == (1, 0)


@pytest.mark.parametrize("answer", ["", "90", "31323334FFFFFFFF9000"])
def test_malformed_answer_is_sent_once_too(answer: str) -> None:
    card = Recorder(answer)
    with pytest.raises(ResponseError):
        card.transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(b"1234")])
    assert len(card.sent) == 1


def test_an_echo_is_masked() -> None:
    card = Recorder("31323334FFFFFFFF9000")
    with pytest.raises(ResponseError):
        card.transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(b"1234")])
    assert card.observed == [("00200001082A2A2A2A2A2A2A2A", "2A2A2A2A2A2A2A2A9000")]


def test_a_failing_terminal() -> None:
    def send(_: bytes) -> bytes:
        raise TransportError(0x80100069)

    transport = CallbackTransport(send, Protocol.T0)
    with pytest.raises(TransportError) as caught:
        transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(b"1234")])
    assert caught.value.code == 0x80100069
    assert transport.apdus == 1


@pytest.mark.parametrize("text", [b"", b"123", b"12345", b"12a4", b"12 4", b"1234 ", b"\xd9\xa1\xd9\xa2", b"12\x004", b"-123"])
def test_wrong_format_is_never_sent(text: bytes) -> None:
    card = Recorder("9000")
    with pytest.raises(PinFormatError):
        card.transport.pin(0x00, 0x20, 0x00, 0x01, [pin_block(text)])
    with pytest.raises(PinFormatError):
        card.transport.pin(0x00, 0x24, 0x00, 0x01, [pin_block(b"1234"), pin_block(text)])
    assert (card.sent, card.observed, card.transport.apdus) == ([], [], 0)


def test_without_padding_the_digits_fill_the_block() -> None:
    card = Recorder("9000")
    with pytest.raises(PinFormatError):
        card.transport.pin(0x00, 0x20, 0x00, 0x02, [PinBlock(secret(b"1234567"), 8, None, 4, 8)])
    assert card.sent == []


def test_a_wiped_secret_is_never_sent() -> None:
    card = Recorder("9000")
    used = secret(b"1234")
    used.wipe()
    with pytest.raises(PinFormatError):
        card.transport.pin(0x00, 0x20, 0x00, 0x01, [PinBlock(used, 8, 0xFF, 4, 4)])
    assert card.sent == []


@pytest.mark.parametrize(
    ("stored", "pad", "minimum", "maximum"),
    [(3, 0xFF, 4, 4), (8, 0x100, 4, 4), (8, -1, 4, 4), (256, 0xFF, 4, 4), (8, 0xFF, 0, 4), (8, 0xFF, 5, 4), (0, None, 0, 0)],
)
def test_impossible_blocks(stored: int, pad: int | None, minimum: int, maximum: int) -> None:
    card = Recorder("9000")
    with pytest.raises(CommandError):
        card.transport.pin(0x00, 0x20, 0x00, 0x01, [PinBlock(secret(b"1234"), stored, pad, minimum, maximum)])
    assert card.sent == []


def test_impossible_commands() -> None:
    card = Recorder("9000")
    block = pin_block(b"1234")
    for header in [(256, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0, 300)]:
        with pytest.raises(CommandError):
            card.transport.pin(*header, [block])
    wide = PinBlock(secret(b"1234"), 128, 0xFF, 4, 4)
    for blocks in [[], [block] * 9, [wide, wide]]:
        with pytest.raises(CommandError):
            card.transport.pin(0x00, 0x20, 0x00, 0x01, blocks)
    assert card.sent == []
