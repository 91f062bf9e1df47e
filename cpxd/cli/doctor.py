# SPDX-License-Identifier: Apache-2.0
"""`cpxd doctor`: what is wrong, the first cause first, and how to put it right."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json, show_lines
from cpxd.errors import CpxError, Exit, Usage
from cpxd.text import tr

if TYPE_CHECKING:
    from cpxd.doctor.engine import Examination
    from cpxd.doctor.visit import Visit


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("dire ce qui ne va pas, et comment y remédier", "say what is wrong, and how to put it right")
    epilog = tr(
        "Codes de retour : 0 tout va bien, 1 avertissement, 2 à vous d'agir, 3 à l'administrateur,"
        " 4 carte à remplacer, 5 inconnu.",
        "Exit codes: 0 all is well, 1 warning, 2 you can act, 3 the administrator, 4 replace the card, 5 unknown.",
    )
    parser = commands.add_parser("doctor", parents=[common], help=text, description=text, epilog=epilog)
    parser.add_argument("--list", action="store_true", help=tr("les contrôles et leurs codes", "the checks and their codes"))
    parser.add_argument("--all", action="store_true", help=tr("montrer aussi ce qui va bien", "show what is well too"))
    parser.add_argument(
        "--fix", action="store_true", help=tr("réparer ce qui est local et réversible", "repair what is local and can be undone")
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar=tr("FICHIER", "FILE"),
        help=tr("écrire un rapport sans donnée personnelle", "write a report without personal data"),
    )
    parser.add_argument(
        "--browser",
        action="store_true",
        help=tr("essais réels des navigateurs, plus longs", "real browser trials, which take longer"),
    )
    parser.add_argument(
        "--essai",
        "--trial",
        action="store_true",
        help=tr("avec le code : une opération par clé", "with the PIN: one operation a key"),
    )
    parser.add_argument(
        "--site",
        metavar=tr("ADRESSE", "ADDRESS"),
        help=tr("un téléservice (https://…) qui ne marche pas", "a teleservice (https://…) that does not work"),
    )
    add_reader(parser)
    add_json(parser)
    add_codes(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.doctor import report
    from cpxd.doctor.machine import Machine

    if options.list:
        show_lines(report.catalogue())
        return Exit.DONE
    if options.essai:
        return _trial(options)
    return run(options, Machine())


def run(options: argparse.Namespace, machine: Any) -> int:
    """Examine a machine and show what was found; the verdict."""
    from cpxd.doctor import report
    from cpxd.doctor.engine import examine
    from cpxd.doctor.visit import Options, Visit

    _check_site(options.site)
    whole = options.all or options.bundle is not None  # what is to be struck out must be known
    visit = Visit(machine, Options(options.reader, options.browser, whole, options.site))
    found = examine(visit)
    if options.fix:
        done = list(_repair(found))
        visit = Visit(machine, Options(options.reader, options.browser, whole, options.site))
        found = examine(visit)
        if not options.json:
            show_lines(done)
    if options.bundle is not None:
        _write_bundle(options.bundle, found, machine, visit)
    if options.json:
        show_json(report.as_json(found))
    else:
        show_lines(report.lines(found, everything=options.all, width=_width()))
    return int(found.verdict)


def _width() -> int | None:
    return max(40, shutil.get_terminal_size().columns - 1) if sys.stdout.isatty() else None


def _check_site(address: str | None) -> None:
    from cpxd.doctor import remote

    try:
        if address is not None:
            remote.target(address)
    except ValueError:
        wrong = tr(f"--site : « {address} » n'est pas une adresse https://…", f"--site: “{address}” is no https://… address")
        raise Usage(detail=wrong) from None


def _repair(found: Examination) -> Any:
    for finding in found.causes:
        if finding.fix is not None and finding.fix.automatic is not None:
            try:
                finding.fix.automatic()
            except OSError as error:
                yield tr(f"{finding.code} : réparation impossible ({error})", f"{finding.code}: cannot be repaired ({error})")
            else:
                yield tr(f"{finding.code} : réparé ({finding.fix.value})", f"{finding.code}: repaired ({finding.fix.value})")


def _write_bundle(path: Path, found: Examination, machine: Any, visit: Visit) -> None:
    from cpxd.doctor import report
    from cpxd.files import check_output, write_new

    target = check_output(Path("/"), path)
    write_new(target, report.bundle(found, machine, _secrets(visit)))


def _secrets(visit: Visit) -> set[str]:
    """What the card says of a person and of itself."""
    try:
        record = visit.card().record
    except CpxError:
        return set()
    holder, card = record.holder, record.card
    words = [holder.family_name, holder.given_names, holder.professional_name, holder.pseudonym, card.number, card.serial]
    words += [holder.identifier.number if holder.identifier else None]
    words += [certificate.serial_hex for certificate in record.certificates]
    return {word for word in words if word}


def _trial(options: argparse.Namespace) -> int:
    from cpxd.doctor import trial

    with open_card(options) as card:
        results = trial.run(card, consent(options))
    if options.json:
        show_json([{"operation": r.operation, "done": r.done, "code": r.code, "title": str(r.words)} for r in results])
    else:
        show_lines(f"{'✓' if r.done else '✗'} {r.words}" for r in results)
    return Exit.DONE if all(r.done for r in results) else int(trial.FAILED)
