# SPDX-License-Identifier: Apache-2.0
"""`cpxd allow`: which web sites may ask for the card. A running service obeys at once."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.api import origins
from cpxd.cli.common import raise_all, show_lines
from cpxd.errors import Exit, Usage
from cpxd.service.consent import Consents
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("dire quels sites web peuvent demander la carte", "say which web sites may ask for the card")
    parser = commands.add_parser("allow", parents=[common], help=text, description=text)
    parser.add_argument(
        "origin", nargs="?", metavar=tr("ORIGINE", "ORIGIN"), help=tr("par exemple https://dmp.fr", "such as https://dmp.fr")
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--remove",
        action="store_true",
        help=tr("ne plus l'autoriser, et oublier les accords donnés", "allow it no more, and forget the consents given"),
    )
    what.add_argument("--list", action="store_true", help=tr("les sites autorisés", "the sites that are allowed"))
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.list == (options.origin is not None):
        raise Usage(detail=tr("une origine, ou --list", "an origin, or --list"))
    if options.list:
        admin = tr("administrateur", "administrator")
        show_lines([*origins.by_person(), *(f"{origin}  ({admin})" for origin in origins.by_administrator())])
        raise_all(origins.faults())
    elif options.remove:
        Consents().forget(options.origin)
        if not origins.remove(options.origin):
            raise Usage(detail=tr(f"« {options.origin} » n'est pas dans votre liste", f"“{options.origin}” is not in your list"))
    else:
        origins.add(options.origin)
    return Exit.DONE
