# SPDX-License-Identifier: Apache-2.0
"""The arguments of cpx-sim, in the person's language."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from simulator import kitarguments, replay
from simulator.errors import UsageError
from simulator.psc import arguments as psc_arguments

_language: list[str] = ["fr"]
_FRENCH = {
    "usage: ": "utilisation : ",
    "positional arguments": "arguments ",
    "options": "options ",
    "show this help message and exit": "afficher cette aide",
    "the following arguments are required: %s": "il manque : %s",
    "one of the arguments %s is required": "il faut l'un de : %s",
    "unrecognized arguments: %s": "arguments inconnus : %s",
    "invalid choice: %(value)r (choose from %(choices)s)": "« %(value)s » n'est pas possible (au choix : %(choices)s)",
    "expected one argument": "il manque une valeur",
    "argument %(argument_name)s: %(message)s": "%(argument_name)s : %(message)s",
    "not allowed with argument %s": "incompatible avec %s",
}


def tr(french: str, english: str) -> str:
    return english if _language[0] == "en" else french


def translate(message: str) -> str:
    return message if _language[0] == "en" else _FRENCH.get(message, message)


def cut(words: list[str]) -> tuple[list[str], list[str] | None]:
    """Ours, and those behind the first `--`, which belong to the command (None: no `--`)."""
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def choose_language(words: Sequence[str]) -> None:
    """`--lang` wherever it stands, else the locale's (POSIX order), else French."""
    _language[0] = _find_language(words)


def _find_language(words: Sequence[str]) -> str:
    for position, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("--lang=") else ""
        if word == "--lang" and position + 1 < len(words):
            value = words[position + 1]
        if value in ("fr", "en"):
            return value
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name, ""):
            return "en" if value.lower().startswith("en") else "fr"
    return "fr"


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        vars(argparse)["_"] = translate  # argparse asks gettext for each of its words; the words are few
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (aide : {self.prog} --help)", f"{message} (help: {self.prog} --help)")


class _Version(argparse.Action):
    """Late: importlib.metadata costs more than all the rest."""

    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("cpxd")
        except PackageNotFoundError:
            number = "?"
        print(f"cpx-sim {number}")
        sys.exit(0)


def parser() -> argparse.ArgumentParser:
    """Parsed options have `name`, the command, and that command's own. Errors are UsageError."""
    language = _Parser(add_help=False)
    language.add_argument(
        "--lang", choices=("fr", "en"), default=argparse.SUPPRESS, help=tr("langue des messages", "language of the messages")
    )
    top = _Parser(
        prog="cpx-sim",
        parents=[language],
        description=tr(
            "Cartes de professionnel de santé virtuelles, pour tout logiciel PC/SC.",
            "Virtual cards of French health professionals, for any PC/SC software.",
        ),
    )
    top.add_argument("--version", action=_Version, nargs=0, help="version")
    names = top.add_subparsers(metavar=tr("COMMANDE", "COMMAND"), required=True, dest="name", parser_class=_Parser)
    _personas_arguments(
        names.add_parser("personas", parents=[language], help=tr("les porteurs disponibles", "the holders there are"))
    )
    _run_arguments(
        names.add_parser("run", parents=[language], help=tr("mettre une carte dans un lecteur", "put a card into a reader"))
    )
    _lab_arguments(
        names.add_parser(
            "lab",
            parents=[language],
            usage="cpx-sim lab [options] -- " + tr("COMMANDE...", "COMMAND..."),
            help=tr("lancer une commande devant un pcscd privé", "run a command before a private pcscd"),
        )
    )
    pki = names.add_parser(
        "pki", parents=[language], help=tr("écrire les autorités et CRL de test", "write the test authorities and CRLs")
    )
    pki.add_argument("folder", metavar=tr("DOSSIER", "DIR"), type=Path)
    psc = names.add_parser(
        "psc",
        parents=[language],
        help=tr("un Pro Santé Connect d'essai, sur cette machine", "a Pro Santé Connect to test with, on this machine"),
    )
    psc_arguments.add(psc, _language[0] == "en")
    make = names.add_parser(
        "make", parents=[language], help=tr("vérifier un persona et fabriquer sa carte", "check a persona and make its card")
    )
    kitarguments.make(make, english=_language[0] == "en")
    serve = names.add_parser(
        "serve",
        parents=[language],
        help=tr("un lab piloté par une socket, pour des tests", "a lab driven over a socket, for tests"),
    )
    kitarguments.serve(serve, english=_language[0] == "en")
    again = names.add_parser(
        "replay",
        parents=[language],
        help=tr(
            "rejouer une trace de « cpxd trace » sur une carte virtuelle", "replay a trace of “cpxd trace” on a virtual card"
        ),
    )
    replay.add(again, english=_language[0] == "en")
    return top


