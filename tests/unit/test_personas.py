# SPDX-License-Identifier: Apache-2.0
"""The personas that come with the simulator, and what a persona file may not say."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import personas
from simulator.personas import PersonaError
from simulator.personas.checks import is_person_identifier, is_structure_identifier, luhn, luhn_digit

NAMES = [
    "cde-transport",
    "cpa",
    "cpe-anonyme",
    "cpe-opposee",
    "cpf-interne",
    "cps-expire-bientot",
    "cps-expiree",
    "cps-infirmier",
    "cps-medecin",
    "cps-medecin-8",
    "cps-pharmacien",
    "cps-pin-bloque",
    "cps-puk-bloque",
    "cps-remplacant",
    "cps-retraite",
]
MINIMAL = """
kind = "CPS"
[description]
fr = "essai"
en = "trial"
[card]
number = "2600997099"
serial = { cps3 = "99701099", cps4 = "99704099" }
expires_in_days = 100
[holder]
identifier = "899700090014"
languages = ["fr"]
family_name = "ESSAI"
given_names = "JEAN"
profession = "10"
"""


def from_text(folder: Path, text: str) -> personas.Persona:
    path = folder / "essai.toml"
    path.write_text(text)
    return personas.load(path)


def test_the_promised_names() -> None:
    assert personas.names() == NAMES


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.toml", "large.toml", "/"])
def test_what_is_no_persona_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(PersonaError):
        personas.load(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_each_one_loads_with_test_codes(name: str) -> None:
    persona = personas.load(name)
    assert persona.name == name
    assert persona.description_fr and persona.description_en and persona.description_fr != persona.description_en
    assert (persona.codes.pin, persona.codes.unblock) == ("1234", "12345678")


def test_no_two_cards_are_the_same() -> None:
    everyone = [personas.load(name) for name in NAMES]
    numbers = {p.card.number for p in everyone}
    serials = {serial for p in everyone for serial in (p.card.serial_cps3, p.card.serial_cps4)}
    assert len(numbers) == len(NAMES)
    assert len(serials) == 2 * len(NAMES)
    assert len({p.holder.identifier for p in everyone}) == len(NAMES)


def test_what_makes_each_one_worth_having() -> None:
    everyone = {name: personas.load(name) for name in NAMES}
    numbers = [s.number for s in everyone["cps-medecin-8"].situations]
    assert len(numbers) == 8 and max(numbers) > 8
    assert everyone["cps-retraite"].situations == ()
    revocation = everyone["cpe-opposee"].revocation
    assert revocation is not None and revocation.reason == "keyCompromise"
    assert everyone["cpe-anonyme"].anonymous
    assert everyone["cde-transport"].holder.responsibility_level == "01"
    assert everyone["cde-transport"].billing is None
    assert everyone["cps-remplacant"].situations[0].mode == "04"
    assert everyone["cps-infirmier"].holder.identifier.startswith("0")
    assert everyone["cpf-interne"].holder.future_profession == "10"
    assert everyone["cps-pharmacien"].holder.pharmacist_table == "A"
    assert everyone["cps-pin-bloque"].codes.pin_tries_left == 0
    assert everyone["cps-pin-bloque"].codes.unblock_tries_left == 10
    assert everyone["cps-puk-bloque"].codes.unblock_tries_left == 0


def test_validity_runs_three_years_to_a_day_counted_from_today() -> None:
    today = date(2026, 11, 30)
    assert personas.load("cps-expire-bientot").card.valid_until(today) == date(2026, 12, 20)
    assert personas.load("cps-expire-bientot").card.valid_from(today) == date(2023, 12, 20)
    assert personas.load("cps-expiree").card.valid_until(today) == date(2026, 11, 20)
    leap = date(2028, 2, 9)
    assert personas.load("cps-expire-bientot").card.valid_from(leap) == date(2025, 2, 28)


def test_billing_goes_with_liberal_practice() -> None:
    for name in NAMES:
        persona = personas.load(name)
        if persona.billing is not None:
            modes = {s.number: s.mode for s in persona.situations}
            assert modes[persona.billing.situation] == "00", name


def test_a_file_of_the_callers(tmp_path: Path) -> None:
    persona = from_text(tmp_path, MINIMAL)
    assert (persona.name, persona.situations, persona.billing) == ("essai", (), None)
    assert personas.load(str(tmp_path / "essai.toml")) == persona


WRONG = {
    "unknown key": (MINIMAL + 'color = "blue"\n', "color"),
    "unknown table": (MINIMAL + "[hat]\n", "hat"),
    "missing": (MINIMAL.replace('number = "2600997099"\n', ""), "number"),
    "number for text": (MINIMAL.replace('"2600997099"', "2600997099"), "number"),
    "text for number": (MINIMAL.replace("= 100", '= "100"'), "expires_in_days"),
    "truth for number": (MINIMAL.replace("= 100", "= true"), "expires_in_days"),
    "out of range": (MINIMAL.replace("= 100", "= 4000"), "expires_in_days"),
    "short number": (MINIMAL.replace("2600997099", "260099709"), "number"),
    "digits of another script": (MINIMAL + '\n[codes]\npin = "１２３４"\n', "pin"),
    "wrong key of an RPPS": (MINIMAL.replace("899700090014", "899700090015"), "identifier"),
    "unknown kind": (MINIMAL.replace('"CPS"', '"CPX"'), "kind"),
    "unknown profession": (MINIMAL.replace('"10"', '"11"'), "profession"),
    "no language": (MINIMAL.replace('["fr"]', "[]"), "languages"),
    "a language that is none": (MINIMAL.replace('["fr"]', '["fr", 3]'), "languages"),
    "pseudonym and name": (MINIMAL + 'pseudonym = "EMPLOYE1"\n', "family_name"),
    "half a name": (MINIMAL.replace('given_names = "JEAN"\n', ""), "family_name"),
    "no profession": (MINIMAL.replace('profession = "10"\n', ""), "holder"),
    "control character": (MINIMAL.replace('"ESSAI"', '"ES\\u0000SAI"'), "family_name"),
    "employer of a doctor": (
        MINIMAL + '[organization]\nname = "X"\nidentifier = "1990700577"\ndepartment = "Paris (75)"\n',
        "organization",
    ),
    "a list for a table": (MINIMAL + "[[codes]]\n", "codes"),
    "situations no list": (MINIMAL + "[situations]\n", "situations"),
    "situations of text": ('situations = ["a"]\n' + MINIMAL, "situations"),
    "PIN of five digits": (MINIMAL + '[codes]\npin = "12345"\n', "pin"),
    "reason": (MINIMAL + '[revocation]\ndays_ago = 1\nreason = "lost"\n', "reason"),
}
SITUATION = (
    '[[situations]]\nnumber = 1\nmode = "00"\nstatus = "1"\nsector = "SA07"\n'
    'organization_name = "X"\norganization_identifier = "499700090014014"\n'
)
BILLING = (
    '[billing]\nsituation = 2\nidentifier = "991240011"\nconvention = "1"\nspecialty = "01"\ntariff_zone = "20"\n'
    'travel_zone = "1"\napprovals = ["01", "00", "00"]\n'
)
WRONG |= {
    "same situation twice": (MINIMAL + SITUATION * 2, "situations"),
    "situation 17": (MINIMAL + SITUATION.replace("= 1\n", "= 17\n"), "number"),
    "wrong key of a structure": (MINIMAL + SITUATION.replace("499700090014014", "499700090015014"), "organization_identifier"),
    "billing of no situation": (MINIMAL + SITUATION + BILLING, "billing"),
    "wrong key of a billing number": (MINIMAL + SITUATION + BILLING.replace("991240011", "991240012"), "identifier"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_and_the_key_named(tmp_path: Path, case: str) -> None:
    text, key = WRONG[case]
    with pytest.raises(PersonaError) as refused:
        from_text(tmp_path, text)
    for sentence in (refused.value.french, refused.value.english):
        assert re.search(rf"\b{key}\b", sentence), sentence
        assert "essai" in sentence


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = ", b"kind"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "essai.toml"
    path.write_bytes(content)
    with pytest.raises(PersonaError, match="TOML"):
        personas.load(path)


@pytest.mark.parametrize("name", ["nobody", "../cps-medecin", "missing.toml", ""])
def test_nobody_of_that_name(name: str) -> None:
    with pytest.raises(PersonaError):
        personas.load(name)


@settings(max_examples=50)
@given(st.text("0123456789", min_size=1, max_size=20))
def test_luhn_finds_any_single_wrong_digit(digits: str) -> None:
    whole = digits + str(luhn_digit(digits))
    assert luhn(whole)
    for at, digit in enumerate(whole):
        assert not luhn(whole[:at] + str((int(digit) + 1) % 10) + whole[at + 1 :])


def test_identifiers_seen_on_real_test_cards() -> None:
    for right in ("899700024450", "810002813839", "0991068040", "30B0057881/CPET0002", "3760021832/000000018"):
        assert is_person_identifier(right), right
    for wrong in ("", "8", "899700024451", "30B0057881", "30B0057881/", "7123", "30B0057881/é", "899700024450 "):
        assert not is_person_identifier(wrong), wrong
    for right in ("499700024450014", "10B0057881", "1760021832", "1990781056", "099106804000"):
        assert is_structure_identifier(right), right
    for wrong in ("", "4", "499700024451014", "1990781057", "318751275100021", "9123456789"):
        assert not is_structure_identifier(wrong), wrong
