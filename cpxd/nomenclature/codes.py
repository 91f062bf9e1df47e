# SPDX-License-Identifier: Apache-2.0
"""The code tables of `data/` (their sources: data/SOURCES.md), each read on first use.

A code the tables do not know is None, never an error: ANS adds codes every month and cards outlive the tables. A table that
the person has put over a shipped one (see `refresh`) stands in its place; one that cannot be read is as if it were not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cpxd import config

if TYPE_CHECKING:
    from cpxd.nomenclature.refresh import NewTable

_DATA = Path(__file__).parent / "data"
_DELTA = "tre/DELTA-2023-2026.csv"
_ADELI = "ass/ASS_X01-TranscoSavFaireADELI-SavFaireR01.csv"
# R01 is a provisional union: its own rows first, then what only its parts have.
_UNIONS = {"R01": ("R38", "R39", "R40", "R42", "R43", "R44", "R45", "R46")}
_HEXADECIMAL = {"G01"}  # tables whose codes are the hexadecimal digits of a byte on the card
_ANY_CONVENTION = "*"
_LONGEST_SHORT_LABEL = 60  # beyond it the source has put a remark there
_TYPED = str.maketrans({"œ": "oe", "æ": "ae", "’": "'"})  # as people type them; the tables have the right-hand side


Row = dict[str, str]  # the columns of a table's file; dates ISO 8601 or ""


class UnknownTable(KeyError):
    """No table has this name."""


class Entry(NamedTuple):
    """One code. (A named tuple, like Table: a dataclass would take half the import time of this module.)"""

    table: str  # the table that holds the code: R38 for a code of R01 that only R38 has
    code: str
    label: str
    short_label: str | None
    oid: str | None
    valid_from: date | None
    valid_to: date | None  # first day on which the code is no longer given out
    closed: bool  # on the day of the question
    convention: str | None = None  # G102 only: the code of G101 it stands under, "*" for all


class Table(NamedTuple):
    name: str
    title: str
    oid: str | None
    version: str  # date, YYYYMMDD
    official: str = ""  # the name ANS gives it: "TRE_G15_ProfessionSante"; "" for the tables that only the cards have
    refreshed: bool = False  # the person put it over the shipped one


def tables() -> dict[str, Table]:
    """All tables, by name ("G15", "R02"…)."""
    return dict(_index()[0])


def lookup(table: str, code: str | int, at: date | None = None, *, convention: str | int | None = None) -> Entry | None:
    """The entry of `code`, closed or not; None when the table has no such code. Raises UnknownTable.

    `at` (default: today) is the day for which `closed` is told. An integer is the code's decimal value, or, for G01, the
    byte on the card (0x80 is "80"). Leading zeros may be missing, or one too many, when only one code has that value.
    G102 depends on G101: give the convention; without it the answer is None unless all conventions agree on the label.
    """
    known = _code(table, code)
    if known is None:
        return None
    rows = _rows(table)[known]
    if table == "G102":
        return _of_convention(rows, None if convention is None else str(convention).strip(), at)
    return _entry(rows[0], at)


def entries(table: str, at: date | None = None) -> Iterator[Entry]:
    """Every entry of a table, in the order of its source. Raises UnknownTable."""
    return (_entry(row, at) for rows in _rows(table).values() for row in rows)


def search(table: str, text: str, at: date | None = None) -> list[Entry]:
    """Entries whose code or labels hold `text`, whatever its case and accents. Raises UnknownTable."""
    wanted = _folded(text.strip())
    return [e for e in entries(table, at) if any(wanted in _folded(s or "") for s in (e.code, e.label, e.short_label))]


def conventions(code: str | int, at: date | None = None) -> tuple[Entry, ...]:
    """The entries of one code of G102, one a convention."""
    known = _code("G102", code)
    return () if known is None else tuple(_entry(row, at) for row in _rows("G102")[known])


def natures(specialty: str | int, at: date | None = None) -> dict[str, Entry]:
    """The savoir-faire (R01) that an ADELI speciality (G12) became, by nature of qualification (G11)."""
    wanted = _code("G12", specialty) or str(specialty)
    found = ((nature, lookup("R01", code, at)) for (one, nature), code in _adeli().items() if one == wanted)
    return {nature: entry for nature, entry in found if entry is not None}


def state(table: str) -> tuple[dict[str, Row], str | None, str]:
    """What a newer version of a table is compared with: its own rows in force by code, its OID, its version (YYYYMMDD).

    Nothing for a table that is not known yet.
    """
    described = _index()[0].get(table)
    if described is None:
        return {}, None, ""
    changed = [row[key].replace("-", "") for row in _delta().get(table, ()) for key in ("valid_from", "valid_to")]
    own = {code: rows[0] for code, rows in _rows(table).items() if rows[0]["table"] == table}
    return own, described.oid, described.version if described.refreshed else max([described.version, *changed])


def forget() -> None:
    """Read the tables anew at the next question: the person has changed theirs."""
    for cached in (_index, _delta, _rows, _by_value, _adeli):
        cached.cache_clear()


def adeli_to_r01(specialty: str | int, nature: str | int, at: date | None = None) -> Entry | None:
    """The savoir-faire (R01) that an ADELI speciality (G12) with its nature of qualification (G11) became; None if none."""
    # The association is newer than G12 and has codes that it lacks.
    code = _adeli().get((_code("G12", specialty) or str(specialty), _code("G11", nature) or str(nature)))
    return None if code is None else lookup("R01", code, at)


def _read(file: str, skip: int = 0) -> list[list[str]]:
    import csv

    with (_DATA / file).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream, delimiter=";"))[skip:]


def _records(file: str) -> list[Row]:
    header, *rows = _read(file)
    return [dict(zip(header, row, strict=True)) for row in rows]


def folder() -> Path:
    """Where the person's tables lie."""
    base = os.environ.get("XDG_DATA_HOME", "")
    home = Path(base) if base.startswith("/") else config.home() / ".local/share"
    return home / "cpxd" / "nomenclature"


