# SPDX-License-Identifier: Apache-2.0
"""`cpxd codes`, and newer tables over the shipped ones: checked before they replace, taken away again, never half there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cpxd import nomenclature
from cpxd.cli.main import main
from cpxd.nomenclature import refresh
from cpxd.nomenclature.refresh import RefreshError
from cpxd.text import choose_language


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    anew()
    yield tmp_path / "data" / "cpxd" / "nomenclature"
    monkeypatch.undo()
    choose_language(None)
    anew()


def anew() -> None:
    refresh.installed.cache_clear()
    nomenclature.forget()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["codes", *arguments]) == 0, capsys.readouterr()
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(["codes", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def code_system(name: str = "TRE_G15_ProfessionSante", **more: Any) -> dict[str, Any]:
    rows = [*nomenclature.entries("G15")]
    concepts = [
        {
            "code": entry.code,
            "display": entry.label,
            "property": [{"code": "dateValid", "valueDateTime": "2000-01-01T00:00:00+01:00"}],
        }
        for entry in rows
    ]
    concepts.append({"code": "77", "display": "Métier d'essai", "designation": [{"value": "Essai"}]})
    identifier = [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.250.1.71.1.2.7"}]
    return {
        "resourceType": "CodeSystem",
        "name": name,
        "title": "Profession de santé",
        "version": "20270101120000",
        "identifier": identifier,
        "content": "complete",
        "concept": concepts,
        **more,
    }


def written(folder: Path, document: object, name: str = "table.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


# --- asking ---------------------------------------------------------------------------------------------------------


def test_one_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert "G15 10     Médecin" in run(capsys, "g15", "10")
    found = json.loads(run(capsys, "G15", "35", "--at", "2025-01-01", "--json"))
    assert [(e["label"], e["closed"], e["valid_to"]) for e in found] == [("Aide-soignant", True, "2024-12-13")]
    assert not json.loads(run(capsys, "G15", "35", "--at", "2024-01-01", "--json"))[0]["closed"]


def test_an_unknown_code_is_raw_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "G15", "4711", "--json")) == [{"table": "G15", "code": "4711", "label": None}]
    assert "4711" in run(capsys, "G15", "4711")


def test_tariff_zones_by_convention(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "G102", "30", "--json"))
    assert {(e["convention"], e["label"]) for e in found} >= {("1", "Zone C"), ("3", "Zone B")}


def test_adeli_specialities_show_what_they_became(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "G12", "10", "--json"))[0]
    assert {(s["nature"], s["code"]) for s in found["savoir_faire"]} >= {("01", "SM09"), ("00", "SCH12")}
    assert "→ savoir-faire SM09" in run(capsys, "G12", "10")


def test_search_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert [e["code"] for e in json.loads(run(capsys, "G15", "--search", "INFIRM", "--json"))] == ["60", "69"]
    assert "R02" in run(capsys, "--search", "laboratoire de biologie")
    tables = json.loads(run(capsys, "--json"))
    assert len(tables) == 76 and not any(t["refreshed"] for t in tables)
    assert len(json.loads(run(capsys, "G04", "--json"))) == 3


@pytest.mark.parametrize("arguments", [("Z99",), ("G15", "--at", "hier"), ("G15", "10", "--search", "x"), ("G15", "--revert")])
def test_misuse(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    refused(capsys, 2, *arguments)


# --- newer tables ---------------------------------------------------------------------------------------------------


def test_a_fhir_table_replaces_and_goes_again(capsys: pytest.CaptureFixture[str], tmp_path: Path, own_folder: Path) -> None:
    document = code_system()
    document["concept"] = [c for c in document["concept"] if c["code"] != "69"]
    assert "version 20270101" in run(capsys, "--refresh", str(written(tmp_path, document)))
    entry = nomenclature.lookup("G15", "77")
    assert entry is not None and (entry.label, entry.short_label, entry.oid) == ("Métier d'essai", "Essai", "1.2.250.1.71.1.2.7")
    kept = nomenclature.lookup("G15", "69")
    assert kept is not None and kept.label == "Infirmier psychiatrique", "cards outlive the tables"
    closed = nomenclature.lookup("G15", "93", date(2022, 1, 1))
    assert closed is not None
    assert nomenclature.tables()["G15"].refreshed and nomenclature.tables()["G15"].version == "20270101"
    assert [path.name for path in own_folder.iterdir()] == ["G15.json"]
    assert "G15" in run(capsys, "--revert", "g15")
    assert nomenclature.lookup("G15", "77") is None and not list(own_folder.iterdir())


def test_a_csv_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = [
        "code;label;short_label;valid_from;valid_to",
        *(f"{e.code};{e.label};;2000-12-13;" for e in nomenclature.entries("G04")),
    ]
    lines.append("03;Gérant;;2027-01-01;")
    run(capsys, "--refresh", str(written(tmp_path, "\ufeff" + "\r\n".join(lines), "TRE_G04-NiveauResponsabilite.csv")))
    found = nomenclature.lookup("G04", "03")
    assert found is not None and found.label == "Gérant" and found.valid_from == date(2027, 1, 1)


def test_where_the_version_of_a_table_is_found() -> None:
    assert refresh.parse(json.dumps(code_system(version="1.7.0", date="2027-02-03T12:00:00+01:00"))).version == "20270203"
    assert refresh.parse(json.dumps(code_system(version="2027-01-01"))).version == "20270101"
    assert refresh.parse("code;label;version\n10;Médecin;2027-01-01\n", "TRE_G15.csv").version == "20270101"


def test_a_title_of_anything_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = code_system("TRE_R999_Nouvelle", identifier=[], title="\ud800\x1b[31m")
    run(capsys, "--refresh", str(written(tmp_path, document)))
    assert nomenclature.tables()["R999"].title == "R999"


def test_a_table_nobody_knew(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = code_system("TRE_R999_Nouvelle", identifier=[{"value": "urn:oid:1.2.3.4"}])
    run(capsys, "--refresh", str(written(tmp_path, document)))
    assert nomenclature.tables()["R999"].title == "Profession de santé"
    found = nomenclature.lookup("R999", "77")
    assert found is not None and found.oid == "1.2.3.4"


BAD: dict[str, object] = {
    "not JSON": "{",
    "nested": "{" + '"a":' * 5000,
    "other resource": {"resourceType": "ValueSet"},
    "a fragment": code_system(content="fragment"),
    "no concepts": code_system(concept=[]),
    "concepts that are none": code_system(concept=[3]),
    "other OID": code_system(identifier=[{"value": "urn:oid:1.2.3"}]),
    "older": code_system(version="20200101"),
    "no version": code_system(version="latest"),
    "half a character": code_system(concept=[*code_system()["concept"], {"code": "\ud800", "display": "x"}]),
    "no such name": code_system("Professions"),
    "another table": code_system("TRE_R02_SecteurActivite", identifier=[]),
    "twice the same code": code_system(concept=[{"code": "10", "display": "Médecin"}] * 2),
    "no label": code_system(concept=[{"code": "10"}]),
    "control characters": code_system(concept=[{"code": "10", "display": "M\u0000édecin"}]),
    "by convention": code_system("TRE_G102_Zone", identifier=[]),
    "CSV without label": "code;name\n10;x\n",
    "CSV without a date": "code;label;table\n" + "".join(f"{e.code};{e.label};G15\n" for e in nomenclature.entries("G15")),
    "empty": "",
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_file_is_refused_and_nothing_changes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, own_folder: Path, case: str
) -> None:
    good = written(tmp_path, code_system(), "good.json")
    bad = written(tmp_path, BAD[case], "bad.json")
    line = refused(capsys, 40, "--refresh", str(good), str(bad))
    assert "bad.json" in line
    assert not own_folder.exists() and nomenclature.lookup("G15", "77") is None, "the good one waits for the other"


def test_files_that_cannot_be_read_or_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(capsys, 40, "--refresh", str(tmp_path / "none.json"))
    refused(capsys, 40, "--refresh", str(tmp_path))
    refused(capsys, 40, "--refresh", "/dev/zero")
    (tmp_path / "data").write_text("a file where the folder should be")
    refused(capsys, 40, "--refresh", str(written(tmp_path, code_system())))


def test_a_table_by_convention_put_there_by_hand(own_folder: Path) -> None:
    row = {"code": "10", "label": "x", "short_label": "", "valid_from": "", "valid_to": ""}
    table = {"format": 1, "name": "G102", "title": "", "oid": None, "version": "20270101", "official": "", "rows": [row]}
    own_folder.mkdir(parents=True)
    (own_folder / "G102.json").write_text(json.dumps(table))
    anew()
    assert len(nomenclature.conventions("10")) == 2 and refresh.damaged() == [own_folder / "G102.json"]


@pytest.mark.parametrize("damage", ["", "{}", '{"format": 9}', "[]", "null", '{"format":1,"name":"G15","rows":[{}]}'])
def test_a_damaged_table_is_as_if_it_were_not_there(own_folder: Path, damage: str) -> None:
    own_folder.mkdir(parents=True)
    (own_folder / "G15.json").write_text(damage)
    anew()
    found = nomenclature.lookup("G15", "10")
    assert found is not None and found.label == "Médecin"
    assert refresh.damaged() == [own_folder / "G15.json"]


KEYS = ["resourceType", "name", "title", "version", "date", "identifier", "content", "concept", "code", "display", "property"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "designation", "value"]), c, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=200)
    | VALUES.map(lambda v: json.dumps({"resourceType": "CodeSystem", "name": "TRE_G15_X", "concept": v}))
    | st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2).map(lambda v: json.dumps(code_system() | v))
)
@example(json.dumps({"resourceType": "CodeSystem", "name": "TRE_G15_X", "concept": [{"property": 1}]}))
@example(json.dumps({"resourceType": "CodeSystem", "name": "TRE_G15_X", "concept": [{"property": [{"code": []}]}]}))
@example(json.dumps({"resourceType": "CodeSystem", "name": "TRE_G15_X", "concept": [{"designation": 1}], "identifier": 1}))
@example(json.dumps(code_system(title="\ud800")))
def test_any_text_is_a_table_that_can_be_kept_or_a_typed_error(text: str) -> None:
    try:
        table = refresh.parse(text, "TRE_G15.csv")
    except RefreshError as error:
        assert error.french and error.english
    else:
        json.dumps(asdict(table), ensure_ascii=False).encode()
