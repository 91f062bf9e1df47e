# SPDX-License-Identifier: Apache-2.0
"""Check digits, on numbers printed in public documents and test cards of ANS (none of a real person)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd.nomenclature import keys


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("8", "99700024450", True),
        ("8", "10002813839", True),
        ("8", "99700024451", False),
        ("8", "9970002445", False),
        ("0", "991023763", True),
        ("0", "0B6077602", True),  # nurse of a TEST certificate
        ("3", "0B0037750/CPET0001", True),
        ("3", "0B0057881/CPET0002", True),
        ("3", "760021832/000000018", True),
        ("3", "760021833/000000018", False),
        ("1", "99102376301/0001", True),
        ("5", "00000000029751/CPAT0001", True),
        ("6", "99700735741008/1", True),
        ("9", "123", None),
        ("10", "anything", None),
        ("8", "", False),
        ("8", "9970002445٠", False),
    ],
)
def test_person(kind: str, number: str, expected: bool | None) -> None:
    assert keys.person_ok(kind, number) is expected


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("0", "991023763", True),
        ("0", "99102376301", True),
        ("0", "9910237630", False),
        ("0", "99102376401", False),
        ("4", "99700735741008", True),
        ("4", "99700735742008", False),
        ("4", "997007357410", False),
        ("1", "0B0307377", True),
        ("1", "760021832", True),
        ("1", "2B0000020", True),
        ("1", "2A0000014", True),
        ("1", "2C0000014", False),
        ("2", "356000000", True),
        ("3", "35600000049837", True),  # La Poste: no Luhn key, digits add up to a multiple of 5
        ("3", "35600000049838", False),
        ("3", "00000000029751", True),
        ("40", "x", None),
        ("4", "99700735741٠٠٨", False),  # digits, but not ours
        ("0", "991023763٠١", False),
    ],
)
def test_structure(kind: str, number: str, expected: bool | None) -> None:
    assert keys.structure_ok(kind, number) is expected


@given(st.integers(0, 10**10 - 1), st.integers(0, 9))
def test_one_digit_of_ten_is_the_key(body: int, digit: int) -> None:
    number = f"{body:010d}"
    assert [keys.rpps_ok(number + str(key)) for key in range(10)].count(True) == 1
    wrong = [n for n in range(10) if n != int(number[digit])]
    right = next(key for key in "0123456789" if keys.rpps_ok(number + key))
    assert not any(keys.rpps_ok(number[:digit] + str(n) + number[digit + 1 :] + right) for n in wrong)


@given(st.text(max_size=16), st.text(max_size=3))
def test_any_text_has_an_answer(number: str, kind: str) -> None:
    assert keys.person_ok(kind, number) in (True, False, None)
    assert keys.structure_ok(kind, number) in (True, False, None)
