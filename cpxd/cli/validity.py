# SPDX-License-Identifier: Apache-2.0
"""`cpxd validity`: until when the card is good, and whether it is on opposition."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from cpxd import config
from cpxd.cli.card_text import validity as validity_line
from cpxd.cli.common import add_json, add_reader, open_card, show_json
from cpxd.errors import Exit
from cpxd.revocation import REASONS, Answer
from cpxd.service.validity import REPLACED_RULE, Validity
from cpxd.text import Text, printable, tr

_USAGES = {
    "signature": Text("signature", "signature"),
    "authentication": Text("authentification", "authentication"),
    "technical": Text("technique", "technical"),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("dates de la carte et opposition (liste de révocation)", "dates of the card and opposition (revocation list)")
    epilog = tr(
        "Codes de retour : 0 bonne jusqu'à une date, 50 en opposition ou hors de ses dates, 51 inconnu.",
        "Exit codes: 0 good until a date, 50 on opposition or outside its dates, 51 unknown.",
    )
    parser = commands.add_parser("validity", parents=[common], help=text, description=text, epilog=epilog)
    parser.add_argument(
        "--fetch", action="store_true", help=tr("télécharger les listes cette fois-ci", "fetch the lists this time")
    )
    parser.add_argument("--offline", action="store_true", help=tr("ne rien télécharger cette fois-ci", "fetch nothing this time"))
    add_reader(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.service import identity, validity

    settings = config.load()
    settings = replace(settings, revocation_fetch=(settings.revocation_fetch or options.fetch) and not options.offline)
    with open_card(options) as card:
        record = identity.read(card, private=False).record
    opposition = validity.Opposition(settings)
    opposition.refresh(item.der for item in record.certificates)
    opposition.wait(settings.revocation_wait)
    found = validity.of_card(record, opposition.answer)
    if options.json:
        show_json(validity.as_json(found, card.reader))
    else:
        print("\n".join(lines(found)))
    if found.answer.state == "revoked" or found.dates.state in ("expired", "not_yet_valid"):
        return Exit.VERIFICATION_FAILED
    return Exit.DONE if found.answer.state == "good" else Exit.INDETERMINATE


def lines(found: Validity) -> Iterator[str]:
    """The screen of `cpxd validity`."""
    if found.dates.valid_until is not None:
        dates = validity_line(found.dates.valid_from, found.dates.valid_until, date.today())
        yield f"{tr('Carte', 'Card'):<20}{dates}"
    yield f"{'Opposition':<20}{answer_line(found.answer)}"
    for item in found.certificates:
        name = str(_USAGES[item.certificate.usage]) if item.certificate.usage else "?"
        yield f"  {name:<18}{answer_line(item.answer)}"
    yield str(REPLACED_RULE)


def answer_line(answer: Answer) -> str:
    """One of the three answers."""
    if answer.state == "good":
        return tr(
            f"bonne jusqu'au {_moment(answer.until)} ({answer.source})", f"good until {_moment(answer.until)} ({answer.source})"
        )
    if answer.state == "revoked":
        reason = REASONS.get(answer.reason or "unspecified", answer.reason)
        since = _moment(answer.since)
        return tr(f"EN OPPOSITION depuis le {since} : {reason}", f"REVOKED since {since}: {reason}")
    return tr("inconnu : ", "unknown: ") + printable(answer.why)


def _moment(value: datetime | None) -> str:
    return "?" if value is None else value.astimezone(UTC).strftime(tr("%d/%m/%Y %H:%M UTC", "%Y-%m-%d %H:%M UTC"))
