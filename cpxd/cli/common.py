# SPDX-License-Identifier: Apache-2.0
"""Options and output that several commands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cpxd import config, errors
from cpxd.dialog.secrets import ON_PAD, Descriptor, Terminal
from cpxd.service import desk
from cpxd.service.codes import Consent
from cpxd.text import tr, visible

if TYPE_CHECKING:
    from cpxd.reader.pinpad import Ask
    from cpxd.service.identity import Identity

MOST_DESCRIPTORS = 1 << 20


def add_reader(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader",
        metavar=tr("LECTEUR", "READER"),
        help=tr("nom du lecteur, ou une partie que lui seul a", "name of the reader, or a part that only one has"),
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=tr("sortie JSON", "JSON output"))


def add_codes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pin-fd",
        type=int,
        metavar="N",
        help=tr(
            "lire les codes sur le descripteur N, un par ligne, au lieu du terminal",
            "read the codes from descriptor N, one a line, instead of the terminal",
        ),
    )
    parser.add_argument(
        "--last-try",
        action="store_true",
        help=tr("utiliser le dernier essai sans demander", "use the last try without asking"),
    )
    parser.add_argument(
        "--no-pinpad",
        action="store_true",
        help=tr("ne pas se servir du clavier du lecteur", "do not use the keypad of the reader"),
    )


def consent(options: argparse.Namespace) -> Consent:
    """Where the codes of this command come from."""
    number = options.pin_fd
    if number is None:
        return Consent(Terminal(), options.last_try, None if options.no_pinpad else announce)
    if not 0 <= number < MOST_DESCRIPTORS:
        raise errors.Usage(detail=tr(f"--pin-fd : {number} n'est pas un descripteur", f"--pin-fd: {number} is no descriptor"))
    if os.isatty(number):  # a person types there: without echo, and with a prompt
        return Consent(Terminal(os.ttyname(number)), options.last_try)
    return Consent(Descriptor(number), options.last_try)


def announce(ask: Ask) -> None:
    """Tell the person to type on the reader."""
    cancel = tr("Pour abandonner : touche d'annulation du lecteur.", "To give up: the cancel key of the reader.")
    sys.stderr.write(f"{ON_PAD[ask]} {cancel}\n")
    sys.stderr.flush()


def raise_all(found: Sequence[errors.CpxError]) -> None:
    """Says every one of them, a line each, and raises the last."""
    for error in found[:-1]:
        sys.stderr.write(f"cpxd{tr(' : ', ': ')}{error}\n")
    if found:
        raise found[-1]


def open_card(options: argparse.Namespace) -> desk.OpenCard:
    """The card that the options name, or the only one."""
    settings = config.load()
    place = desk.choose(options.reader)
    return desk.OpenCard(place.state.name, settings, getattr(options, "observer", None))  # cpxd trace watches


def add_pin(parser: argparse.ArgumentParser) -> None:
    """Options of a command that reads the situations too when it is given the PIN."""
    parser.add_argument(
        "--pin",
        action="store_true",
        help=tr("demander le code porteur, pour lire les situations", "ask for the PIN, to read the situations"),
    )
    add_reader(parser)
    add_codes(parser)


def read_identity(options: argparse.Namespace, *, whole: bool = True, languages: bool = False) -> Identity:
    """The holder of the card that the options name; with the PIN, the situations too. `whole`, `languages`: see identity.read."""
    from cpxd.service import codes, identity, seating

    with_pin = options.pin or options.pin_fd is not None
    with open_card(options) as card:
        if with_pin:
            codes.verify(card, consent(options))
        found = identity.read(card, private=with_pin, whole=whole, languages=languages)
        return replace(found, doors=tuple(seating.other_doors(card)))


def show_json(value: Any) -> None:
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    json.dump(value, sys.stdout, ensure_ascii=plain, indent=2)
    sys.stdout.write("\n")


def show_lines(lines: Iterable[str]) -> None:
    """Lines for a person. What a card says may hold anything: nothing of it steers the terminal."""
    for line in lines:
        print(visible(line))
