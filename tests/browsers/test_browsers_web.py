# SPDX-License-Identifier: Apache-2.0
"""The demonstration page of the sandbox, in both browsers, with Local Network Access on: the page's address counts as public."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from api_lab import ApiLab, api_lab
from browser_chromium import Chromium
from browser_firefox import Firefox
from browser_page import Browser
from browser_web import CPXD, Setting, start
from test_api_card import issuers
from webeid_validator import InvalidToken, validate

from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options

WAYS = [(Firefox, "cps3"), (Chromium, "cps4")]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0].name}-{way[1]}")
def way(request: pytest.FixtureRequest) -> tuple[type[Browser], str]:
    found: tuple[type[Browser], str] = request.param
    return found


@pytest.fixture(scope="module")
def kind(way: tuple[type[Browser], str]) -> type[Browser]:
    return way[0]


@pytest.fixture(scope="module")
def lab(way: tuple[type[Browser], str]) -> Iterator[ApiLab]:
    with api_lab([f"cps-medecin:{way[1]}"]) as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(lab: ApiLab) -> Iterator[Addresses]:
    with running(Options(api=f"https://localhost:{lab.port}")) as addresses:
        lab.lab.run([CPXD, "allow", origin(addresses)], check=True)
        yield addresses


def origin(addresses: Addresses) -> str:
    return addresses.demo.rpartition("/")[0]


def test_a_public_page_logs_in_and_signs(kind: type[Browser], lab: ApiLab, sandbox: Addresses, tmp_path: Path) -> None:
    before = lab.dialogs()
    setting = Setting(public=urlsplit(sandbox.demo).port, site=origin(sandbox))
    with start(kind, lab, sandbox.ca, setting) as browser:
        browser.open(sandbox.demo)
        browser.click("list")
        assert shown(browser, "document.querySelector('#cards li').dataset.state") == "ready"
        browser.click("authenticate")
        assert shown(browser, "document.getElementById('holder').dataset.identifier") == "899700090014"
        token = json.loads(str(browser.evaluate("document.getElementById('holder').dataset.token")))
        nonce = str(browser.evaluate("document.getElementById('holder').dataset.nonce"))
        browser.click("sign")
        signature = base64.b64decode(shown(browser, "document.getElementById('signed').dataset.signature"))
        document = str(browser.evaluate("document.getElementById('document').value"))
    trusted = issuers(lab.lab)
    validate(token, origin(sandbox), nonce, trusted)
    with pytest.raises(InvalidToken):
        validate(token, sandbox.issuer, nonce, trusted)
    (tmp_path / "document").write_bytes(document.encode())
    (tmp_path / "signature").write_bytes(signature)
    command = "openssl cms -verify -noverify -binary -inform DER -in signature -content document -out verified"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    assert lab.dialogs() > before and "localhost" in lab.said()


_FAILED = "(!document.getElementById('error').hidden && document.getElementById('error').textContent)"


def shown(browser: Browser, script: str) -> str:
    over = f"({script.replace(').dataset', ')?.dataset')}) || {_FAILED}"
    found = str(browser.wait(over, 40))
    assert browser.evaluate("document.getElementById('error').hidden"), found
    return found


def test_without_a_policy_the_browser_holds_the_page_back(kind: type[Browser], lab: ApiLab, sandbox: Addresses) -> None:
    """So the test above is one of Local Network Access: headless Chromium refuses, Firefox waits for its question's answer."""
    before = (lab.apdus, lab.dialogs())
    with start(kind, lab, sandbox.ca, Setting(public=urlsplit(sandbox.demo).port)) as browser:
        browser.open(sandbox.demo)
        browser.click("authenticate")
        if kind is Firefox:
            browser.wait("document.getElementById('authenticate').disabled")
            time.sleep(2)
            assert browser.evaluate("document.getElementById('holder').textContent") == ""
        else:
            browser.wait("document.getElementById('error').dataset.code === 'CPX-NO-AGENT'")
    assert (lab.apdus, lab.dialogs()) == before
