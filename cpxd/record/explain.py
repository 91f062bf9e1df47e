# SPDX-License-Identifier: Apache-2.0
"""Where each value of a record comes from, how certain its decoding is, and which table gave its label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from cpxd.record.model import CardRecord, Coded, Identifier

_TABLES = {
    "card.category": "G01",
    "card.kind": "G02",
    "holder.title": "G03",
    "holder.identifier": "G08",
    "profession": "G15",
    "future_profession": "G16",
    "specialty": "R01",
    "pharmacist_table": "G05",
    "responsibility_level": "G04",
    "practice_mode": "G17",
    "activity_sector": "R02",
    "organization_identifier": "G07",
}


@dataclass(frozen=True)
class Explained:
    path: str  # "holder.family_name", "situations.3.practice_mode"
    value: str | None
    origin: str  # "certificate", a file, or the label of a data object
    certainty: str
    table: str | None  # that gave the label


def explain(record: CardRecord) -> tuple[Explained, ...]:
    """One line a value, in the order of the card, the holder, the situations."""
    return tuple(
        Explained(path, _words(_at(record, path)), source.origin, source.certainty, _table(path))
        for path, source in record.sources.items()
    )


def to_json(record: CardRecord) -> dict[str, Any]:
    """A document apart from that of `cpxd card --json`, whose keys it does not touch."""
    found = explain(record)
    return {
        "sources": {
            item.path: {"value": item.value, "origin": item.origin, "certainty": item.certainty, "table": item.table}
            for item in found
        }
    }


def _table(path: str) -> str | None:
    return _TABLES.get(path) or (_TABLES.get(path.rpartition(".")[2]) if path.startswith("situations.") else None)


def _at(record: CardRecord, path: str) -> object:
    first, *rest = path.split(".")
    found: object = record
    if first == "situations":
        found = next((s for s in record.situations or () if str(s.number) == rest[0]), None)
        rest = rest[1:]
    else:
        rest = [first, *rest]
    for name in rest:
        found = getattr(found, "number" if name == "situation_number" else name, None)
    return found


def _words(value: object) -> str | None:
    if isinstance(value, Coded):
        return f"{value.code} {value.label}" if value.label else value.code
    if isinstance(value, Identifier):
        return value.type + value.number
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None else str(value)
