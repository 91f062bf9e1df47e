# SPDX-License-Identifier: Apache-2.0
"""Whom to ask for a card or for codes: dated data with its source (data/contacts.toml)."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cpxd.doctor.model import Fix
from cpxd.text import Text

Need = Literal["new_card", "unblock_code"]
_FILE = Path(__file__).parent / "data" / "contacts.toml"
ECPS = Text("En attendant, l'e-CPS (application mobile) marche.", "Meanwhile the e-CPS (mobile app) works.")


@dataclass(frozen=True)
class Contact:
    need: str
    kinds: tuple[str, ...]
    practice: str  # liberal, employee, liberal_employee, anonymous, any
    words: Text
    source: str
    date: str


@functools.cache
def contacts() -> tuple[Contact, ...]:
    table = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Contact(c["need"], tuple(c["kinds"]), c["practice"], Text(c["fr"], c["en"]), c["source"], c["date"])
        for c in table["contact"]
    )


def advise(need: Need, kind: str | None, *, anonymous: bool) -> Text:
    """The contacts for a card of this kind, one after the other; an unknown kind is answered as a CPS."""
    found = [c for c in contacts() if c.need == need and (kind or "CPS") in c.kinds]
    if need == "new_card":
        found = [c for c in found if (c.practice == "anonymous") == anonymous] or found
    return Text(" ; ".join(c.words.fr for c in found), "; ".join(c.words.en for c in found))


def new_card(kind: str | None, *, anonymous: bool) -> Fix:
    """Order another card; meanwhile the e-CPS, which every card that names its holder can open."""
    who = advise("new_card", kind, anonymous=anonymous)
    later = Text("", "") if anonymous else Text(f". {ECPS.fr}", f". {ECPS.en}")
    return Fix("phone", Text(f"Nouvelle carte : {who.fr}{later.fr}", f"New card: {who.en}{later.en}"))
