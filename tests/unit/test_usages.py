# SPDX-License-Identifier: Apache-2.0
"""What the guide says of a holder: what is lost is unknown, what is not sure is conditional, and never a yes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cpxd
from cpxd.record.model import Card, CardRecord, Coded, Holder, Kind, Situation
from cpxd.service import usages as service
from cpxd.usages import DATE, SERVICES, SOURCE, ecps, sheets
from cpxd.usages.holder import matches

PACKAGE = Path(cpxd.__file__).parent
SCHEMA = json.loads((PACKAGE / "schema" / "usages.schema.json").read_text(encoding="utf-8"))
WITH_MARKS = {
    "chirurgien_dentiste_remplacant",
    "infirmier_remplacant",
    "medecin_remplacant",
    "orthophoniste_remplacant",
    "pedicure_podologue_remplacant",
    "personnel_cpe_anonyme",
    "assistant_medical",
}


def rows(name: str) -> list[dict[str, str]]:
    with (PACKAGE / "usages" / "data" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def record(kind: Kind, profession: str | None = None, *places: tuple[str, str], read: bool = True, **more: Any) -> CardRecord:
    """`places`: mode and sector of each situation."""
    holder = Holder("ESSAI", "CAMILLE", None, None, None, more.pop("pseudonym", None), ())
    situations = tuple(
        Situation(
            n, Coded(mode, None) if mode else None, None, None, Coded(sector, None) if sector else None, None, None, (), False
        )
        for n, (mode, sector) in enumerate(places, 1)
    )
    return CardRecord(
        card=Card(kind, "test", "CPS3", "1", "1", None, None),
        holder=holder,
        profession=Coded(profession, None) if profession else None,
        future_profession=Coded(more["future"], None) if "future" in more else None,
        specialty=None,
        pharmacist_table=None,
        responsibility_level=None,
        situations=situations if read else None,
        billing=None,
        certificates=(),
        warnings=(),
        sources={},
    )


def found(card: CardRecord) -> list[tuple[str, tuple[int, ...], bool]]:
    return [(m.sheet.id, m.situations, m.certain) for m in matches(card)]


# --- the matrix -----------------------------------------------------------------------------------------------------


def test_the_matrix_is_whole() -> None:
    assert len(sheets()) == 31
    assert all([u.service for u in sheet.usages] == list(SERVICES) for sheet in sheets().values())
    assert len(rows("usages_long.csv")) == 31 * 15


def test_both_files_say_the_same() -> None:
    words = {"lost": "unknown", "absent": "not_mentioned"}
    for row in rows("usages.csv"):
        for usage in sheets()[row["holder_id"]].usages:
            assert usage.value == words.get(row[usage.service], row[usage.service]), (row["holder_id"], usage.service)


def test_a_yes_stands_only_where_the_text_still_has_its_mark() -> None:
    marked = {(r["holder_id"], r["service"]) for r in rows("usages_long.csv") if r["mark_in_text"] == "✓"}
    said = {(s.id, u.service) for s in sheets().values() for u in s.usages if u.value in ("yes", "conditional")}
    assert said == marked
    assert {name for name, _ in said} == WITH_MARKS


def test_a_lost_mark_is_unknown_whatever_may_be_guessed() -> None:
    lost = [r for r in rows("usages_long.csv") if r["value"] == "lost"]
    assert len(lost) > 200 and any(r["inference"] for r in lost)
    for row in lost:
        usage = next(u for u in sheets()[row["holder_id"]].usages if u.service == row["service"])
        assert usage.value == "unknown"


def test_a_condition_comes_with_its_words() -> None:
    doctor = {u.service: u for u in sheets()["medecin_remplacant"].usages}
    assert (doctor["amelipro"].value, doctor["amelipro"].note) == ("conditional", "par délégation du remplacé")
    assert (doctor["dmp_alimenter"].value, doctor["dmp_alimenter"].note) == ("no", "prévu en 2023")


# --- who ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        (record("CPS", "10", ("00", "SA07")), [("medecin", (1,), True)]),
        (record("CPS", "10", ("04", "SA07")), [("medecin_remplacant", (1,), True)]),
        (record("CPS", "10", ("01", "SA01")), [("medecin_salarie_hors_cds", (1,), True)]),
        (record("CPS", "10", ("01", "SA05")), [("medecin", (1,), True)]),
        (
            record("CPS", "10", ("01", "")),
            [("medecin", (1,), False), ("medecin_salarie_hors_cds", (1,), False), ("laboratoire", (1,), False)],
        ),
        (record("CPS", "21", ("00", "")), [("pharmacien", (1,), False), ("laboratoire", (1,), False)]),
        (record("CPS", "60", ("00", "")), [("infirmier", (1,), True)]),
        (record("CPS", "10", ("07", "SA28")), [("medecin", (1,), False)]),
        (
            record("CPS", "10", ("", "SA07")),
            [("medecin", (1,), False), ("medecin_remplacant", (1,), False), ("medecin_salarie_hors_cds", (1,), False)],
        ),
        (record("CPS", "10", ("", "SA05")), [("medecin", (1,), False), ("medecin_remplacant", (1,), False)]),
        (record("CPS", "60", ("", "SA07")), [("infirmier", (1,), False), ("infirmier_remplacant", (1,), False)]),
        (record("CPS", "92", ("", "SA07")), [("orthoptiste", (1,), False)]),
        (record("CPS", "10"), [("medecin", (), False)]),
        (record("CPS", "10", ("00", "SA25")), [("laboratoire", (1,), True)]),
        (record("CPS", "21", ("01", "SA29")), [("laboratoire", (1,), True)]),
        (record("CPS", "60", ("01", "SA25")), [("infirmier", (1,), False)]),
        (
            record("CPS", "10", ("00", "SA07"), ("04", "SA08"), ("00", "SA09")),
            [("medecin", (1, 3), True), ("medecin_remplacant", (2,), True)],
        ),
        (record("CPS", "50", ("04", "SA07")), [("sage_femme_remplacante", (1,), True)]),
        (record("CPS", "82", ("00", "SA42")), [("fournisseur_appareillage", (1,), True)]),
        (record("CPS", "92", ("04", "SA07")), [("orthoptiste", (1,), False)]),
        (record("CPS", "84", ("00", "SA42")), []),
        (record("CPS", "999", ("00", "SA42")), []),
        (record("CPS", None, ("00", "SA42")), []),
        (record("CPF", None, ("01", "SA01"), future="10"), [("medecin_en_formation", (), True)]),
        (record("CPF", None, ("01", "SA01"), future="21"), []),
        (record("CDE", None, ("01", "SA10")), [("ambulancier_cde", (1,), True)]),
        (record("CPE", None, ("01", "SA58")), [("taxi_cpe_nominative", (1,), True)]),
        (record("CPE", None, ("01", "SA10"), pseudonym="X"), [("ambulancier_cpe_non_nominative", (1,), True)]),
        (record("CPE", None, ("01", "SA08"), pseudonym="X"), [("personnel_cpe_anonyme", (1,), True)]),
        (record("CPE", None, ("01", "SA08")), [("assistant_medical", (1,), False)]),
        (record("CDE", None, ("01", "SA01")), []),
        (record("CDE", None, ("", "")), [("ambulancier_cde", (1,), False), ("taxi_cde", (1,), False)]),
        (
            record("CPE", None, ("", ""), pseudonym="X"),
            [
                ("ambulancier_cpe_non_nominative", (1,), False),
                ("taxi_cpe_non_nominative", (1,), False),
                ("personnel_cpe_anonyme", (1,), False),
            ],
        ),
        (record("CPA", None, ("01", "SA24")), []),
        (record("CDA", None, ("01", "SA24")), []),
    ],
)
def test_whose_sheet(card: CardRecord, wanted: list[tuple[str, tuple[int, ...], bool]]) -> None:
    assert found(card) == wanted


def test_without_the_pin_every_sheet_is_only_possible() -> None:
    for card in (record("CPS", "10", read=False), record("CPS", "21", read=False), record("CPE", read=False)):
        assert len(matches(card)) > 1
        assert not any(match.certain for match in matches(card))


def test_what_was_not_decoded_is_not_said_to_be_missing_from_the_guide() -> None:
    """The dictionary that cpxd comes with does not know where a card has the mode of practice."""
    for match in matches(record("CPS", "10", ("", "SA07"))):
        assert match.doubt is not None and "décodé" in match.doubt.fr
        assert "yes" not in {usage.value for usage in match.usages}


def test_a_possible_sheet_never_says_yes() -> None:
    for card in (record("CPS", "10", read=False), record("CPE", None, ("01", "SA08")), record("CPE", read=False)):
        for match in matches(card):
            values = {u.value for u in match.usages} | {u.value for u in (match.ecps.usages if match.ecps else ())}
            assert "yes" not in values, match.sheet.id
    assistant = {u.service: u for u in matches(record("CPE", None, ("01", "SA08")))[0].usages}
    assert assistant["fse_preparer"].note == "si la fiche « Assistant médical » est la vôtre"
    assert assistant["amelipro"].note == "par délégation de l'assisté ; si la fiche « Assistant médical » est la vôtre"
    assert assistant["fse_signer"].value == "no"


def test_the_ecps_stands_apart() -> None:
    assert len(ecps()) == 27
    doctor = matches(record("CPS", "10", ("00", "SA07")))[0]
    assert doctor.ecps is not None and {u.value for u in doctor.ecps.usages} == {"yes"}
    assert {u.value for u in doctor.usages} == {"unknown", "not_mentioned"}
    anonymous = matches(record("CPE", None, ("01", "SA08"), pseudonym="X"))[0]
    assert anonymous.ecps is not None and anonymous.ecps.available == "not_mentioned"


def test_every_sheet_has_its_line_of_the_ecps() -> None:
    match = matches(record("CPS", "10", ("00", "SA07")))[0]
    assert all(replace(match, sheet=sheet).ecps is not None for sheet in sheets().values())


@pytest.mark.parametrize("card", [record("CPS", "10", read=False), record("CPS", "10", ("04", "SA07")), record("CPA")])
def test_the_json(card: CardRecord) -> None:
    document = service.as_json(service.of_record(card), "Reader 00 00")
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert (document["source"], document["date"]) == (SOURCE, DATE.fr)
