# SPDX-License-Identifier: Apache-2.0
"""`cpxd card` against what was put on the cards: the persona files, the published code tables, the published schema."""

from __future__ import annotations

import csv
import functools
import os
import re
import subprocess
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cpxd_lab import (
    CPXD,
    MODELS,
    PERSONAS,
    PIN,
    Terminal,
    card,
    card_schema,
    command,
    cpxd,
    degraded,
    fails,
    image,
    succeeds,
    tries,
    with_codes,
)

import cpxd as product
from simulator import personas
from simulator.lab import Lab
from simulator.pki import TestPki

PRODUCT = Path(product.__file__).parent
TABLES = PRODUCT / "nomenclature" / "data" / "tre"
WHOLE_CODES = tuple(name for name in PERSONAS if not name.endswith("-bloque"))


@functools.cache
def labels(table: str, code: str) -> frozenset[str]:
    """What the published table calls a code, at any date."""
    found = set()
    for path in [*TABLES.glob(f"TRE_{table}_*.csv"), TABLES / "DELTA-2023-2026.csv"]:
        with path.open(encoding="utf-8", newline="") as file:
            found |= {
                row["label"] for row in csv.DictReader(file, delimiter=";") if row["code"] == code and row["table"] == table
            }
    assert found, f"{code} is not in {table}"
    return frozenset(found)


def persona_file(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(personas.__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))


def says(coded: Any, table: str, code: str | None) -> bool:
    return coded is None if code is None else coded["code"] == code and coded["label"] in labels(table, code)


def read(lab: Lab, name: str, model: str, *, pin: bool) -> Any:
    lab.insert(0, card(name, model))
    said = degraded(cpxd(lab, "card", "--json", codes=[PIN] if pin else None)).json
    assert [error.message for error in card_schema().iter_errors(said)] == []
    return said


# -- every persona ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", PERSONAS)
def test_identity_without_the_code(desk: Lab, name: str, model: str) -> None:
    said = read(desk, name, model, pin=False)
    wanted = persona_file(name)
    until = TestPki().today + timedelta(days=wanted["card"]["expires_in_days"])
    assert said["reader"] == desk.readers[0]
    assert said["card"] == {
        "kind": wanted["kind"],
        "category": "test",
        "generation": model.upper(),
        "number": wanted["card"]["number"],
        "serial": wanted["card"]["serial"][model],
        "valid_from": until.replace(year=until.year - 3).isoformat(),
        "valid_until": until.isoformat(),
    }
    holder = wanted["holder"]
    assert said["holder"]["family_name"] == holder.get("family_name")
    assert said["holder"]["given_names"] == holder.get("given_names")
    assert said["holder"]["identifier"] == {"type": holder["identifier"][0], "number": holder["identifier"][1:]}
    title = said["holder"]["title"]
    assert title is None if "title" not in holder else title in labels("G03", holder["title"])
    if "future_profession" in holder:
        assert says(said["profession"], "G16", holder["future_profession"])
    else:
        assert says(said["profession"], "G15", holder.get("profession"))
    assert says(said["specialty"], "R01", holder.get("specialty"))
    assert said["situations"] is None
    assert {entry["usage"] for entry in said["certificates"]} == {"signature", "authentication"}
    for entry in said["certificates"]:
        assert entry["valid_until"].startswith(until.isoformat())
        assert "TEST" in entry["issuer"]


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", WHOLE_CODES)
def test_situations_with_the_code(desk: Lab, name: str, model: str) -> None:
    situations = read(desk, name, model, pin=True)["situations"]
    wanted = persona_file(name).get("situations", [])
    assert [situation["number"] for situation in situations] == [situation["number"] for situation in wanted]
    for said, put in zip(situations, wanted, strict=True):
        assert says(said["practice_mode"], "G17", put["mode"])
        assert said["practice_status"] == put["status"]
        assert says(said["activity_sector"], "R02", put["sector"])
        assert says(said["pharmacist_table"], "G05", put.get("pharmacist_table"))
        assert said["organization_name"] == put["organization_name"]
        identifier = put["organization_identifier"]
        assert said["organization_identifier"] == {"type": identifier[0], "number": identifier[1:]}
        assert said["raw"] == []


def test_personas_that_the_situations_are_about() -> None:
    """So that the test above cannot pass on nothing."""
    assert [s["number"] for s in persona_file("cps-medecin-8")["situations"]] == [1, 2, 4, 5, 7, 8, 11, 16]
    assert "situations" not in persona_file("cps-retraite")
    assert len(PERSONAS) == 15