def _own() -> Mapping[str, NewTable]:
    """The person's tables, by name."""
    if not os.path.isdir(folder()):  # nor when it may not be looked at
        return {}
    from cpxd.nomenclature.refresh import installed

    return installed()


@cache
def _index() -> tuple[dict[str, Table], dict[str, str]]:
    """Tables by name, and their files."""
    found: dict[str, Table] = {}
    files: dict[str, str] = {}
    for folder in ("tre", "dico"):
        for row in _records(f"{folder}/INDEX.csv"):
            name = row["file"].removeprefix("TRE_").removesuffix(".csv").split("_")[0]
            official = row["name"] if folder == "tre" else ""
            found[name] = Table(name, row["description"], row["oid"] or None, row["version"][:8], official)
            files[name] = f"{folder}/{row['file']}"
    for name, table in _own().items():
        known = found.get(name)
        title = known.title if known else table.title
        found[name] = Table(name, title, table.oid or (known.oid if known else None), table.version, table.official, True)
        files.setdefault(name, "")
    return found, files


@cache
def _delta() -> dict[str, list[Row]]:
    changes: dict[str, list[Row]] = {}
    for row in _records(_DELTA):
        changes.setdefault(row["table"], []).append(row)
    return changes


@cache
def _rows(table: str) -> dict[str, tuple[Row, ...]]:
    """Rows by code: one, or in G102 one for each convention. `table` of each row is the table that holds it."""
    files = _index()[1]
    if table not in files:
        raise UnknownTable(table)
    own = _own().get(table)
    rows: dict[str, tuple[Row, ...]] = {}
    for row in own.rows if own else _records(files[table]):
        rows[row["code"]] = (*rows.get(row["code"], ()), {**row, "table": table})
    for change in () if own else _delta().get(table, ()):
        before = rows[change["code"]][0] if change["code"] in rows else {}
        # A closed code keeps its short label, which the change does not repeat.
        rows[change["code"]] = ({**before, **{key: value for key, value in change.items() if value}},)
    for part in _UNIONS.get(table, ()):
        rows.update((code, row) for code, row in _rows(part).items() if code not in rows)
    return rows


@cache
def _by_value(table: str) -> dict[int, str]:
    """Codes made of digits by their value, where no other code of the table has the same."""
    codes: dict[int, list[str]] = {}
    for code in _rows(table):
        value = _value(code)
        if value is not None:
            codes.setdefault(value, []).append(code)
    return {value: found[0] for value, found in codes.items() if len(found) == 1}


@cache
def _adeli() -> dict[tuple[str, str], str]:
    return {(specialty, nature): code for specialty, nature, code in _read(_ADELI, skip=3)}


def _code(table: str, code: str | int) -> str | None:
    """The code as the table writes it, if it has it."""
    wanted = f"{code:02X}" if isinstance(code, int) and table in _HEXADECIMAL else str(code).strip()
    if wanted in _rows(table):
        return wanted
    value = _value(wanted)
    found = None if value is None else _by_value(table).get(value)
    # One zero too many at most: "000000" may be three codes, run together by a card.
    return found if found is not None and len(wanted) <= len(found) + 1 else None


def _value(code: str) -> int | None:
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 8 else None


def _of_convention(rows: tuple[Row, ...], convention: str | None, at: date | None) -> Entry | None:
    if convention is not None:
        wanted = (convention, _ANY_CONVENTION)
        return next((_entry(row, at) for row in rows if row["convention_code"] in wanted), None)
    return _entry(rows[0], at) if len({row["label"] for row in rows}) == 1 else None


def _entry(row: Row, at: date | None) -> Entry:
    valid_to = _date(row.get("valid_to"))
    short = row.get("short_label") or None
    return Entry(
        table=row["table"],
        code=row["code"],
        label=row["label"],
        short_label=short if short is not None and len(short) <= _LONGEST_SHORT_LABEL else None,
        oid=row["oid"] or None,
        valid_from=_date(row.get("valid_from")),
        valid_to=valid_to,
        closed=valid_to is not None and valid_to <= (at or date.today()),
        convention=row.get("convention_code"),
    )


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _folded(text: str) -> str:
    import unicodedata

    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_TYPED))
    return "".join(char for char in decomposed if not unicodedata.combining(char))
