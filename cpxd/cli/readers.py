# SPDX-License-Identifier: Apache-2.0
"""`cpxd readers`: which readers are there and what is in them, without touching a card."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.card.registry import Kind
from cpxd.cli.common import add_json, show_json
from cpxd.errors import Exit, NoReader
from cpxd.service.desk import Place, places
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("lister les lecteurs et les cartes", "list readers and cards")
    parser = commands.add_parser("readers", parents=[common], help=text, description=text)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    found = places()
    if options.json:
        show_json([_json(place) for place in found])
    elif not found:
        raise NoReader()
    else:
        print("\n".join(f"{place.state.name} : {_words(place)}" for place in found))
    return Exit.DONE if found else Exit.NO_READER


def _state(place: Place) -> str:
    if not place.state.present:
        return "empty"
    if place.state.mute:
        return "mute"
    return "card" if place.usable else "unsupported"


def _json(place: Place) -> dict[str, object]:
    return {
        "reader": place.state.name,
        "state": _state(place),
        "atr": place.state.atr.hex().upper() or None,
        "card": place.kind.value if place.kind else None,
        "in_use": place.state.in_use,
    }


def _words(place: Place) -> str:
    kind = place.kind
    return {
        "empty": tr("vide", "empty"),
        "mute": tr("carte muette (mal insérée ?)", "mute card (upside down?)"),
        "card": tr("carte CPx", "CPx card") + (f" ({kind.value})" if kind and kind is not Kind.UNKNOWN_VERSION else ""),
        "unsupported": tr("carte non prise en charge", "unsupported card") + (f" ({kind.value})" if kind else ""),
    }[_state(place)]
