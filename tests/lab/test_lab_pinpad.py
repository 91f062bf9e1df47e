# SPDX-License-Identifier: Apache-2.0
"""The PIN pad of the reader driver, through SCardControl: what it offers, what it sends, how an entry ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scard import StubCard, ask

from simulator.lab import Lab
from simulator.transport import NOBODY, Pad

VERIFY = "0020000108" + "FF" * 8
MODIFY = "0024000110" + "FF" * 16


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([StubCard()], slots=1, pinpad=True, timeout_ms=2000) as opened:
        yield opened


def verify(lab: Lab, *keys: str | bytes, structure: str = f"verify_structure('{VERIFY}')") -> str:
    lab.type_keys(*keys)
    answer: str = ask(lab, f"h, _ = connect(); say(control(h, features(h)[6], {structure}))")
    return answer


def modify(lab: Lab, *keys: str | bytes, confirm: int = 3) -> str:
    lab.type_keys(*keys)
    answer: str = ask(lab, f"h, _ = connect(); say(control(h, features(h)[7], modify_structure('{MODIFY}', {confirm})))")
    return answer


def test_what_the_reader_offers(lab: Lab) -> None:
    assert lab.readers == ["cpx-sim PIN pad 00 00"]
    code = "h, _ = connect(); f = features(h); say([sorted(f), control(h, f[0x0A]), control(h, f[0x12])])"
    offered, properties, tlv = ask(lab, code)
    assert offered == [0x06, 0x07, 0x0A, 0x12]
    assert properties == "00000700"
    found, data = {}, bytes.fromhex(tlv)
    while data:
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    assert (found[6], found[7], found[2]) == (b"\x01", b"\x10", b"\x07")
    assert "PIN pad" in lab.run(["opensc-tool", "-l"], capture_output=True).stdout


def test_verify(lab: Lab) -> None:
    assert verify(lab, "1234") == VERIFY[:10] + "31323334" + "f" * 8 + "9000"
    assert lab.card(0).trace[-1][0] == bytes.fromhex(VERIFY[:10] + "31323334FFFFFFFF")


@pytest.mark.parametrize(
    ("keys", "status"),
    [((), "6401"), ((NOBODY,), "6400"), (("123",), "6403"), (("123456789",), "6403")],
)
def test_an_entry_that_gives_no_pin_sends_nothing(lab: Lab, keys: tuple[str | bytes, ...], status: str) -> None:
    before = lab.card(0).apdu_count
    assert verify(lab, *keys) == status
    assert lab.card(0).apdu_count == before


def test_modify(lab: Lab) -> None:
    assert modify(lab, "1234", "5678", "5678").endswith("9000")
    assert lab.card(0).trace[-1][0] == bytes.fromhex(MODIFY[:10] + "31323334FFFFFFFF" + "35363738FFFFFFFF")


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        (("1234", "5678", "5679"), "6402"),
        (("1234", "5678", NOBODY), "6400"),
        (("1234", b""), "6401"),
        (("123", "5678", "5678"), "6403"),
    ],
)
def test_a_change_that_is_not_finished_sends_nothing(lab: Lab, keys: tuple[str | bytes, ...], status: str) -> None:
    before = lab.card(0).apdu_count
    assert modify(lab, *keys) == status
    assert lab.card(0).apdu_count == before


@pytest.mark.parametrize("structure", ["b''", "bytes(18)", f"verify_structure('{VERIFY}')[:-1]", "bytes(300)"])
def test_a_broken_structure_is_an_error(lab: Lab, structure: str) -> None:
    assert verify(lab, "1234", structure=structure).startswith("error ")


def test_parameters_without_sense(lab: Lab) -> None:
    assert verify(lab, "1234", structure=f"verify_structure('{VERIFY}', 8, 4)") == "6b80"


def test_keys_that_are_no_digits_are_the_peers_fault(lab: Lab) -> None:
    assert verify(lab, "12a4").startswith("error ")
    assert verify(lab, "1" * 5000) == "6403"
    assert verify(lab, "1234").endswith("9000")


def test_removed_while_typing() -> None:
    class Leaves(Pad):
        def next(self) -> bytes:
            other.card(0).session.pull()
            return super().next()

    with Lab([StubCard()], slots=1, pinpad=True, pad=Leaves()) as other:
        code = f"h, _ = connect(); say([control(h, features(h)[6], verify_structure('{VERIFY}')), transmit(h, '00A40400')])"
        verified, after = ask(other, code)
        assert verified.startswith("error ") and after.startswith("error ")


def test_without_a_pad_there_is_none() -> None:
    with Lab([StubCard()], slots=1) as plain:
        code = f"h, _ = connect(); say([sorted(features(h)), control(h, 0x42000000 + 3506, verify_structure('{VERIFY}'))])"
        offered, refused = ask(plain, code)
        assert offered == [0x12] and refused.startswith("error ")
