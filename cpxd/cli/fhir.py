# SPDX-License-Identifier: Apache-2.0
"""`cpxd fhir`: the holder and the practice as FHIR R4."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.cli.common import add_pin, read_identity, show_json
from cpxd.errors import Exit
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "exporter le titulaire en FHIR R4 (Practitioner, PractitionerRole, Organization)",
        "export the holder as FHIR R4 (Practitioner, PractitionerRole, Organization)",
    )
    parser = commands.add_parser("fhir", parents=[common], help=text, description=text)
    add_pin(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.record.fhir import to_fhir

    show_json(to_fhir(read_identity(options, whole=False, languages=True).record))
    return Exit.DONE
