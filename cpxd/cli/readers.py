# SPDX-License-Identifier: Apache-2.0
"""`cpxd readers`: which readers are there and what is in them. No card is touched, but to tell whether one that is seen without
contact is also in another reader."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpxd import config
from cpxd.card.registry import Kind
from cpxd.cli.common import add_json, show_json
from cpxd.errors import Exit, NoReader
from cpxd.service.desk import Place, places
from cpxd.service.seating import Seated, both_sides, remarks, seated, slot_words
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("lister les lecteurs et les cartes", "list readers and cards")
    parser = commands.add_parser("readers", parents=[common], help=text, description=text)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    found, settings = places(), config.load()
    pairs = both_sides(found, settings)
    if options.json:
        show_json([_json(here, pairs) for here in seated(found)])
    elif not found:
        raise NoReader()
    else:
        print("\n".join(_line(here) for here in seated(found)))
        for remark in (*remarks(found, settings), *_one_card(found, pairs)):
            print(f"!  {remark}")
    return Exit.DONE if found else Exit.NO_READER


def _state(place: Place) -> str:
    if not place.state.present:
        return "busy" if place.hidden else "empty"
    if place.state.mute:
        return "mute"
    return "card" if place.usable else "unsupported"


def _line(here: Seated) -> str:
    known, slot = here.seat.known, str(slot_words(here.seat))
    about = ", ".join(part for part in (known.model if known else "", slot) if part)
    return f"{here.place.state.name}{f' [{about}]' if about else ''} : {_words(here.place)}"


def _one_card(found: Sequence[Place], pairs: Mapping[str, str]) -> Iterator[str]:
    for name in (place.state.name for place in found if place.contactless and place.state.name in pairs):
        yield tr(
            f"La même carte est dans « {pairs[name]} », et lue sans contact par « {name} ».",
            f"The same card is in “{pairs[name]}”, and read without contact by “{name}”.",
        )


def _json(here: Seated, pairs: Mapping[str, str]) -> dict[str, object]:
    place, seat = here.place, here.seat
    return {
        "reader": place.state.name,
        "state": _state(place),
        "atr": place.state.atr.hex().upper() or None,
        "card": place.kind.value if place.kind else None,
        "in_use": place.state.in_use,
        "terminal": seat.terminal,
        "model": seat.known.model if seat.known else None,
        "slot": seat.number,
        "slots": seat.count,
        "same_card": pairs.get(place.state.name),
    }


def _words(place: Place) -> str:
    kind = place.kind
    if kind is Kind.VITALE and not place.state.mute:
        return tr("carte Vitale, à laquelle rien n'est envoyé", "Vitale card, to which nothing is sent")
    if kind is Kind.CPS2TER and not place.state.mute:
        return tr(
            "carte CPS2ter : elle n'est plus prise en charge, demandez une nouvelle carte",
            "CPS2ter card: it is no longer supported, ask for a new card",
        )
    return {
        "empty": tr("vide", "empty"),
        "busy": tr("occupé par un autre logiciel", "held by another program"),
        "mute": tr("carte muette (mal insérée ?)", "mute card (upside down?)"),
        "card": tr("carte CPx", "CPx card") + (f" ({kind.value})" if kind and kind is not Kind.UNKNOWN_VERSION else ""),
        "unsupported": tr("carte non prise en charge", "unsupported card") + (f" ({kind.value})" if kind else ""),
    }[_state(place)]
