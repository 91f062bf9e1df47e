# SPDX-License-Identifier: Apache-2.0
"""CPS4: channels, selection and codes, rule by rule."""

from __future__ import annotations

import pytest
from cardos_script import OTHER_PIN, PIN, PUK, SECRET, WRONG_PIN, WRONG_PUK, card, run

from simulator.cardos import VirtualCard

LOGIN = f"01200001 {PIN} = 9000"
OPEN = "01A4040C 8025000001FF0100 = 9000"


@pytest.fixture
def cps4() -> VirtualCard:
    return card("cps4")


def test_channels(cps4: VirtualCard) -> None:
    run(
        cps4,
        f"""
        01A40800 0001 = 6881                        # channel 1 is not open
        01200001 = 6881
        01840000 /08 = 6881
        02A4040C 8025000001FF0100 = 6881
        01A4040C A000000003 = 6A82
        01840000 /08 = 6881
        04A4040C 8025000001FF0100 = 6E00
        80A4040C 8025000001FF0100 = 6E00
        A0A40000 3F00 = 6107                        # the CPS2ter view, empty here
        A0A40000 4010 = 9404
        A0200000 = 6D00
        00A4040C 8025000001FF0002 = 9000
        00840000 /08 = 6985                         # channel 0: selection and reading only
        00200001 {PIN} = 6985
        10220000 00 = 6884
        00A4000C 2F00 = 9000
        00B00000 /02 = 61329000
        {OPEN}
        01B00000 /02 = 6986                         # each channel has its own selection
        00B00000 /02 = 61329000
        01840000 /08 = *9000
        01CB3FFF 4D00 = 6D00
        01A4040C A0000001510000 = 9000              # the security domain takes the channel
        01200001 = 6985
        01A40404 8025000001FF0100 /00 = 621F8201*9000
        01200001 = 63C3
        """,
    )
    cps4.reset()
    run(cps4, "01200001 = 6881")


def test_select(cps4: VirtualCard) -> None:
    run(
        cps4,
        f"""
        {OPEN}
        01A40800 D003 /00 = 6F25*9000
        01A40800 D003 = 6127                        # T=0
        01C00000 /27 = 6F25*9000
        01A40804 D003 /00 = 6225*9000
        01A4080C D003 = 9000
        01A40800 3F00D003 /00 = 6A82                # paths start below the MF
        01A40800 0001 = 9000
        01A40800 0001 /00 = 6F24*9000
        01A40800 0001FFFF /00 = 6A82
        01A40801 0001 = 6A86
        01A40800 0001D1F0 /00 = 6F24*9000
        01B00000 /18 = 6982
        {LOGIN}
        01B00000 /18 = {SECRET.hex().upper()}9000
        01B00000 /00 = {SECRET.hex().upper()}9000
        01B00000 /19 = 6C18
        01A40800 0001D1F2 /00 = 6F24*9000
        01D60000 AA = 9000
        """,
    )
    assert cps4.state()["files"] == {"0001/D1F2": "aa000000000000000000"}


def test_codes(cps4: VirtualCard) -> None:
    run(
        cps4,
        f"""
        {OPEN}
        01200001 = 63C3
        01200002 = 63CA
        {LOGIN}
        01200001 = 63C3                             # even when verified
        01200081 = 63C3
        01200003 = 6A88
        01240001 {PIN} {OTHER_PIN} = 6A86
        01240101 343332FFFFFFFFFF = 6A80
        01240101 {OTHER_PIN} = 9000
        01200001 {PIN} = 63C2
        01240101 {PIN} = 6982
        01240102 {PUK} = 6982
        01200001 {OTHER_PIN} = 9000
        01200001 {WRONG_PIN} = 63C2
        01200001 {WRONG_PIN} = 63C1
        01200001 {WRONG_PIN} = 6983
        01200001 = 6983
        012C0381 = 6982
        01200002 {WRONG_PUK} = 63C9
        01200002 {PUK} = 9000
        012C0281 {PIN} = 6A86
        012C0382 = 6982
        012C0381 {PIN} = 6700
        01240101 {PIN} = 6982                       # not before the unblocking
        012C0381 = 9000
        01200001 = 63C3
        """,
    )
    pulled = cps4.state()
    run(cps4, f"01240101 {PIN} = 9000\n01240101 {OTHER_PIN} = 6982\n{LOGIN}")
    assert pulled["codes"] == {  # pulled between the two: tries back, old PIN, one use of the unblock code spent
        "1": {"value": "4321", "tries_left": 3},
        "2": {"value": "12345678", "tries_left": 10, "uses_left": 99},
    }
    again = card("cps4", pulled)
    run(again, f"{OPEN}\n01240101 {PIN} = 6982\n01200001 {OTHER_PIN} = 9000")
