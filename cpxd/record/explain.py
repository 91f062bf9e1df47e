# SPDX-License-Identifier: Apache-2.0
"""Where each value of a record comes from, how certain its decoding is, which table gave its label, and what stays raw."""

from __future__ import annotations

from collections.abc import Iterator
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
_BILLING = {
    "convention": "G101",
    "specialty_am": "G100",
    "tariff_zone": "G102",
    "travel_zone": "G103",
    "approvals": "G104",
}
RAW = "raw"  # the certainty of what nobody decodes


@dataclass(frozen=True)
class Explained:
    path: str  # "holder.family_name", "situations.3.practice_mode"
    value: str | None
    origin: str  # "certificate", a file, or the label of a data object
    certainty: str
    table: str | None  # that gave the label
    key_ok: bool | None = None  # of an identifier: whether its check digit is right; None: it has none


def explain(record: CardRecord) -> tuple[Explained, ...]:
    """One line a value, in the order of the card, the holder, the situations, the billing data; raw values (hexadecimal) too."""
    return (*_decoded(record), *_raw(record), *_billing(record))


def _decoded(record: CardRecord) -> Iterator[Explained]:
    for path, source in record.sources.items():
        value = _at(record, path)
        key_ok = value.key_ok if isinstance(value, Identifier) else None
        yield Explained(path, _words(value), source.origin, source.certainty, _table(path), key_ok)


def _raw(record: CardRecord) -> Iterator[Explained]:
    for place in record.situations or ():
        origin = f"CPS_ACTIVITY_{place.number:02}_PS"
        for tag, value in place.raw:
            yield Explained(f"situations.{place.number}.raw.{tag or '-'}", value.hex().upper(), origin, RAW, None)


def _billing(record: CardRecord) -> Iterator[Explained]:
    found = record.billing
    if found is None:
        return
    for field in found.fields:
        value = Coded(field.code, field.label) if field.code else field.value
        yield Explained(f"billing.{field.name}", _words(value), found.label, field.certainty, _BILLING.get(field.name))
    raw = (("", found.raw),) if found.damaged else found.unknown
    for tag, content in raw:
        yield Explained(f"billing.raw.{tag or '-'}", content.hex().upper(), found.label, RAW, None)


def to_json(record: CardRecord) -> dict[str, Any]:
    """A document apart from that of `cpxd card --json`, whose keys it does not touch."""
    found = explain(record)
    return {
        "sources": {
            item.path: {
                "value": item.value,
                "origin": item.origin,
                "certainty": item.certainty,
                "table": item.table,
                "key_ok": item.key_ok,
            }
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
    if isinstance(value, bytes):
        return value.hex().upper()
    return None if value is None else str(value)
