# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: what a SPEC means, what it refuses, what it does to an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.faults import Fault, FaultError, distort, noise, parse


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ("pull@7", [Fault("pull", 7, 7)]),
        ("pull-before@0", [Fault("pull-before", 0, 0)]),
        ("mute@3-", [Fault("mute", 3, None)]),
        ("sw@2-4=6985", [Fault("sw", 2, 4, b"\x69\x85")]),
        ("answer@*=9000", [Fault("answer", 0, None, b"\x90\x00")]),
        ("delay@7=500ms, delay@8=2s", [Fault("delay", 7, 7, 500), Fault("delay", 8, 8, 2000)]),
        ("truncate@7=10,flip@7,garbage@8,cut@9=0", None),
        ("garbage@1=4", [Fault("garbage", 1, 1, 4)]),
        ("flip@1=3", [Fault("flip", 1, 1, 3)]),
    ],
)
def test_spec(spec: str, faults: list[Fault] | None) -> None:
    assert faults is None or list(parse(spec)) == faults
    assert len(parse(spec)) == spec.count("@")


BAD = """
, pull pull@ pull@x pull@-1 pull@4-2 pull@7,,mute@8 pull@99999999 pull@٣ explode@7 pull@7=1 sw@7 sw@7=69
sw@7=XYZ0 sw@7=698500 answer@7=9 answer@7= garbage@1=x flip@7=x delay@7 delay@7=500 delay@7=9999s truncate@7
truncate@7=-1 truncate@7=70000
"""


@pytest.mark.parametrize("spec", ["", *BAD.split()])
def test_bad_spec(spec: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse(spec)
    assert caught.value.exit_code == 2
    assert caught.value.french and "\n" not in caught.value.french


@settings(max_examples=200)
@given(st.text(alphabet="pulmtesw@=-*,0123456789 ", max_size=30))
def test_any_text_is_a_plan_or_a_fault_error(text: str) -> None:
    try:
        plan = parse(text)
    except FaultError:
        return
    assert all(fault.last is None or fault.first <= fault.last for fault in plan)


ANSWER = bytes(range(20)) + b"\x90\x00"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("truncate@0=10", ANSWER[:10] + b"\x90\x00"),
        ("truncate@0=100", ANSWER),
        ("truncate@0=0", b"\x90\x00"),
        ("cut@0=1", ANSWER[:1]),
        ("cut@0=0", b""),
        ("flip@0=0", bytes([ANSWER[0] ^ 0x80]) + ANSWER[1:]),
        ("flip@0", ANSWER[:10] + bytes([ANSWER[10] ^ 0x80]) + ANSWER[11:]),
        ("garbage@0=5", noise(5)),
        ("pull@0", ANSWER),
        ("delay@0=1s", ANSWER),
        ("sw@0=6985", ANSWER),  # replaces the command, not the answer
    ],
)
def test_distort(spec: str, expected: bytes) -> None:
    assert distort(parse(spec)[0], ANSWER) == expected


@settings(max_examples=100)
@given(st.binary(max_size=40), st.integers(0, 500))
def test_a_flip_changes_one_bit(answer: bytes, bit: int) -> None:
    flipped = distort(Fault("flip", 0, 0, bit), answer)
    assert sum((a ^ b).bit_count() for a, b in zip(answer, flipped, strict=True)) == (1 if answer else 0)


def test_flip_without_a_bit_spares_the_status_word_when_there_is_data() -> None:
    for size in range(1, 30):
        answer = bytes(size) + b"\x90\x00"
        flipped = distort(parse("flip@0")[0], answer)
        assert flipped != answer and flipped[-2:] == b"\x90\x00"
    assert distort(parse("flip@0")[0], b"\x90\x00") == b"\x10\x00"
