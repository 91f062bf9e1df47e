# SPDX-License-Identifier: Apache-2.0
"""The frame round an APDU, before a library that answers anything at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd.apdu import Command, GalssTransport, PinBlock, ResponseError, Secret, TransportError, ffi, lib

Said = tuple[int, bytes, int | None]  # code, answer, and the length it claims when that is another one
_ECHANGE = ctypes.CFUNCTYPE(
    ctypes.c_uint16,
    ctypes.c_uint16,
    ctypes.c_uint16,
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.POINTER(ctypes.c_uint16),
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.POINTER(ctypes.c_uint16),
)
LAD, COUNTER, ROOM = 2, 7, 3 + 258


class Library:
    """Echange, as `answer` makes it; `asked` keeps the frames."""

    def __init__(self, answer: Callable[[bytes], Said]) -> None:
        self.asked: list[bytes] = []

        def echange(session, wait, message, length, out, room):  # type: ignore[no-untyped-def]
            assert (session, wait) == (5, 900) and room[0] == ROOM
            frame = bytes(message[: length[0]])
            self.asked.append(frame)
            code, said, claimed = answer(frame)
            for number, byte in enumerate(said[:ROOM]):
                out[number] = byte
            room[0] = len(said) if claimed is None else claimed
            return code

        self._echange = _ECHANGE(echange)
        pointer = ctypes.cast(self._echange, ctypes.c_void_p).value
        self.terminal = ffi.gc(lib.apdu_galss_new(pointer, 5, LAD, 900), lib.apdu_galss_free)
        lib.apdu_galss_expect(self.terminal, COUNTER)

    def transport(self) -> GalssTransport:
        made = GalssTransport(self.terminal, None)
        vars(made)["library"] = self  # the callback must outlive it; the product's libraries are never unloaded
        return made

    def order(self, order: int, cap: int = 64) -> tuple[int, bytes]:
        out, length = ffi.new("uint8_t[]", max(cap, 1)), ffi.new("size_t *")
        code = lib.apdu_galss_order(self.terminal, order, out, cap, length)
        return code, bytes(ffi.buffer(out, length[0]))


def says(*answers: Said) -> Callable[[bytes], Said]:
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


OK = (0, bytes((0, 3, COUNTER)) + b"\x90\x00", None)


@pytest.mark.parametrize(
    ("command", "frame"),
    [
        (Command(0x00, 0x20, 0x00, 0x01), "00020007 00200001"),
        (Command(0x00, 0xB0, 0x00, 0x00, b"", 16), "00020107 00B0000010"),
        (Command(0x00, 0xB0, 0x00, 0x00, b"", 256), "00020107 00B0000000"),
        (Command(0x00, 0xD6, 0x00, 0x00, b"\xaa\xbb"), "00020007 00D6000002AABB"),
        (Command(0x00, 0xA4, 0x09, 0x04, b"\x3f\x00", 256), "00020007 00A40904023F00"),  # T=0: Le is for GET RESPONSE
    ],
)
def test_the_frame_of_each_case(command: Command, frame: str) -> None:
    library = Library(says(OK))
    assert library.transport().transmit(command).sw == 0x9000
    assert library.asked == [bytes.fromhex(frame)]


def test_get_response_is_data_out() -> None:
    first = (0, bytes((0, 3, COUNTER)) + b"\x61\x03", None)
    library = Library(says(first, (0, bytes((0, 3, COUNTER)) + b"abc\x90\x00", None)))
    assert library.transport().transmit(Command(0x00, 0xA4, 0x09, 0x04, b"\x3f\x00", 256)).data == b"abc"
    assert library.asked[1] == bytes.fromhex("00020107 00C0000003")


def test_orders_carry_no_counter() -> None:
    library = Library(says((0, bytes((0, 3, 9)) + b"ATR", None)))
    assert library.order(0x14) == (0, bytes((0, 3, 9)) + b"ATR")
    assert library.asked == [bytes((0, LAD, 0x14))]
    assert library.order(0x14, cap=5)[0] == lib.APDU_GALSS_MALFORMED


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ((0x8003, b"", None), 0x8003),
        ((0x0001, OK[1], None), 0x0001),
        ((0, b"", None), lib.APDU_GALSS_MALFORMED),
        ((0, b"\x00", None), lib.APDU_GALSS_MALFORMED),
        ((0, b"\x00\x03", None), lib.APDU_GALSS_MALFORMED),
        ((0, OK[1], ROOM + 1), lib.APDU_GALSS_MALFORMED),
        ((0, OK[1], 0xFFFF), lib.APDU_GALSS_MALFORMED),
        ((0, b"\x6b", None), lib.APDU_GALSS_STATUS | 0x6B),
        ((0, b"\x17\x03\x07\x90\x00", None), lib.APDU_GALSS_STATUS | 0x17),
        ((0, bytes((0, 3, COUNTER + 1)) + b"\x90\x00", None), lib.APDU_GALSS_CHANGED),
    ],
)
def test_what_is_no_answer_of_this_card(said: Said, code: int) -> None:
    with pytest.raises(TransportError) as failure:
        Library(says(said)).transport().transmit(Command(0x00, 0xB0, 0, 0, b"", 16))
    assert failure.value.code == code


def test_an_answer_without_a_status_word_is_the_cards_fault() -> None:
    with pytest.raises(ResponseError):
        Library(says((0, bytes((0, 3, COUNTER)) + b"\x90", None))).transport().transmit(Command(0x00, 0xB0, 0, 0, b"", 16))


def test_what_no_serial_terminal_takes_is_not_sent() -> None:
    library = Library(says(OK))
    with pytest.raises(TransportError):
        library.transport().transmit(Command(0x00, 0xD6, 0, 0, bytes(300), extended=True))
    assert library.asked == []


def test_a_pin_passes_once_and_leaves_nothing_behind() -> None:
    read, write = os.pipe()
    os.write(write, b"7391\n")
    os.close(write)
    library = Library(says((0, bytes((0, 3, COUNTER)) + b"\x63\xc2", None)))
    with Secret.from_fd(read) as pin:
        assert library.transport().pin(0x00, 0x20, 0x00, 0x01, [PinBlock(pin, 8, 0xFF, 4, 4)]).sw == 0x63C2
    os.close(read)
    assert library.asked == [bytes.fromhex("00020007 0020000108") + b"7391" + b"\xff" * 4]
    left = bytes(ffi.buffer(ffi.cast("uint8_t *", library.terminal), 512))
    assert b"7391" not in left and b"\x63\xc2" not in left


@given(st.integers(0, 0xFFFF), st.binary(max_size=300), st.none() | st.integers(0, 0xFFFF))
def test_no_answer_breaks_it(code: int, said: bytes, claimed: int | None) -> None:
    library = Library(says((code, said, claimed)))
    with contextlib.suppress(TransportError, ResponseError):
        library.transport().transmit(Command(0x00, 0xB0, 0, 0, b"", 256))
    library.order(0x16)
