# SPDX-License-Identifier: Apache-2.0
"""Data objects and the tag dictionary: what is publicly known, and a dictionary laid over it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_vectors import FOLDER

from cpxd.record.dictionary import Dictionary, dictionary, parse_dictionary, shipped
from cpxd.record.errors import DictionaryError, SituationError
from cpxd.record.objects import Field, check_situations, decode_object, situation_number
from cpxd.tlv import tlv

# An invented layout, kept beside the vectors: nobody has published the official one.
INVENTED = dictionary((FOLDER / "dictionary.json").read_text(encoding="utf-8"))
SITUATION = tlv(
    0xEE,
    tlv(0x80, b"\x03")
    + tlv(0x81, b"04")
    + tlv(0x82, b"1")
    + tlv(0x84, "CABINET DU DR ÉTÉ".encode())
    + tlv(0x85, b"499700735741008")
    + tlv(0x86, b"SA07"),
)


def test_situation_with_what_is_publicly_known() -> None:
    found = decode_object("CPS_ACTIVITY_03_PS", SITUATION + bytes(10))
    assert found.fields == (
        Field("organization_name", "CABINET DU DR ÉTÉ", None, None, "third-party", "84"),
        Field("organization_identifier", "499700735741008", None, None, "third-party", "85"),
        Field("activity_sector", "SA07", "SA07", "Cabinet individuel", "third-party", "86"),
    )
    assert found.unknown == (("80", b"\x03"), ("81", b"04"), ("82", b"1"))
    assert not found.damaged


def test_situation_with_another_dictionary_laid_over() -> None:
    found = decode_object("CPS_ACTIVITY_03_PS", SITUATION, INVENTED)
    assert found.get("situation_number") == Field("situation_number", 3, None, None, "invented", "80")
    mode = found.get("practice_mode")
    assert mode is not None
    assert (mode.code, mode.label) == ("04", "Remplaçant")
    sector = found.get("activity_sector")
    assert sector is not None
    assert sector.certainty == "third-party"  # the dictionary on top does not name 86
    assert found.unknown == ()


def test_card_identity_types() -> None:
    raw = tlv(
        0xE0,
        tlv(0x80, b"8025000001") + tlv(0x82, b"\x80") + tlv(0x83, b"20260105") + tlv(0x84, b"20261399") + tlv(0x85, b"\x02"),
    )
    found = decode_object("CPS_ID_CARD", raw, INVENTED)
    category, start, kind = found.get("category"), found.get("valid_from"), found.get("card_type")
    assert category is not None and start is not None and kind is not None
    assert (category.code, category.label) == ("80", "Carte de PS ou de Personnel de Santé de TEST")
    assert start.value == date(2026, 1, 5)
    assert kind.code == "02"
    assert found.unknown == (("84", b"20261399"),)  # no such day: it stays as it is


def test_repeated_and_unexpectedly_repeated_tags() -> None:
    found = decode_object("CPS_LANG_PS", tlv(0xE2, tlv(0x80, b"fr") + tlv(0x80, b"en")), INVENTED)
    assert [(field.code, field.label) for field in found.fields] == [("fr", "français"), ("en", "anglais")]
    twice = decode_object("CPS_NAME_PS", tlv(0xE1, tlv(0x81, b"A") + tlv(0x81, b"B")), INVENTED)
    assert [field.value for field in twice.fields] == ["A"]
    assert twice.unknown == (("81", b"B"),)


def test_tariff_zone_uses_the_convention_of_its_object() -> None:
    def zone(convention: bytes) -> str | None:
        found = decode_object("CPS_SIT_FACT", tlv(0xEF, tlv(0x84, b"30") + tlv(0x82, convention)), INVENTED).get("tariff_zone")
        return None if found is None else found.label

    assert (zone(b"1"), zone(b"3"), zone(b"7")) == ("Zone C", "Zone B", None)


def test_an_unknown_code_stays_raw_without_a_label() -> None:
    found = decode_object("CPS_ACTIVITY_01_PS", tlv(0xEE, tlv(0x86, b"SA99")))
    assert found.fields == (Field("activity_sector", "SA99", "SA99", None, "third-party", "86"),)


def test_another_template_is_not_decoded() -> None:
    raw = tlv(0xE9, tlv(0x84, b"NOT A NAME"))
    found = decode_object("CPS_ACTIVITY_01_PS", raw)
    assert (found.fields, found.unknown, found.damaged) == ((), (("E9", tlv(0x84, b"NOT A NAME")),), False)


def test_objects_without_a_dictionary_come_back_raw() -> None:
    found = decode_object("CPS2TER_NAME", tlv(0xE8, tlv(0x80, b"X")))
    assert found.unknown == (("80", b"X"),)
    assert decode_object("CPS_DATA", b"\xe0\x99free text").damaged is False
    assert decode_object("CPS_NAME_PS", bytes(40)).unknown == ()


@pytest.mark.parametrize("raw", [b"\xee\x20\x84", SITUATION[:-3], tlv(0xEE, b"\x84\x7fA"), b"\xee\x81"])
def test_malformed_objects_are_kept_whole(raw: bytes) -> None:
    found = decode_object("CPS_ACTIVITY_01_PS", raw)
    assert (found.damaged, found.raw, found.fields) == (True, raw, ())


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (tlv(0x8F, b"SM26"), "SM26"),
        (tlv(0x8F, b"SCD01"), "SCD01"),
        (tlv(0x8F, b"CAPA03"), "CAPA03"),
        (tlv(0x8F, b"SM26") + bytes(6), "SM26"),
        (tlv(0x8F, b"SM88"), "SM88"),
        (tlv(0x8F, b"XX12"), None),
        (tlv(0x83, b"DSM26"), None),
        (tlv(0x83, b"DSM201"), "DSM201"),
        (tlv(0x83, b"FARSM26"), None),  # the end of a longer word
        (tlv(0x83, b"CAMILLE"), None),
        (b"\x8f\x7fSM26", "SM26"),  # not even BER: the place still tells
    ],
)
def test_the_specialty_is_what_ends_the_object(ending: bytes, code: str | None) -> None:
    found = decode_object("CPS_INFO_PS", tlv(0x80, b"899700024450") + ending).get("specialty")
    assert (found and found.code) == code
    if found is not None:
        assert (found.certainty, found.tag) == ("third-party", "")


def test_a_named_tag_beats_the_place() -> None:
    raw = tlv(0xE3, tlv(0x8F, b"SM04") + tlv(0x90, b"SM26"))
    found = [field for field in decode_object("CPS_INFO_PS", raw, INVENTED).fields if field.name == "specialty"]
    assert [(field.code, field.certainty) for field in found] == [("SM04", "invented")]


def test_situation_numbers() -> None:
    labels = [f"CPS_ACTIVITY_{n:02d}_PS" for n in range(1, 17)]
    assert [situation_number(label) for label in labels] == list(range(1, 17))
    assert situation_number("CPS2TER_ACTIVITY_01_PS") is None
    check_situations(["CPS_INFO_PS", *labels])
    for bad in ("CPS_ACTIVITY_17_PS", "CPS_ACTIVITY_00_PS", "CPS_ACTIVITY_99_PS", "CPS_ACTIVITY_1_PS"):
        with pytest.raises(SituationError):
            check_situations([*labels, bad])
    check_situations(["CPS_ACTIVITY_17_PS"])  # alone it is left out with a warning, see identity


def test_the_shipped_dictionary_names_only_what_is_public() -> None:
    known = shipped()
    assert set(known.objects) == {"CPS_DATA", "CPS_INFO_PS", "CPS_ACTIVITY_nn_PS"}
    certainties = {spec.certainty for item in known.objects.values() for spec in item.fields.values()}
    assert certainties == {"third-party"}


def field(**changes: Any) -> str:
    spec = {"name": "x", "type": "ascii", "certainty": "official", **changes}
    return json.dumps({"source": "s", "objects": {"CPS_X": {"fields": {"80": spec}}}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ('{"objects": {}}', "source"),
        ('{"source": "s", "extra": 1}', "extra"),
        ('{"source": "s", "objects": {"A": []}}', "A"),
        ('{"source": "s", "objects": {"A": {"template": "E"}}}', "no tag"),
        ('{"source": "s", "objects": {"A": {"rules": ["magic"]}}}', "rules"),
        ('{"source": "s", "objects": {"A": {"rules": [[]]}}}', "rules"),
        ('{"source": "s", "objects": {"A": {"opaque": "yes"}}}', "true or false"),
        (field(type="float"), "CPS_X 80"),
        (field(type=[]), "CPS_X 80"),
        (field(table="Z99"), "Z99"),
        (field(table=[]), "code table"),
        (field(name=""), "CPS_X 80"),
        (field(certainty=None), "CPS_X 80"),
        (field(repeated=1), "true or false"),
        (field(colour="red"), "colour"),
    ],
)
def test_a_bad_dictionary_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(DictionaryError, match=reason.replace("[", r"\[")):
        parse_dictionary(text)


def test_a_dictionary_can_be_replaced_object_by_object() -> None:
    above = parse_dictionary(
        '{"source": "new", "objects": {"CPS_ACTIVITY_nn_PS": {"template": "E7", "fields":'
        ' {"90": {"name": "organization_name", "type": "utf8", "certainty": "official"}}}}}'
    )
    merged = above.over(shipped())
    spec = merged.spec("CPS_ACTIVITY_12_PS")
    assert spec is not None
    assert (spec.template, set(spec.fields)) == (0xE7, {0x90})  # another template: the old tags mean nothing in it
    assert merged.spec("CPS_INFO_PS") == shipped().spec("CPS_INFO_PS")


LABELS = ["CPS_DATA", "CPS_ID_CARD", "CPS_NAME_PS", "CPS_LANG_PS", "CPS_INFO_PS", "CPS_ACTIVITY_01_PS", "CPS_SIT_FACT", "?"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LABELS), st.binary(max_size=120), st.sampled_from([None, INVENTED]))
def test_no_bytes_raise(label: str, content: bytes, names: Dictionary | None) -> None:
    for raw in (content, *(tlv(template, content) for template in (0xE0, 0xE1, 0xE3, 0xEE, 0xEF))):
        found = decode_object(label, raw, names)
        assert found.raw == raw


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_no_text_raises_anything_but_a_dictionary_error(text: str) -> None:
    with pytest.raises(DictionaryError):
        parse_dictionary(text)
