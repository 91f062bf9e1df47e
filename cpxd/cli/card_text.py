# SPDX-License-Identifier: Apache-2.0
"""A card for a person to read: who, what, where, until when, how many tries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from cpxd import errors
from cpxd.cli.pin import lines as code_lines
from cpxd.record.model import CardRecord, Coded, Identifier, Situation
from cpxd.service.identity import Identity
from cpxd.text import tr

WARN_DAYS = 30


def lines(identity: Identity) -> list[str]:
    """The screen of `cpxd card`."""
    record = identity.record
    return [
        *_card(record),
        *_holder(record),
        *_work(record),
        *(_situations(record) if identity.codes is not None else ()),
        *code_lines(identity.codes),
        *(f"!  {text}" for text in remarks(identity)),
    ]


def _row(name: str, value: str) -> str:
    return f"{name:<20}{value}"


def _card(record: CardRecord) -> Iterator[str]:
    card = record.card
    parts = [card.kind or "CPx", card.number or card.serial or "", f"({card.generation})" if card.generation else ""]
    if card.category == "test":
        parts.append(tr("– carte de TEST", "– TEST card"))
    yield _row(tr("Carte", "Card"), " ".join(part for part in parts if part))
    if card.valid_until is not None:
        yield _row(tr("Validité", "Valid"), validity(card.valid_from, card.valid_until, date.today()))


def validity(start: date | None, end: date, today: date) -> str:
    """The dates of the card, and what they mean today."""
    text = tr(f"jusqu'au {_day(end)}", f"until {_day(end)}")
    if start is not None and today < start:
        return text + tr(f" – PAS ENCORE VALIDE (du {_day(start)})", f" – NOT YET VALID (from {_day(start)})")
    left = (end - today).days
    if left < 0:
        return text + tr(" – EXPIRÉE : demandez une nouvelle carte", " – EXPIRED: ask for a new card")
    if left <= WARN_DAYS:
        soon = {0: tr("aujourd'hui", "today"), 1: tr("demain", "tomorrow")}.get(left)
        return text + tr(" – expire ", " – expires ") + (soon or tr(f"dans {left} jours", f"in {left} days"))
    return text


def _day(day: date) -> str:
    return day.strftime(tr("%d/%m/%Y", "%Y-%m-%d"))


def _holder(record: CardRecord) -> Iterator[str]:
    holder = record.holder
    names = [holder.title and (holder.title.label or holder.title.code), holder.given_names, holder.family_name]
    name = " ".join(part for part in names if part) or holder.pseudonym or tr("(carte anonyme)", "(anonymous card)")
    yield _row(tr("Titulaire", "Holder"), name)
    if holder.professional_name and holder.professional_name != holder.family_name:
        yield _row(tr("Nom d'exercice", "Professional name"), holder.professional_name)
    if holder.identifier is not None:
        yield _row(tr("Identifiant", "Identifier"), _identifier(holder.identifier))


def _identifier(identifier: Identifier) -> str:
    return f"{identifier.number} ({identifier.type_label or tr('type', 'type') + ' ' + identifier.type})"


def _work(record: CardRecord) -> Iterator[str]:
    if record.profession or record.future_profession:
        yield _row(tr("Profession", "Profession"), _coded(record.profession or record.future_profession))
    if record.specialty:
        yield _row(tr("Spécialité", "Specialty"), _coded(record.specialty))
    if record.pharmacist_table:
        yield _row(tr("Tableau", "Register section"), _coded(record.pharmacist_table))


def _coded(value: Coded | None) -> str:
    if value is None:
        return ""
    return f"{value.label} ({value.code})" if value.label else f"code {value.code}"


def _situations(record: CardRecord) -> Iterator[str]:
    name = tr("Situations", "Situations")
    if record.situations is None:
        yield _row(name, tr("lues avec le code porteur (--pin)", "read with the PIN (--pin)"))
    elif not record.situations:
        yield _row(name, tr("aucune", "none"))
    for place, situation in enumerate(record.situations or ()):
        yield _row(name if place == 0 else "", f"{situation.number:>2}. {_situation(situation)}")


def _situation(situation: Situation) -> str:
    organization = situation.organization_identifier
    parts = [
        situation.organization_name,
        organization and _identifier(organization),
        _coded(situation.activity_sector),
        _coded(situation.practice_mode),
    ]
    return " · ".join(part for part in parts if part) or tr("(contenu non décodé)", "(content not decoded)")


def remarks(identity: Identity) -> Iterator[str]:
    """What the person should know beside the record: contradictions, and what could not be read."""
    if identity.update_interrupted:
        yield errors.UpdateInterrupted().sentence()
    yield from (str(notice.text) for notice in identity.record.warnings)
    for name in identity.doors:
        yield tr(
            f"la même carte (même puce) est aussi lue sans contact dans « {name} »",
            f"the same card (same chip) is also read without contact in “{name}”",
        )
    for part in identity.unreadable:
        yield tr(f"partie illisible de la carte : {part}", f"unreadable part of the card: {part}")
