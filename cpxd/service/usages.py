# SPDX-License-Identifier: Apache-2.0
"""What the guide of the CPAM says the holder of the inserted card may do with it."""

from __future__ import annotations

from typing import Any

from cpxd.record.model import CardRecord
from cpxd.usages import DATE, SOURCE, Usage
from cpxd.usages.holder import Match, matches

__all__ = ["as_json", "of_record"]


def of_record(record: CardRecord) -> tuple[Match, ...]:
    """The sheets of the guide about this holder; empty when it has none."""
    return matches(record)


def as_json(found: tuple[Match, ...], reader: str | None) -> dict[str, Any]:
    """As cpxd/schema/usages.schema.json says. `value`: yes, no, conditional, unknown (the mark is lost), not_mentioned."""
    return {
        "reader": reader,
        "source": SOURCE,
        "date": str(DATE),
        "sheets": [
            {
                "id": match.sheet.id,
                "holder": match.sheet.holder,
                "card": match.sheet.card,
                "register": match.sheet.register,
                "situations": list(match.situations),
                "applies": "certain" if match.certain else "possible",
                "doubt": None if match.doubt is None else str(match.doubt),
                "usages": [_usage(usage) for usage in match.usages],
                "ecps": _ecps(match),
            }
            for match in found
        ],
    }


def _ecps(match: Match) -> dict[str, Any] | None:
    said = match.ecps
    return None if said is None else {"available": said.available, "usages": [_usage(usage) for usage in said.usages]}


def _usage(usage: Usage) -> dict[str, Any]:
    return {"service": usage.service, "value": usage.value, "note": usage.note}
