# SPDX-License-Identifier: Apache-2.0
"""The record of a card as the JSON of `cpxd card --json`. Schema: cpxd/schema/card.schema.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cpxd.record.certificate import CardCertificate
from cpxd.record.model import CardRecord, Coded, Identifier, Situation
from cpxd.record.sdo import PinState

Json = dict[str, Any]


def to_json(record: CardRecord, *, reader: str | None, pin: PinState | None, unblock: PinState | None) -> Json:
    """Dates are ISO 8601: days for the card, seconds in UTC for certificates. What is unknown is None."""
    card, holder = record.card, record.holder
    return {
        "reader": reader,
        "card": {
            "kind": card.kind,
            "category": card.category,
            "generation": card.generation,
            "number": card.number,
            "serial": card.serial,
            "valid_from": None if card.valid_from is None else card.valid_from.isoformat(),
            "valid_until": None if card.valid_until is None else card.valid_until.isoformat(),
        },
        "holder": {
            "family_name": holder.family_name,
            "given_names": holder.given_names,
            "title": None if holder.title is None else holder.title.label or holder.title.code,
            "identifier": _identifier(holder.identifier),
        },
        "profession": _coded(record.profession or record.future_profession),
        "specialty": _coded(record.specialty),
        "situations": None if record.situations is None else [_situation(item) for item in record.situations],
        "certificates": [_certificate(item) for item in record.certificates],
        "pin": None if pin is None else {"tries_left": pin.tries_left, "blocked": pin.blocked},
        "unblock": None if unblock is None else {"tries_left": unblock.tries_left, "uses_left": unblock.uses_left},
    }


def _coded(value: Coded | None) -> Json | None:
    return None if value is None else {"code": value.code, "label": value.label}


def _identifier(value: Identifier | None) -> Json | None:
    return None if value is None else {"type": value.type, "number": value.number}


def _situation(item: Situation) -> Json:
    return {
        "number": item.number,
        "practice_mode": _coded(item.practice_mode),
        "practice_status": item.practice_status,
        "pharmacist_table": _coded(item.pharmacist_table),
        "activity_sector": _coded(item.activity_sector),
        "organization_name": item.organization_name,
        "organization_identifier": _identifier(item.organization_identifier),
        "raw": [{"tag": tag, "value": value.hex().upper()} for tag, value in item.raw],
    }


def _certificate(item: CardCertificate) -> Json:
    return {
        "usage": item.usage,
        "label": item.label,
        "subject": item.subject.text,
        "issuer": item.issuer.text,
        "serial": item.serial_hex,
        "valid_from": _moment(item.not_before),
        "valid_until": _moment(item.not_after),
        "profession": item.profession,
        "card_number": item.card_number,
    }


def _moment(value: datetime) -> str:
    return value.replace(tzinfo=None, microsecond=0).isoformat() + "Z"
