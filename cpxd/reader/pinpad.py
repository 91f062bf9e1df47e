# SPDX-License-Identifier: Apache-2.0
"""Codes typed on the reader itself (PC/SC part 10 v2.02.09): the reader puts the digits into the command, we never see them.

What readers say of themselves is believed as far as it makes sense: a truncated list is read up to its end, a property of a wrong
length is as good as absent. Every number of a structure is little-endian, but for the control codes of the features.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

from smartcard import scard

from cpxd import errors
from cpxd.reader import typed
from cpxd.text import language

Ask = Literal["pin", "unblock", "change", "new"]  # what a person is to type: a code; the old and a new PIN; a new PIN
Announce = Callable[[Ask], None]
GRACE = 3.0  # seconds that a reader may take beyond the time we gave it
_GET_FEATURE_REQUEST = int(scard.SCARD_CTL_CODE(3400))
_ASCII_LEFT = 0x82  # bmFormatString: unit byte, position 0, justified left, ASCII
_LARGEST_BLOCK = 15  # bytes: four bits of bmPINBlockString
_KEY, _MAXIMUM = 0x02, 0x01  # bEntryValidationCondition: the validation key; the last digit
_ASK_OLD, _CONFIRM = 0x02, 0x01  # bConfirmPIN
_LANGUAGES = {"fr": 0x040C, "en": 0x0409}  # wLangId
_READER_DEFAULT = 0xFF  # bNumberMessage: the messages that the reader would choose by itself
_TIMEOUT, _CANCELLED, _MISMATCH, _LENGTH = 0x6400, 0x6401, 0x6402, 0x6403  # the reader's own status words (part 10, 2.5)
_UNSERVED = (0x6B80, 0x6D00)  # a structure that the reader does not take; a command that it does not let a person type for


class Feature(IntEnum):
    VERIFY_PIN_DIRECT = 0x06
    MODIFY_PIN_DIRECT = 0x07
    IFD_PIN_PROPERTIES = 0x0A
    GET_TLV_PROPERTIES = 0x12


class Terminal(Protocol):
    """What is needed of an open card handle."""

    @property
    def reader(self) -> str: ...

    def control(self, code: int, data: bytes, /) -> bytes:
        """SCardControl. Raises TransportError for a lost card, PadRefused when the reader says no."""

    def shown(self, sent: bytes, received: bytes, milliseconds: float, /) -> None:
        """Show an exchange that the reader had with the card by itself, its codes masked."""


@dataclass(frozen=True)
class Abilities:
    """What a reader can do with codes. `verify`, `modify`: control codes, None when it cannot."""

    verify: int | None = None
    modify: int | None = None
    smallest: int = 0  # digits that it takes
    largest: int = 255
    validation: int = 0  # bEntryValidationCondition that it knows; 0: not told
    lines: int | None = None  # of its display; None: not told

    def verifies(self, digits: int) -> bool:
        return self.verify is not None and self.smallest <= digits <= self.largest

    def modifies(self, digits: int) -> bool:
        return self.modify is not None and self.smallest <= digits <= self.largest


NONE = Abilities()


def abilities(terminal: Terminal) -> Abilities:
    """What the reader says of itself; nothing when it does not answer. Raises TransportError for a lost card."""
    found = features(_told(terminal, _GET_FEATURE_REQUEST))
    verify, modify = found.get(Feature.VERIFY_PIN_DIRECT), found.get(Feature.MODIFY_PIN_DIRECT)
    if verify is None and modify is None:
        return NONE
    known: dict[int, int] = {}
    if (code := found.get(Feature.IFD_PIN_PROPERTIES)) is not None:
        known |= pin_properties(_told(terminal, code))
    if (code := found.get(Feature.GET_TLV_PROPERTIES)) is not None:
        known |= tlv_properties(_told(terminal, code))
    smallest, largest = known.get(_MIN_SIZE, 0), known.get(_MAX_SIZE, 0) or 255
    if smallest > largest:
        smallest, largest = 0, 255
    lines = known.get(_LAYOUT)
    return Abilities(verify, modify, smallest, largest, known.get(_VALIDATION, 0), None if lines is None else lines >> 8)


def _told(terminal: Terminal, code: int) -> bytes:
    try:
        return terminal.control(code, b"")
    except errors.PadRefused:
        return b""


def features(answer: bytes) -> dict[int, int]:
    """GET_FEATURE_REQUEST (part 10, 2.2): tag, length 4, control code (big-endian). The first of two with one tag counts."""
    found: dict[int, int] = {}
    for tag, value in _tlvs(answer):
        if len(value) == 4:
            found.setdefault(tag, int.from_bytes(value, "big"))
    return found


_LAYOUT, _VALIDATION, _MIN_SIZE, _MAX_SIZE = 0x01, 0x02, 0x06, 0x07
_SIZES = {_LAYOUT: 2, _VALIDATION: 1, _MIN_SIZE: 1, _MAX_SIZE: 1}


def tlv_properties(answer: bytes) -> dict[int, int]:
    """GET_TLV_PROPERTIES (part 10, 2.6.14), those we use: wLcdLayout, bEntryValidationCondition, bMinPINSize, bMaxPINSize."""
    return {tag: int.from_bytes(value, "little") for tag, value in _tlvs(answer) if _SIZES.get(tag) == len(value)}


def pin_properties(answer: bytes) -> dict[int, int]:
    """IFD_PIN_PROPERTIES (part 10, 2.5.5): wLcdLayout, bEntryValidationCondition, bTimeOut2; by the tags of the TLV form."""
    if len(answer) != 4:
        return {}
    layout, validation, _ = struct.unpack("<HBB", answer)
    return {_LAYOUT: layout, _VALIDATION: validation}


def _tlvs(answer: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at + 2 <= len(answer) and at + 2 + answer[at + 1] <= len(answer):
        end = at + 2 + answer[at + 1]
        found.append((answer[at], answer[at + 2 : end]))
        at = end
    return found


@dataclass(frozen=True)
class Block:
    """A code as the card wants it: ASCII digits, filled with `fill` up to `size` bytes. `name` is for its person."""

    name: str
    digits: int
    size: int
    fill: int


class PinPad:
    """Has a person type codes on the reader, `seconds` long an entry. Used in a transaction, on the card's thread.

    Raises PadTimeout, PadCancelled, PinsDiffer, BadPinFormat, PadRefused, PadUnable: in all of them no try was lost.
    """

    def __init__(self, terminal: Terminal, able: Abilities, seconds: int, announce: Announce = lambda ask: None) -> None:
        self._terminal = terminal
        self._able = able
        self._seconds = seconds
        self._announce = announce

    def check_verify(self, digits: int) -> None:
        if not self._able.verifies(digits):
            raise errors.PadUnable(digits=digits)

    def check_modify(self, digits: int) -> None:
        if not self._able.modifies(digits):
            raise errors.PadUnable(digits=digits)

    def verify(self, ask: Ask, header: bytes, block: Block) -> int:
        """One code typed and sent in the command `header` (CLA INS P1 P2). The status word of the card."""
        self.check_verify(block.digits)
        _check_size(block)
        structure = verify_structure(header, block, self._able, self._seconds)
        return self._enter(self._able.verify or 0, structure, ask, block, _masked(header, block.size))

    def modify(self, ask: Ask, header: bytes, block: Block, *, ask_old: bool) -> int:
        """A new code, typed twice; with `ask_old` the code in force first, and both blocks in the command."""
        self.check_modify(block.digits)
        _check_size(block)
        structure = modify_structure(header, block, self._able, self._seconds, ask_old=ask_old)
        masked = _masked(header, block.size * (2 if ask_old else 1))
        return self._enter(self._able.modify or 0, structure, ask, block, masked)

    def _enter(self, code: int, structure: bytes, ask: Ask, block: Block, masked: bytes) -> int:
        with typed.marked(self._terminal.reader):
            self._announce(ask)
            begun = time.monotonic()
            answer = self._terminal.control(code, structure)
        self._terminal.shown(masked, answer[-2:], (time.monotonic() - begun) * 1000)
        if len(answer) < 2:
            raise errors.PadRefused(status=answer.hex().upper() or "-")
        sw = int.from_bytes(answer[-2:], "big")
        _judge(sw, block)
        return sw


def _check_size(block: Block) -> None:
    if block.size > _LARGEST_BLOCK:
        raise errors.PadUnable(digits=block.digits)


def _masked(header: bytes, size: int) -> bytes:
    return header + bytes([size]) + b"\x2a" * size


def _judge(sw: int, block: Block) -> None:
    """Raise what the reader, not the card, has answered."""
    if sw == _TIMEOUT:
        raise errors.PadTimeout()
    if sw == _CANCELLED:
        raise errors.PadCancelled()
    if sw == _MISMATCH:
        raise errors.PinsDiffer()
    if sw == _LENGTH:
        raise errors.BadPinFormat(name=block.name, digits=block.digits)
    if sw in _UNSERVED:
        raise errors.PadRefused(status=f"{sw:04X}")


def verify_structure(header: bytes, block: Block, able: Abilities, seconds: int) -> bytes:
    """PIN_VERIFY_STRUCTURE (part 10, 2.5.2), the command's data field filled where the digits will not be.

    wPINMaxExtraDigit is 0xMMmm, least number of digits first: both are the same here, so that no order of its bytes is wrong.
    """
    field = bytes([block.fill]) * block.size
    command = header + bytes([len(field)]) + field
    return _head(block, seconds) + struct.pack("<HBBHB3xI", *_entry(block, able, 1), 0, len(command)) + command


def modify_structure(header: bytes, block: Block, able: Abilities, seconds: int, *, ask_old: bool) -> bytes:
    """PIN_MODIFY_STRUCTURE (part 10, 2.5.3): with the old code, its block comes first and the new one behind it."""
    field = bytes([block.fill]) * (block.size * (2 if ask_old else 1))
    command = header + bytes([len(field)]) + field
    offsets = bytes([0, block.size if ask_old else 0])
    digits, validation, messages, language_ = _entry(block, able, 3 if ask_old else 2)
    confirm = _CONFIRM | (_ASK_OLD if ask_old else 0)
    rest = struct.pack("<HBBBH3B3xI", digits, confirm, validation, messages, language_, 0, 1, 2, len(command))
    return _head(block, seconds) + offsets + rest + command


def _head(block: Block, seconds: int) -> bytes:
    """bTimeOut, bTimeOut2 (after the first key; 0 would be the reader's own), bmFormatString, bmPINBlockString (no length
    field, the block's size), bmPINLengthFormat."""
    return bytes([seconds, seconds, _ASCII_LEFT, block.size, 0])


def _entry(block: Block, able: Abilities, messages: int) -> tuple[int, int, int, int]:
    """wPINMaxExtraDigit, bEntryValidationCondition, bNumberMessage, wLangId."""
    by_key = not able.validation or able.validation & _KEY
    shown = _READER_DEFAULT if able.lines is None else messages if able.lines else 0
    return block.digits << 8 | block.digits, _KEY if by_key else _MAXIMUM, shown, _LANGUAGES[language()]
