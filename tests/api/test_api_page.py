# SPDX-License-Identifier: Apache-2.0
"""The page "Ma carte" behind its gate: who gets it, who may ask in its name, and the words that it has."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_lab import SITE, Answer, ApiLab, api_lab

from cpxd.api import page
from cpxd.api.keys import KEY_SECONDS, TOKEN_SECONDS, Keys
from cpxd.api.words import WORDS
from cpxd.dialog.display import DisplayHints

CPXD = str(Path(sys.executable).with_name("cpxd"))
WEB = Path(page.__file__).parent / "web"
VISIT: dict[str, str | None] = {
    "Origin": None,
    "X-Cpxd": None,
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
PERSON = ("ALIENOR", "VALLEFICTIVE", "99700090014", "2600997001")


def target(door: ApiLab) -> str:
    opened = door.ask("POST", "/v1/page", {}, native=True)
    assert opened.status == 200 and opened.json["seconds"] == 120
    return str(opened.json["address"]).removeprefix(f"https://localhost:{door.port}")


def visit(door: ApiLab, path: str, **changes: str | None) -> Answer:
    named = {"Host": f"localhost:{door.port}", **VISIT, **{k.replace("_", "-"): v for k, v in changes.items()}}
    return door.ask("GET", path, headers=named)


def own(door: ApiLab, key: str, **changes: str | None) -> dict[str, str | None]:
    here = f"localhost:{door.port}"
    return {
        "Host": here,
        "Origin": f"https://{here}",
        "Sec-Fetch-Site": "same-origin",
        "X-Cpxd-Key": key,
        **{k.replace("_", "-"): v for k, v in changes.items()},
    }


def key_in(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    found = re.search(r'<meta name="key" content="([^"]+)">', answer.body.decode())
    assert found is not None
    return found[1]


@pytest.fixture
def key(doctor: ApiLab) -> Iterator[str]:
    yield key_in(visit(doctor, target(doctor)))


def test_the_page_and_its_headers(doctor: ApiLab) -> None:
    answer = visit(doctor, target(doctor))
    text, headers = answer.body.decode(), answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8" and headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY" and headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer" and "set-cookie" not in headers
    assert not any(name.startswith("access-control") for name in headers)
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"):
        assert rule in policy
    assert "unsafe" not in policy and "http" not in policy
    for tag in ("script", "style"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert content is not None
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()}'" in policy
    assert not re.search(r"(?:src|href|action)=[\"'](?!data:,|#)", text), "nothing is fetched from anywhere"
    assert "{{" not in text and not any(word in text for word in PERSON), "the page itself is about nobody"


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": None},
        {"Sec_Fetch_Dest": "iframe"},
        {"Sec_Fetch_Dest": "embed"},
        {"Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Dest": None},
        {"Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Mode": "cors"},
        {"Origin": SITE},
        {"Origin": "null"},
        {"Sec_Purpose": "prefetch"},
        {"Purpose": "prefetch"},
        {"Upgrade": "websocket"},
        {"Via": "1.1 proxy"},
        {"Host": "localhost"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:{port}"},
    ],
    ids=str,
)
def test_only_a_window_of_the_person_gets_it(doctor: ApiLab, changes: dict[str, str | None]) -> None:
    path = target(doctor)
    changes = {name: value and value.format(port=doctor.port) for name, value in changes.items()}
    refused = visit(doctor, path, **changes)
    assert refused.status == (421 if "Host" in changes else 403) and b"<html" not in refused.body
    assert visit(doctor, path).status == 200, "a refusal uses nothing up"


def test_a_token_is_good_once(doctor: ApiLab) -> None:
    path = target(doctor)
    assert visit(doctor, path).status == 200
    for again in (path, "/card", "/card?t=", "/card?t=x&t=y", f"{path}x", "/card?" + "&".join("abcdefgh"), "/card?t=%ff%fe"):
        answer = visit(doctor, again)
        assert answer.status in (400, 403) and b"key" not in answer.body
    assert "déjà servi" in visit(doctor, path).body.decode() and "used already" in visit(doctor, path).body.decode()


def test_no_site_gets_an_address(doctor: ApiLab) -> None:
    assert doctor.ask("POST", "/v1/page", {}).status == 404


def test_what_the_page_asks(doctor: ApiLab, key: str) -> None:
    view = doctor.ask("POST", "/card/view", {}, headers=own(doctor, key))
    assert view.status == 200 and view.json["card"]["holder"]["family_name"].startswith("VALLEFICTIVE")
    assert view.json["card"]["situations"] is None and view.json["usages"] and view.json["validity"]["days"] > 0
    assert not any(name.startswith("access-control") for name in view.headers)
    verdict = doctor.ask("POST", "/card/doctor", {}, headers=own(doctor, key))
    assert all(check["texts"]["fr"]["title"] and check["texts"]["en"]["title"] for check in verdict.json["checks"])
    assert doctor.ask("POST", "/card/nothing", {}, headers=own(doctor, key)).status == 404
    assert doctor.ask("POST", "/card/view", {"pin": "1234"}, headers=own(doctor, key)).status == 400


def test_nobody_else_asks_in_its_name(doctor: ApiLab, key: str) -> None:
    before, asked = doctor.apdus, doctor.dialogs()
    wrong: list[dict[str, str | None]] = [
        {"Origin": SITE, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": f"https://127.0.0.1:{doctor.port}"},
        {"Origin": f"http://localhost:{doctor.port}"},
        {"Origin": "https://localhost"},
        {"Origin": "https://localhost:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": None},
        {"Sec-Fetch-Dest": "document"},
        {"X-Cpxd": None},
        {"X-Cpxd-Key": None},
        {"X-Cpxd-Key": "x"},
        {"X-Cpxd-Key": key[:-1]},
        {"X-Cpxd-Key": key + "="},
        {"X-Cpxd-Key": ""},
        {"X-Forwarded-For": "127.0.0.1"},
    ]
    answers = {doctor.ask("POST", "/card/situations", {}, headers=own(doctor, key) | change).body for change in wrong}
    assert len(answers) == 1 and b"CPX-160" in answers.pop(), "one constant refusal"
    for path in ("/v1/readers", "/v1/sign", "/v1/page"):
        assert doctor.ask("POST", path, {}, headers=own(doctor, key)).code == "CPX-160", "the key opens nothing but its page"
    assert doctor.ask("GET", "/card/view", headers=own(doctor, key)).code == "CPX-160"
    assert doctor.ask("POST", "/card/view", {}, native=True).status == 404, "and nothing by the socket of programs"
    assert (doctor.apdus, doctor.dialogs()) == (before, asked)


def test_the_key_dies_with_its_page(doctor: ApiLab, key: str) -> None:
    with doctor.tls() as channel:
        head = {**own(doctor, key), "X-Cpxd": "1", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
        lines = ["POST /card/changes HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        lines += ["Content-Type: application/json", "Content-Length: 2"]
        channel.sendall("\r\n".join(lines).encode() + b"\r\n\r\n{}")
        assert b"200 OK" in channel.recv(4096)
        assert doctor.ask("POST", "/card/view", {}, headers=own(doctor, key)).status == 200
    for _ in range(200):
        if doctor.ask("POST", "/card/view", {}, headers=own(doctor, key)).status == 403:
            break
    else:
        raise AssertionError("the page is closed, and its key still good")


def test_times() -> None:
    now = [0.0]
    keys = Keys(lambda: now[0])
    hints = DisplayHints(display=":7")
    late = keys.token(hints)
    now[0] += TOKEN_SECONDS
    assert keys.exchange(late) is None
    key = keys.exchange(keys.token(hints))
    assert key is not None and keys.left(key) == KEY_SECONDS and keys.hints(key) == hints
    now[0] += KEY_SECONDS
    assert keys.left(key) == 0
    tokens = [keys.token(hints) for _ in range(20)]
    assert keys.exchange(tokens[0]) is None and keys.exchange(tokens[-1]) is not None, "a few at a time"
    assert tokens[-1] not in repr(vars(keys))


def used_words() -> set[str]:
    script, html = (WEB / "card.js").read_text(), (WEB / "card.html").read_text() + (WEB / "used.html").read_text()
    found = set(re.findall(r'\bt\("([\w-]+)"', script)) | set(re.findall(r'data-(?:word|label)="([\w-]+)"', html))
    found |= set(re.findall(r'(?:section|button)\((?:"[\w-]+", )?"([\w-]+)"', script))
    found |= set(re.findall(r'say\("([\w-]+)"', script)) | set(re.findall(r'act\("\w+", "([\w-]+)"\)', script))
    found |= set(re.findall(r'\["([\w-]+)", ', script)) | set(re.findall(r"(?:fr|en)_(\w+)", html))
    found |= set(re.findall(r'"(\w+_hint|last_try|examined)"', script))
    return found


def test_no_word_is_missing_and_none_is_left_over() -> None:
    values = {"valid", "expires_soon", "expired", "not_yet_valid", "unknown", "yes", "no", "conditional", "not_mentioned"}
    values |= {"error", "warning", "info"} | {word for word in WORDS if word.startswith(("service_", "event_"))}
    not_words = {"good", "bad-tag", "warn", "fr", "en", "error"}
    used = used_words() - not_words
    assert used <= set(WORDS), used - set(WORDS)
    assert set(WORDS) - used - values - {"good", "revoked", "not_known", "language", "skip"} == set()
    for word, text in WORDS.items():
        assert text.fr.strip() and text.en.strip(), word
        assert set(re.findall(r"\{\w+\}", text.fr)) == set(re.findall(r"\{\w+\}", text.en)), word


@pytest.mark.parametrize(("taken", "code"), [(True, "CPX-170"), (False, "")], ids=["port taken", "free"])
def test_status_web(tmp_path: Path, taken: bool, code: str) -> None:
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    opener.chmod(0o700)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        if taken:
            squatter.listen()
        port = squatter.getsockname()[1]
        if not taken:
            squatter.close()
        with api_lab([None], api_port=port) as lab:
            environment = {**os.environ, **lab.lab.env, "PATH": f"{tmp_path}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
            done = subprocess.run(
                [CPXD, "status", "--web"], env=environment, capture_output=True, text=True, timeout=30, check=False
            )
            if taken:
                assert done.returncode == 10 and code in done.stderr and "cpxd doctor" in done.stderr
                return
            assert done.returncode == 0, done.stderr
            opened = (tmp_path / "opened").read_text()
            assert opened == done.stdout.splitlines()[0]
            assert visit(lab, opened.removeprefix(f"https://localhost:{port}")).status == 200
            lab.daemon.stop()
            environment["CPXD_NO_START"] = "1"
            done = subprocess.run(
                [CPXD, "status", "--web"], env=environment, capture_output=True, text=True, timeout=30, check=False
            )
            assert done.returncode == 10 and "CPX-144" in done.stderr


def test_the_doctor_proves_the_certificate(doctor: ApiLab) -> None:
    environment = {**os.environ, **doctor.lab.env, "LC_ALL": "C.UTF-8"}
    line = [CPXD, "doctor", "--json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    found = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["certificate"]["status"] == "ok" and "essai réel" in found["certificate"]["title"], found["certificate"]


def test_what_is_logged(doctor: ApiLab, tmp_path: Path) -> None:
    visit(doctor, target(doctor))
    log = doctor.state("cpxd.log").read_text(encoding="utf-8")
    assert [json.loads(line) for line in log.splitlines()] and '"operation": "opened"' in log
    environment = {**os.environ, **doctor.lab.env, "LC_ALL": "C.UTF-8"}
    line = [CPXD, "doctor", "--bundle", str(tmp_path / "bundle.json")]
    subprocess.run(line, env=environment, capture_output=True, timeout=60, check=False)
    bundle = (tmp_path / "bundle.json").read_text(encoding="utf-8")
    assert '\\"page\\"' in bundle and "t=" not in log
    assert not any(word in text for word in PERSON for text in (log, bundle))
