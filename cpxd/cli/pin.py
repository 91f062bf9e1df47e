# SPDX-License-Identifier: Apache-2.0
"""`cpxd pin status|verify|change|unblock`."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.card.session import CodeStates
from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json
from cpxd.errors import Exit
from cpxd.service import codes
from cpxd.text import tr, tries


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    about = tr("code porteur : état, vérification, changement, déblocage", "PIN: state, check, change, unblock")
    parser = commands.add_parser("pin", parents=[common], help=about, description=about)
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    for name, run, text in (
        ("status", _status, tr("essais restants ; aucun n'est consommé", "tries left; none is spent")),
        ("verify", _verify, tr("vérifier le code porteur", "check the PIN")),
        ("change", _change, tr("remplacer le code porteur", "replace the PIN")),
        ("unblock", _unblock, tr("débloquer avec le code à 8 chiffres", "unblock with the code of 8 digits")),
    ):
        action = actions.add_parser(name, parents=[common], help=text, description=text)
        add_reader(action)
        add_json(action)
        if run is not _status:
            add_codes(action)
        action.set_defaults(run=run)


def _status(options: argparse.Namespace) -> int:
    with open_card(options) as card:
        states = codes.states(card)
    if options.json:
        show_json({"reader": card.reader, **json_states(states)})
    else:
        print("\n".join(lines(states)))
    return Exit.DONE


def _verify(options: argparse.Namespace) -> int:
    with open_card(options) as card:
        codes.verify(card, consent(options))
    return _done(options, card.reader, "verified", tr("Code porteur correct.", "The PIN is right."))


def _change(options: argparse.Namespace) -> int:
    with open_card(options) as card:
        codes.change(card, consent(options))
    return _done(options, card.reader, "changed", tr("Code porteur changé.", "The PIN is changed."))


def _unblock(options: argparse.Namespace) -> int:
    from cpxd.cli import unblock

    return unblock.run(options)


def _done(options: argparse.Namespace, reader: str, what: str, text: str) -> int:
    if options.json:
        show_json({"reader": reader, what: True})
    else:
        print(text)
    return Exit.DONE


def json_states(states: CodeStates) -> dict[str, dict[str, object]]:
    """The members `pin` and `unblock` of every JSON output (cpxd/schema/card.schema.json)."""
    return {
        "pin": {"tries_left": states.pin.tries_left, "blocked": states.pin.blocked},
        "unblock": {"tries_left": states.unblock.tries_left, "uses_left": states.unblock.uses_left},
    }


def lines(states: CodeStates | None) -> list[str]:
    """The state of both codes for a person. None: the card is seen without contact."""
    if states is None:
        return [
            tr(
                "Codes               aucun : carte lue sans contact ; pour le reste, insérez-la dans une fente",
                "Codes               none: the card is read without contact; for the rest, insert it into a slot",
            )
        ]
    return [_pin_line(states), _unblock_line(states)]


def _pin_line(states: CodeStates) -> str:
    state = states.pin
    if state.blocked and states.unblock.blocked:
        return tr(
            "Code porteur        bloqué définitivement : commandez une nouvelle carte",
            "PIN                 blocked for good: order a new card",
        )
    if state.blocked:
        return tr(
            "Code porteur        bloqué : cpxd pin unblock, avec le code de déblocage à 8 chiffres",
            "PIN                 blocked: cpxd pin unblock, with the unblock code of 8 digits",
        )
    return tr("Code porteur        ", "PIN                 ") + str(tries(state.tries_left))


def _unblock_line(states: CodeStates) -> str:
    name, state = tr("Code de déblocage   ", "Unblock code        "), states.unblock
    if state.blocked:
        later = tr(
            " : si le code porteur se bloque, il faudra une nouvelle carte", ": a new card will be needed if the PIN gets blocked"
        )
        return name + tr("bloqué", "blocked") + ("" if states.pin.blocked else later)
    left, plural = state.uses_left, "s" * (state.uses_left != 1)
    uses = "" if left is None else tr(f", {left} utilisation{plural}", f", {left} use{plural}")
    return name + str(tries(state.tries_left)) + uses
