# SPDX-License-Identifier: Apache-2.0
"""`cpxd verify FILE`: who signed it, when, and what that is worth."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpxd import config
from cpxd.cli.common import add_json, show_json
from cpxd.errors import Exit
from cpxd.text import Text, printable, tr

if TYPE_CHECKING:  # slow to import
    from cpxd.signature.report import Report, Verdict

_EXITS: dict[Verdict, Exit] = {
    "valid": Exit.DONE,
    "indeterminate": Exit.INDETERMINATE,
    "invalid": Exit.VERIFICATION_FAILED,
}
_WORDS: dict[Verdict, Text] = {
    "valid": Text("VALABLE", "VALID"),
    "indeterminate": Text("INDÉTERMINÉE", "INDETERMINATE"),
    "invalid": Text("REFUSÉE", "REFUSED"),
}
_STATES = {
    "good": Text("non révoqué", "not revoked"),
    "revoked": Text("révoqué", "revoked"),
    "unknown": Text("inconnu", "unknown"),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("vérifier une signature, quel que soit son format", "verify a signature of any format")
    parser = commands.add_parser("verify", parents=[common], help=text, description=text)
    parser.add_argument("file", metavar=tr("FICHIER", "FILE"), type=Path)
    parser.add_argument(
        "--content",
        type=Path,
        metavar="F",
        help=tr("le document d'une signature détachée", "the document of a detached signature"),
    )
    parser.add_argument(
        "--trust",
        type=Path,
        action="append",
        default=[],
        metavar="AC",
        help=tr("autorités de confiance en plus (fichier ou dossier)", "more trusted authorities (file or folder)"),
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help=tr("ne rien demander au réseau", "ask the network nothing"),
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.service import verifying
    from cpxd.signature.report import worst

    reports = verifying.verify(
        options.file,
        config.load(),
        content=options.content,
        authorities=options.trust,
        offline=options.offline,
    )
    if options.json:
        show_json({"file": str(options.file), "signatures": [_json(report) for report in reports]})
    else:
        for report in reports:
            print("\n".join(_lines(report)))
    return _EXITS[worst(reports)]


def _lines(report: Report) -> list[str]:
    """One signature, for a person."""
    level = f"-B-{report.level}" if report.level else ""
    found = [f"{_WORDS[report.verdict]} : {report.format}{level}, {report.covers}"]
    found += [f"  ! {printable(reason)}" for reason in report.reasons]
    signer = report.signer
    if signer is not None:
        subject = signer.subject
        name = " ".join(part for part in (subject.given_name, subject.surname) if part) or subject.pseudonym or ""
        about = ", ".join(part for part in (name, report.profession, subject.common_name) if part)
        dates = f"{_day(signer.not_before)} – {_day(signer.not_after)}"
        found.append("  " + tr(f"Signataire : {printable(about)}", f"Signer: {printable(about)}"))
        found.append(
            "  "
            + tr(f"Certificat : {dates}, {_STATES[report.revocation]}", f"Certificate: {dates}, {_STATES[report.revocation]}")
        )
    if report.signing_time is not None:
        when = _minute(report.signing_time)
        found.append("  " + tr(f"Signé le : {when} (dit par le signataire)", f"Signed: {when} (the signer says so)"))
    if report.stamped_time is not None:
        found.append("  " + tr(f"Horodatage : {_minute(report.stamped_time)}", f"Time stamp: {_minute(report.stamped_time)}"))
    if report.chain:
        found.append("  " + tr("Autorités : ", "Authorities: ") + " < ".join(printable(name) for name in report.chain))
    return found


def _json(report: Report) -> dict[str, Any]:
    signer = report.signer
    return {
        "verdict": report.verdict,
        "format": report.format,
        "level": report.level or None,
        "reasons": [str(reason) for reason in report.reasons],
        "covers": str(report.covers),
        "signer": None
        if signer is None
        else {
            "subject": signer.subject.text,
            "identifier": signer.subject.common_name,
            "family_name": signer.subject.surname,
            "given_names": signer.subject.given_name,
            "profession": signer.profession,
            "profession_label": report.profession,
            "serial": signer.serial_hex,
            "valid_from": _moment(signer.not_before),
            "valid_until": _moment(signer.not_after),
        },
        "signing_time": _moment(report.signing_time),
        "stamped_time": _moment(report.stamped_time),
        "judged_at": _moment(report.at),
        "revocation": report.revocation,
        "revoked_since": _moment(report.revoked_since),
        "authorities": list(report.chain),
    }


def _day(value: datetime) -> str:
    return f"{value:%Y-%m-%d}"


def _minute(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} {value:%Z}"


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