def test_no_situation_is_not_unknown_situations(desk: Lab) -> None:
    assert read(desk, "cps-retraite", "cps3", pin=False)["situations"] is None
    assert read(desk, "cps-retraite", "cps3", pin=True)["situations"] == []
    assert "aucune" in succeeds(cpxd(desk, "card", codes=[PIN])).out.lower()


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", ["cps-pin-bloque", "cps-puk-bloque"])
def test_blocked_cards_still_say_who_they_are(desk: Lab, name: str, model: str) -> None:
    said = read(desk, name, model, pin=False)
    assert said["pin"] == {"tries_left": 0, "blocked": True}
    assert said["unblock"]["tries_left"] == (10 if name == "cps-pin-bloque" else 0)
    fails(cpxd(desk, "card", codes=[PIN]), 21)


@pytest.mark.parametrize("model", MODELS)
def test_t0_and_t1_say_the_same(desk: Lab, model: str) -> None:
    said = read(desk, "cps-medecin-8", model, pin=True)
    same = read(desk, "cps-medecin-8", "cps4", pin=True)
    for key in ("holder", "profession", "specialty", "situations"):
        assert said[key] == same[key]


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_through_the_distribution_s_own_driver(model: str, tmp_path: Path) -> None:
    """vpcd: another driver, the same card."""
    with Lab([card("cps-medecin-8", model)], slots=1, vpcd=True) as lab:
        said = succeeds(cpxd(lab, "card", "--json", codes=[PIN])).json
        assert [entry["number"] for entry in said["situations"]] == [1, 2, 4, 5, 7, 8, 11, 16]
        (tmp_path / "paper").write_text("x")
        succeeds(cpxd(lab, "sign", str(tmp_path / "paper"), codes=[PIN]))


# -- codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_wrong_code_shows_nothing(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    desk.insert(0, virtual)
    assert re.search(r"\b2\b", fails(cpxd(desk, "card", "--json", codes=["9999"]), 20))
    assert re.search(r"\b1\b", fails(cpxd(desk, "card", codes=["9999"]), 20))
    fails(cpxd(desk, "card", codes=[PIN]), 22)
    assert tries(virtual) == 1
    succeeds(cpxd(desk, "card", "--last-try", codes=[PIN]))
    assert tries(virtual) == 3


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_situations_need_the_code_each_time(desk: Lab, model: str) -> None:
    """What one command was shown is not for the next one."""
    handle = desk.insert(0, card(model=model))
    assert succeeds(cpxd(desk, "card", "--json", codes=[PIN])).json["situations"] != []
    assert succeeds(cpxd(desk, "card", "--json")).json["situations"] is None
    assert len(with_codes(handle.trace)) == 1


def test_code_at_the_terminal(desk: Lab) -> None:
    desk.insert(0, card("cps-medecin-8"))
    with Terminal(desk, "card", "--pin") as terminal:
        terminal.expect_hidden(r"Code porteur")
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 0
    assert "CENTRE DE SANTÉ FICTIF DU PORT" in terminal.screen


# -- text, languages, readers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PERSONAS)
def test_text(desk: Lab, name: str) -> None:
    desk.insert(0, card(name))
    wanted = persona_file(name)
    text = succeeds(cpxd(desk, "card")).out
    for word in (wanted["kind"], wanted["card"]["number"], wanted["holder"]["identifier"][1:], "TEST"):
        assert word in text
    for key in ("family_name", "given_names"):
        assert wanted["holder"].get(key, "") in text
    assert "None" not in text and "null" not in text
    assert all(len(line) < 200 for line in text.splitlines())


def test_expiry_is_pointed_out(desk: Lab) -> None:
    expired, today = (TestPki().today + timedelta(days=-10)).strftime("%d/%m/%Y"), TestPki().today
    desk.insert(0, card("cps-expiree"))
    text = succeeds(cpxd(desk, "card")).out
    assert expired in text and re.search("(?i)expirée|périmée", text)
    desk.insert(0, card("cps-expire-bientot"))
    assert (today + timedelta(days=20)).strftime("%d/%m/%Y") in succeeds(cpxd(desk, "card")).out


@pytest.mark.parametrize(
    ("arguments", "environment", "english"),
    [
        ((), {"LANG": "C.UTF-8"}, False),
        ((), {"LANG": "fr_FR.UTF-8"}, False),
        ((), {"LANG": "en_GB.UTF-8"}, True),
        ((), {"LANG": "de_DE.UTF-8"}, None),
        (("--lang", "en"), {"LANG": "fr_FR.UTF-8"}, True),
        (("--lang", "fr"), {"LANG": "en_US.UTF-8"}, False),
        ((), {"LANG": "fr_FR.UTF-8", "LC_ALL": "en_US.UTF-8"}, True),
    ],
)
def test_languages(desk: Lab, arguments: tuple[str, ...], environment: dict[str, str], english: bool | None) -> None:
    desk.insert(0, card())
    text = succeeds(cpxd(desk, "card", *arguments, env=environment)).out
    if english is not None:
        assert ("Holder" in text) is english and ("Titulaire" in text) is not english
    desk.remove(0)
    message = fails(cpxd(desk, *arguments, "card", env=environment), 12)
    if english is not None:
        assert ("carte" in message) is not english


