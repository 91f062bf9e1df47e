# SPDX-License-Identifier: Apache-2.0
"""What a code means, whoever said it: ours, PKCS#11, a card's status word, PC/SC, NSS, SESAM-Vitale (data/codes.psv)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpxd import errors
from cpxd.text import Text

_FILE = Path(__file__).parent / "data" / "codes.psv"
_GALSS = re.compile(r"(?:GALSS[-_ ]*(?:0X)?(?=[08])|(?:0X)?(?=8))([0-9A-F]{4})")
_FIELD = re.compile(r"\{\w+\}")
FAMILIES = {
    "CPX": Text("cpxd", "cpxd"),
    "CKR": Text("PKCS#11", "PKCS#11"),
    "SW": Text("réponse de la carte", "answer of the card"),
    "PCSC": Text("PC/SC", "PC/SC"),
    "NSS": Text("Firefox, Chromium (NSS)", "Firefox, Chromium (NSS)"),
    "SSV": Text("SESAM-Vitale", "SESAM-Vitale"),
    "GALSS": Text("GALSS", "GALSS"),
}


@dataclass(frozen=True)
class Explanation:
    family: str
    code: str
    name: str
    meaning: Text
    do: Text


@functools.cache
def table() -> tuple[Explanation, ...]:
    rows = (line.split("|") for line in _FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    known = [Explanation(r[0], r[1], r[2], Text(r[3], r[4]), Text(r[5], r[6])) for r in rows]
    listed = {row.code for row in known}
    return (*(e for e in _ours() if e.code not in listed), *known)


def _ours() -> Iterator[Explanation]:
    """The typed errors: their sentence is what they mean, and says what to do."""
    kinds = [errors.CpxError]
    seen: set[str] = set()
    while kinds:
        kind = kinds.pop(0)
        kinds += kind.__subclasses__()
        if kind is errors.CpxError or kind.code in seen:
            continue
        seen.add(kind.code)
        (fr, fr_do), (en, en_do) = _parts(kind.what.fr), _parts(kind.what.en)
        yield Explanation("CPX", kind.code, "", Text(fr, en), Text(fr_do or "cpxd doctor", en_do or "cpxd doctor"))


def _parts(sentence: str) -> tuple[str, str]:
    """First sentence, and the rest."""
    plain = _FIELD.sub("…", sentence)
    first, point, rest = plain.partition(". ")
    return (first + ".", rest) if point else (plain, "")


def explain(asked: str) -> list[Explanation]:
    """All that a code may mean; a bare number can belong to several families. Empty: not known."""
    word = " ".join(asked.upper().split()).removeprefix("SW ").removeprefix("SW=")
    if not word:
        return []
    if match := re.fullmatch(r"CPX[- _]?(\d{3})", word):
        word = f"CPX-{match[1]}"
    found = [e for e in table() if word in (e.code.upper(), e.name.upper())]
    return found or [e for e in table() if _same(e, word)] or list(_galss(word))


def _same(row: Explanation, word: str) -> bool:
    digits = word.removeprefix("0X").replace(" ", "")
    if not re.fullmatch(r"[0-9A-F]{1,8}", digits):
        return False
    if row.family in ("CKR", "PCSC"):
        return (word.startswith("0X") or len(digits) == 8) and int(row.code, 16) == int(digits, 16)
    if row.family == "SW":
        return re.fullmatch(row.code.replace("x", "[0-9A-F]"), digits) is not None
    return row.family == "SSV" and digits == row.code


def _galss(word: str) -> Iterator[Explanation]:
    if match := _GALSS.fullmatch(word):
        yield Explanation(
            "GALSS",
            match[1],
            "",
            Text(
                "Erreur du GALSS : le terminal ou sa liaison. cpxd ne connaît pas le détail de ce numéro.",
                "Error of GALSS: the terminal or its link. cpxd does not know the details of this number.",
            ),
            Text(
                "Rebranchez le terminal, relancez GALSS, vérifiez galss.ini ; mieux : passez au mode PC/SC.",
                "Connect the terminal again, restart GALSS, check galss.ini; better: switch to PC/SC mode.",
            ),
        )
