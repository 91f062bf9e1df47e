# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote, as they are: what they send by themselves must not keep them out."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from api_lab import BROWSER, ApiLab, answer, api_lab

HERE = Path(__file__).parent
LARGE = 1_200_000  # bytes of a document: curl asks first (Expect: 100-continue) from a body of 1 MiB


def test_java(doctor: ApiLab, tmp_path: Path) -> None:
    """Java opens IPv6 sockets, for 127.0.0.1 too; a body from a stream has no length."""
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(doctor.leaf())
    command = ["java", "-XX:TieredStopAtLevel=1", HERE / "PageClient.java", str(doctor.port), leaf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    info, certificates, readers = done.stdout.splitlines()
    assert info.startswith('200 {"name": "cpxd"') and certificates.startswith('200 {"certificates": [{')
    assert json.loads(readers)["readers"][0]["generation"] == "CPS3"


@pytest.mark.parametrize("door", ["tls", "unix"])
def test_curl_with_a_large_document(doctor: ApiLab, tmp_path: Path, door: str) -> None:
    (tmp_path / "leaf.pem").write_text(doctor.leaf())
    content = base64.b64encode(b"a" * LARGE).decode()
    (tmp_path / "body").write_text(json.dumps({"documents": [{"name": "a.bin", "content": content}]}))
    command = ["curl", "-sS", "--data-binary", f"@{tmp_path / 'body'}", "-H", "Content-Type: application/json"]
    if door == "tls":
        command += ["--http2", "--cacert", str(tmp_path / "leaf.pem"), f"https://localhost:{doctor.port}/v1/sign"]
        command += [word for name, value in BROWSER.items() for word in ("-H", f"{name}: {value}")]
    else:
        command += ["--unix-socket", str(Path(doctor.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock")), "http://localhost/v1/sign"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert json.loads(said)["signatures"][0]["name"] == "a.bin.p7s", said[:300]


@pytest.mark.parametrize(
    "more",
    [
        {"Sec-Fetch-Mode": "cors"},  # fetch of Node.js
        {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"},  # curl --http2, Java
    ],
)
def test_what_programs_add(doctor: ApiLab, more: dict[str, str | None]) -> None:
    assert doctor.ask("POST", "/v1/certificates", {}, more, native=True).status == 200
    assert doctor.ask("POST", "/v1/certificates", {}, {**more, "Sec-Fetch-Site": "none"}, native=True).code == "CPX-160"


def test_cookies_that_others_set_for_localhost(doctor: ApiLab) -> None:
    """They know no port (RFC 6265, section 8.5): a browser that visits "Ma carte" brings them all."""
    assert doctor.ask("GET", "/v1/info", headers={"Cookie": f"a={'b' * 8000}"}).status == 200


CHUNKED = (
    "POST /v1/certificates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("1\r\n{\r\n1;a=b\r\n}\r\n0\r\n\r\n", None),  # .NET, Node.js, Go
        ("2\r\n{}\r\n0\r\nOrigin: https://evil.example\r\n\r\n", None),  # what follows the body is no header
        ("4001\r\n" + " " * 0x4001 + "\r\n0\r\n\r\n", "CPX-167"),
        ("nonsense\r\n", "CPX-162"),
        ("-1\r\n{}\r\n0\r\n\r\n", "CPX-162"),
        ("ffffffffffffffffff\r\n{}", "CPX-162"),
    ],
)
def test_a_body_in_chunks(doctor: ApiLab, body: str, code: str | None) -> None:
    with doctor.unix() as channel:
        got = answer(channel, (CHUNKED + body).encode())
    assert (got.status, code) == (200, None) if code is None else got.code == code


def test_the_largest_document_costs_a_few_times_its_size() -> None:
    with api_lab(["cps-medecin:cps4"], ["cancel"]) as lab:
        before = peak(lab)
        large = base64.b64encode(bytes(17 << 20)).decode()
        assert lab.ask("POST", "/v1/sign", {"documents": [{"name": "a.bin", "content": large}]}).code == "CPX-138"
        assert peak(lab) - before < 200 << 10
        for wrong in ("A", "AA", "A===", "AAAA====", "AA==AA==", "AA-_", "AAA\n", "é+=="):
            assert lab.ask("POST", "/v1/sign", {"documents": [{"name": "a.bin", "content": wrong}]}).code == "CPX-162"


def peak(lab: ApiLab) -> int:
    """The most that the daemon ever had in memory, KiB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{lab.daemon.process.pid}/status").read_text())[0])


def test_half_a_character_is_a_bad_request(doctor: ApiLab) -> None:
    """JSON can spell what no text has."""
    asked = {"documents": [{"name": "\ud800.txt", "content": ""}]}
    assert doctor.ask("POST", "/v1/sign", asked).code == "CPX-162"
    assert doctor.ask("POST", "/v1/authenticate", {"nonce": "\udfff" * 44}).code == "CPX-162"
    assert doctor.ask("POST", "/v1/certificates", {"\ud800": 1}).code == "CPX-162"


def test_a_wrong_method_is_told_the_right_one(doctor: ApiLab) -> None:
    refused = doctor.ask("PUT", "/v1/sign")
    assert (refused.code, refused.headers["allow"]) == ("CPX-164", "POST")  # RFC 9110, section 15.5.6
    assert doctor.ask("HEAD", "/v1/info").headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "body", "french", "english"),
    [
        ("authenticate", {}, "il manque « nonce »", "“nonce” is missing"),
        ("authenticate", [], "« corps »", "“body”"),
        ("sign", {"documents": [{"name": "a.pdf", "content": ""}], "format": "pades"}, "PDF abîmé", "broken"),
        ("sign", {"documents": [{"name": "a.xml", "content": ""}], "format": "xades"}, "XML mal formé", "XML malformed"),
        ("sign", {"documents": [{"name": "a", "content": ""}], "level": "t"}, "aucune autorité", "no authority"),
        ("sign", {"documents": [{"name": "a", "content": ""}], "format": "jws", "form": "enveloped"}, "impossible", "choose"),
    ],
)
def test_each_sentence_is_of_one_language(doctor: ApiLab, path: str, body: object, french: str, english: str) -> None:
    said = doctor.ask("POST", f"/v1/{path}", body).json["error"]
    assert french in said["fr"] and english in said["en"]
    assert not re.search("[àâçéèêîôû«»]", said["en"])
