# SPDX-License-Identifier: Apache-2.0
"""CPS3 through its contacts, files and codes: what the traces do not show, rule by rule."""

from __future__ import annotations

import pytest
from cardos_script import OTHER_PIN, PIN, PUK, SECRET, WRONG_PIN, WRONG_PUK, card, run

from simulator.cardos import VirtualCard

LOGIN = f"00200001 {PIN} = 9000"
DF = "00A4090C 3F000001 = 9000"
NEW = "32323232FFFFFFFF"


@pytest.fixture
def cps3() -> VirtualCard:
    return card("cps3")


@pytest.mark.parametrize(
    "script",
    [
        "00A40004 3F00 = 6121\n00A40204 2F00 = 6127\n00A40404 8025000001FF0100 = 6121",
        "00A40200 2F00 = 6A86\n00A40000 2F00 = 6A86\n00A40104 2F00 = 6A86\n00A40500 2F00 = 6A86",
        "00A40400 E828BD080F8025000001FF0010 = 6A86\n00A4040C E828BD080F8025000001FF0010 = 9000",
        "00A40400 8025000001FF0100 = 9000\n00C00000 /21 = 6985",  # the applet by name, P2 00: no data
        f"00A40904 2F00 = 6127\n{DF}\n00A40904 2F00 = 6A82\n00A40904 3F002F00 = 6127",
        f"{DF}\n00A4000C 0002 = 9000\n00A4000C 7001 = 6A82\n00A4000C 0001 = 9000\n00A4000C 7001 = 9000",
        "00A4080C 00015031 = 9000\n00A4080C 3F0000015031 = 6A82",
        f"{DF}\n00A4030C = 9000\n00A4020C 2F00 = 9000\n00A4030C = 9000\n00A4000C = 9000",
        "00A4020C D010 = 6A82\n00A4020C 2F0000 = 6A80\n00A4090C 2F0000 = 6A80\n00A4040C = 6A82\n00A4040C 80250000 = 6A82",
        "00A4090C 3F00 = 9000\n00A4090C = 6A80\n00A4090C 3F0000010001 = 6A82\n00A4090C 3F002F005031 = 6A82",
        "00A4090C 3F00D003 = 9000\n00B00000 /0C = 5A0A*9000\n00A4090C 3F00FFFF = 6A82\n00B00000 /0C = 5A0A*9000",
    ],
)
def test_select(cps3: VirtualCard, script: str) -> None:
    run(cps3, script)


def test_read_binary(cps3: VirtualCard) -> None:
    run(
        cps3,
        """
        00B00000 /00 = 6986                     # nothing selected
        00A4020C D003 = 9000
        00B00000 /00 = 6C0C                     # T=0: Le 00 is 256
        00B00000 /0C = 5A0A*9000
        00B00004 /0C = 6C08
        00B0000B /01 = *9000
        00B0000C /01 = 6B00
        00B09C00 /0C = 5A0A*9000                # by short identifier
        00B08500 /01 = 6A82                     # which is of the application
        00A4090C 3F000001 = 9000
        00B00000 /01 = 6986
        00B08500 /02 = 74779000
        00B0850A /02 = 65739000
        00B00000 /0C = 7477*9000                # the short identifier has selected it
        00B09C00 /0C = 6A82
        00A4020C D1F1 = 9000
        00B00000 /01 = 6982
        00A4020C A001 = 9000
        00B00100 /00 = *9000
        00B00580 /00 = 6C33
        00B00580 /000000 = *9000                # extended Le 0000 asks for whatever there is
        00B10000 /01 = 6D00
        """,
    )


def test_a_t0_command_has_five_bytes_and_all_that_it_asks_for(cps3: VirtualCard) -> None:
    """ISO 7816-3 12.2.2: four bytes arrive with a fifth, 00; less than P3 bytes cannot be sent, so the card says how many."""
    run(
        cps3,
        """
        00A4020C D003 = 9000
        00B00000 = 6C0C                         # not 61: nothing is kept
        00C00000 /0C = 6985
        00A40304 = 6C21                         # the FCP of the MF
        00A40304 /21 = 62*9000
        00A40304 /00 = 6C21
        00840000 = 6C08
        """,
    )
    run(card("cps3cl"), "00A4020C D003 = 9000\n00B00000 /00 = 5A0A*9000\n00A40304 /00 = 62*9000")  # T=1


def test_short_identifiers(cps3: VirtualCard) -> None:
    """ISO 7816-4: 00 is the current file, bits 7 and 6 of P1 are not free; READ BINARY takes no data."""
    run(
        cps3,
        """
        00B08000 /02 = 6986
        00A4020C D003 = 9000
        00B08000 /02 = 5A0A9000
        00B0DC00 /02 = 6A86
        00B0BC00 /02 = 6A86
        00B00000 0102 = 6700
        00B00000 0102 /02 = 6700
        """,
    )


