# SPDX-License-Identifier: Apache-2.0
"""`cpxd validity`, `usages`, `fhir`, `card --explain` before a real pcscd, with the lists of the test authorities."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from cpxd_lab import cpxd, fails, succeeds
from fhir.resources.R4B.bundle import Bundle

import cpxd as product
from simulator.lab import Lab

SCHEMAS = Path(product.__file__).parent / "schema"


@pytest.fixture
def informed(desk: Lab) -> Iterator[Lab]:
    """The desk of an office that trusts the test authorities and has their lists in a folder: how a lab is set up."""
    file = settings(desk)
    before = file.read_text(encoding="utf-8")
    found = tomllib.loads(before)
    assert found["sign"]["trust"] == found["revocation"]["folder"] == desk.env["CPX_SIM_PKI"]
    yield desk
    file.write_text(before, encoding="utf-8")


def settings(lab: Lab) -> Path:
    return Path(lab.env["XDG_CONFIG_HOME"], "cpxd", "config.toml")


def with_folder(lab: Lab, folder: str) -> None:
    file = settings(lab)
    text = file.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^folder = .*$", f'folder = "{folder}"', text)
    assert changed != text
    file.write_text(changed, encoding="utf-8")


def check(document: object, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize(
    ("card", "code", "said"),
    [
        ("cps-medecin:cps3", 0, ("valid", "good", None)),
        ("cps-medecin:cps4", 0, ("valid", "good", None)),
        ("cpe-opposee:cps3", 50, ("valid", "revoked", "keyCompromise")),
        ("cpe-opposee:cps4", 50, ("valid", "revoked", "keyCompromise")),
        ("cat-opposee-situation:cps4", 50, ("valid", "revoked", "affiliationChanged")),
        ("cat-opposee-sans-motif:cps3", 50, ("valid", "revoked", "unspecified")),
        ("cps-expire-bientot:cps3", 0, ("expires_soon", "good", None)),
        ("cps-expiree:cps4", 50, ("expired", "unknown", None)),
        ("cat-bits-inutiles:cps3", 0, ("valid", "good", None)),
        ("trace-model:cps4", 51, ("valid", "unknown", None)),
    ],
)
def test_validity(informed: Lab, card: str, code: int, said: tuple[str, str, str | None]) -> None:
    dates, state, reason = said
    informed.insert(0, card)
    done = cpxd(informed, "validity", "--json")
    assert (done.code, done.err) == (code, "")
    check(done.json, "validity")
    opposition = done.json["opposition"]
    assert (done.json["card"]["state"], opposition["state"], opposition["reason"]) == (dates, state, reason)
    assert (opposition["until"] is None) == (state != "good") and (opposition["why"] is None) == (state != "unknown")
    if state == "good":
        until = datetime.fromisoformat(opposition["until"])
        assert datetime.now(UTC) < until < datetime.now(UTC) + timedelta(days=8)


def test_what_a_person_reads(informed: Lab) -> None:
    informed.insert(0, "cpe-opposee")
    lines = cpxd(informed, "validity").out.splitlines()
    assert "EN OPPOSITION depuis le" in lines[1] and "perte, vol" in lines[1]
    assert "30 jours" in lines[-1]
    assert "REVOKED since" in cpxd(informed, "validity", "--lang", "en").out


def test_a_tampered_list_is_no_list(informed: Lab) -> None:
    informed.insert(0, "cps-medecin:cps4")
    file = Path(informed.env["CPX_SIM_PKI"], "ACI-FO-PP-TEST.crl")
    before = file.read_bytes()
    try:
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        done = cpxd(informed, "validity", "--json")
    finally:
        file.write_bytes(before)
    assert done.code == 51 and "ACI-FO-PP-TEST.crl" in done.json["opposition"]["why"]


def test_without_any_list(informed: Lab) -> None:
    with_folder(informed, "")
    informed.insert(0, "cps-medecin:cps4")
    done = cpxd(informed, "validity", "--json", "--offline")
    assert (done.code, done.json["opposition"]["state"]) == (51, "unknown")


def test_a_folder_that_is_not_there(informed: Lab) -> None:
    with_folder(informed, "/nowhere")
    informed.insert(0, "cps-medecin:cps4")
    assert "/nowhere" in fails(cpxd(informed, "validity"), 40)


def test_usages_of_a_locum(desk: Lab) -> None:
    desk.insert(0, "cps-remplacant:cps4")
    before = succeeds(cpxd(desk, "usages", "--json")).json
    after = succeeds(cpxd(desk, "usages", "--json", codes=["1234"])).json
    for document in (before, after):
        check(document, "usages")
    assert {sheet["applies"] for sheet in before["sheets"]} == {"possible"}
    assert "yes" not in json.dumps([sheet["usages"] for sheet in before["sheets"]])
    assert [(sheet["id"], sheet["situations"], sheet["applies"]) for sheet in after["sheets"]] == [
        ("medecin_remplacant", [1], "certain")
    ]
    values = {usage["service"]: usage["value"] for usage in after["sheets"][0]["usages"]}
    assert (values["fse_signer"], values["dmp_consulter"], values["amelipro"]) == ("yes", "no", "conditional")
    text = succeeds(cpxd(desk, "usages", codes=["1234"])).out
    assert "Source : Guide des cartes" in text and "e-CPS (et non la carte)" in text


def test_fhir_and_provenance(desk: Lab) -> None:
    desk.insert(0, "cps-medecin-8:cps3")
    bundle = succeeds(cpxd(desk, "fhir", codes=["1234"])).json
    Bundle.model_validate(bundle)
    assert sum(entry["resource"]["resourceType"] == "PractitionerRole" for entry in bundle["entry"]) == 8
    assert bundle["entry"][0]["resource"]["communication"], "the languages, which `cpxd usages` does not wait for"
    document = succeeds(cpxd(desk, "card", "--explain", "--json", codes=["1234"])).json
    check(document, "sources")
    assert document["sources"]["situations.2.organization_name"]["certainty"] == "third-party"
    assert "[certificate, certain" in succeeds(cpxd(desk, "card", "--explain")).out
