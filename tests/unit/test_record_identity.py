# SPDX-License-Identifier: Apache-2.0
"""One record out of certificates and data objects: who wins, what is said of doubt, and the published JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_certificates import EMPLOYEE, NURSE, Shape, build
from record_vectors import FOLDER, MODEL, REAL

import cpxd
from cpxd.record.certificate import parse_certificate
from cpxd.record.dictionary import dictionary
from cpxd.record.errors import SituationError
from cpxd.record.files import parse_serial_number
from cpxd.record.identity import compose, decode_objects, split_person, split_structure, to_json
from cpxd.record.model import CardRecord, Coded, Source
from cpxd.record.pkcs15 import parse_ciainfo
from cpxd.record.sdo import PinState, parse_pin_state
from cpxd.tlv import tlv

SCHEMA = json.loads((Path(cpxd.__file__).parent / "schema" / "card.schema.json").read_text(encoding="utf-8"))
INVENTED = dictionary((FOLDER / "dictionary.json").read_text(encoding="utf-8"))
PIN = PinState(1, 3, 2, None)
UNBLOCK = PinState(2, 10, 9, 98)

DOCTOR = Shape(
    [("C", "FR"), ("title", "Médecin")],
    [("GN", "CAMILLE"), ("CN", "899700024450"), ("SN", "ESSAI")],
    profession=b"\x02\x01\x0a",
)
DATA: dict[str, bytes] = {
    "CPS_DATA": b"free \xff\x00 zone",
    "CPS_ID_CARD": tlv(
        0xE0,
        tlv(0x81, b"2800262487") + tlv(0x82, b"\x80") + tlv(0x83, b"20260105") + tlv(0x84, b"20290104") + tlv(0x85, b"\x00"),
    ),
    "CPS_NAME_PS": tlv(0xE1, tlv(0x80, b"22") + tlv(0x81, b"ESSAI") + tlv(0x82, b"CAMILLE")),
    "CPS_LANG_PS": tlv(0xE2, tlv(0x80, b"fr")),
    "CPS_INFO_PS": tlv(0xE3, tlv(0x81, b"899700024450") + tlv(0x84, b"10") + tlv(0x8F, b"SM26")),
}
SITUATIONS = {
    f"CPS_ACTIVITY_{n:02d}_PS": tlv(
        0xEE,
        tlv(0x80, bytes([n]))
        + tlv(0x81, b"00")
        + tlv(0x82, b"1")
        + tlv(0x84, b"CABINET")
        + tlv(0x85, b"499700735741008")
        + tlv(0x86, b"SA07")
        + tlv(0x99, b"\x01"),
    )
    for n in (5, 2)
}


def record(shape: Shape | None, data: Mapping[str, bytes] | None = None, **options: Any) -> CardRecord:
    certificates = [] if shape is None else [parse_certificate(build(shape), "Certificat")]
    objects = decode_objects(data or {}, INVENTED)
    serial = parse_serial_number(REAL["ef-sn-icc"])
    ciainfo = parse_ciainfo(MODEL["cps3-ciainfo"])
    if certificates:
        ciainfo = replace(ciainfo, label=f"CPS3v3-{certificates[0].card_number}")
    return compose(ciainfo, serial, certificates, objects, **options)


def exported(found: CardRecord) -> dict[str, Any]:
    document = to_json(found, reader="Reader 00 00", pin=PIN, unblock=UNBLOCK)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert json.loads(json.dumps(document)) == document
    return document


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_doctor_before_and_after_the_pin() -> None:
    before = record(DOCTOR, DATA)
    assert before.situations is None
    assert before.warnings == ()
    document = exported(record(DOCTOR, {**DATA, **SITUATIONS}))
    assert list(document) == [
        "reader", "card", "holder", "profession", "specialty", "situations", "certificates", "pin", "unblock",
    ]  # fmt: skip
    assert document["card"] == {
        "kind": "CPS",
        "category": "test",
        "generation": "CPS3",
        "number": "2800262487",
        "serial": "99213845",
        "valid_from": "2026-01-05",
        "valid_until": "2029-01-04",
    }
    assert document["holder"] == {
        "family_name": "ESSAI",
        "given_names": "CAMILLE",
        "title": "Madame",
        "identifier": {"type": "8", "number": "99700024450"},
    }
    assert document["profession"] == {"code": "10", "label": "Médecin"}
    assert document["specialty"] == {"code": "SM26", "label": "Qualifié en Médecine générale (SM)"}
    assert [item["number"] for item in document["situations"]] == [2, 5]
    assert document["situations"][0] == {
        "number": 2,
        "practice_mode": {"code": "00", "label": "Libéral, indépendant, artisan, commerçant"},
        "practice_status": "1",
        "pharmacist_table": None,
        "activity_sector": {"code": "SA07", "label": "Cabinet individuel"},
        "organization_name": "CABINET",
        "organization_identifier": {"type": "4", "number": "99700735741008"},
        "raw": [{"tag": "99", "value": "01"}],
    }
    assert document["certificates"][0]["usage"] == "authentication"
    assert document["certificates"][0]["valid_until"] == "2023-03-04T10:20:30Z"
    assert document["pin"] == {"tries_left": 2, "blocked": False}
    assert document["unblock"] == {"tries_left": 9, "uses_left": 98}


def test_the_certificate_alone_says_who_it_is() -> None:
    found = record(NURSE)
    document = exported(found)
    assert document["holder"]["family_name"] == "TESTINFIRMIÈRE"
    assert document["holder"]["title"] is None
    assert document["holder"]["identifier"] == {"type": "0", "number": "0B6077602"}
    assert document["profession"] == {"code": "60", "label": "Infirmier"}
    assert document["specialty"] is None
    # The dates of the certificate stand in for those of the card, and the record says so.
    assert document["card"]["valid_until"] == "2023-03-04"
    assert found.sources["card.valid_until"] == Source("certificate", "inferred")
    assert found.sources["holder.family_name"] == Source("certificate", "certain")
    assert found.holder.identifier is not None
    assert (found.holder.identifier.type_label, found.holder.identifier.key_ok) == ("N° ADELI", True)


def test_nothing_at_all_is_a_record_of_nothing() -> None:
    found = compose(None, None, [], [])
    document = to_json(found, reader=None, pin=None, unblock=None)
    jsonschema.validate(document, SCHEMA)
    assert set(document["card"].values()) == {None}
    assert set(document["holder"].values()) == {None}
    assert (found.warnings, document["situations"], document["pin"]) == ((), None, None)


def test_no_situation_on_the_card_is_not_an_unread_card() -> None:
    assert record(DOCTOR, DATA, situations_read=True).situations == ()
    assert exported(record(DOCTOR, DATA, situations_read=True))["situations"] == []


def test_the_certificate_wins_and_the_record_says_so() -> None:
    data = {
        **DATA,
        "CPS_INFO_PS": tlv(0xE3, tlv(0x81, b"899700024451") + tlv(0x84, b"60")),
        "CPS_ID_CARD": tlv(0xE0, tlv(0x82, b"\x00") + tlv(0x85, b"\x01")),
    }
    found = record(DOCTOR, data)
    assert found.holder.identifier is not None
    assert found.holder.identifier.number == "99700024450"
    assert found.profession == Coded("10", "Médecin")
    assert (found.card.category, found.card.kind) == ("test", "CPS")
    assert {(w.code, w.path) for w in found.warnings} == {
        ("contradiction", path) for path in ("holder.identifier", "profession", "card.category", "card.kind")
    }
    assert "899700024451" not in "".join(w.text.fr + w.text.en for w in found.warnings)


def test_a_name_of_practice_is_no_contradiction() -> None:
    name = tlv(0xE1, tlv(0x81, b"NAISSANCE") + tlv(0x83, b"Essai"))
    assert record(DOCTOR, {"CPS_NAME_PS": name}).warnings == ()
    other = tlv(0xE1, tlv(0x81, b"NAISSANCE"))
    assert [w.path for w in record(DOCTOR, {"CPS_NAME_PS": other}).warnings] == ["holder.family_name"]


def level(code: bytes) -> dict[str, bytes]:
    return {"CPS_INFO_PS": tlv(0xE3, tlv(0x87, code))}


def titled(title: str | None, card_type: bytes = b"\x02\x01\x02") -> Shape:
    subject = [pair for pair in EMPLOYEE.subject if pair[0] != "title"]
    return replace(EMPLOYEE, subject=[*subject, ("title", title)] if title else subject, card_type=card_type)


@pytest.mark.parametrize(
    ("shape", "data", "kind", "uncertain"),
    [
        (NURSE, {}, "CPS", False),
        (replace(NURSE, card_type=b"\x02\x01\x01"), {}, "CPF", False),
        (EMPLOYEE, {}, "CPE", False),
        (EMPLOYEE, level(b"01"), "CDE", False),
        (EMPLOYEE, level(b"02"), "CPE", False),
        (titled("Directrice d'établissement"), {}, "CDE", False),
        (titled("Responsable santé ou social"), {}, "CDE", False),
        (titled("Responsable santé ou social"), level(b"00"), "CPE", False),
        (titled("Carte de service santé ou social"), {}, "CPE", False),
        (titled("Secrétaire"), {}, "CPE", True),
        (titled(None), {}, "CPE", True),
        (titled(None, b"\x02\x01\x03"), {}, "CPA", True),
        (titled(None, b"\x02\x01\x03"), level(b"01"), "CDA", False),
        (replace(NURSE, card_type=b"\x02\x01\x09"), {}, None, False),
        (replace(NURSE, card_type=None), {}, None, False),
        (replace(NURSE, card_type=None), {"CPS_ID_CARD": tlv(0xE0, tlv(0x85, b"\x01"))}, "CPF", False),
    ],
)
def test_kind_of_card(shape: Shape, data: dict[str, bytes], kind: str | None, uncertain: bool) -> None:
    found = record(shape, data)
    assert found.card.kind == kind
    assert [w.code for w in found.warnings] == (["kind-uncertain"] if uncertain else [])
    if "CPS_INFO_PS" in data:
        origin = Source("CPS_INFO_PS", found.sources["responsibility_level"].certainty)
        assert found.sources["card.kind"] == origin, "no more certain than the level it was told by"


@pytest.mark.parametrize(
    ("content", "issuer", "category"),
    [
        (b"\x04\x01\x00", "AC IGC-SANTE FORT PERSONNES", "real"),
        (b"\x04\x01\x80", "TEST AC IGC-SANTE FORT PERSONNES", "test"),
        (b"\x04\x01\x83", "TEST AC IGC-SANTE FORT PERSONNES", "test"),
        (None, "TEST AC IGC-SANTE FORT PERSONNES", "test"),
        (None, "AC IGC-SANTE FORT PERSONNES", None),
        (b"\x04\x01\x42", "AC IGC-SANTE FORT PERSONNES", None),
    ],
)
def test_category(content: bytes | None, issuer: str, category: str | None) -> None:
    assert record(replace(NURSE, category=content, issuer=issuer)).card.category == category


def test_a_service_card_names_nobody() -> None:
    shape = replace(
        EMPLOYEE,
        subject=[*EMPLOYEE.subject[:-1], ("title", "Carte de service santé ou social"), ("pseudonym", "EMPLOYE000000018")],
        names=[("CN", "3760021832/000000018")],
    )
    found = record(shape)
    assert (found.holder.family_name, found.holder.given_names) == (None, None)
    assert found.holder.pseudonym == "EMPLOYE000000018"
    assert exported(found)["holder"]["identifier"] == {"type": "3", "number": "760021832/000000018"}


def test_a_person_in_training() -> None:
    shape = replace(DOCTOR, card_type=b"\x02\x01\x01", profession=None, future_profession=b"\x02\x01\x0a")
    found = record(shape)
    assert (found.profession, found.future_profession) == (None, Coded("10", "Médecin en formation"))
    assert found.sources["future_profession"].certainty == "inferred"
    assert exported(found)["profession"] == {"code": "10", "label": "Médecin en formation"}


def test_an_unknown_profession_keeps_its_code() -> None:
    assert exported(record(replace(NURSE, profession=b"\x02\x01\x63")))["profession"] == {"code": "99", "label": None}


def test_the_number_on_the_token_label_is_the_last_resort() -> None:
    found = record(None)
    assert (found.card.number, found.card.generation) == ("2600990001", "CPS3")
    assert found.sources["card.number"].origin == "EF.CIAInfo"
    contactless = compose(parse_ciainfo(MODEL["cps3cl-ciainfo"]), None, [], [], generation=None)
    assert (contactless.card.number, contactless.card.generation) == (None, "CPS3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("899700024450", ("8", "99700024450", "N° RPPS", True)),
        ("30B0037750/CPET0001", ("3", "0B0037750/CPET0001", "FINESS / N° de registre", True)),
        ("899700024451", ("8", "99700024451", "N° RPPS", False)),
        ("712345", ("7", "12345", None, None)),
        ("a.b@c.mssante.fr", ("10", "a.b@c.mssante.fr", "Adresse MSSante", None)),
        ("DUPONT", None),
        ("8", None),
        ("", None),
        (None, None),
    ],
)
def test_identifiers_of_persons(text: str | None, expected: tuple[str, str, str | None, bool | None] | None) -> None:
    found = split_person(text)
    assert (found and (found.type, found.number, found.type_label, found.key_ok)) == expected


def test_identifiers_of_structures() -> None:
    found = split_structure("10B0307377")
    assert found is not None
    assert (found.type, found.number, found.type_label, found.key_ok) == ("1", "0B0307377", "FINESS", True)


def test_seventeen_situations_are_an_error_with_a_name() -> None:
    many = {f"CPS_ACTIVITY_{n:02d}_PS": b"\xee\x00" for n in range(1, 18)}
    with pytest.raises(SituationError, match="17"):
        record(DOCTOR, many)
    sixteen = dict(list(many.items())[:16])
    found = record(DOCTOR, sixteen)
    assert found.situations is not None
    assert [item.number for item in found.situations] == list(range(1, 17))


def test_a_damaged_situation_keeps_its_bytes_and_its_place() -> None:
    data = {**SITUATIONS, "CPS_ACTIVITY_03_PS": b"\xee\x7f\x80"}
    found = record(DOCTOR, data)
    document = exported(found)
    assert [item["number"] for item in document["situations"]] == [2, 3, 5]
    assert document["situations"][1]["raw"] == [{"tag": "", "value": "EE7F80"}]
    assert [(w.code, w.path) for w in found.warnings] == [("damaged-object", "CPS_ACTIVITY_03_PS")]


def test_a_situation_whose_data_bear_another_number() -> None:
    found = record(DOCTOR, {"CPS_ACTIVITY_04_PS": SITUATIONS["CPS_ACTIVITY_05_PS"]})
    assert found.situations is not None
    assert found.situations[0].number == 4
    assert [(w.code, w.path) for w in found.warnings] == [("situation-number", "situations.4")]


def test_without_a_dictionary_only_public_tags_are_shown() -> None:
    certificates = [parse_certificate(build(DOCTOR))]
    found = compose(None, None, certificates, decode_objects({**DATA, **SITUATIONS}))
    assert found.specialty == Coded("SM26", "Qualifié en Médecine générale (SM)")
    assert found.sources["specialty"] == Source("CPS_INFO_PS", "third-party")
    assert found.holder.title is None
    assert found.situations is not None
    assert found.situations[0].practice_mode is None
    assert found.situations[0].raw[:2] == (("80", b"\x02"), ("81", b"00"))
    assert found.sources["situations.2.activity_sector"].certainty == "third-party"


def test_two_certificates_the_authentication_one_first() -> None:
    signature = parse_certificate(build(replace(NURSE, names=[("SN", "SIGNATURE")])))
    authentication = parse_certificate(build(replace(NURSE, signature=False, names=[("CN", "899700024450")])))
    found = compose(None, None, [signature, authentication], [])
    assert found.holder.identifier is not None
    assert found.holder.identifier.type == "8"
    assert found.holder.family_name == "SIGNATURE"  # the other one is silent
    assert [c.usage for c in found.certificates] == ["signature", "authentication"]


def test_a_token_label_of_another_card_is_a_contradiction() -> None:
    found = compose(parse_ciainfo(MODEL["cps3-ciainfo"]), None, [parse_certificate(build(NURSE))], [])
    assert found.card.number == "2800262487"
    assert [(w.code, w.path) for w in found.warnings] == [("contradiction", "card.number")]


def test_card_dates_are_days() -> None:
    assert record(DOCTOR, DATA).card.valid_until == date(2029, 1, 4)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*DATA, "CPS_ACTIVITY_01_PS", "CPS_ACTIVITY_16_PS", "CPS_SIT_FACT", "X"]),
        st.one_of(
            st.binary(max_size=60),
            st.tuples(
                st.sampled_from([0xE0, 0xE1, 0xE2, 0xE3, 0xEE, 0xEF]),
                st.lists(st.tuples(st.integers(0x80, 0x8F), st.binary(max_size=9)), max_size=6),
            ).map(lambda pair: tlv(pair[0], b"".join(tlv(tag, value) for tag, value in pair[1]))),
        ),
        max_size=6,
    )
)
def test_whatever_the_objects_hold_the_export_fits_the_schema(data: dict[str, bytes]) -> None:
    exported(record(DOCTOR, data))


def test_states_of_the_codes_are_those_of_the_card() -> None:
    document = to_json(record(None), reader=None, pin=parse_pin_state(REAL["pin-state"]), unblock=None)
    jsonschema.validate(document, SCHEMA)
    assert document["pin"] == {"tries_left": 3, "blocked": False}
