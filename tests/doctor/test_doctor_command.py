# SPDX-License-Identifier: Apache-2.0
"""`cpxd doctor`, `cpxd explain` as commands: output, exit codes, the bundle, the trial of the keys."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cpxd_lab import CPXD, PIN, card, card_with_codes, cpxd, fails, image, tries, value, with_codes

from cpxd import errors
from cpxd.doctor import contacts
from cpxd.doctor.explain import explain, table
from cpxd.doctor.machine import Machine
from cpxd.doctor.report import redact
from cpxd.pkcs11.ck import CKR
from simulator import personas
from simulator.lab import Lab

PEOPLE = ("cps-medecin", "cps-pharmacien", "cpe-anonyme", "cpf-interne", "cps-retraite")


def test_json_is_one_object_a_check(lab: Lab) -> None:
    lab.insert(0, card())
    result = cpxd(lab, "doctor", "--json")
    checks = result.json["checks"]
    assert result.json["codes_spent"] == 0 and {"pcsc", "reader", "card", "pin"} <= {check["id"] for check in checks}
    for check in checks:
        assert set(check) == {"id", "family", "status", "code", "title", "detail", "fix", "verdict", "evidence", "texts"}
        assert check["fix"] is None or check["fix"]["kind"] in ("command", "phone", "web", "physical")


def test_where_no_memory_can_be_locked_the_limit_is_named(lab: Lab) -> None:
    lab.insert(0, card())
    without = ["setpriv", "--bounding-set", "-ipc_lock"] if os.getuid() == 0 else []  # root may lock whatever the limit says
    line = [*without, "prlimit", "--memlock=0:0", CPXD, "doctor"]
    done = subprocess.run(line, env={**os.environ, **lab.env}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3 and "CPX-228 ✗" in done.stdout and "memlock : 0 Kio" in done.stdout, done.stdout


@pytest.mark.parametrize("language", ["fr", "en"])
def test_screen_of_a_blocked_card(lab: Lab, language: str) -> None:
    handle = lab.insert(0, card("cps-pin-bloque"))
    result = cpxd(lab, "doctor", "--lang", language)
    assert result.code == 2 and "CPX-107 ✗" in result.out and "→ cpxd unblock" in result.out
    assert ("Verdict : traitez d'abord CPX-107" if language == "fr" else "Verdict: deal with CPX-107 first") in result.out
    assert with_codes(handle.trace) == []


def test_the_list_names_every_check(lab: Lab) -> None:
    result = cpxd(lab, "doctor", "--list")
    assert result.code == 0 and "CPX-107" in result.out and "CPX-102" in result.out


@pytest.mark.parametrize("persona", PEOPLE)
@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_no_personal_data_in_the_bundle(lab: Lab, tmp_path: Path, persona: str, model: str) -> None:
    person = personas.load(persona)
    lab.insert(0, card(persona, model))
    target = tmp_path / "bundle.json"
    cpxd(lab, "card", "--pin", codes=[PIN])
    cpxd(lab, "doctor", "--bundle", str(target), "--all")
    text = target.read_text(encoding="utf-8")
    assert json.loads(text)["checks"]
    holder = person.holder
    words = {holder.family_name, holder.given_names, holder.identifier, person.card.number, image(persona, model).atr.hex()}
    words |= {str(getattr(situation, "organization_name", "")) for situation in person.situations}
    for word in words - {"", "None"}:
        assert str(word).casefold() not in text.casefold(), f"{word!r} is in the bundle"
    assert target.stat().st_size > 500


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Lecteur « Gemalto PC Twin Reader (73131FC4) 00 00 »", "73131FC4"),
        ("pid 12 « java » (utilisateur jeanne)", "jeanne"),
        ("/home/jeanne/.cache", "jeanne"),
        ("n° 80012345678", "80012345678"),
        ("Docteur DUPONT", "DUPONT"),
    ],
)
def test_what_is_struck_out(text: str, gone: str) -> None:
    assert gone not in redact(text, Machine(home=Path("/home/jeanne")), {"dupont"})


def test_bundle_cannot_be_written(lab: Lab, tmp_path: Path) -> None:
    lab.insert(0, card())
    fails(cpxd(lab, "doctor", "--bundle", str(tmp_path / "none" / "file")), 40)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_trial_of_each_key(lab: Lab, model: str) -> None:
    virtual = card(model=model)
    handle = lab.insert(0, virtual)
    result = cpxd(lab, "doctor", "--essai", "--json", codes=[PIN])
    assert result.code == 0 and [r["operation"] for r in result.json] == ["pin", "signature", "authentication"]
    assert all(r["done"] for r in result.json)
    assert len(with_codes(handle.trace)) == 1 and tries(virtual) == 3


def test_the_pin_works_and_the_signature_does_not(lab: Lab) -> None:
    handle = lab.insert(0, card())
    assert cpxd(lab, "doctor", "--essai", codes=[PIN]).code == 0
    count = next(n for n, (sent, _) in enumerate(handle.trace) if sent[1] == 0x2A)
    handle = lab.insert(0, card(), f"sw@{count}-=6F00")
    result = cpxd(lab, "doctor", "--essai", codes=[PIN])
    assert result.code == 4 and "✓ Le code porteur marche." in result.out and "✗ La clé de signature ne marche pas" in result.out


def test_a_wrong_pin_ends_the_trial(lab: Lab) -> None:
    virtual = card()
    lab.insert(0, virtual)
    fails(cpxd(lab, "doctor", "--essai", codes=["9999"]), 20)
    assert tries(virtual) == 2


# --- codes


@pytest.mark.parametrize(
    ("asked", "family", "code"),
    [
        ("CPX-107", "CPX", "CPX-107"),
        ("cpx220", "CPX", "CPX-220"),
        ("CKR_PIN_LOCKED", "CKR", "0xA4"),
        ("0x000000a4", "CKR", "0xA4"),
        ("0x80100069", "PCSC", "0x80100069"),
        ("80100069", "PCSC", "0x80100069"),
        ("SCARD_E_NO_SERVICE", "PCSC", "0x8010001D"),
        ("6983", "SW", "6983"),
        ("69 83", "SW", "6983"),
        ("SW 63C2", "SW", "63Cx"),
        ("6110", "SW", "61xx"),
        ("SW1=0x69, SW2=0x83", "SW", "6983"),
        ("0x63 0xC2", "SW", "63Cx"),
        ("6FFF", "SW", "6Fxx"),
        ("164", "CKR", "0xA4"),
        ("pin_locked", "CKR", "0xA4"),
        ("C_Login failed: CKR_PIN_LOCKED (0xa4)", "CKR", "0xA4"),
        ("0x80000001", "CKR", "0x80000001"),
        ("-2146434967", "PCSC", "0x80100069"),
        ("sec_error_no_token", "NSS", "-8127"),
        ("-12227", "NSS", "-12227"),
        ("SSL_ERROR_OF_TOMORROW", "NSS", "-12xxx"),
        ("net::ERR_BAD_SSL_CLIENT_AUTH_CERT", "NET", "-117"),
        ("F003", "SSV", "F003"),
        ("61443", "SSV", "F003"),
        ("SSV F614", "SSV", "F61x"),
        ("8003", "GALSS", "8003"),
        ("32771", "GALSS", "8003"),
        ("GALSS 1024", "GALSS", "0400"),
        ("terminal 6B", "GALSS", "xxxx"),
        ("107", "CPX", "CPX-107"),
    ],
)
def test_explain(asked: str, family: str, code: str) -> None:
    assert (family, code) in {(item.family, item.code) for item in explain(asked)}


@pytest.mark.parametrize(
    "asked", ["", "zut", "CPX-9999", "FFFFFFFFFFFF", "0x", "CKR_", "69", "é\x00", "CPX-1079", "12345", "9" * 5000]
)
def test_explain_what_is_not_known(lab: Lab, asked: str) -> None:
    assert explain(asked) == []


def test_explain_knows_every_error_in_both_languages() -> None:
    kinds, rows = [errors.CpxError], {row.code: row for row in table()}
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        assert kind.code in rows, kind
    for row in rows.values():
        assert row.meaning.fr and row.meaning.en and row.do.fr and row.do.en, row.code
        assert "{" not in row.meaning.fr + row.do.en


def test_explain_takes_every_code_however_it_is_written() -> None:
    for row in table():
        if row.vague or row.family == "CPX":
            continue
        asked = [row.code, row.code.lower(), *([row.name, row.name.lower()] if row.name else [])]
        if row.family in ("SW", "SSV", "GALSS"):
            asked += [f"{row.family} {row.code}", f"0x{row.code.lower()}", f"{row.code[:2]} {row.code[2:]}"]
        if row.family in ("CKR", "PCSC"):
            asked.append(row.code[2:].zfill(8).lower())
        if row.family not in ("NSS", "NET") and int(row.code, 16) > 99:
            asked.append(str(int(row.code, 16)))
        for text in asked:
            assert row in explain(text), text


def test_explain_knows_what_is_returned_over_pkcs11() -> None:
    for answer in CKR:
        assert [row.name for row in explain(f"0x{answer:X}")][-1:] == [f"CKR_{answer.name}"], answer


def test_explain_as_a_command(lab: Lab) -> None:
    assert "unblock" in cpxd(lab, "explain", "CKR_PIN_LOCKED", "--lang", "en").out
    assert cpxd(lab, "explain", "6983", "--json").json[0]["meaning"]["en"] == "Code blocked."
    fails(cpxd(lab, "explain", "zut"), 2)


# --- data


def test_every_contact_has_a_source_and_a_date() -> None:
    assert len(contacts.contacts()) >= 6
    for contact in contacts.contacts():
        assert contact.source and contact.date and contact.words.fr and contact.words.en


@pytest.mark.parametrize("kind", ["CPS", "CPF", "CPE", "CPA", "CDE", "CDA", None])
def test_every_kind_of_card_has_somebody_to_ask(kind: str | None) -> None:
    for anonymous in (False, True):
        assert contacts.advise("new_card", kind, anonymous=anonymous).fr
        assert contacts.advise("unblock_code", kind, anonymous=anonymous).en


def test_an_anonymous_card_is_its_responsible_persons_matter() -> None:
    assert "responsable" in contacts.advise("new_card", "CPE", anonymous=True).fr
    assert "TOPS" in contacts.advise("new_card", "CPE", anonymous=False).fr


def test_unblock_when_nothing_helps_any_more(lab: Lab) -> None:
    virtual = card_with_codes("cps3", pin={"tries_left": 0}, unblock={"tries_left": 0})
    handle = lab.insert(0, virtual)
    line = fails(cpxd(lab, "unblock", codes=["12345678", "2580"]), 24)
    assert "F501" in line and "e-CPS" in line and "Nouvelle carte" in line
    assert with_codes(handle.trace) == [] and value(virtual) == PIN
