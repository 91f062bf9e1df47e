# SPDX-License-Identifier: Apache-2.0
"""The two languages of the product, side by side.

A text is written once, as the pair (French, English), where it is used: a missing translation cannot be written. French is
what is shown unless the person's locale, or `--lang`, says English.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

Language = Literal["fr", "en"]


class Text(NamedTuple):
    """A sentence in both languages; `str.format` fields are filled by whoever shows it."""

    fr: str
    en: str

    def __str__(self) -> str:
        return self.en if language() == "en" else self.fr


def tries(count: int) -> Text:
    """ "1 essai", "3 essais"."""
    return Text("1 essai" if count == 1 else f"{count} essais", "1 try" if count == 1 else f"{count} tries")


_chosen: list[Language] = []


def choose_language(code: Language | None) -> None:
    """Fix the language for this process; None returns to the locale's."""
    _chosen[:] = [code] if code else []


def language() -> Language:
    """The language in force: the chosen one, else the locale's (POSIX order), else French."""
    if _chosen:
        return _chosen[0]
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "en" if value.lower().startswith("en") else "fr"
    return "fr"


class Said(str):
    """The one of two texts that was chosen; an answer that speaks both languages wants the pair."""

    __slots__ = ("pair",)
    pair: Text

    def __new__(cls, pair: Text) -> Said:
        made = super().__new__(cls, str(pair))
        made.pair = pair
        return made


def tr(fr: str, en: str) -> str:
    """The one of the two texts that the person reads."""
    return Said(Text(fr, en))


def printable(value: object) -> str:
    """`value` as one line that a terminal may show: no control character, no lone surrogate, blanks folded."""
    return visible(" ".join(str(value).split()))


def visible(text: str) -> str:
    """As `printable`, blanks left as they are."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
