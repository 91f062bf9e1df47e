# SPDX-License-Identifier: Apache-2.0
"""What readers with a keypad say of themselves, and what they are sent (PC/SC part 10 v2.02.09)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd import errors
from cpxd.reader import pinpad, typed
from cpxd.reader.pinpad import Abilities, Block, PinPad
from cpxd.text import choose_language

PIN = Block("Code porteur", 4, 8, 0xFF)
UNBLOCK = Block("Code de déblocage", 8, 8, 0xFF)
VERIFY, MODIFY, PROPERTIES, TLV = (0x42000DB2, 0x42000DB3, 0x42000DB6, 0x42000DBE)
ABLE = Abilities(VERIFY, MODIFY)


@pytest.fixture(autouse=True)
def _french() -> Iterator[None]:
    choose_language("fr")
    yield
    choose_language(None)


def features(*codes: int) -> bytes:
    return b"".join(bytes([code & 0xFF, 4]) + (0x42000DAC + code).to_bytes(4, "big") for code in codes)


class Reader:
    """Answers by control code; what has no answer is refused."""

    reader = "Reader 0"

    def __init__(self, **answers: bytes) -> None:
        self._answers = {pinpad._GET_FEATURE_REQUEST: answers.get("features", b"")}
        names = {"verify": VERIFY, "modify": MODIFY, "properties": PROPERTIES, "tlv": TLV}
        self._answers |= {names[name]: answer for name, answer in answers.items() if name in names}
        self.sent: list[tuple[int, bytes]] = []
        self.told: list[tuple[bytes, bytes]] = []

    def control(self, code: int, data: bytes, /) -> bytes:
        self.sent.append((code, data))
        if code not in self._answers:
            raise errors.PadRefused(status="PC/SC")
        return self._answers[code]

    def shown(self, sent: bytes, received: bytes, milliseconds: float, /) -> None:
        self.told.append((sent, received))


def test_verify_structure_of_the_pin() -> None:
    # bTimeOut, bTimeOut2, bmFormatString, bmPINBlockString, bmPINLengthFormat, wPINMaxExtraDigit, bEntryValidationCondition,
    # bNumberMessage, wLangId, bMsgIndex, bTeoPrologue, ulDataLength, abData
    wanted = "1E 1E 82 08 00 0404 02 FF 0C04 00 000000 0D000000 00200001 08 FFFFFFFFFFFFFFFF"
    assert pinpad.verify_structure(bytes.fromhex("00200001"), PIN, ABLE, 30) == bytes.fromhex(wanted)


def test_verify_structure_of_the_unblock_code_on_a_cps4() -> None:
    wanted = "0505 82 08 00 0808 02 FF 0C04 00 000000 0D000000 01200002 08 FFFFFFFFFFFFFFFF"
    assert pinpad.verify_structure(bytes.fromhex("01200002"), UNBLOCK, ABLE, 5) == bytes.fromhex(wanted)


def test_modify_structure_with_the_old_code() -> None:
    # … bInsertionOffsetOld, bInsertionOffsetNew, wPINMaxExtraDigit, bConfirmPIN, bEntryValidationCondition, bNumberMessage,
    # wLangId, bMsgIndex1 to 3, bTeoPrologue, ulDataLength, abData
    wanted = "1E1E 82 08 00 00 08 0404 03 02 FF 0C04 00 01 02 000000 15000000 00240001 10" + "FF" * 16
    assert pinpad.modify_structure(bytes.fromhex("00240001"), PIN, ABLE, 30, ask_old=True) == bytes.fromhex(wanted)


def test_modify_structure_with_the_new_code_alone() -> None:
    wanted = "1E1E 82 08 00 00 00 0404 01 02 FF 0C04 00 01 02 000000 0D000000 002C0201 08" + "FF" * 8
    assert pinpad.modify_structure(bytes.fromhex("002C0201"), PIN, ABLE, 30, ask_old=False) == bytes.fromhex(wanted)


@pytest.mark.parametrize(("known", "sent"), [(0, 2), (7, 2), (2, 2), (1, 1), (5, 1), (4, 1)])
def test_how_an_entry_ends_is_what_the_reader_knows(known: int, sent: int) -> None:
    able = Abilities(VERIFY, MODIFY, validation=known)
    assert pinpad.verify_structure(bytes(4), PIN, able, 30)[7] == sent
    assert pinpad.modify_structure(bytes(4), PIN, able, 30, ask_old=True)[10] == sent


@pytest.mark.parametrize(("lines", "messages"), [(None, (0xFF, 0xFF)), (0, (0, 0)), (2, (1, 3))])
def test_messages_are_for_a_reader_with_a_display(lines: int | None, messages: tuple[int, int]) -> None:
    able = Abilities(VERIFY, MODIFY, lines=lines)
    assert pinpad.verify_structure(bytes(4), PIN, able, 30)[8] == messages[0]
    assert pinpad.modify_structure(bytes(4), PIN, able, 30, ask_old=True)[11] == messages[1]


@pytest.mark.parametrize(
    ("answers", "able"),
    [
        ({}, Abilities()),
        ({"features": features(0x12)}, Abilities()),
        ({"features": features(6)}, Abilities(VERIFY)),
        ({"features": features(6, 7)}, ABLE),
        ({"features": features(6, 7, 0x12)[:-1]}, ABLE),  # cut short
        ({"features": features(6, 7)[:8]}, Abilities(VERIFY)),
        ({"features": b"\x13\x02\x01\x02" + features(6)}, Abilities(VERIFY)),  # an entry of another length
        ({"features": features(6) + b"\x06\x04\x00\x00\x00\x01"}, Abilities(VERIFY)),  # the first of two counts
        ({"features": features(6, 7, 0x12), "tlv": bytes.fromhex("0601 06 0701 0C")}, Abilities(VERIFY, MODIFY, 6, 12)),
        ({"features": features(6, 7, 0x12), "tlv": bytes.fromhex("0701 00 0601 04")}, Abilities(VERIFY, MODIFY, 4, 255)),
        ({"features": features(6, 7, 0x12), "tlv": bytes.fromhex("0601 09 0701 03")}, ABLE),  # more than less
        ({"features": features(6, 7, 0x12), "tlv": bytes.fromhex("0602 0900 0209 07")}, ABLE),  # wrong lengths, past the end
        ({"features": features(6, 7, 0x12), "tlv": bytes.fromhex("0102 1002 0201 03")}, Abilities(VERIFY, MODIFY, 0, 255, 3, 2)),
        ({"features": features(6, 7, 10), "properties": bytes.fromhex("1002 07 00")}, Abilities(VERIFY, MODIFY, 0, 255, 7, 2)),
        ({"features": features(6, 7, 10), "properties": bytes.fromhex("100207")}, ABLE),
        ({"features": features(6, 7, 10, 0x12)}, ABLE),  # offered, and not there
    ],
)
def test_what_a_reader_says_of_itself(answers: dict[str, bytes], able: Abilities) -> None:
    assert pinpad.abilities(Reader(**answers)) == able


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=8))
def test_nothing_that_a_reader_says_breaks_anything(listed: bytes, tlv: bytes, properties: bytes) -> None:
    able = pinpad.abilities(Reader(features=features(6, 7, 10, 0x12) + listed, tlv=tlv, properties=properties))
    assert able.verify == VERIFY and 0 <= able.smallest <= able.largest <= 255
    pinpad.abilities(Reader(features=listed, tlv=tlv, properties=properties))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("6400", errors.PadTimeout),
        ("6401", errors.PadCancelled),
        ("6402", errors.PinsDiffer),
        ("6403", errors.BadPinFormat),
        ("6B80", errors.PadRefused),
        ("6D00", errors.PadRefused),
        ("90", errors.PadRefused),
        ("", errors.PadRefused),
    ],
)
def test_what_the_reader_answers_by_itself(answer: str, error: type[errors.CpxError]) -> None:
    for name in ("verify", "modify"):
        pad = PinPad(Reader(**{name: bytes.fromhex(answer)}), ABLE, 30)
        with pytest.raises(error):
            if name == "verify":
                pad.verify("pin", bytes.fromhex("00200001"), PIN)
            else:
                pad.modify("new", bytes.fromhex("002C0201"), PIN, ask_old=False)


@pytest.mark.parametrize(("answer", "sw"), [("9000", 0x9000), ("63C2", 0x63C2), ("6983", 0x6983), ("00009000", 0x9000)])
def test_what_the_card_answers(answer: str, sw: int) -> None:
    reader = Reader(verify=bytes.fromhex(answer))
    assert PinPad(reader, ABLE, 30).verify("pin", bytes.fromhex("00200001"), PIN) == sw
    assert reader.told == [(bytes.fromhex("0020000108") + b"\x2a" * 8, bytes.fromhex(answer)[-2:])]


def test_digits_that_the_keypad_does_not_take() -> None:
    reader = Reader(verify=b"\x90\x00", modify=b"\x90\x00")
    for abilities in (Abilities(VERIFY, MODIFY, 6, 12), Abilities()):
        pad = PinPad(reader, abilities, 30)
        with pytest.raises(errors.PadUnable):
            pad.verify("pin", bytes(4), PIN)
        with pytest.raises(errors.PadUnable):
            pad.modify("new", bytes(4), PIN, ask_old=False)
    able, long = PinPad(reader, ABLE, 30), Block("Code porteur", 4, 16, 0xFF)  # its size does not fit in four bits
    with pytest.raises(errors.PadUnable):
        able.verify("pin", bytes(4), long)
    with pytest.raises(errors.PadUnable):
        able.modify("new", bytes(4), long, ask_old=True)
    with pytest.raises(errors.PadUnable):
        PinPad(reader, Abilities(VERIFY), 30).modify("new", bytes(4), PIN, ask_old=False)
    assert reader.sent == []


def test_the_mark_is_there_while_a_code_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not typed.now("Reader 0")
    with typed.marked("Reader 0"):
        assert typed.now("Reader 0") and not typed.now("Reader 1")
    assert not typed.now("Reader 0")


def test_the_mark_falls_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    code = "import sys, time; from cpxd.reader import typed\nwith typed.marked('R'): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert typed.now("R")
        process.kill()
    assert not typed.now("R")


def test_a_mark_that_cannot_be_set_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "cpxd").write_text("a file where the folder should be")
    with typed.marked("R"):
        assert not typed.now("R")
    assert os.listdir(tmp_path) == ["cpxd"]