def test_a_hash_outlives_a_wrong_le(cps3: VirtualCard) -> None:
    """6Cxx bids the reader to send the same command again: the hash must still be there."""
    run(
        cps3,
        f"""
        {DF}
        {LOGIN}
        002241AA 800140 = 9000
        002A90A0 9000 8003616263 = 9000
        002241B6 800142 840181 = 9000
        002A9E9A /80 = 6C00
        002A9E9A /00 = *9000
        002A9E9A /00 = 6985
        """,
    )


def test_files_behind_the_pin(cps3: VirtualCard) -> None:
    private = "00A4090C 3F000001D1F0 = 9000\n00B00000 /18 ="
    run(cps3, f"{private} 6982\n{LOGIN}\n{private} {SECRET.hex().upper()}9000")
    run(cps3, f"00A40404 8025000001FF0100 = 6121\n{private} *9000")  # selecting another application is no logout
    cps3.reset()
    run(cps3, f"{private} 6982\n{LOGIN}")
    cps3.power_off()
    cps3.power_on()
    run(cps3, f"{private} 6982\n{LOGIN}\n00200001 {WRONG_PIN} = 63C2\n{private} 6982")


def test_update_binary(cps3: VirtualCard) -> None:
    run(
        cps3,
        f"""
        {DF}
        00D60000 AABB = 6986
        00A4020C D1F2 = 9000
        00D60000 AABB = 6982
        {LOGIN}
        00D60000 AABB = 9000
        00D60008 AABBCC = 6700
        00D6000A AA = 6B00
        00D60000 = 6700
        00B00000 /0A = AABB00000000000000009000
        00A4020C D1F3 = 9000
        00D60000 AA = 6982
        """,
    )
    assert cps3.state()["files"] == {"0001/D1F2": "aabb0000000000000000"}
    run(cps3, "00A4020C D1F2 = 9000\n00D60000 0000 = 9000")
    assert cps3.state()["files"] == {}


# -- codes -----------------------------------------------------------------------------------------------------------


def test_three_tries(cps3: VirtualCard) -> None:
    wrong = f"00200001 {WRONG_PIN} ="
    run(cps3, f"{wrong} 63C2\n{wrong} 63C1\n{LOGIN}\n00200001 /00 = 9000\n{wrong} 63C2\n00200001 /00 = 63C2")
    run(cps3, f"{wrong} 63C1\n{wrong} 6983\n00200001 {PIN} = 6983\n00200001 /00 = 6983\n00200001 = 6983")


def test_refused_before_a_try_is_spent(cps3: VirtualCard) -> None:
    run(
        cps3,
        f"""
        00200001 313233 = 6700
        00200001 {PIN}FF = 6700
        00200101 {PIN} = 6A86
        00200003 {PIN} = 6A88
        00200081 {PIN} = 6A88                   # codes are global: no bit 80
        00200001 = 63C3
        00200001 /00 = 63C3
        00200001 31323334 = 9000                # the padding may be left out: minimum length 4 in the SDO
        """,
    )


def test_change(cps3: VirtualCard) -> None:
    run(
        cps3,
        f"""
        00240001 {PIN} 343332FFFFFFFFFF = 6A80      # three digits
        00240001 {PIN} 3433323AFFFFFFFF = 6A80
        00240001 {PIN} 3433323131FFFFFF = 6A80
        00240001 31323334 34333231 = 6700
        00240002 {PUK} 3837363534333231 = 6982      # the unblock code never changes
        00240201 {PIN} {OTHER_PIN} = 6A86
        00200001 = 63C3                             # nothing spent so far
        00240001 {WRONG_PIN} {OTHER_PIN} = 63C2
        00240101 {OTHER_PIN} = 6982
        00240001 {PIN} {OTHER_PIN} = 9000
        00200001 = 63C3                             # a change is no login
        00200001 {PIN} = 63C2
        00200001 {OTHER_PIN} = 9000
        00240101 {NEW} = 9000
        00200001 = 9000
        """,
    )
    assert cps3.state()["codes"]["1"] == {"value": "2222", "tries_left": 3}


def test_unblock(cps3: VirtualCard) -> None:
    run(
        cps3,
        f"""
        00200001 {WRONG_PIN} = 63C2
        00200001 {WRONG_PIN} = 63C1
        00200001 {WRONG_PIN} = 6983
        002C0201 {NEW} = 6982
        00200002 {WRONG_PUK} = 63C9
        002C0201 {NEW} = 6982
        00200002 {PUK} = 9000
        002C0202 {NEW} = 6982                       # the unblock code itself has no way back
        002C0201 32323232 = 6700
        002C0201 3232FFFFFFFFFFFF = 6A80
        002C0401 {NEW} = 6A86
        00200001 = 6983
        002C0201 {NEW} = 9000
        00200001 = 63C3
        00200001 {NEW} = 9000
        """,
    )
    assert cps3.state()["codes"]["2"] == {"value": "12345678", "tries_left": 10, "uses_left": 99}