def _personas_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON")
    parser.add_argument("--all", action="store_true", help=tr("et tout le catalogue", "and the whole catalogue"))


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trace", metavar="FILE", type=Path, help=tr("journal des APDU, codes compris", "APDU log, PINs included")
    )
    parser.add_argument(
        "--timing", choices=("none", "real"), default="none", help=tr("durées d'une vraie carte", "delays of a real card")
    )


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("persona", metavar="PERSONA")
    parser.add_argument("--model", choices=("cps3", "cps4", "cps3cl"), default="cps3", help=tr("défaut : cps3", "default: cps3"))
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--slot", metavar="SOCKET", help=tr("fente du pilote cpx-sim", "slot of the cpx-sim driver"))
    where.add_argument("--vpcd", metavar="HOST:PORT", type=_address, help=tr("lecteur vpcd", "vpcd reader"))
    parser.add_argument("--state", metavar="FILE", type=Path, help=tr("ce que la carte retient", "what the card remembers"))
    parser.add_argument("--fault", metavar="SPEC", help=tr("pannes (voir docs/LAB.md)", "faults (see docs/LAB.md)"))
    _card_arguments(parser)


def _lab_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--card",
        metavar="PERSONA[:MODEL]",
        action="append",
        default=[],
        help=tr("une carte, une par fente ; à répéter", "a card, one a slot; may be repeated"),
    )
    parser.add_argument(
        "--slots", metavar="N", type=_slots, help=tr("nombre de lecteurs, 1 à 16 (défaut 4)", "readers, 1 to 16 (default 4)")
    )
    parser.add_argument(
        "--vpcd", action="store_true", help=tr("par vpcd au lieu du pilote", "through vpcd instead of the driver")
    )
    parser.add_argument(
        "--galss",
        action="store_true",
        help=tr("dans un terminal SESAM-Vitale série, derrière GALSS", "in a serial SESAM-Vitale terminal, behind GALSS"),
    )
    parser.add_argument(
        "--usb",
        metavar=tr("NOM[*FENTES]", "NAME[*SLOTS]"),
        type=_terminal,
        action="append",
        default=[],
        help=tr("un terminal USB de ce nom ; à répéter", "a USB terminal of this name; may be repeated"),
    )
    parser.add_argument("--state", metavar="DIR", type=Path, help=tr("ce que les cartes retiennent", "what the cards remember"))
    parser.add_argument("--daemon", action="store_true", help=tr("lancer aussi « cpxd serve »", "run “cpxd serve” too"))
    parser.add_argument(
        "--dialog-pin",
        metavar="DIGITS",
        help=tr("ce que répond son dialogue de saisie (avec --daemon)", "what its PIN dialog answers (with --daemon)"),
    )
    parser.add_argument(
        "--api-port",
        metavar="N",
        type=_port,
        help=tr("port de son API https (défaut : un port libre)", "port of its https API (default: a free one)"),
    )
    parser.add_argument(
        "--api-consent",
        metavar="SECONDS",
        type=_seconds,
        help=tr("délai avant de pouvoir accepter une question", "time before one of its questions can be accepted"),
    )
    parser.add_argument("--pinpad", action="store_true", help=tr("lecteurs à clavier", "readers with a PIN pad"))
    parser.add_argument(
        "--pad-pin",
        metavar="DIGITS[,DIGITS...]",
        type=_keys,
        default=[],
        help=tr("ce qu'on y tape, saisie après saisie", "what is typed on it, entry by entry"),
    )
    parser.add_argument(
        "--fault",
        metavar="SLOT:SPEC",
        action="append",
        type=_slot_fault,
        default=[],
        help=tr("pannes d'une carte", "faults of a card"),
    )
    _card_arguments(parser)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1024 <= int(text[:6]) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(tr("un nombre de 1024 à 65535", "a number from 1024 to 65535"))


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if 0 < found <= 3600:
        return found
    raise argparse.ArgumentTypeError(tr("un nombre de secondes, jusqu'à 3600", "a number of seconds, up to 3600"))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text}: HOST:PORT")
    return host.strip("[]"), int(port)


def _slots(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 16:
        raise argparse.ArgumentTypeError(f"{text}: 1..16")
    return int(text)


def _terminal(text: str) -> tuple[str, int]:
    name, star, count = text.rpartition("*")
    if not star:
        return text, 1
    return name, _slots(count)


def _keys(text: str) -> list[str]:
    entries = text.split(",")
    if not all(entry.isascii() and entry.isdigit() for entry in entries):
        raise argparse.ArgumentTypeError(tr("des chiffres", "digits"))
    return entries


def _slot_fault(text: str) -> tuple[int, str]:
    slot, colon, spec = text.partition(":")
    if not colon or not slot.isascii() or not slot.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: SLOT:SPEC")
    return int(slot), spec
