# SPDX-License-Identifier: Apache-2.0
"""What an allowed site gets: tokens that a validator of its own accepts, signatures that OpenSSL accepts, typed errors."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from api_lab import BROWSER, SITE, ApiLab, api_lab
from cryptography import x509
from webeid_validator import validate

from cpxd.api import routes
from simulator.daemon import Daemon
from simulator.lab import Lab

NONCE = "aZ09+/" * 8


def issuers(lab: Lab) -> list[x509.Certificate]:
    found = []
    for path in sorted(Path(lab.env["CPX_SIM_PKI"]).rglob("*")):
        if path.is_file() and path.suffix in (".pem", ".crt", ".cer", ".der"):
            data = path.read_bytes()
            found += x509.load_pem_x509_certificates(data) if b"-----BEGIN C" in data else [x509.load_der_x509_certificate(data)]
    assert found
    return found


def test_a_native_program_names_its_site(doctor: ApiLab) -> None:
    token = doctor.ask("POST", "/v1/authenticate", {"nonce": NONCE, "origin": "https://psc.example"}, native=True).json
    validate(token, "https://psc.example", NONCE, issuers(doctor.lab))
    assert "→ https://psc.example" in doctor.said()
    before = doctor.dialogs()
    for origin in ("http://psc.example", "https://psc.example/", "psc.example", ""):
        assert doctor.ask("POST", "/v1/authenticate", {"nonce": NONCE, "origin": origin}, native=True).code == "CPX-162"
    assert doctor.ask("GET", "/v1/info", headers={"Origin": SITE}, native=True).code == "CPX-160"
    assert doctor.dialogs() == before


def test_sign(doctor: ApiLab, tmp_path: Path) -> None:
    document = "Compte rendu n° 12\nTout va bien.".encode()
    wanted = {"documents": [{"name": "cr.txt", "content": base64.b64encode(document).decode()}]}
    made = doctor.ask("POST", "/v1/sign", wanted).json["signatures"]
    assert [item["name"] for item in made] == ["cr.txt.p7s"]
    (tmp_path / "cr.txt").write_bytes(document)
    (tmp_path / "cr.p7s").write_bytes(base64.b64decode(made[0]["content"]))
    command = "openssl cms -verify -noverify -binary -inform DER -in cr.p7s -content cr.txt -out /dev/null"
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "cr.txt").write_bytes(document + b"!")
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode != 0
    assert "Tout va bien." in doctor.said() and "Compte rendu n° 12" in doctor.said()


def test_refused_documents_are_not_signed() -> None:
    with api_lab(["cps-medecin:cps3"], ["no", "pin 1234"]) as lab:
        apdus = lab.apdus
        wanted = {"documents": [{"name": "a", "content": "YQ=="}]}
        answer = lab.ask("POST", "/v1/sign", wanted)
        assert (answer.status, answer.code) == (403, "CPX-138")
        assert lab.apdus == apdus and lab.dialogs() == 1


def test_consent_is_remembered_per_holder_and_site() -> None:
    with api_lab(["cps-medecin:cps3"], ["no", "ok", "ok"]) as lab:
        assert lab.ask("POST", "/v1/identity", {}).code == "CPX-138"
        assert lab.ask("POST", "/v1/identity", {}).json["holder"]["family_name"]
        assert lab.ask("POST", "/v1/certificates", {}).json["certificates"]
        assert lab.dialogs() == 2
        kept = lab.state("consents.json")
        assert kept.stat().st_mode & 0o777 == 0o600 and "8997" not in kept.read_text()
        lab.lab.insert(0, "cps-pharmacien:cps3")  # another holder: asked again
        lab.wait()
        assert lab.ask("POST", "/v1/identity", {}).status == 200
        assert lab.dialogs() == 3


def test_situations_need_the_pin(doctor: ApiLab) -> None:
    assert doctor.ask("POST", "/v1/identity", {}).json["situations"] is None
    assert doctor.ask("POST", "/v1/situations", {}).json["situations"]


def test_one_wrong_pin_is_one_try() -> None:
    with api_lab(["cps-medecin:cps3"], ["pin 9999", "cancel", "pin 12"]) as lab:
        answer = lab.ask("POST", "/v1/authenticate", {"nonce": NONCE})
        assert (answer.status, answer.code) == (403, "CPX-120")
        assert "9999" not in answer.body.decode() and answer.json["error"]["fr"] != answer.json["error"]["en"]
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-138"
        assert lab.ask("GET", "/v1/readers").json["readers"][0]["pin"] == {"tries_left": 2, "blocked": False}


def test_no_card_and_a_foreign_card() -> None:
    with api_lab([None]) as lab:
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-103"
        assert lab.ask("GET", "/v1/readers").json["readers"][0]["state"] == "no-card"
        assert lab.dialogs() == 0


def test_one_question_at_a_time_and_a_dialog_that_dies() -> None:
    with api_lab(["cps-medecin:cps3"], ["hang"]) as lab, ThreadPoolExecutor(2) as pool:
        asked = pool.submit(lab.ask, "POST", "/v1/authenticate", {"nonce": NONCE})
        while not lab.dialogs():
            pass
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-166"
        os.kill(child(lab.daemon.process.pid), 9)
        assert asked.result(30).code == "CPX-123"


def waiting(lab: ApiLab, program: Path | None = None) -> tuple[Path, Path]:
    """From now on a dialog (that of codes, or `program`) opens (first file) and waits until it may answer (second file)."""
    opened, go, program = lab.dialog.with_name("opened"), lab.dialog.with_name("go"), program or lab.dialog
    real = program.read_text().splitlines()[-1]
    wait = f"touch {opened}; while [ ! -e {go} ]; do sleep 0.02; done"
    program.write_text(f"#!/bin/sh\n{wait}\n{real}\n")
    return opened, go


def until(path: Path) -> None:
    limit = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("other", ["cps-medecin:cps3", "cps-pharmacien:cps3"])
def test_a_card_put_in_meanwhile_is_not_the_one_that_was_asked_for(other: str) -> None:
    with api_lab(["cps-medecin:cps3"]) as lab, ThreadPoolExecutor(1) as pool:
        opened, go = waiting(lab)
        asked = pool.submit(lab.ask, "POST", "/v1/authenticate", {"nonce": NONCE})
        until(opened)
        new = lab.lab.insert(0, other)
        lab.wait()
        go.touch()
        assert asked.result(30).code in ("CPX-126", "CPX-128")
        assert not [sent for sent, _ in new.trace if sent[1] == 0x20 and len(sent) > 5]  # no VERIFY with a code


def test_a_page_that_leaves_takes_its_dialog_along() -> None:
    with api_lab(["cps-medecin:cps3"]) as lab:
        opened, go = waiting(lab)
        body = json.dumps({"nonce": NONCE}).encode()
        head = [f"Host: localhost:{lab.port}", *(f"{k}: {v}" for k, v in BROWSER.items()), f"Content-Length: {len(body)}"]
        lines = ["POST /v1/authenticate HTTP/1.1", "Content-Type: application/json", *head]
        with lab.tls() as page:
            page.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            until(opened)
        limit = time.monotonic() + 10
        while lab.ask("POST", "/v1/identity", {"reader": 9}).code == "CPX-166":
            assert time.monotonic() < limit
            time.sleep(0.1)
        with pytest.raises(AssertionError):
            child(lab.daemon.process.pid)
        go.touch()
        validate(lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).json, SITE, NONCE, issuers(lab.lab))


def child(pid: int) -> int:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            return int(path.parent.name)
    raise AssertionError("no dialog")


def test_the_schema_has_no_field_for_a_code(doctor: ApiLab) -> None:
    described = doctor.ask("GET", "/v1/openapi.json").json
    assert described["openapi"] == "3.1.0"
    for route in routes.ROUTES:
        jsonschema.Draft202012Validator.check_schema(route.takes)
        names = json.dumps(list(fields(route.takes))).lower()
        assert not any(word in names for word in ("pin", "code", "puk", "secret", "password"))
    assert set(described["paths"]) == {route.path for route in routes.ROUTES}


def fields(schema: Any) -> list[str]:
    found = list(schema.get("properties", {}))
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        found += fields(inner)
    return found


def test_answers_are_as_described(doctor: ApiLab) -> None:
    wanted = {
        "authenticate": {"nonce": NONCE},
        "sign": {"documents": [{"name": "a", "content": "YQ=="}]},
    }
    for route in routes.ROUTES:
        if route.operation != "events":
            body = wanted.get(route.operation, {}) if route.method == "POST" else None
            answer = doctor.ask(route.method, route.path, body, native=route.operation == "page")
            assert answer.status == 200, route
            jsonschema.validate(answer.json, route.answer)


def test_an_idle_daemon_sleeps() -> None:
    with api_lab(["cps-medecin:cps3"]) as lab:
        lab.ask("GET", "/v1/info")
        time.sleep(1)
        before = switches(lab.daemon.process.pid)
        time.sleep(3)
        assert switches(lab.daemon.process.pid) - before <= 2


def switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


def test_idle_memory() -> None:
    with Lab(["cps-medecin:cps3"], slots=1) as lab:
        daemon = Daemon({**os.environ, **lab.env}, Path(str(lab.folder), "daemon.log"))
        try:
            while not Path(lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock").exists():
                pass
            text = Path(f"/proc/{daemon.process.pid}/status").read_text()
            assert int(text.split("VmRSS:")[1].split()[0]) <= 45 * 1024
            assert "aiohttp" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()
        finally:
            daemon.stop()
