# SPDX-License-Identifier: Apache-2.0
"""`cpxd fhir`: the holder and the practice as FHIR R4."""

from __future__ import annotations

import argparse
from typing import Any

from cpxd.cli.common import add_codes, add_reader, consent, open_card, show_json
from cpxd.errors import Exit
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "exporter le titulaire en FHIR R4 (Practitioner, PractitionerRole, Organization)",
        "export the holder as FHIR R4 (Practitioner, PractitionerRole, Organization)",
    )
    parser = commands.add_parser("fhir", parents=[common], help=text, description=text)
    parser.add_argument(
        "--pin",
        action="store_true",
        help=tr("demander le code porteur, pour lire les situations", "ask for the PIN, to read the situations"),
    )
    add_reader(parser)
    add_codes(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.record.fhir import to_fhir
    from cpxd.service import codes, identity

    with_pin = options.pin or options.pin_fd is not None
    with open_card(options) as card:
        if with_pin:
            codes.verify(card, consent(options))
        record = identity.read(card, private=with_pin).record
    show_json(to_fhir(record))
    return Exit.DONE
