# SPDX-License-Identifier: Apache-2.0
"""Encoding of commands: vectors from ISO/IEC 7816-3, and a decoder written here that must read back what was written."""

from __future__ import annotations

import hashlib

import pytest
from apdu_vectors import rows, unhex
from hypothesis import given, settings
from hypothesis import strategies as st

from cpxd import apdu
from cpxd.apdu import SW, Command, CommandError, sha256_state, tries_from_sw


@pytest.mark.parametrize("row", list(rows("encode.txt")), ids=lambda row: f"{row[0]}-{row[2]}-{row[3]}-{row[1][:12]}")
def test_encode(row: list[str]) -> None:
    header, data, le, form, expected = row
    command = Command(*unhex(header), unhex(data), None if le == "-" else int(le), extended=form == "extended")
    if expected.endswith("Error"):
        with pytest.raises(getattr(apdu, expected)):
            command.encode()
    else:
        assert command.encode() == unhex(expected)


def decode(raw: bytes, extended: bool) -> tuple[bytes, bytes, int | None]:
    """Header, data and Le of an APDU (7816-3 12.1.3), read without looking at how we write it."""
    header, body = raw[:4], raw[4:]
    if not body:
        return header, b"", None
    if not extended:
        if len(body) == 1:
            return header, b"", body[0] or 256
        data, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
        return header, data, (rest[0] or 256) if rest else None
    assert body[0] == 0
    if len(body) == 3:
        return header, b"", int.from_bytes(body[1:]) or 65536
    length = int.from_bytes(body[1:3])
    data, rest = body[3 : 3 + length], body[3 + length :]
    assert len(rest) in (0, 2)
    return header, data, (int.from_bytes(rest) or 65536) if rest else None


HEADER = st.binary(min_size=4, max_size=4)


@settings(max_examples=150, deadline=None)
@given(HEADER, st.binary(max_size=255), st.none() | st.integers(1, 256))
def test_short_round_trip(header: bytes, data: bytes, le: int | None) -> None:
    assert decode(Command(*header, data, le).encode(), False) == (header, data, le)


@settings(max_examples=60, deadline=None)
@given(HEADER, st.integers(0, 65535), st.none() | st.integers(1, 65536))
def test_extended_round_trip(header: bytes, length: int, le: int | None) -> None:
    data = (b"\x00\x01\xff" * (length // 3 + 1))[:length]
    assert decode(Command(*header, data, le, extended=True).encode(), True) == (header, data, le)


@pytest.mark.parametrize(
    "command",
    [
        Command(256, 0, 0, 0),
        Command(0, -1, 0, 0),
        Command(0, 0, 1000, 0),
        Command(0, 0, 0, 0x3F00),
        Command(0, 0, 0, 0, block=0),
        Command(0, 0, 0, 0, block=256),
        Command(0, 0, 0, 0, le=-1),
        Command(0, 0, 0, 0, le=2**32, extended=True),
        Command(0, 0, 0, 0, bytes(2**17), extended=True),
    ],
)
def test_out_of_range(command: Command) -> None:
    with pytest.raises(CommandError):
        command.encode()


def test_tries() -> None:
    assert [tries_from_sw(sw) for sw in (0x63C0, 0x63C3, 0x63CF)] == [0, 3, 15]
    assert [tries_from_sw(sw) for sw in (0x9000, 0x6300, 0x63D1, 0x6983)] == [None] * 4


def test_status_words_are_distinct() -> None:
    assert len({int(sw) for sw in SW}) == len(SW.__members__)
    assert SW(0x6A82) is SW.FILE_NOT_FOUND


def expand(state: bytes, covered: int, tail: bytes) -> bytes:
    """SHA-256 finished from a chaining value: a third, slow copy of FIPS 180-4 that a test may afford."""
    total = covered + 8 * len(tail)
    padded = tail + b"\x80" + bytes((55 - len(tail)) % 64) + total.to_bytes(8)
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, p))]
    k = [int(p ** (1 / 3) % 1 * 2**32) for p in primes]
    h = [int.from_bytes(state[i : i + 4]) for i in range(0, 32, 4)]

    def rotate(x: int, n: int) -> int:
        return (x >> n | x << 32 - n) & 0xFFFFFFFF

    for at in range(0, len(padded), 64):
        w = [int.from_bytes(padded[at + i : at + i + 4]) for i in range(0, 64, 4)]
        for i in range(16, 64):
            s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3
            s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10
            w.append((w[i - 16] + s0 + w[i - 7] + s1) & 0xFFFFFFFF)
        a, b, c, d, e, f, g, i8 = h
        for i in range(64):
            t1 = i8 + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + k[i] + w[i]
            t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c)
            a, b, c, d, e, f, g, i8 = (t1 + t2) & 0xFFFFFFFF, a, b, c, (d + t1) & 0xFFFFFFFF, e, f, g
        h = [(x + y) & 0xFFFFFFFF for x, y in zip(h, (a, b, c, d, e, f, g, i8), strict=True)]
    return b"".join(x.to_bytes(4) for x in h)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 128, 129, 1000, 1024, 100_000])
def test_intermediate_state_is_finished_by_the_last_block(length: int) -> None:
    data = bytes(i * 7 % 251 for i in range(length))
    state, bits = sha256_state(data)
    tail = data[bits // 8 :]
    assert len(tail) <= 64
    assert bits % 512 == 0
    assert bool(tail) == bool(data)
    assert expand(state, bits, tail) == hashlib.sha256(data).digest()


def test_intermediate_state_as_observed() -> None:
    """1 KiB: the last full block stays with the card, the count is 1E00 bits."""
    assert sha256_state(bytes(1024))[1] == 0x1E00
