# SPDX-License-Identifier: Apache-2.0
"""The CPS2ter view of a CPS3: class A0, files selected step by step from the MF (docs/CARDS.md).

The official library shows these files beside those of the directories; the card keeps them behind the same PIN. A command of
class 00 is refused once class A0 has spoken, until the IAS application is selected again: it always is, on every way out.
"""

from __future__ import annotations

import re

from cpxd import errors
from cpxd.apdu import SW, Command
from cpxd.card.application import FILE_LIMIT, Application, FileMissing, NotAllowed, Path

_CLASS = 0xA0
_IAS = bytes.fromhex("8025000001FF0100")
_BILLING: Path = (0x7F01, 0x4000)
_FIRST_ACTIVITY = 0x4010
_LABEL = re.compile(r"CPS2TER_ACTIVITY_(0[1-9]|1[0-6])_PS")


def path_of(label: str) -> Path | None:
    """Where an object of this view is, from the MF; None for another label."""
    if label == "CPS_SIT_FACT":
        return _BILLING
    match = _LABEL.fullmatch(label)
    return (_FIRST_ACTIVITY + int(match[1]) - 1,) if match else None


def read(card: Application, path: Path) -> bytes:
    """A whole file. Raises FileMissing, NotAllowed, CardRefused, DamagedCard."""
    try:
        return _read(card, path)
    finally:
        card.forget_selection()
        card.send(Command(0x00, 0xA4, 0x04, 0x04, _IAS))


def _read(card: Application, path: Path) -> bytes:
    name = "A0 " + "".join(f"{fid:04X}" for fid in path)
    answer = b""
    for fid in (0x3F00, *path):
        answer = _send(card, Command(_CLASS, 0xA4, 0x00, 0x00, fid.to_bytes(2, "big")), name)
    if answer[:2] != b"\x85\x05" or len(answer) < 4:
        raise errors.DamagedCard(part=name)
    size = int.from_bytes(answer[2:4], "big")  # 85 05: size, identifier, kind
    if size > FILE_LIMIT:
        raise errors.DamagedCard(part=name)
    content = b""
    while len(content) < size:
        count = min(card.block, size - len(content))
        part = _send(card, Command(_CLASS, 0xB0, len(content) >> 8, len(content) & 0xFF, le=count), name)
        if not part:
            break
        content += part
    return content[:size]


def _send(card: Application, command: Command, name: str) -> bytes:
    answer = card.send(command)
    if answer.sw in (SW.CPS2TER_NOT_FOUND, SW.FILE_NOT_FOUND):
        raise FileMissing(name)
    if answer.sw in (SW.CPS2TER_WRONG_PIN, SW.CPS2TER_NO_PIN, SW.SECURITY_STATUS_NOT_SATISFIED):
        raise NotAllowed(name)
    if answer.sw != SW.OK:
        raise errors.CardRefused(operation=name, sw=answer.sw)
    return answer.data
