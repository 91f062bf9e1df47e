# SPDX-License-Identifier: Apache-2.0
"""Dates of the card, opposition, authorities."""

from __future__ import annotations

from datetime import date

from cpxd.doctor import contacts
from cpxd.doctor.model import Check, Family, Findings, Fix, Verdict, command, error, gesture, ok, unknown, warning
from cpxd.doctor.visit import Visit
from cpxd.revocation import REASONS
from cpxd.text import Text

_NEEDS = ("pcsc", "reader", "scdaemon", "card", "read", "clock")
_NO_AUTHORITY = "no known authority issued this certificate"


def _new_card(visit: Visit) -> Fix:
    record = visit.card().record
    return contacts.new_card(record.card.kind, anonymous=record.holder.pseudonym is not None)


def _opposition(visit: Visit) -> Findings:
    answer = visit.validity().answer
    if answer.state == "revoked":
        reason = REASONS.get(answer.reason or "", REASONS["unspecified"])
        since = answer.since or visit.machine.now()
        yield error(
            "opposition",
            "CPX-111",
            Text(
                f"Carte en opposition depuis le {_fr(since.date())} ({reason.fr}).",
                f"The card has been revoked since {since:%Y-%m-%d} ({reason.en}).",
            ),
            Text(
                "N'utilisez plus cette carte : les téléservices la refusent.",
                "Do not use this card any more: services refuse it.",
            ),
            _new_card(visit),
            verdict=Verdict.REPLACE_CARD,
            source=answer.source,
        )
        return
    if answer.state == "good" and answer.until is not None:
        yield ok("opposition", "La carte n'est pas en opposition.", "The card is not revoked.", until=f"{answer.until:%Y-%m-%d}")
        return
    if visit.validity().dates.state in ("expired", "not_yet_valid"):
        return  # the dates say it
    if visit.settings_refused():
        return  # they may name the authority, and the folder of lists
    why = answer.why or Text("?", "?")
    if why.en == _NO_AUTHORITY:
        yield warning(
            "opposition",
            "CPX-211",
            Text("L'autorité qui a émis cette carte n'est pas connue.", "The authority that issued this card is not known."),
            Text(
                "Carte de test sans son autorité, ou carte contrefaite.", "A test card without its authority, or a forged card."
            ),
            gesture("Réglez [sign] trust (docs/SIGNATURES.md)", "Set [sign] trust (docs/SIGNATURES.md)"),
        )
        return
    yield warning(
        "opposition",
        "CPX-210",
        Text("On ne sait pas si la carte est en opposition.", "Whether the card is revoked is not known."),
        why,
        command("cpxd validity --fetch"),
    )


def _dates(visit: Visit) -> Findings:
    found = visit.validity().dates
    today = visit.machine.now().astimezone().date()
    start, end = found.valid_from, found.valid_until
    if end is None:
        yield unknown(
            "dates",
            "CPX-110",
            Text("La carte ne dit pas jusqu'à quand elle vaut.", "The card does not say until when it is valid."),
            Text("", ""),
        )
    elif found.state == "expired":
        yield error(
            "dates",
            "CPX-110",
            Text(f"Carte expirée depuis le {_fr(end)}.", f"The card expired on {end}."),
            Text(
                f"Il est le {_fr(today)} sur ce poste ; est-ce bien la date ?",
                f"It is {today} on this workstation; is that the date?",
            ),
            _new_card(visit),
            verdict=Verdict.REPLACE_CARD,
        )
    elif found.state == "not_yet_valid" and start is not None:
        yield error(
            "dates",
            "CPX-209",
            Text(f"La carte ne vaut qu'à partir du {_fr(start)}.", f"The card is valid from {start} only."),
            Text("L'horloge du poste est à l'heure.", "The clock of the workstation is right."),
            gesture("Utilisez l'ancienne carte jusque-là", "Use the old card until then"),
        )
    elif found.state == "expires_soon":
        yield warning(
            "dates",
            "CPX-109",
            Text(f"La carte expire le {_fr(end)} ({found.days_left} j).", f"The card expires on {end} ({found.days_left} d)."),
            Text(
                "La nouvelle arrive un mois avant, à l'adresse connue.", "The new one comes a month before, to the known address."
            ),
            gesture("Vérifiez l'adresse de réception de la nouvelle carte", "Check the address that the new card goes to"),
        )
    else:
        yield ok("dates", f"La carte vaut jusqu'au {_fr(end)}.", f"The card is valid until {end}.")


def _fr(day: date) -> str:
    return day.strftime("%d/%m/%Y")


FAMILY = Family(
    "validity",
    Text("Certificats", "Certificates"),
    (
        Check(
            "opposition", Text("Opposition (révocation)", "Revocation"), ("CPX-111", "CPX-210", "CPX-211"), _opposition, _NEEDS
        ),
        Check("dates", Text("Dates de validité", "Dates of validity"), ("CPX-109", "CPX-110", "CPX-209"), _dates, _NEEDS),
    ),
)
