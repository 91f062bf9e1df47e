# SPDX-License-Identifier: Apache-2.0
"""`cpxd usages`: what the guide of the CPAM says the holder may do with this card."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from cpxd.cli.common import add_json, add_pin, read_identity, show_json, show_lines
from cpxd.errors import Exit
from cpxd.text import Text, tr
from cpxd.usages import DATE, SERVICES, SOURCE, Usage
from cpxd.usages.holder import Match

_WORDS = {
    "yes": Text("oui", "yes"),
    "no": Text("non", "no"),
    "conditional": Text("sous condition", "conditional"),
    "unknown": Text("inconnu", "unknown"),
    "not_mentioned": Text("pas dans le guide", "not in the guide"),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "ce que le guide de l'Assurance Maladie dit des usages de cette carte",
        "what the health insurance's guide says of the uses of this card",
    )
    parser = commands.add_parser("usages", parents=[common], help=text, description=text)
    add_pin(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.service import usages

    identity = read_identity(options, whole=False)
    found = usages.of_record(identity.record)
    if options.json:
        show_json(usages.as_json(found, identity.reader))
    else:
        show_lines(lines(found))
    return Exit.DONE


def lines(found: tuple[Match, ...]) -> list[str]:
    """The screen of `cpxd usages`."""
    body = [line for match in found for line in _sheet(match)]
    if not found:
        body = [tr("Le guide n'a pas de fiche pour cette carte.", "The guide has no sheet for this card."), ""]
    lost = any(usage.value == "unknown" for match in found for usage in match.usages)
    explained = tr(
        "inconnu : la marque du guide est perdue ; ce n'est ni un oui ni un non.",
        "unknown: the mark of the guide is lost; neither a yes nor a no.",
    )
    source = tr(f"Source : {SOURCE} ({DATE}).", f"Source: {SOURCE} ({DATE}).")
    right = tr("Chaque service décide lui-même des droits.", "Each service decides of the rights itself.")
    return [*body, *([explained] if lost else []), f"{source} {right}"]


def _sheet(match: Match) -> Iterator[str]:
    title = f"{match.sheet.holder} ({match.sheet.card})"
    if match.situations:
        many = "s" if len(match.situations) > 1 else ""
        title += f" – situation{many} {', '.join(map(str, match.situations))}"
    yield title
    if match.doubt is not None:
        yield tr(f"  fiche possible : {match.doubt}", f"  possible sheet: {match.doubt}")
    for usage in match.usages:
        yield f"  {SERVICES[usage.service]!s:<40}{_value(usage)}"
    said = match.ecps
    if said is not None and said.available == "yes":
        rights = ", ".join(f"{SERVICES[usage.service]} {_value(usage)}" for usage in said.usages)
        yield tr(f"  Avec la e-CPS (et non la carte) : {rights}", f"  With the e-CPS (not the card): {rights}")
    yield ""


def _value(usage: Usage) -> str:
    word = str(_WORDS[usage.value])
    return f"{word} ({usage.note})" if usage.note else word
