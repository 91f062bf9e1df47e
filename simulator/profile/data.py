# SPDX-License-Identifier: Apache-2.0
"""What the data objects say of the card, its holder and the practice.

The official dictionary of tags is not public. In CPS_ACTIVITY the template EE and the tags 84, 85 and 86 are known from
programs that read real cards, as is that its sector, and the specialty in CPS_INFO_PS, come last. All other tags are ours:
invented-tags.json lists every one, INVENTED.md says so to people.
"""

from __future__ import annotations

from datetime import date

from ..personas import Persona
from ..personas.model import Billing, Situation
from ..personas.tables import CARD_ISSUER, CARD_TYPES, CATEGORIES
from .tlv import tlv


def _fields(template: int, *fields: tuple[int, str | int | None]) -> bytes:
    """A template of data objects: text in UTF-8, a number on one byte, nothing for None."""
    content = (
        tlv(tag, bytes([value]) if isinstance(value, int) else value.encode()) for tag, value in fields if value is not None
    )
    return tlv(template, *content)


def card(persona: Persona, today: date) -> bytes:
    """CPS_ID_CARD"""
    return _fields(
        0xE0,
        (0x80, CARD_ISSUER),
        (0x81, persona.card.number),
        (0x82, CATEGORIES[persona.category]),
        (0x83, f"{persona.card.valid_from(today):%Y%m%d}"),
        (0x84, f"{persona.card.valid_until(today):%Y%m%d}"),
        (0x85, CARD_TYPES[persona.kind]),
    )


def name(persona: Persona) -> bytes:
    """CPS_NAME_PS; an empty template on a card that names nobody"""
    holder = persona.holder
    return _fields(
        0xE1,
        (0x80, holder.title),
        (0x81, holder.family_name),
        (0x82, holder.given_names),
        (0x83, holder.professional_name),
    )


def languages(persona: Persona) -> bytes:
    """CPS_LANG_PS"""
    return _fields(0xE2, *((0x80, language) for language in persona.holder.languages))


def profession(persona: Persona) -> bytes:
    """CPS_INFO_PS. Readers in the field take the last four characters for the specialty: never pad this file."""
    holder = persona.holder
    return _fields(
        0xE3,
        (0x80, holder.identifier[0]),
        (0x81, holder.identifier),
        (0x82, holder.family_name),
        (0x83, holder.given_names),
        (0x84, holder.profession),
        (0x85, holder.future_profession),
        (0x86, holder.pharmacist_table),
        (0x87, holder.responsibility_level),
        (0x8F, holder.specialty),
    )


def situation(practice: Situation) -> bytes:
    """CPS_ACTIVITY_nn_PS. Readers in the field take the last four characters for the sector: never pad this file."""
    return _fields(
        0xEE,
        (0x80, practice.number),
        (0x81, practice.mode),
        (0x82, practice.status),
        (0x83, practice.pharmacist_table),
        (0x84, practice.organization_name),
        (0x85, practice.organization_identifier),
        (0x86, practice.sector),
    )


def billing(invoices: Billing) -> bytes:
    """CPS_SIT_FACT"""
    return _fields(
        0xEF,
        (0x80, invoices.identifier),
        (0x81, invoices.identifier[-1]),
        (0x82, invoices.convention),
        (0x83, invoices.specialty),
        (0x84, invoices.tariff_zone),
        (0x85, invoices.travel_zone),
        (0x86, "".join(invoices.approvals)),
        (0x87, "1" if invoices.may_sign_invoice else "0"),
        (0x88, "1" if invoices.may_sign_batch else "0"),
        (0x89, invoices.situation),
    )


def cps2ter(value: str | bytes) -> bytes:
    """CPS2TER_ATR, _ID, _ICC, _NAME, _LANG, _PSINFO, _DIRAMO: one value each"""
    return tlv(0xE8, tlv(0x80, value if isinstance(value, bytes) else value.encode()))
