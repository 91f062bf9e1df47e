# SPDX-License-Identifier: Apache-2.0
"""BER-TLV: vectors, round trips and hostile bytes."""

from __future__ import annotations

import pytest
from apdu_vectors import rows, unhex
from hypothesis import given, settings
from hypothesis import strategies as st

from cpxd.tlv import Tlv, TlvError, check, extent, find, items, parse, tlv

PIN_STATE = unhex("7016BF810112A0109A01039B0103A1088C06F3000013FF00")


@pytest.mark.parametrize("row", list(rows("tlv_valid.txt")), ids=lambda row: f"{row[0][:24]}-{row[1]}")
def test_valid(row: list[str]) -> None:
    data, padding, expected = row
    wanted = []
    for item in expected.split():
        tag, _, value = item.partition("=")
        wanted.append(Tlv(int(tag, 16), unhex(value)))
    assert list(parse(unhex(data), padding=padding == "padding")) == wanted


@pytest.mark.parametrize("row", list(rows("tlv_malformed.txt")), ids=lambda row: f"{row[0]}-{row[1]}")
def test_malformed(row: list[str]) -> None:
    data, padding = unhex(row[0]), row[1] == "padding"
    with pytest.raises(TlvError):
        parse(data, padding=padding)
    with pytest.raises(TlvError):
        find(data, 0x77, padding=padding)
    assert not check(data, padding=padding)
    wrapped = tlv(0x70, data)
    assert len(parse(wrapped)) == 1  # one level is read at a time
    assert not check(wrapped, padding=padding)


def test_items_before_a_malformed_one() -> None:
    reader = items(unhex("5A0101 5A02"))
    assert next(reader) == Tlv(0x5A, b"\x01")
    with pytest.raises(TlvError, match="byte 3 of 5"):
        next(reader)


def test_find() -> None:
    assert find(PIN_STATE, 0x70, 0xBF8101, 0xA0, 0x9B) == b"\x03"
    assert find(PIN_STATE, 0x70, 0xBF8101, 0xA0, 0xA1, 0x8C) == unhex("F3000013FF00")
    assert find(PIN_STATE, 0x70) == PIN_STATE[2:]
    assert find(PIN_STATE, 0x70, 0xBF8102) is None
    assert find(PIN_STATE, 0x9B) is None
    assert find(b"", 0x70) is None


def test_find_tries_each_branch() -> None:
    directory = unhex("61 03 50 01 41") + unhex("61 03 51 01 42") + bytes(4)
    assert find(directory, 0x61, 0x51, padding=True) == b"\x42"
    with pytest.raises(TlvError):
        find(directory, 0x61, 0x52)


@pytest.mark.parametrize("path", [(), (0x70,) * 17])
def test_find_needs_a_path(path: tuple[int, ...]) -> None:
    with pytest.raises(TlvError):
        find(PIN_STATE, *path)


@pytest.mark.parametrize("tag", [-1, 0, 1 << 32])
def test_find_of_no_tag(tag: int) -> None:
    assert find(PIN_STATE, tag) is None


def test_find_behind_padding_is_not_found_by_tag_zero() -> None:
    assert find(unhex("0000"), 0, padding=True) is None


def test_children() -> None:
    (outer,) = parse(PIN_STATE)
    (state,) = outer.children()
    assert outer.constructed
    assert state.constructed
    (control,) = state.children()
    assert [item.tag for item in control.children()] == [0x9A, 0x9B, 0xA1]
    assert not Tlv(0x9B, b"").constructed
    assert not Tlv(0x5F20, b"").constructed
    assert Tlv(0x7F48, b"").constructed


def test_depth_has_an_end() -> None:
    data = b""
    for _ in range(15):
        data = tlv(0x30, data)
    assert check(data)
    assert check(tlv(0x30, data)) is True
    assert check(tlv(0x30, tlv(0x30, data))) is False


def test_a_lie_about_length_inside_does_not_reach_outside() -> None:
    data = unhex("30 03 5A 02 01 5A 01 02")
    assert [item.tag for item in parse(data)] == [0x30, 0x5A]
    assert not check(data)
    with pytest.raises(TlvError):
        find(data, 0x30, 0x5A, 0x01)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", None),
        ("5A0101", None),  # another object may follow
        ("5A010100", 3),
        ("5A0101FF", 3),
        ("5A01018401020000", 6),
        ("5A02", None),
        ("3082010000", None),
        ("5A01015A05", None),
        ("00005A0101", None),
        ("FFFF", None),
    ],
)
def test_extent(data: str, expected: int | None) -> None:
    assert extent(unhex(data)) == expected


@pytest.mark.parametrize("tag", [0, 0x1F, 0x5F, 0x7F80, 0xBF80, 0x5A01, 0xBF8181, 0x30313233, -1, 1 << 32])
def test_no_tag(tag: int) -> None:
    with pytest.raises(TlvError):
        tlv(tag, b"")


FIRST = st.integers(1, 254)


@st.composite
def tags(draw: st.DrawFn) -> int:
    first = draw(FIRST)
    if first & 0x1F != 0x1F:
        return first
    more = draw(st.lists(st.integers(1, 127), min_size=1, max_size=3))
    return int.from_bytes(bytes([first, *(0x80 | byte for byte in more[:-1]), more[-1]]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(tags(), st.binary(max_size=300)), max_size=5), st.sampled_from([b"", b"\0", b"\xff\0"]))
def test_round_trip(objects: list[tuple[int, bytes]], padding: bytes) -> None:
    data = padding.join(tlv(tag, value) for tag, value in objects)
    assert [(item.tag, item.value) for item in parse(data, padding=True)] == objects
    assert b"".join(item.encode() for item in parse(data, padding=True)) == data.replace(padding, b"") or padding


@pytest.mark.parametrize("length", [0, 127, 128, 255, 256, 65535, 65536, 1 << 24])
def test_length_round_trip(length: int) -> None:
    data = tlv(0x5A, bytes(length))
    assert parse(data) == (Tlv(0x5A, bytes(length)),)
    assert len(data) - length == 2 + (length >= 128) + (length >= 256) + (length >= 65536) + (length >= 1 << 24)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.booleans())
def test_any_bytes(data: bytes, padding: bool) -> None:
    """Objects or TlvError; what was read is in the data, in order."""
    at = 0
    try:
        for item in items(data, padding=padding):
            at = data.index(item.value, at) + len(item.value)
    except TlvError:
        assert not check(data, padding=padding)
    assert at <= len(data)
