# SPDX-License-Identifier: Apache-2.0
"""`cpxd cache`: what is kept on disk of the cards that were read, and its end."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.errors import BadFile, Exit
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "ce qui est gardé des cartes lues (certificats chiffrés) ; « clear » l'efface",
        "what is kept of the cards that were read (certificates, encrypted); “clear” erases it",
    )
    parser = commands.add_parser("cache", parents=[common], help=text, description=text)
    parser.add_argument("action", metavar="show|clear", nargs="?", choices=("show", "clear"), default="show")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd import config
    from cpxd.card import kept
    from cpxd.files import reason

    try:
        if options.action == "clear":
            count = kept.clear()
            print(tr(f"Cartes oubliées : {count}.", f"Cards forgotten: {count}."))
            return Exit.DONE
        cards, size = kept.held()
    except OSError as error:
        raise BadFile(file=kept.folder(), reason=reason(error)) from None
    print(kept.folder())
    print(tr(f"Cartes : {cards}, {size} octets.", f"Cards: {cards}, {size} bytes."))
    if not config.load().card_cache:
        print(tr("Arrêté par le réglage [card] cache.", "Turned off by the setting [card] cache."))
    return Exit.DONE
