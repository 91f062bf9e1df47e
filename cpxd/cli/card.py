# SPDX-License-Identifier: Apache-2.0
"""`cpxd card`: whose card it is; with the PIN, where the holder practises."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cpxd.cli.common import add_json, add_pin, read_identity, show_json, show_lines
from cpxd.errors import Exit
from cpxd.record.model import CardRecord
from cpxd.text import printable, tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "lire l'identité, la validité et, avec le code, les situations",
        "read identity, validity and, with the PIN, the situations",
    )
    parser = commands.add_parser("card", parents=[common], help=text, description=text)
    add_pin(parser)
    parser.add_argument(
        "--explain",
        action="store_true",
        help=tr("d'où vient chaque valeur, et avec quelle certitude", "where each value comes from, and how certain it is"),
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.cli import card_text
    from cpxd.service import identity

    found = read_identity(options, whole=options.json or options.explain)
    if options.explain:
        _explain(found.record, options.json)
    elif options.json:
        show_json(identity.as_json(found))
        for remark in card_text.remarks(found):
            sys.stderr.write(f"cpxd{tr(' : ', ': ')}{remark}\n")
    else:
        show_lines(card_text.lines(found))
    return Exit.DONE


def _explain(record: CardRecord, as_json: bool) -> None:
    from cpxd.record import explain

    if as_json:
        show_json(explain.to_json(record))
        return
    for item in explain.explain(record):
        table = f", table {item.table}" if item.table else ""
        if item.key_ok is False:
            table += tr(", CLÉ FAUSSE", ", WRONG KEY")
        print(f"{item.path:<38}{printable(item.value or '-')} [{item.origin}, {item.certainty}{table}]")