def test_unblock_in_one_command(cps3: VirtualCard) -> None:
    run(
        cps3,
        f"""
        00200001 {WRONG_PIN} = 63C2
        002C0001 {PUK} 3232323232FFFFFF = 6A80
        002C0001 {WRONG_PUK} {NEW} = 63C9
        002C0001 {PUK} {NEW} = 9000
        00200001 {NEW} = 9000
        00200001 {WRONG_PIN} = 63C2
        002C0301 = 9000                             # tries back, same PIN: the unblock code is still verified
        002C0301 {NEW} = 6700
        00200001 = 63C3
        00200001 {NEW} = 9000
        """,
    )
    cps3.reset()
    run(cps3, f"002C0301 = 6982\n002C0101 {PUK} = 9000")


def test_the_unblock_code_wears_out(cps3: VirtualCard) -> None:
    state = cps3.state()
    state["codes"]["2"]["uses_left"] = 1
    worn = card("cps3", state)
    run(worn, f"00200002 {PUK} = 9000\n002C0201 {NEW} = 9000\n00200002 {PUK} = 6984\n00200002 = 6984")
    assert worn.state()["codes"]["2"]["uses_left"] == 0
    for left in range(9, 0, -1):
        run(cps3, f"00200002 {WRONG_PUK} = 63C{left}")
    run(cps3, f"00200002 {WRONG_PUK} = 6983\n00200002 {PUK} = 6983\n00200002 = 6983")


# -- security data objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        f"{DF}\n00CB3FFF 4D087006BF810102A080 /00 = 7016BF810112A010*9000",  # codes are global
        "00CB3FFF 4D0B7009BF810105A0807F4180 = 6121",
        "00CB3FFF 4D087006BF810302A080 = 6A88\n00CB3FFF 4D087006BF810102A180 = 6A88",
        f"00CB3FFF 4D087006BFFB05027B80 = 9000\n{DF}\n00CB3FFF 4D087006BFFB05027B80 = 6A88",
        f"00CB3FFF 4D097007BF9002037F4880 = 6A88\n{DF}\n00CB3FFF 4D097007BF9002037F4880 = 6116",
        f"{DF}\n00CB3FFF 4D087006BF900302A080 = 6A88\n00CB3FFF 4D087006BFA00202A080 = 6A88",
        "00CB3FFF 5C017E = 6A80\n00CB3FFF = 6A80\n00CB3FFF 4D00 = 6A80\n00CB3FFF 4D027000 = 6A80\n00CB3FFE 4D00 = 6A86",
        "00CB3FFF 4D067004BF810100 = 6A80\n00CB3FFF 4D077005BF810101A0 = 6A80\n00CB3FFF 4D0970 = 6A80",
    ],
)
def test_get_data(cps3: VirtualCard, script: str) -> None:
    run(cps3, script)


# -- classes, retained answers ---------------------------------------------------------------------------------------


def test_classes_and_instructions(cps3: VirtualCard) -> None:
    for cla in (0x01, 0x02, 0x03, 0x04, 0x0C, 0x20, 0x40, 0x80, 0x84, 0xA1, 0xB0, 0xFF):
        run(cps3, f"{cla:02X}A4000C 3F00 = 6E00")
    for ins in (0x00, 0x0E, 0xCA, 0xDA, 0xDB, 0xE0, 0xE4, 0xFF):
        run(cps3, f"00{ins:02X}0000 = 6D00")
    run(cps3, "10A4000C 3F00 = 6884")


def test_retained_answer(cps3: VirtualCard) -> None:
    run(
        cps3,
        """
        00A40004 2F00 = 6127
        00C00000 /30 = 6C27
        00C00000 /00 = 6C27
        00C00000 /07 = 62258002006582*6120
        00C00001 /20 = 6A86
        00C00000 /20 = *9000
        00C00000 /20 = 6985
        00A40004 2F00 = 6127
        00840000 /08 = *9000                        # another command drops it
        00C00000 /27 = 6985
        00A40004 2F00 /00 = 62258002*9000           # T=1: Le is there, the answer too
        00A40004 2F00 /10 = *6117
        00C00000 /17 = *9000
        00840000 /10 = 6C08
        00840000 = 6C08
        """,
    )


def test_cps2ter_view(cps3: VirtualCard) -> None:
    situation = "A0A40000 3F00 = 6107\nA0A40000 4010 = 6107\nA0C00000 /07 = 8505001B4010049000\nA0B00000 /1B ="
    run(cps3, f"{situation} 9804\n00200001 = 6E00\n00A4020C 2F00 = 6E00\n00A40404 8025000001FF0100 = 6121\n{LOGIN}")
    run(cps3, f"{situation} EE19*9000\nA0B00002 /1B = 6C19\nA0B0001B /01 = 6B00\nA0B00019 /02 = 30379000")
    run(
        cps3,
        """
        A0A40000 4000 = 9404                        # under 7F01 only
        A0A40000 7F01 = 6107
        A0A40000 4010 = 9404
        A0A40000 4000 = 6107
        A0A40000 3F00 = 6107
        A0B00000 /01 = 9404
        A0A40000 401F = 9404
        A0A40000 40 = 6700
        A0A40001 3F00 = 6B00
        A0200000 = 6D00
        00A4040C 8025000001FF0002 = 9000
        00840000 /08 = 6E00
        """,
    )
    cps3.reset()
    run(cps3, "00840000 /08 = *9000")
