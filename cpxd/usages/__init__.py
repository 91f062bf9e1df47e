# SPDX-License-Identifier: Apache-2.0
"""What the guide of the CPAM says a card may be used for, by profession and kind of card (data/SOURCES.md). Pure.

The right itself is decided by each service, from its own matrix: this is what a person may expect, never a permission.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from cpxd.text import Text

__all__ = ["DATE", "SERVICES", "SOURCE", "Ecps", "Sheet", "Usage", "Value", "ecps", "sheets"]

Value = Literal["yes", "no", "conditional", "unknown", "not_mentioned"]

SOURCE = "Guide des cartes de professionnels de la santé, CPAM de la Vendée"
DATE = Text("sans date, 2022 ou début 2023", "undated, 2022 or early 2023")
SERVICES: dict[str, Text] = {
    "fse_preparer": Text("Préparer une feuille de soins (FSE)", "Prepare an electronic claim (FSE)"),
    "fse_signer": Text("Signer une FSE", "Sign an FSE"),
    "lots": Text("Mettre les FSE en lots", "Batch FSE"),
    "fse_teletransmettre": Text("Télétransmettre", "Transmit claims"),
    "amelipro": Text("amelipro", "amelipro"),
    "si_vac": Text("Vaccin Covid (SI-VAC)", "Covid vaccination (SI-VAC)"),
    "si_dep": Text("Dépistage (SI-DEP)", "Screening (SI-DEP)"),
    "mss": Text("Messagerie sécurisée (MSSanté)", "Secure mail (MSSanté)"),
    "dmp_alimenter": Text("Alimenter le DMP", "Write to the DMP"),
    "dmp_consulter": Text("Consulter le DMP", "Read the DMP"),
    "insi": Text("Identité nationale de santé (INSi)", "National health identity (INSi)"),
    "scor": Text("Pièces justificatives (SCOR)", "Supporting documents (SCOR)"),
    "adri": Text("Droits en ligne (ADRi)", "Patients' rights online (ADRi)"),
    "sefi": Text("Transports : SEFi", "Transport: SEFi"),
    "pec_plus": Text("Transports : PEC+", "Transport: PEC+"),
}
_DATA = Path(__file__).parent / "data"
_VALUES: dict[str, Value] = {
    "yes": "yes",
    "no": "no",
    "conditional": "conditional",
    "lost": "unknown",
    "absent": "not_mentioned",
    "not_listed": "not_mentioned",
    "": "not_mentioned",
}


@dataclass(frozen=True)
class Usage:
    service: str  # key of SERVICES
    value: Value
    note: str | None  # condition or remark, as the guide has it (French)


@dataclass(frozen=True)
class Sheet:
    """One sheet of the guide and one kind of card."""

    id: str
    holder: str
    card: str  # "CPS", "CPS remplaçant", "CPE nominative", "CPE anonyme"…
    register: str | None  # "RPPS", "ADELI", "SIRET"
    usages: tuple[Usage, ...]  # in the order of SERVICES


@dataclass(frozen=True)
class Ecps:
    """What the guide says of the e-CPS, the mobile twin of the card; never a right of the card itself."""

    holder: str
    available: Value
    usages: tuple[Usage, ...]


@cache
def sheets() -> dict[str, Sheet]:
    """Every sheet by its id."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in _rows("usages_long.csv"):
        found.setdefault(row["holder_id"], []).append(row)
    return {name: _sheet(name, rows) for name, rows in found.items()}


def _sheet(name: str, rows: list[dict[str, str]]) -> Sheet:
    by_service = {row["service"]: row for row in rows}
    first = rows[0]
    usages = tuple(
        Usage(service, _VALUES[by_service[service]["value"]], by_service[service]["note"] or None) for service in SERVICES
    )
    return Sheet(name, first["holder"], first["card"], first["repertoire"] or None, usages)


@cache
def ecps() -> dict[str, Ecps]:
    """By the holder's words, as the guide has them ("Médecin remplaçant")."""
    services = ("amelipro", "mss", "si_vac", "si_dep")
    return {
        row["holder"]: Ecps(
            row["holder"],
            _VALUES[row["e_cps"]],
            tuple(Usage(service, _VALUES[row[service]], None) for service in services),
        )
        for row in _rows("ecps.csv")
    }


def _rows(file: str) -> list[dict[str, str]]:
    with (_DATA / file).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))
