# SPDX-License-Identifier: Apache-2.0
"""What a code means, whoever said it: ours, PKCS#11, a card's status word, PC/SC, browsers, SESAM-Vitale, GALSS (data/codes.psv).

Codes are taken as people have them before their eyes: a name without its prefix, a number in hexadecimal or decimal, with or
without 0x and spaces, `SW1=0x69, SW2=0x83`, or a whole message that was pasted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpxd import errors
from cpxd.text import Text

_FILE = Path(__file__).parent / "data" / "codes.psv"
_FIELD = re.compile(r"\{\w+\}")
_FAMILY = re.compile(r"(GALSS|SSV|NSS|CKR|SW|PCSC|TERMINAL)(?:[-_ =:]+|(?=0X))(.+)")
_TWO_BYTES = re.compile(r"(?:SW1 ?[=:] ?)?(?:0X)?([0-9A-F]{2})[ ,:/]+(?:SW2 ?[=:] ?)?(?:0X)?([0-9A-F]{2})")
_HEXADECIMAL = re.compile(r"(0X)?([0-9A-F]{1,8})")
_DECIMAL = re.compile(r"-?[0-9]{3,10}")
_WORD = re.compile(r"CPX-?\d{3}(?!\d)|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|0X[0-9A-F]{2,8}|(?<![0-9A-F])-?[0-9A-F]{4,8}(?![0-9A-Z])")
_PREFIXES = ("CKR_", "SCARD_", "SEC_ERROR_", "SSL_ERROR_", "ERR_")
_MOST = 200  # characters of what is asked
FAMILIES = {
    "CPX": Text("cpxd", "cpxd"),
    "CKR": Text("PKCS#11", "PKCS#11"),
    "SW": Text("réponse de la carte", "answer of the card"),
    "PCSC": Text("PC/SC", "PC/SC"),
    "NSS": Text("Firefox, Chromium (NSS)", "Firefox, Chromium (NSS)"),
    "NET": Text("Chromium", "Chromium"),
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

    @functools.cached_property
    def number(self) -> re.Pattern[str]:
        """Its code as eight hexadecimal digits, or as a negative number; see `_eight`."""
        return re.compile((self.code.removeprefix("0x") or "-").zfill(8).replace("x", "[0-9A-F]"))

    @functools.cached_property
    def named(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.name).replace(r"\*", "[A-Z0-9_]+"))

    @property
    def vague(self) -> int:
        """0: of this code alone; more: of as many digits as may be anything."""
        return 9 * self.name.count("*") + self.code.removeprefix("0x").count("x")


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
    word = " ".join(asked[:_MOST].upper().split())
    return _one(word) or list(dict.fromkeys(row for part in _WORD.findall(word) if part != word for row in _one(part)))


def _one(word: str) -> list[Explanation]:
    if match := re.fullmatch(r"CPX[- _]?(\d{3})", word):
        word = f"CPX-{match[1]}"
    if found := _plainest(
        row for row in table() if (row.code and row.code.upper() == word) or (row.name and row.named.fullmatch(word))
    ):
        return found
    if found := [row for row in table() if row.name in {prefix + word for prefix in _PREFIXES}]:
        return found
    if match := _FAMILY.fullmatch(word):
        family = "GALSS" if match[1] == "TERMINAL" else match[1]
        return _plainest(row for row in _numbered(match[2].removeprefix("TERMINAL "), family) if row.family == family)
    ours = [row for row in table() if row.code == f"CPX-{word}"]
    return ours + _plainest(_numbered(word, None))


def _numbered(word: str, family: str | None) -> Iterator[Explanation]:
    """`family`: the one that was named with it, if any: a number may then be short, or of no known code."""
    if match := _TWO_BYTES.fullmatch(word):
        word = match[1] + match[2]
    match = _HEXADECIMAL.fullmatch(word.replace(" ", ""))
    found = [row for row in table() if match and _means(row, bool(match[1]), match[2], family)]
    if all(row.vague for row in found) and _DECIMAL.fullmatch(word):
        value = int(word)
        digits = str(value).zfill(8) if -(1 << 15) < value < 0 else f"{value & 0xFFFFFFFF:08X}"
        found += [row for row in table() if row.number.fullmatch(digits) and (row.code != "xxxx" or family)]
    yield from found


def _means(row: Explanation, signed: bool, digits: str, family: str | None) -> bool:
    """Whether a number, written so in hexadecimal, may be this code. `signed`: with 0x."""
    length = {"CKR": 8, "PCSC": 8, "SW": 4, "SSV": 4, "GALSS": 4}.get(row.family)
    if length is None or (row.family == "GALSS" and row.vague and family is None and digits[0] != "8"):
        return False
    short = family == row.family or (row.family == "CKR" and (signed or (len(digits) == 2 and not digits.isdigit())))
    return (short or len(digits) == length) and row.number.fullmatch(digits.zfill(8)) is not None


def _plainest(rows: Iterator[Explanation]) -> list[Explanation]:
    """Those that leave the least open."""
    found = list(rows)
    least = min((row.vague for row in found), default=0)
    return [row for row in found if row.vague == least]
