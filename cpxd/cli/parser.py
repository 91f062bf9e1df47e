# SPDX-License-Identifier: Apache-2.0
"""argparse in the person's language, with `--lang` taken before anything is said."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cpxd.errors import Exit, Usage
from cpxd.text import Language, choose_language, language, tr

_FRENCH = {
    "usage: ": "utilisation : ",
    "options": "options ",
    "positional arguments": "arguments ",
    "show this help message and exit": "afficher cette aide",
    "the following arguments are required: %s": "il manque : %s",
    "unrecognized arguments: %s": "arguments inconnus : %s",
    "invalid choice: %(value)r (choose from %(choices)s)": "« %(value)s » n'est pas possible (au choix : %(choices)s)",
    "invalid %(type)s value: %(value)r": "valeur incorrecte : %(value)r",
    "expected one argument": "il manque une valeur",
    "argument %(argument_name)s: %(message)s": "%(argument_name)s : %(message)s",
    "not allowed with argument %s": "incompatible avec %s",
    "ambiguous option: %(option)s could match %(matches)s": "option ambiguë : %(option)s (%(matches)s)",
}


def _translate(message: str) -> str:
    return message if language() == "en" else _FRENCH.get(message, message)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are our own."""

    def __init__(self, **settings: Any) -> None:
        vars(argparse)["_"] = _translate  # argparse asks gettext for each of its words; the words are few
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Usage(detail=message)


def take_language(arguments: Sequence[str]) -> None:
    """Apply `--lang fr|en` wherever it stands, before the parser is made in that language."""
    languages: dict[str, Language] = {"fr": "fr", "en": "en"}
    for position, word in enumerate(arguments):
        value = word.partition("=")[2] if word.startswith("--lang=") else ""
        if word == "--lang" and position + 1 < len(arguments):
            value = arguments[position + 1]
        if value in languages:
            choose_language(languages[value])
        if word == "--":
            return


def build(commands: Sequence[Callable[[Any, argparse.ArgumentParser], None]], version: str) -> Parser:
    """The parser of `cpxd`; each of `commands` adds itself. Options common to all may stand before or after the command."""
    common = Parser(add_help=False)
    common.add_argument(
        "--lang",
        choices=("fr", "en"),
        default=argparse.SUPPRESS,
        help=tr("langue des messages (français par défaut)", "language of the messages (French by default)"),
    )
    parser = Parser(
        prog="cpxd",
        parents=[common],
        description=tr(
            "Lire, vérifier, débloquer une carte de professionnel de santé (CPS, CPF, CPE, CDE, CPA, CDA) et signer avec elle.",
            "Read, check and unblock a French health professional's card (CPS, CPF, CPE, CDE, CPA, CDA), and sign with it.",
        ),
        epilog=_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"cpxd {version}", help=tr("afficher la version", "show the version")
    )
    names = parser.add_subparsers(metavar=tr("COMMANDE", "COMMAND"), required=True, dest="command", parser_class=Parser)
    for add in commands:
        add(names, common)
    return parser


def _codes() -> str:
    words = {
        Exit.DONE: tr("fait", "done"),
        Exit.USAGE: tr("commande mal écrite", "usage"),
        Exit.NO_SERVICE: tr("pas de service PC/SC", "no PC/SC service"),
        Exit.NO_READER: tr("pas de lecteur", "no reader"),
        Exit.NO_CARD: tr("pas de carte", "no card"),
        Exit.UNSUPPORTED_CARD: tr("carte non prise en charge", "unsupported card"),
        Exit.CARD_LOST: tr("carte muette ou retirée", "card mute or removed"),
        Exit.WRONG_PIN: tr("code porteur faux", "wrong PIN"),
        Exit.PIN_BLOCKED: tr("code porteur bloqué", "PIN blocked"),
        Exit.LAST_TRY: tr("dernier essai non confirmé", "last try not confirmed"),
        Exit.WRONG_UNBLOCK_CODE: tr("code de déblocage faux", "wrong unblock code"),
        Exit.UNBLOCK_CODE_BLOCKED: tr("code de déblocage bloqué", "unblock code blocked"),
        Exit.REFUSED: tr("refusé par la personne", "refused by the person"),
        Exit.BAD_INPUT: tr("donnée incorrecte", "bad input"),
        Exit.VERIFICATION_FAILED: tr("vérification en échec", "verification failed"),
        Exit.INDETERMINATE: tr(
            "signature intacte, mais qu'on ne peut pas dire valable", "signature intact, but not known to be valid"
        ),
        Exit.REMOTE: tr("service distant injoignable", "remote service out of reach"),
        Exit.INTERNAL: tr("erreur interne", "internal error"),
    }
    lines = "\n".join(f"  {code.value:2}  {word}" for code, word in words.items())
    return tr("Codes de retour :", "Exit codes:") + "\n" + lines
