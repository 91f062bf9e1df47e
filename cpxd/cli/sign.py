# SPDX-License-Identifier: Apache-2.0
"""`cpxd sign FILE…`: signatures with the card, of every format; a detached CMS when nothing is said."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpxd import config, errors
from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json
from cpxd.errors import Exit
from cpxd.files import check_beside, check_output, write_new
from cpxd.service import codes, signing
from cpxd.service.desk import OpenCard
from cpxd.signature.options import KINDS, Options
from cpxd.text import printable, tr

if TYPE_CHECKING:
    from cpxd.signature.preview import Preview
    from cpxd.signature.vihf import Request


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("signer des fichiers (CMS détaché par défaut)", "sign files (detached CMS by default)")
    parser = commands.add_parser("sign", parents=[common], help=text, description=text)
    parser.add_argument("files", metavar=tr("FICHIER", "FILE"), type=Path, nargs="*")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar=tr("SORTIE", "OUTPUT"),
        help=tr("par défaut : à côté du fichier ; un dossier pour plusieurs", "default: beside the file; a folder for several"),
    )
    parser.add_argument(
        "--format", choices=tuple(KINDS), default="cms", help=tr("format de la signature", "format of the signature")
    )
    parser.add_argument(
        "--level",
        choices=("b", "t", "lt", "lta"),
        default="b",
        help=tr("b : simple ; t : horodatée ; lt, lta : durable", "b: plain; t: time-stamped; lt, lta: long-term"),
    )
    forms = parser.add_mutually_exclusive_group()
    for form, help_ in (
        ("detached", tr("signature à côté du document", "signature beside the document")),
        ("enveloping", tr("document dans la signature", "document inside the signature")),
        ("enveloped", tr("signature dans le document", "signature inside the document")),
    ):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=help_)
    parser.add_argument("--pss", action="store_true", help=tr("RSA-PSS (CPS4 seulement)", "RSA-PSS (CPS4 only)"))
    parser.add_argument(
        "--invisible", action="store_true", help=tr("PDF : ne rien montrer sur la page", "PDF: show nothing on the page")
    )
    parser.add_argument("--tsa", metavar="URL", help=tr("autorité d'horodatage", "time-stamping authority"))
    _add_vihf(parser)
    add_reader(parser)
    add_json(parser)
    add_codes(parser)
    parser.set_defaults(run=_run)


def _add_vihf(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(tr("VIHF ", "VIHF"))
    group.add_argument("--ins", help=tr("matricule INS du patient, clé comprise", "INS number of the patient, with its key"))
    group.add_argument(
        "--purpose", default="normal", choices=("normal", "bris_de_glace", "centre_15"), help=tr("motif", "purpose")
    )
    group.add_argument("--resource", default="urn:dmp", help=tr("service visé", "service meant"))
    group.add_argument(
        "--situation", type=int, metavar="N", help=tr("numéro de la situation d'exercice", "number of the practice situation")
    )


def _run(arguments: argparse.Namespace) -> int:
    settings = config.load()
    options = Options(
        arguments.format,
        arguments.level,
        arguments.form,
        arguments.pss,
        not arguments.invisible,
        arguments.tsa or settings.sign_tsa,
    )
    if options.format == "vihf":
        return _vihf(arguments, settings)
    if not arguments.files:
        raise errors.Usage(detail=tr("il manque : FICHIER", "the following arguments are required: FILE"))
    asks = arguments.pin_fd is None
    tasks = [_task(arguments, path, options, shown=asks) for path in arguments.files]
    targets = [task.target for task in tasks]
    if len(set(targets)) < len(targets):
        raise errors.Usage(detail=tr("deux résultats auraient le même nom", "two results would have the same name"))
    with open_card(arguments) as card:
        prepared = signing.prepare(card, options)
        if asks:
            _show(tasks)
        codes.verify(card, consent(arguments))
        progress = _progress if len(tasks) > 1 and sys.stderr.isatty() and not arguments.json else _silent
        outcomes = list(signing.sign_all(prepared, tasks, options, progress))
    return _told(arguments, card, outcomes)


def _task(arguments: argparse.Namespace, path: Path, options: Options, *, shown: bool) -> signing.Task:
    if arguments.output is None:
        check_beside(path)
    source = signing.read_source(path, options, shown=shown)
    output = arguments.output or Path(f"{_stem(path, options)}{options.suffix}")
    if arguments.output is not None and len(arguments.files) > 1:
        if not output.is_dir():
            raise errors.BadFile(
                file=output, reason=tr("un dossier est attendu pour plusieurs fichiers", "a folder is wanted for several files")
            )
        output = output / (_stem(path, options).name + options.suffix)
    return signing.Task(source, check_output(path, output), output)


def _stem(path: Path, options: Options) -> Path:
    """FILE.pdf → FILE before .signed.pdf; else the whole name, so that the verifier finds the document again."""
    last = "." + options.suffix.rpartition(".")[2]
    same = ".signed" in options.suffix and path.suffix.lower() == last and path.stem
    return path.with_name(path.stem) if same else path


def _show(tasks: list[signing.Task]) -> None:
    """What is about to be signed, before the PIN is asked: giving it is the consent."""
    from cpxd.signature import preview

    lines = [tr(f"{len(tasks)} document(s) à signer :", f"{len(tasks)} document(s) to sign:")]
    for task in tasks:
        if task.source.preview is not None:
            lines += preview.text(task.source.preview, printable(task.source.path))
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _silent(done: int, total: int) -> None:
    return None


def _progress(done: int, total: int) -> None:
    sys.stderr.write(f"\r{done}/{total}" + ("\n" if done == total else ""))
    sys.stderr.flush()


def _told(arguments: argparse.Namespace, card: OpenCard, outcomes: list[signing.Outcome]) -> int:
    first = next((o.error for o in outcomes if o.error is not None), None)
    if first is not None and len(outcomes) == 1:
        raise first
    if arguments.json:
        found = [_json(card, outcome) for outcome in outcomes]
        show_json(found[0] if len(found) == 1 else {"reader": card.reader, "documents": found})
    for outcome in outcomes:
        _say(outcome, quiet=arguments.json)
    return Exit.DONE if first is None else int(first.exit)


def _json(card: OpenCard, outcome: signing.Outcome) -> dict[str, Any]:
    source = outcome.task.source
    told = {
        "reader": card.reader,
        "file": str(source.path),
        "output": str(outcome.task.output),
        "sha256": source.hashed.digest.hex(),
    }
    return told if outcome.error is None else told | {"output": None, "error": str(outcome.error)}


def _say(outcome: signing.Outcome, *, quiet: bool) -> None:
    if outcome.error is not None:
        name = printable(outcome.task.source.path)
        sys.stderr.write(tr(f"Non signé : {name} : {outcome.error}", f"Not signed: {name}: {outcome.error}") + "\n")
    elif not quiet:
        name, size = printable(outcome.task.output), outcome.task.source.hashed.size
        octets = f"{size} octet{'s' * (size > 1)} signé{'s' * (size > 1)}"
        print(tr(f"Signé : {name} ({octets})", f"Signed: {name} ({size} byte{'s' * (size != 1)} signed)"))


# --- VIHF -----------------------------------------------------------------------------------------------------------


def _vihf(arguments: argparse.Namespace, settings: config.Settings) -> int:
    from cpxd.signature import vihf

    if arguments.files:
        raise errors.Usage(
            detail=tr("un VIHF est fait d'après la carte : pas de FICHIER", "a VIHF is made from the card: no FILE")
        )
    if arguments.ins is not None:
        vihf.checked_ins(arguments.ins)
    software = vihf.Software(settings.vihf_lps_name, settings.vihf_lps_version, settings.vihf_lps_id, settings.vihf_lps_approval)
    request = vihf.Request(
        arguments.ins, arguments.purpose, arguments.resource, arguments.situation, software, settings.vihf_version
    )
    output = arguments.output or Path("vihf.xml")
    target = check_output(Path("."), output)
    with open_card(arguments) as card:
        signed = _signed_vihf(arguments, card, request)
    write_new(target, signed)
    if arguments.json:
        show_json({"reader": card.reader, "output": str(output)})
    else:
        print(tr(f"Signé : {printable(output)}", f"Signed: {printable(output)}"))
    return Exit.DONE


def _signed_vihf(arguments: argparse.Namespace, card: OpenCard, request: Request) -> bytes:
    from cpxd.signature import preview

    def approve(seen: Preview) -> None:
        if arguments.pin_fd is not None:
            return
        sys.stderr.write("\n".join(preview.text(seen)) + "\n")
        sys.stderr.write(tr("Signer ? Tapez « oui » : ", "Sign? Type “yes”: "))
        sys.stderr.flush()
        if sys.stdin.readline().strip().casefold() not in ("oui", "yes"):
            raise errors.Refused()

    codes.verify(card, consent(arguments))
    return signing.sign_vihf(card, request, approve, pss=arguments.pss)
