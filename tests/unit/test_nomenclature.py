# SPDX-License-Identifier: Apache-2.0
"""The code tables: every code of every table, then the rules that are easy to get wrong."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd import nomenclature
from cpxd.nomenclature import UnknownTable, adeli_to_r01, entries, lookup, search, tables

DATA = Path(nomenclature.__file__).parent / "data"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


DELTA = rows_of(DATA / "tre" / "DELTA-2023-2026.csv")
FILES = sorted([*DATA.glob("tre/TRE_*.csv"), *DATA.glob("dico/G*.csv")])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_code_of_every_file_decodes_at_a_date_inside_its_life(path: Path) -> None:
    table = path.stem.removeprefix("TRE_").split("_")[0]
    changed = {row["code"]: row for row in DELTA if row["table"] == table}
    for row in rows_of(path):
        now = changed.get(row["code"], row)
        start, end = now.get("valid_from"), now.get("valid_to")
        inside = date.fromisoformat(start) if start else date(2020, 1, 1)
        found = lookup(table, row["code"], inside, convention=row.get("convention_code"))
        assert found is not None
        assert (found.table, found.code, found.label) == (table, row["code"], now["label"])
        assert found.oid == (row["oid"] or None)
        assert found.valid_from == (inside if start else None)
        # Three languages of G00 end before they begin: closed on any day.
        assert found.closed == bool(end and start and end <= start)
        assert found.valid_to == (date.fromisoformat(end) if end else None)


def test_every_change_since_the_tables_is_applied() -> None:
    assert {row["change"] for row in DELTA} == {"new", "closed", "relabelled"}
    for row in DELTA:
        found = lookup(row["table"], row["code"])
        assert found is not None
        assert found.label == row["label"]
        assert found.closed == (row["change"] == "closed")


def test_the_index_counts_every_table() -> None:
    names = {path.stem.removeprefix("TRE_").split("_")[0] for path in FILES}
    assert set(tables()) == names
    assert len(names) == 76
    for row in rows_of(DATA / "tre" / "INDEX.csv"):
        assert len(rows_of(DATA / "tre" / row["file"])) == int(row["rows"])
    assert tables()["G15"].oid == "1.2.250.1.71.1.2.7"
    assert tables()["R47"].title == "Commission de qualification"


def test_r01_is_its_own_rows_and_what_only_its_parts_have() -> None:
    new = lookup("R01", "SM73")
    assert new is not None
    assert (new.table, new.oid, new.label) == ("R38", "1.2.250.1.213.2.28", "Médecine cardiovasculaire (SM)")
    own = lookup("R01", "SM26")
    assert own is not None
    assert (own.table, own.label) == ("R01", "Qualifié en Médecine générale (SM)")
    for part in ("R38", "R39", "R40", "R42", "R43", "R44", "R45", "R46"):
        assert all(lookup("R01", entry.code) for entry in entries(part))


def test_a_closed_code_is_still_read() -> None:
    today = lookup("G15", "38")
    assert today is not None
    assert (today.label, today.closed, today.valid_to) == (
        "Préparateur en pharmacie hospitalière",
        True,
        date(2024, 12, 13),
    )
    before = lookup("G15", "38", date(2024, 12, 12))
    assert before is not None
    assert not before.closed
    on_the_day = lookup("G15", "38", date(2024, 12, 13))
    assert on_the_day is not None
    assert on_the_day.closed


@pytest.mark.parametrize(
    ("code", "convention", "label"),
    [
        ("10", "1", "Zone A"),
        ("10", "2", "Zone A"),
        ("10", None, "Zone A"),  # both conventions agree
        ("30", "1", "Zone C"),
        ("30", "3", "Zone B"),
        ("30", 3, "Zone B"),
        ("30", None, None),  # they do not
        ("99", "1", "Non définie"),
        ("99", "9", "Non définie"),
        ("99", None, "Non définie"),
        ("40", "1", None),
        ("77", "1", None),
    ],
)
def test_tariff_zone_depends_on_the_convention(code: str, convention: str | int | None, label: str | None) -> None:
    found = lookup("G102", code, convention=convention)
    assert (found and found.label) == label


@pytest.mark.parametrize(
    ("table", "code", "expected"),
    [
        ("G15", 10, "10"),
        ("G15", "010", "10"),
        ("G15", 60, "60"),
        ("G15", 0x10, None),  # sixteen is no profession
        ("G02", 2, "02"),
        ("G02", "2", "02"),
        ("G01", 0x80, "80"),
        ("G01", 0, "00"),
        ("G01", 80, None),  # the byte 0x50
        ("G08", "08", "8"),
        ("G08", 8, "8"),
        ("G104", "000000", None),  # three codes run together
        ("G12", "7", "07"),
        ("R01", " SM26 ", "SM26"),
        ("R01", "26", None),
        ("G15", "", None),
        ("G15", "-10", None),
        ("G15", "¹⁰", None),
        ("G15", "1" * 5000, None),
    ],
)
def test_how_a_code_may_be_written(table: str, code: str | int, expected: str | None) -> None:
    found = lookup(table, code)
    assert (found and found.code) == expected


def test_numbers_that_two_codes_share_are_not_guessed() -> None:
    codes = [entry.code for entry in entries("G12")]
    assert len({int(code) for code in codes if code.isdigit()}) == len(codes)
    for code in codes:
        found = lookup("G12", code)
        assert found is not None
        assert found.code == code


def test_unknown_table_is_a_typed_error_and_unknown_code_is_none() -> None:
    with pytest.raises(UnknownTable):
        lookup("G999", "1")
    with pytest.raises(UnknownTable):
        search("", "x")
    assert issubclass(UnknownTable, KeyError)
    assert lookup("R02", "SA99") is None


@given(st.sampled_from(["G01", "G15", "G102", "R01"]), st.one_of(st.text(max_size=12), st.integers(-(2**70), 2**70)))
def test_no_code_raises(table: str, code: str | int) -> None:
    found = lookup(table, code)
    assert found is None or found.label


def test_search_ignores_case_and_accents() -> None:
    assert [entry.code for entry in search("G15", "MEDECIN")] == ["10"]
    assert "SA07" in [entry.code for entry in search("R02", "cabinet individuel")]
    assert [entry.code for entry in search("R02", "sa07")] == ["SA07"]
    assert len(search("G16", "")) == 4
    assert search("G15", "astronaute") == []
    assert "DSM212" in [entry.code for entry in search("R42", "fœtopathologie")]
    assert search("R72", "Société d’exercice") == search("R72", "société d'exercice") != []


@pytest.mark.parametrize(
    ("specialty", "nature", "code"),
    [
        ("00", "00", "SCH37"),
        ("00", "01", "SM54"),
        (0, 3, "SM26"),
        ("01", "07", "DSM201"),
        ("163", "01", "SM95"),
        ("00", "08", None),
    ],
)
def test_adeli_speciality_to_savoir_faire(specialty: str | int, nature: str | int, code: str | None) -> None:
    found = adeli_to_r01(specialty, nature)
    assert (found and found.code) == code


def test_every_target_of_the_adeli_association_is_known() -> None:
    lines = (DATA / "ass" / "ASS_X01-TranscoSavFaireADELI-SavFaireR01.csv").read_text(encoding="utf-8-sig").splitlines()[3:]
    assert len(lines) == 289
    for line in lines:
        specialty, nature, code = line.split(";")
        found = adeli_to_r01(specialty, nature)
        assert found is not None
        assert found.code == code


def test_remarks_in_the_source_are_not_short_labels() -> None:
    remark = lookup("G15", "93")
    assert remark is not None
    assert remark.short_label is None
    madame = lookup("G03", "22")
    assert madame is not None
    assert madame.short_label == "MME"


def test_nothing_is_read_before_the_first_question() -> None:
    script = (
        "import sys, cpxd.nomenclature.codes as t\n"
        "assert 'csv' not in sys.modules\n"
        "assert t._index.cache_info().currsize == 0\n"
        "t.lookup('G15', '10'); t.lookup('G15', '21')\n"
        "assert t._rows.cache_info().misses == 1, t._rows.cache_info()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
