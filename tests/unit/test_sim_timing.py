# SPDX-License-Identifier: Apache-2.0
"""The delay model: line speed from the ATR, work from the command."""

import pytest

from simulator.timing import delay_model, unit_seconds

CPS3 = bytes.fromhex("3BAC00402A001225006480000310009000")  # no TA1, T=0
CPS4 = bytes.fromhex("3B9B188001001225006480040100009044")  # TA1 = 18: F 372, D 12; T=0 and T=1


def test_unit() -> None:
    assert unit_seconds(CPS3) == pytest.approx(372 / 4e6)
    assert unit_seconds(CPS4) == pytest.approx(31 / 4e6)
    assert unit_seconds(b"\x3b") == pytest.approx(372 / 4e6)


def test_a_read_costs_its_bytes() -> None:
    delay = delay_model("real", CPS3)
    assert delay is not None
    read, data = bytes.fromhex("00B00000E7"), bytes(0xE7) + b"\x90\x00"
    assert delay(read, data) == pytest.approx(0.002 + (5 + 0xE9 + 1) * 12 * 372 / 4e6)


def test_a_private_key_costs_its_time_only_when_it_worked() -> None:
    delay = delay_model("real", CPS4)
    assert delay is not None
    sign = bytes.fromhex("012A9E9A") + b"\x20" + bytes(32) + b"\x00"
    assert 0.18 < delay(sign, bytes(256) + b"\x90\x00") < 0.25
    assert delay(sign, b"\x69\x82") < 0.02
    authenticate = bytes.fromhex("00880000") + b"\x33" + bytes(51)
    cps3 = delay_model("real", CPS3)
    assert cps3 is not None and cps3(authenticate, b"\x61\x00") > 0.35


def test_names() -> None:
    assert delay_model("none", CPS3) is None
    with pytest.raises(ValueError, match="slow"):
        delay_model("slow", CPS3)
