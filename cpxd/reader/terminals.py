# SPDX-License-Identifier: Apache-2.0
"""What is publicly known of terminals and readers (data/readers/terminals.csv), and which slots are of one terminal.

pcsc-lite names a slot "NAME[ [INTERFACE]][ (SERIAL)] RR SS": RR the reader, SS its slot, two hexadecimal digits each. A reader
with two USB interfaces is two readers with one serial number: it is one terminal all the same.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cpxd.text import Text

_TABLE = Path(__file__).parents[1] / "data" / "readers" / "terminals.csv"
_NAME = re.compile(
    r"(?P<name>.+?)(?: \[(?P<interface>[^\]]*)\])?(?: \((?P<serial>[^)]+)\))? (?P<reader>[0-9A-F]{2}) (?P<slot>[0-9A-F]{2})"
)


@dataclass(frozen=True)
class Terminal:
    """A row of the table. `usb` ("vvvv:pppp") or `name` (what its PC/SC name begins with) is empty where it is not published.

    `kind`: "sesam-vitale" (a slot for the CPS, one for the Vitale card), "contact", "contactless", "dual"."""

    usb: str
    name: str
    model: str
    kind: str
    mode: str
    driver: str
    remedy: Text

    @property
    def in_ccid(self) -> bool:
        return self.driver == "libccid"


@dataclass(frozen=True)
class Seat:
    """Where in its terminal a slot is: `number` of `count`, from 1."""

    terminal: str  # the PC/SC names of its slots, without what tells them apart
    number: int
    count: int
    known: Terminal | None


@functools.cache
def table() -> tuple[Terminal, ...]:
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Terminal(usb, name, model, kind, mode, driver, Text(french, english))
            for usb, name, model, kind, mode, driver, french, english, _ in list(csv.reader(file))[1:]
        )


def by_usb(identifier: str) -> Terminal | None:
    return next((terminal for terminal in table() if terminal.usb == identifier), None)


def by_name(reader: str) -> Terminal | None:
    """The row whose name a PC/SC reader's begins with, the longest."""
    found = [row for row in table() if row.name and reader.casefold().startswith(row.name.casefold())]
    return max(found, key=lambda row: len(row.name), default=None)


def seats(readers: Iterable[str]) -> dict[str, Seat]:
    """By PC/SC name. A name that pcsc-lite would not give is a terminal of one slot."""
    terminals: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for reader in readers:
        terminal, place = _parts(reader)
        terminals.setdefault(terminal, []).append((place, reader))
    return {
        reader: Seat(" ".join(part for part in terminal if part), number, len(slots), by_name(reader))
        for terminal, slots in terminals.items()
        for number, (_, reader) in enumerate(sorted(slots), 1)
    }


def _parts(reader: str) -> tuple[tuple[str, str], str]:
    match = _NAME.fullmatch(reader)
    if match is None:
        return (reader, ""), ""
    # without a serial number, two interfaces cannot be told from two readers of a kind
    shared = match["interface"] is not None and match["serial"] is not None
    apart = f"({match['serial']})" if shared else reader[len(match["name"]) : -3].strip()
    return (match["name"], apart), f"{match['reader']}{match['slot']}"
