# SPDX-License-Identifier: Apache-2.0
"""`cpxd trace FILE -- COMMAND…`: run a command of cpxd and write what was said to the card, without codes and personal data."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from cpxd.cli.common import add_reader
from cpxd.errors import Usage
from cpxd.files import check_output, write_new
from cpxd.text import tr

_TRACED = ("card", "pin", "sign", "validity", "unblock", "fhir", "usages")
_USUAL = ["card"]


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "écrire ce qui est dit à la carte, sans code ni donnée personnelle, pour le support",
        "write what is said to the card, without codes and personal data, for support",
    )
    parser = commands.add_parser("trace", parents=[common], help=text, description=text)
    name = tr("FICHIER", "FILE")
    parser.add_argument("--out", type=Path, metavar=name, help=tr("où écrire la trace", "where to write the trace"))
    parser.add_argument(
        "words",
        nargs="*",
        metavar=tr("FICHIER -- COMMANDE", "FILE -- COMMAND"),
        help=tr(
            "le fichier, puis une commande de cpxd (sans elle : card)", "the file, then a command of cpxd (without it: card)"
        ),
    )
    add_reader(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.doctor.tracing import Recorder
    from cpxd.service import desk

    words = list(options.words)
    if options.out is None and not words:
        raise Usage(detail=tr("il manque le fichier de la trace", "the file of the trace is missing"))
    target = check_output(Path("/"), options.out or Path(words.pop(0)))
    inner = _parsed(words or _USUAL)
    if getattr(inner, "reader", None) is None:
        inner.reader = options.reader
    place = desk.choose(inner.reader)
    recorder = Recorder(place.kind.value if place.kind else "?", place.state.atr)
    inner.observer = recorder
    try:
        return int(inner.run(inner))
    finally:
        write_new(target, recorder.content())


def _parsed(words: list[str]) -> argparse.Namespace:
    from cpxd.cli import parser
    from cpxd.version import __version__

    asked = next((word for word in words if word in _TRACED), None)
    if asked is None:
        raise Usage(detail=tr(f"commandes possibles : {', '.join(_TRACED)}", f"possible commands: {', '.join(_TRACED)}"))
    return parser.build([importlib.import_module(f"cpxd.cli.{asked}").add], __version__).parse_args(words)
