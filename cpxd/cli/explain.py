# SPDX-License-Identifier: Apache-2.0
"""`cpxd explain CODE`: what a code means, whoever said it, and what to do."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.cli.common import add_json, show_json, show_lines
from cpxd.errors import Exit, Usage
from cpxd.text import printable, tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("dire ce que signifie un code, et que faire", "say what a code means, and what to do")
    epilog = tr(
        "Codes : CPX-107, CKR_PIN_LOCKED, 0xA4, 6983, 63C2, 0x80100069, SEC_ERROR_NO_TOKEN, F003, GALSS 8003, -12227…",
        "Codes: CPX-107, CKR_PIN_LOCKED, 0xA4, 6983, 63C2, 0x80100069, SEC_ERROR_NO_TOKEN, F003, GALSS 8003, -12227…",
    )
    parser = commands.add_parser("explain", parents=[common], help=text, description=text, epilog=epilog)
    parser.add_argument("code", nargs="+", metavar="CODE")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import cpxd.api.problems
    import cpxd.browsers.problems  # noqa: F401  # their errors are typed errors like the others
    from cpxd.doctor.explain import FAMILIES, explain

    asked = " ".join(options.code)
    found = explain(asked)
    if not found:
        name = printable(asked)[:60]
        raise Usage(detail=tr(f"code inconnu « {name} »", f"unknown code “{name}”"))
    if options.json:
        show_json(
            [
                {
                    "family": item.family,
                    "code": item.code,
                    "name": item.name or None,
                    "meaning": {"fr": item.meaning.fr, "en": item.meaning.en},
                    "do": {"fr": item.do.fr, "en": item.do.en},
                }
                for item in found
            ]
        )
        return Exit.DONE
    for item in found:
        title = printable(asked)[:60] if item.vague else " ".join(part for part in (item.name, item.code) if part)
        show_lines([f"{title} ({FAMILIES[item.family]})", f"  {item.meaning}", f"  → {item.do}"])
    return Exit.DONE
