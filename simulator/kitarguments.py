# SPDX-License-Identifier: Apache-2.0
"""The arguments of `cpx-sim make` and `cpx-sim serve`, apart from what they need to run."""

from __future__ import annotations

import argparse
from pathlib import Path


def make(parser: argparse.ArgumentParser, *, english: bool) -> None:
    parser.add_argument("persona", metavar="PERSONA.toml", type=Path)
    out = "where its card, certificates and lists are written" if english else "où écrire sa carte, ses certificats et les listes"
    parser.add_argument("--out", metavar="DIR", type=Path, help=out)
    parser.add_argument(
        "--model", choices=("cps3", "cps4"), action="append", help="cps3, cps4" + (" (both)" if english else " (les deux)")
    )
    parser.add_argument("--json", action="store_true", help="JSON")


def serve(parser: argparse.ArgumentParser, *, english: bool) -> None:
    card = "a card, one a slot; may be repeated" if english else "une carte, une par fente ; à répéter"
    parser.add_argument("--card", metavar="PERSONA[:MODEL]", action="append", default=[], help=card)
    parser.add_argument("--slots", metavar="N", type=int, choices=range(1, 17), default=4, help="1-16 (4)")
    where = "where to listen (default: in the lab)" if english else "où écouter (par défaut : dans le lab)"
    parser.add_argument("--socket", metavar="PATH", type=Path, help=where)
    parser.add_argument("--pinpad", action="store_true", help="readers with a PIN pad" if english else "lecteurs à clavier")
