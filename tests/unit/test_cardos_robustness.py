# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, the card answers a status word, keeps its counters and keeps its secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trace_model
from cardos_script import SECRET, card, command, image, run
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cardos import State, StateError, VirtualCard, make_card
from simulator.cardos.apdu import parse
from simulator.image import Model

MODELS: tuple[Model, ...] = ("cps3", "cps4", "cps3cl")
KNOWN = sorted({exchange.command for trace in trace_model.load() for exchange in trace.exchanges})
CODES = (b"1234", b"4321", b"2222", b"12345678")
PRIVATE_READING = {
    "cps3": ["00A4040C 8025000001FF0100", "00A4090C 3F000001D1F0", "00B00000 /18"],
    "cps4": ["01A4040C 8025000001FF0100", "01A4080C 0001D1F0", "01B00000 /18"],
    "cps3cl": ["00A4090C 3F000001D1F0", "00B00000 /18"],
}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A command that middleware really sends, with a few bytes changed, cut or added."""
    apdu = bytearray(draw(st.sampled_from(KNOWN)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(apdu) - 1, 0)))
        change = draw(st.sampled_from(["set", "cut", "add"]))
        if change == "set" and apdu:
            apdu[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del apdu[at:]
        else:
            apdu[at:at] = draw(st.binary(min_size=1, max_size=3))
    return bytes(apdu)


plausible = st.builds(
    lambda cla, ins, p1, p2, data, le: bytes([cla, ins, p1, p2]) + (bytes([len(data)]) + data if data else b"") + le,
    st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xA0]),
    st.sampled_from([0x20, 0x22, 0x24, 0x2A, 0x2C, 0x84, 0x88, 0xA4, 0xB0, 0xC0, 0xCB, 0xD6]),
    st.sampled_from([0, 1, 2, 3, 4, 8, 9, 0x3F, 0x41, 0x80, 0x81, 0x90, 0x9E, 0xF3]),
    st.sampled_from([0, 1, 2, 4, 0x0C, 0x81, 0x86, 0x9A, 0xA0, 0xA4, 0xB6, 0xB8, 0xFF]),
    st.one_of(st.just(b""), st.binary(max_size=40), st.sampled_from(KNOWN).map(lambda apdu: apdu[5:])),
    st.sampled_from([b"", b"\0", b"\x08", b"\xff", b"\0\0"]),
)
session = st.lists(st.one_of(mutated(), mutated(), plausible, st.binary(max_size=300)), max_size=25)


def checked(made: VirtualCard, apdu: bytes) -> bytes:
    """Sends, and checks what must hold of any answer and of the state after it."""
    before = made.state()["codes"]
    answer = made.transmit(apdu)
    after = made.state()["codes"]
    assert len(answer) >= 2
    assert (answer[-2] & 0xF0 == 0x60 and answer[-2:] not in (b"\x60\x00", b"\x6f\x00")) or answer[-2] >> 4 == 9
    assert len(answer) <= 258
    for reference in before:
        gained = after[reference]["tries_left"] > before[reference]["tries_left"]
        changed = after[reference]["value"] != before[reference]["value"]
        if gained or changed:
            assert apdu[1] in (0x20, 0x24, 0x2C)
            assert answer == b"\x90\x00"
        assert after[reference].get("uses_left", 0) <= before[reference].get("uses_left", 0)
    return answer


@pytest.mark.parametrize("model", MODELS)
@given(commands=session)
@settings(max_examples=60, deadline=None)
def test_any_session(model: Model, commands: list[bytes]) -> None:
    made = card(model)
    for apdu in commands:
        checked(made, apdu)
    state = json.loads(json.dumps(made.state()))
    assert make_card(image(model), state).state() == state


@pytest.mark.parametrize("model", MODELS)
@given(commands=session.map(lambda apdus: [apdu for apdu in apdus if not any(code in apdu for code in CODES)]))
@settings(max_examples=60, deadline=None)
def test_no_secret_without_its_code(model: Model, commands: list[bytes]) -> None:
    """Without a right code nothing private is read or signed, and no try comes back."""
    made = card(model)
    reading = [command(text) for text in PRIVATE_READING[model]]
    tries = 3
    for apdu in [*reading[:-1], *commands, *reading]:
        answer = checked(made, apdu)
        assert SECRET not in answer
        assert model == "cps3cl" or not (apdu[1:2] in (b"\x88", b"\x2a") and (len(answer) > 200 or answer[-2] == 0x61))
        if model != "cps3cl":
            assert made.state()["codes"]["1"]["tries_left"] <= tries
            tries = made.state()["codes"]["1"]["tries_left"]


@pytest.mark.parametrize("model", MODELS)
@given(commands=session)
@settings(max_examples=30, deadline=None)
def test_power_off_forgets(model: Model, commands: list[bytes]) -> None:
    made = card(model)
    for apdu in commands:
        made.transmit(apdu)
    made.power_off()
    made.power_on()
    fresh = make_card(image(model), made.state())
    for text in ["00C00000 /10", "01C00000 /10", *PRIVATE_READING[model], "00200001", "01200001"]:
        assert made.transmit(command(text)) == fresh.transmit(command(text))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 7, 260, 261, 262, 263, 65_535, 65_544, 70_000])
def test_sizes(model: Model, size: int) -> None:
    for filler in (b"\0", b"\x01", b"\xff"):
        assert len(checked(card(model), (b"\0\xa4\x09\x04" + filler * size)[:size])) == 2


def test_extended_length() -> None:
    """Up to the 260 bytes that EF.ATR announces."""
    run(card("cps3"), "raw 00A4090C000002 3F00 = 9000\nraw 00A40904000002 3F00 0000 = 621F*9000")
    run(card("cps3"), f"raw 00CB3FFF0000FD {'00' * 253} = 6A80\nraw 00CB3FFF0000FE {'00' * 254} = 6700")
    run(card("cps3"), "raw 00A4090C000000 = 6A80\nraw 00A4090C000003 3F00 = 6700\nraw 00A4090C0000 = 6700")


# -- lasting state ---------------------------------------------------------------------------------------------------


def test_state_changes_are_announced() -> None:
    made, seen = card("cps3"), list[State]()
    made.on_state_change = seen.append
    run(made, "00840000 /08 = *9000\n00200001 = 63C3\n00200001 39393939FFFFFFFF = 63C2")
    assert [state["codes"]["1"]["tries_left"] for state in seen] == [2]
    run(made, "00200001 31323334FFFFFFFF = 9000\n00200001 31323334FFFFFFFF = 9000\n00A4090C 3F000001D107 = 9000")
    assert [state["codes"]["1"]["tries_left"] for state in seen] == [2, 3]
    run(made, "00D60000 AA = 9000")
    assert seen[-1] == made.state()
    assert seen[-1]["files"] == {"0001/D107": "aa" + "00" * 63}
    assert make_card(image("cps3"), seen[-1]).state() == seen[-1]


def test_a_state_that_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    made = card("cps3")

    def full(state: State) -> None:
        raise OSError("disk full")

    made.on_state_change = full
    with caplog.at_level(logging.ERROR):
        run(made, "00200001 39393939FFFFFFFF = 63C2")
    assert "disk full" in caplog.text
    assert "9999" not in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(version=2),
        lambda state: state.pop("codes"),
        lambda state: state["codes"].pop("2"),
        lambda state: state["codes"]["1"].update(tries_left=4),
        lambda state: state["codes"]["1"].update(tries_left=True),
        lambda state: state["codes"]["1"].update(value="12345"),
        lambda state: state["codes"]["1"].update(value=1234),
        lambda state: state["codes"]["2"].update(uses_left=-1),
        lambda state: state["codes"]["2"].pop("uses_left"),
        lambda state: state.update(files={"0001/D107": "00"}),
        lambda state: state.update(files={"0001/FFFF": ""}),
        lambda state: state.update(files={"here": "zz"}),
        lambda state: state.update(files=[]),
    ],
)
def test_damaged_state(damage: Any) -> None:
    state = card("cps3").state()
    damage(state)
    with pytest.raises(StateError):
        make_card(image("cps3"), state)


def test_no_pin_in_repr() -> None:
    made = card("cps3")
    sent = parse(command("00200001 31323334FFFFFFFF"))
    assert not any(code in repr(shown) for shown in (made, made._pins, made._pins[1], sent) for code in ("1234", "31323334"))


def test_repeatable_random() -> None:
    made = make_card(image("cps3"), rng=lambda n: bytes(range(n)))
    run(made, "00840000 /08 = 00010203040506079000")