def test_output_on_a_terminal_that_knows_only_ascii(desk: Lab) -> None:
    desk.insert(0, card("cps-infirmier"))
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = command(desk, "card", codes=[PIN], env={"PYTHONIOENCODING": encoding, "LANG": "C"})
        assert done.code == 0 and "Traceback" not in done.err and "RIVEFICTIVE-LACOMBE" in done.out


def test_output_that_cannot_be_written(desk: Lab) -> None:
    desk.insert(0, card())
    with open("/dev/full", "w") as full:
        done = subprocess.run([CPXD, "card"], env={**os.environ, **desk.env}, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode not in (0, 1, 120) and b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1
    closed = subprocess.run(["sh", "-c", f"{CPXD} card | true"], env={**os.environ, **desk.env}, capture_output=True, check=False)
    assert closed.stderr == b"", "a reader who has seen enough is no error"


def test_several_cards(desk: Lab) -> None:
    handles = [desk.insert(0, card()), desk.insert(1, card("cps-infirmier", "cps4"))]
    for arguments, codes in ((["card"], None), (["card", "--json"], [PIN])):
        message = fails(cpxd(desk, *arguments, codes=codes), 2)
        assert desk.readers[0] in message and desk.readers[1] in message and desk.readers[2] not in message
    assert [with_codes(handle.trace) for handle in handles] == [[], []]
    chosen = succeeds(cpxd(desk, "card", "--json", "--reader", desk.readers[1])).json
    assert (chosen["reader"], chosen["card"]["generation"]) == (desk.readers[1], "CPS4")
    assert succeeds(cpxd(desk, "card", "--json", "--reader", "00 00")).json["card"]["generation"] == "CPS3"
    fails(cpxd(desk, "card", "--reader", desk.readers[2]), 12)


# -- what is not known -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", PERSONAS)
def test_identity_without_the_lab_s_own_dictionary(desk: Lab, tmp_path: Path, name: str, model: str) -> None:
    """The tag dictionary of the virtual card is the lab's. A real card is read with what cpxd ships: the certificates say who."""
    desk.insert(0, card(name, model))
    codes = [PIN] if name in WHOLE_CODES else None
    bare = Lab([])
    bare.env = {**desk.env, "XDG_CONFIG_HOME": str(tmp_path)}
    said = degraded(cpxd(bare, "card", "--json", codes=codes)).json
    assert [error.message for error in card_schema().iter_errors(said)] == []
    wanted = persona_file(name)
    holder = wanted["holder"]
    assert (said["holder"]["family_name"], said["holder"]["given_names"]) == (
        holder.get("family_name"),
        holder.get("given_names"),
    )
    assert said["holder"]["identifier"] == {"type": holder["identifier"][0], "number": holder["identifier"][1:]}
    assert said["card"]["number"] == wanted["card"]["number"] and said["card"]["category"] == "test"
    # without the level of responsibility, CDE may be taken for CPE and CDA for CPA
    assert said["card"]["kind"] in (wanted["kind"], {"CDE": "CPE", "CDA": "CPA"}.get(wanted["kind"]))
    if "profession" in holder:
        assert says(said["profession"], "G15", holder["profession"])
    if codes:
        assert [s["number"] for s in said["situations"]] == [s["number"] for s in wanted.get("situations", [])]
        assert all(situation["raw"] for situation in said["situations"]), "unknown tags come back raw"


# -- how much it costs -----------------------------------------------------------------------------------------


def _identity_commands(trace: list[tuple[bytes, bytes]]) -> int:
    """Without GET RESPONSE, the state of the codes (GET DATA) and the data objects: their directory 7007, files D1xx."""
    count, last = 0, b""
    for sent, _ in trace:
        if sent[1] == 0xA4:
            last = sent[-2:]
        if sent[1] not in (0xC0, 0xCB) and last[:1] != b"\xd1" and last != b"\x70\x07":
            count += 1
    return count


def test_cold_reading_takes_few_commands(desk: Lab) -> None:
    """CPS3: at most 15 commands plus one per 231-byte block of the certificates."""
    handle = desk.insert(0, card())
    succeeds(cpxd(desk, "card"))
    sizes = [len(file.content) for file in image().files if file.path in ((1, 0xA001), (1, 0xA006))]
    assert len(sizes) == 2
    assert _identity_commands(handle.trace) <= 15 + sum(-(-size // 231) for size in sizes)


def test_reading_takes_no_time(desk: Lab) -> None:
    desk.insert(0, card("cps-medecin-8", "cps4"))
    assert min(succeeds(cpxd(desk, "card", codes=[PIN])).seconds for _ in range(3)) < 1


def test_today_is_the_day_of_the_cards() -> None:
    assert abs(TestPki().today - date.today()) <= timedelta(days=1)
