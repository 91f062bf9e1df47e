# SPDX-License-Identifier: Apache-2.0
"""`cpxd logs`: the last events. They hold no name, identifier or code."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd import log
from cpxd.errors import Exit, Usage
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("afficher le journal (ni nom, ni code)", "show the log (no names, no codes)")
    parser = commands.add_parser("logs", parents=[common], help=text, description=text)
    parser.add_argument(
        "-n", "--lines", type=int, default=50, metavar="N", help=tr("nombre de lignes (50)", "number of lines (50)")
    )
    parser.add_argument("--path", action="store_true", help=tr("afficher où il se trouve", "show where it is"))
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.path:
        print(log.log_file())
        return Exit.DONE
    if options.lines < 1:
        raise Usage(detail=tr("-n : un nombre supérieur à zéro", "-n: a number above zero"))
    for line in log.tail(options.lines):
        print(line)
    return Exit.DONE
