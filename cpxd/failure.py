# SPDX-License-Identifier: Apache-2.0
"""What every typed error is made of. The errors themselves are in `errors.py`, which is what everybody imports."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import ClassVar

from cpxd.text import Text, printable


class Exit(IntEnum):
    """Exit codes of `cpxd` (stable)."""

    DONE = 0
    USAGE = 2
    NO_SERVICE = 10
    NO_READER = 11
    NO_CARD = 12
    UNSUPPORTED_CARD = 13
    CARD_LOST = 14
    WRONG_PIN = 20
    PIN_BLOCKED = 21
    LAST_TRY = 22
    WRONG_UNBLOCK_CODE = 23
    UNBLOCK_CODE_BLOCKED = 24
    REFUSED = 30
    BAD_INPUT = 40
    VERIFICATION_FAILED = 50
    INDETERMINATE = 51
    REMOTE = 60
    INTERNAL = 70


class Fault(Enum):
    """Who can do something about it."""

    PERSON = "person"
    CARD = "card"
    READER = "reader"
    WORKSTATION = "workstation"
    SOFTWARE = "software"


class CpxError(Exception):
    """Root of all typed errors. `retry` tells whether the same call may succeed without anybody changing anything."""

    code: ClassVar[str] = "CPX-199"
    exit: ClassVar[Exit] = Exit.INTERNAL
    fault: ClassVar[Fault] = Fault.SOFTWARE
    retry: ClassVar[bool] = False
    what: ClassVar[Text] = Text(
        "Erreur interne de cpxd ({detail}). Signalez-la avec « cpxd logs ».",
        "Internal error of cpxd ({detail}). Please report it with “cpxd logs”.",
    )

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__(self.code)

    def sentence(self) -> str:
        """One line in the person's language."""
        return printable(str(self.what).format_map(_Blank(self.details)))

    def __str__(self) -> str:
        return f"{self.code} {self.sentence()}"


class _Blank(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"
