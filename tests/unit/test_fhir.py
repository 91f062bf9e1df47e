# SPDX-License-Identifier: Apache-2.0
"""The FHIR export against a library that knows R4B, and the identifier systems of France. Every persona of the catalogue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fhir.resources.R4B.bundle import Bundle

import cpxd
from cpxd.nomenclature import lookup
from cpxd.record.certificate import parse_certificate
from cpxd.record.dictionary import dictionary
from cpxd.record.explain import explain, to_json
from cpxd.record.fhir import PERSON, STRUCTURE, to_fhir
from cpxd.record.identity import compose, decode_objects
from cpxd.record.model import CardRecord, Coded
from cpxd.record.objects import decode_object
from cpxd.tlv import tlv

ROOT = Path(cpxd.__file__).parent
SOURCES = json.loads((ROOT / "schema" / "sources.schema.json").read_text(encoding="utf-8"))
CATALOGUE = ROOT.parent / "simulator" / "catalogue"


def record(name: str, *, pin: bool = True) -> CardRecord:
    """Of a persona: from the bytes of its card, as read through no reader."""
    from simulator import personalise, personas
    from simulator.pki import TestPki

    persona = personas.load(name)
    pki = TestPki()
    image = personalise.personalise(persona, "cps3", pki=pki)
    files = {file.path: file.content for file in image.files}
    labels = {0xD108: "CPS_ID_CARD", 0xD109: "CPS_NAME_PS", 0xD10A: "CPS_LANG_PS", 0xD10B: "CPS_INFO_PS"}
    data = {label: files[0x0001, number] for number, label in labels.items()}
    if pin:
        data |= {f"CPS_ACTIVITY_{s.number:02}_PS": files[0x0001, 0xD120 + s.number - 1] for s in persona.situations}
    words = dictionary((ROOT.parent / "simulator" / "invented-tags.json").read_text(encoding="utf-8"))
    certificates = [parse_certificate(files[0x0001, number], label) for number, label in ((0xA001, "S"), (0xA006, "A"))]
    return compose(None, None, certificates, decode_objects(data, words), situations_read=pin, generation="CPS3")


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def identifiers(resource: dict[str, Any]) -> dict[str, str]:
    return {item["system"]: item["value"] for item in resource.get("identifier", [])}


@pytest.mark.parametrize("name", sorted(path.stem for path in CATALOGUE.glob("*.toml")))
@pytest.mark.parametrize("pin", [True, False])
def test_every_persona_is_valid_fhir(name: str, pin: bool) -> None:
    found = record(name, pin=pin)
    bundle = to_fhir(found)
    assert json.loads(Bundle.model_validate(bundle).model_dump_json()) == bundle
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    for role in resources(bundle, "PractitionerRole"):
        assert role["practitioner"]["reference"] in urls
        assert role.get("organization", {}).get("reference", urls[0]) in urls
    assert len(resources(bundle, "Practitioner")) == 1
    if pin:
        assert len(resources(bundle, "PractitionerRole")) == len(found.situations or ())
    marks = {json.dumps(entry["resource"].get("meta")) for entry in bundle["entry"]}
    assert len(marks) == 1 and ("HTEST" in marks.pop()) == (found.card.category == "test")
    assert to_fhir(found) == bundle


def test_a_doctor_by_rpps() -> None:
    bundle = to_fhir(record("cat-medecin-generaliste"))
    doctor = resources(bundle, "Practitioner")[0]
    known = identifiers(doctor)
    assert known["https://rpps.esante.gouv.fr"] == known[PERSON][1:] and known[PERSON][0] == "8"
    codings = [q["code"]["coding"][0] for q in doctor["qualification"]]
    assert codings[0] == {
        "system": "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante",
        "code": "10",
        "display": "Médecin",
    }
    assert codings[1]["code"] == "SM26"
    role, organization = resources(bundle, "PractitionerRole")[0], resources(bundle, "Organization")[0]
    assert [c["coding"][0]["code"] for c in role["code"]] == ["10", "00"]
    assert identifiers(organization)["https://rppsrang.esante.gouv.fr"] == identifiers(organization)[STRUCTURE][1:]
    assert organization["type"][0]["coding"][0]["code"] == "SA07"


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("cat-cde-hopital", "https://finess.esante.gouv.fr"),
        ("cat-cda", "https://sirene.fr"),
        ("cat-cpe-siren", "https://sirene.fr"),
    ],
)
def test_structures_and_employees(name: str, system: str) -> None:
    for pin in (True, False):  # the certificate tells the employer without the PIN
        bundle = to_fhir(record(name, pin=pin))
        organization = identifiers(resources(bundle, "Organization")[0])
        assert organization[system] == organization[STRUCTURE][1:]
        person = identifiers(resources(bundle, "Practitioner")[0])
        assert list(person) == [PERSON] and person[PERSON].partition("/")[0][1:] == organization[system]


def test_by_adeli() -> None:
    known = identifiers(resources(to_fhir(record("cat-orthophoniste")), "Practitioner")[0])
    assert known["https://adeli.esante.gouv.fr"] == known[PERSON][1:] and known[PERSON][0] == "0"


def test_names() -> None:
    def names(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = resources(to_fhir(record(name)), "Practitioner")[0]["name"]
        return found

    two = names("cat-nom-deux-noms")
    assert [(n["use"], n["family"], n["given"]) for n in two] == [
        ("usual", "SECOND FICTIF", ["JEAN-MARC PAUL"]),
        ("official", "PREMIER FICTIF", ["JEAN-MARC PAUL"]),
    ]
    assert two[0]["prefix"][0] in ("M", "MME")
    assert "given" not in names("cat-nom-sans-prenom")[0]
    anonymous = names("cat-cpe-service-pharmacie")
    assert [n["use"] for n in anonymous] == ["anonymous"] and anonymous[0]["text"].startswith("EMPLOYE")


def test_a_code_nobody_knows_has_no_display() -> None:
    assert lookup("G15", "4711") is None
    bundle = to_fhir(replace(record("cat-medecin-generaliste"), profession=Coded("4711", None)))
    coding = resources(bundle, "Practitioner")[0]["qualification"][0]["code"]["coding"][0]
    assert coding["code"] == "4711" and "display" not in coding
    Bundle.model_validate(bundle)


def test_where_each_value_comes_from() -> None:
    found = record("cat-medecin-generaliste")
    said = {item.path: item for item in explain(found)}
    assert (said["holder.family_name"].origin, said["holder.family_name"].certainty) == ("certificate", "certain")
    sector = said["situations.1.activity_sector"]
    assert (sector.origin, sector.certainty, sector.table) == ("CPS_ACTIVITY_01_PS", "third-party", "R02")
    assert said["holder.title"].certainty == "invented"
    assert said["situations.1.situation_number"].value == "1"
    assert all(item.value for item in said.values())
    assert said["holder.identifier"].key_ok is True and said["profession"].key_ok is None
    jsonschema.Draft202012Validator(SOURCES).validate(to_json(found))


def test_billing_and_what_nobody_decodes() -> None:
    words = dictionary((ROOT.parent / "simulator" / "invented-tags.json").read_text(encoding="utf-8"))
    fields = tlv(0x82, b"1") + tlv(0x83, b"01") + tlv(0x84, b"20") + tlv(0x9E, b"\xca\xfe")
    billing = decode_object("CPS_SIT_FACT", tlv(0xEF, fields), words)
    said = {item.path: item for item in explain(replace(record("cat-medecin-generaliste"), billing=billing))}
    assert [
        (said[f"billing.{n}"].table, said[f"billing.{n}"].certainty) for n in ("convention", "specialty_am", "tariff_zone")
    ] == [
        ("G101", "invented"),
        ("G100", "invented"),
        ("G102", "invented"),
    ]
    assert (said["billing.tariff_zone"].value or "").startswith("20 ")
    assert (said["billing.raw.9E"].value, said["billing.raw.9E"].certainty) == ("CAFE", "raw")
