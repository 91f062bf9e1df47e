# SPDX-License-Identifier: Apache-2.0
"""The page "Ma carte" in real browsers: what it shows in both languages, its dialogs, and who does not get it."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_bench import PIN, artifact
from browser_own import OwnChromium, OwnFirefox

sys.path += [str(Path(__file__).parents[1] / name) for name in ("api", "lab")]

from api_lab import ApiLab, api_lab
from cpxd_lab import UNBLOCK, card, tries, with_codes
from logind import Logind

from cpxd.api.words import WORDS

NAME = "VALLEFICTIVE-MERCOEUR"
Own = OwnChromium | OwnFirefox
_TEXT = "document.body.innerText"
_DONE = "document.getElementById('findings') !== null"  # the doctor's verdict comes last


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core, out of its npm package."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "axe" / name, folder)
    line = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run(line, check=True, capture_output=True, timeout=120)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def logind() -> Iterator[Logind]:
    with tempfile.TemporaryDirectory(prefix="cpx-", dir="/tmp") as folder:
        made = Logind(Path(folder))
        yield made
        made.close()


@pytest.fixture(scope="module")
def door(logind: Logind) -> Iterator[ApiLab]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in logind.env.items():
            patch.setenv(name, value)
        with api_lab(["cps-medecin:cps3"]) as lab:
            yield lab


@pytest.fixture(scope="module", params=[OwnChromium, OwnFirefox], ids=lambda kind: kind.name)
def browser(request: pytest.FixtureRequest, door: ApiLab) -> Iterator[Own]:
    leaf = door.dialog.parent / "leaf.pem"
    leaf.write_text(door.leaf())
    with request.param(door.lab.env, str(leaf)) as opened:
        yield opened


def address(door: ApiLab) -> str:
    """As `cpxd status --web` asks for it."""
    return str(door.ask("POST", "/v1/page", {}, native=True).json["address"])


def inserted(door: ApiLab, what: object) -> None:
    door.lab.remove(0)
    door.lab.insert(0, what)
    limit = time.monotonic() + 20
    while door.ask("GET", "/v1/readers", native=True).json["readers"][0]["state"] in ("no-card", "reading"):
        assert time.monotonic() < limit
        time.sleep(0.02)


def shown(browser: Own, door: ApiLab, wanted: str) -> str:
    browser.open(address(door))
    browser.wait(f"{_TEXT}.includes({wanted!r})")
    return str(browser.evaluate(_TEXT))


def in_language(browser: Own, language: str) -> str:
    browser.click(language)
    browser.wait(f"document.documentElement.lang === {language!r} && {_DONE}")
    return str(browser.evaluate(_TEXT))


def test_what_it_shows(door: ApiLab, browser: Own, axe: str) -> None:
    inserted(door, "cps-medecin:cps3")
    shown(browser, door, NAME)
    browser.wait(_DONE)
    french = str(browser.evaluate(_TEXT))
    assert browser.evaluate("document.documentElement.lang") == "fr"
    assert browser.evaluate("document.URL") == f"https://localhost:{door.port}/card", "the token leaves the address"
    for text in (
        "Médecin (10)",
        "99700090014",
        "3 essais sur 3",
        "10 essais restants",
        "jours restants",
        "Carte lue",
        "carte de TEST",
    ):
        assert text in french
    assert browser.evaluate("document.querySelector('.dots').getAttribute('aria-label')") == "3 essais sur 3"
    assert browser.evaluate("document.querySelector('.dots').textContent") == "●●●"
    assert browser.evaluate("document.querySelectorAll('input').length") == 0, "nothing is typed into it"
    browser.evaluate("[...document.querySelectorAll('details')].forEach(found => { found.open = true })")
    browser.picture(artifact(f"mycard-{browser.name}-fr"))
    assert browser.violations(axe) == []
    english = in_language(browser, "en")
    browser.picture(artifact(f"mycard-{browser.name}-en"), width=480, dark=True)
    assert browser.violations(axe) == []
    assert browser.evaluate("document.querySelectorAll('details[open]').length") > 1, "what was open stays open"
    for text in ("3 tries of 3", "10 tries left", "days left", "Card read", "TEST card", "Examine again"):
        assert text in english
    assert "undefined" not in french + english
    only_french = {text.fr for text in WORDS.values() if text.fr != text.en and "{" not in text.fr and len(text.fr) > 6}
    only_english = {text.en for text in WORDS.values() if text.fr != text.en and "{" not in text.en and len(text.en) > 6}
    assert [text for text in only_french if f"\n{text}\n" in english] == []
    assert [text for text in only_english if f"\n{text}\n" in french] == []

    wanted = set(browser.evaluate("[...document.querySelectorAll('button, summary, a')].map(e => e.id || e.textContent)"))
    reached = set()
    for _ in range(2 * len(wanted)):
        browser.tab()
        reached.add(browser.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"Skip to content", "fr", "en", "change", "situations", "again"} <= wanted <= reached, "by the keyboard alone"


def test_its_buttons_open_native_dialogs(door: ApiLab, browser: Own) -> None:
    inserted(door, "cps-medecin:cps3")
    door.answers("cancel", f"pin {PIN}")
    before = door.said().count("GETPIN")
    assert "La carte ne les donne qu'avec le code porteur" in shown(browser, door, NAME)
    browser.click("change")
    browser.wait("document.getElementById('said').className === 'bad'")
    assert with_codes(door.lab.card(0).trace) == [], "a dialog that is cancelled costs nothing"
    browser.click("situations")
    browser.wait(f"{_TEXT}.includes('Situations lues.')")
    page = str(browser.evaluate("document.documentElement.outerHTML"))
    assert "1. " in browser.evaluate(_TEXT) and "fiche possible" not in browser.evaluate(_TEXT)
    assert len(with_codes(door.lab.card(0).trace)) == 1
    assert door.said().count("GETPIN") == before + 2 and "Ma carte" in door.said()
    assert f">{PIN}<" not in page


_SITUATIONS = "document.querySelector('#h-situations + ol') !== null"


def test_situations_are_shown_no_more_behind_a_locked_screen(door: ApiLab, browser: Own, logind: Logind) -> None:
    inserted(door, "cps-medecin:cps3")
    door.answers(f"* pin {PIN}")
    shown(browser, door, NAME)
    browser.click("situations")
    browser.wait(f"{_TEXT}.includes('Situations lues.') && {_SITUATIONS}")
    logind.says("lock")
    browser.wait(f"!({_SITUATIONS}) && {_TEXT}.includes('avec le code porteur')")
    assert NAME in browser.evaluate(_TEXT)


def test_situations_of_a_card_that_left_meanwhile_are_not_shown(door: ApiLab, browser: Own) -> None:
    """The answer comes when the page has been told already that the card has gone."""
    inserted(door, "cps-medecin:cps3")
    door.answers(f"* pin {PIN}")
    browser.open(address(door))
    browser.wait(f"{_TEXT}.includes({NAME!r}) && {_DONE}")
    browser.evaluate(
        """(() => {
          const real = window.fetch;
          window.held = null;
          window.fetch = async (where, init) => {
            const response = await real(where, init);
            if (where.endsWith("/situations")) await new Promise((go) => { window.held = go; });
            return response;
          };
        })()"""
    )
    browser.click("situations")
    browser.wait("window.held !== null")
    changes = door.ask("GET", "/v1/readers", native=True).json["readers"][0]["insertion"]
    door.lab.remove(0)
    limit = time.monotonic() + 20
    while door.ask("GET", "/v1/readers", native=True).json["readers"][0]["insertion"] == changes:
        assert time.monotonic() < limit
        time.sleep(0.02)
    browser.evaluate("void setTimeout(window.held, 300)")
    browser.wait(f"{_TEXT}.includes('CPX-103')")
    assert NAME not in browser.evaluate("document.documentElement.outerHTML")
    door.lab.insert(0, "cps-medecin:cps3")


def test_a_blocked_card_is_unblocked(door: ApiLab, browser: Own, axe: str) -> None:
    virtual = card("cps-pin-bloque", "cps4")
    inserted(door, virtual)
    door.answers(f"pin {UNBLOCK}", "pin 2580", "pin 2580")
    shown(browser, door, "CPX-107")
    text = browser.evaluate(_TEXT)
    assert "○○○" in text and "La carte n'est pas perdue" in text and "cpxd unblock" in text
    browser.picture(artifact(f"mycard-{browser.name}-blocked"))
    assert browser.violations(axe) == []
    browser.click("unblock")
    browser.wait(f"{_TEXT}.includes('Carte débloquée.')")
    assert browser.evaluate("document.querySelector('.dots').textContent") == "●●●"
    assert tries(virtual) == 3 and "2580" not in browser.evaluate("document.documentElement.outerHTML")


def test_a_card_that_leaves_is_shown_no_more(door: ApiLab, browser: Own, axe: str) -> None:
    inserted(door, "cps-medecin:cps3")
    shown(browser, door, NAME)
    door.lab.remove(0)
    browser.wait(f"{_TEXT}.includes('CPX-103') && !{_TEXT}.includes({NAME!r})")
    assert NAME not in browser.evaluate("document.documentElement.outerHTML")
    browser.picture(artifact(f"mycard-{browser.name}-nocard"))
    assert browser.violations(axe) == []
    door.lab.insert(0, "cps-medecin:cps3")
    browser.wait(f"{_TEXT}.includes({NAME!r})")


def test_an_address_opens_once(door: ApiLab, browser: Own, axe: str) -> None:
    inserted(door, "cps-medecin:cps3")
    opened = address(door)
    browser.open(opened)
    browser.wait(f"{_TEXT}.includes({NAME!r})")
    assert browser.evaluate("document.querySelector('meta[name=key]')") is None
    assert browser.evaluate("document.cookie + Object.keys(localStorage) + Object.keys(sessionStorage)") == ""
    browser.open(opened)
    browser.wait(f"{_TEXT}.includes('Ce lien a déjà servi')")
    assert NAME not in browser.evaluate("document.documentElement.outerHTML")
    browser.picture(artifact(f"mycard-{browser.name}-used"))
    assert browser.violations(axe) == []
    browser.open(f"https://localhost:{door.port}/card")
    browser.wait(f"document.URL.endsWith('/card') && {_TEXT}.includes('Ce lien a déjà servi')")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Another origin: a page of some other program on this workstation."""
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title><body>elsewhere</body>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/index.html"
    server.shutdown()
    thread.join()
    server.server_close()


def test_nobody_frames_it_or_asks_in_its_place(door: ApiLab, browser: Own, tmp_path: Path, elsewhere: str) -> None:
    inserted(door, "cps-medecin:cps3")
    before = door.apdus
    opened = address(door)
    browser.open(elsewhere)
    browser.wait("document.title === 'elsewhere' && document.readyState === 'complete'")
    browser.evaluate(
        f"""(() => {{
          window.heard = [];
          const frame = document.createElement("iframe");
          frame.onload = () => heard.push("frame");
          frame.src = {opened!r};
          document.body.append(frame);
          const image = new Image();
          image.onload = () => heard.push("image!"); image.onerror = () => heard.push("image");
          image.src = {opened!r};
          const script = document.createElement("script");
          script.onload = () => heard.push("script!"); script.onerror = () => heard.push("script");
          script.src = {opened!r};
          document.body.append(script);
          for (const init of [{{}}, {{ mode: "no-cors" }}, {{ method: "POST", headers: {{ "X-Cpxd": "1", "X-Cpxd-Key": "x" }} }}])
            fetch("https://localhost:{door.port}/card/view", init)
              .then((r) => heard.push(r.type === "opaque" ? "fetch" : "fetch!"), () => heard.push("fetch"));
        }})()"""
    )
    heard = browser.wait("heard.filter(w => w !== 'frame').length >= 5 && heard")
    assert not [word for word in heard if word.endswith("!")], heard
    assert browser.evaluate("(() => { try { return frames[0].document.body.innerText } catch { return '' } })()") in ("", None)
    browser.evaluate(f"void (location.href = {opened!r})")
    browser.wait(f"document.URL.includes('/card') && {_TEXT}.includes('CPX-160')")
    assert door.apdus == before
    browser.open(opened)  # none of them has used it up
    browser.wait(f"{_TEXT}.includes({NAME!r})")


def test_the_doctor_has_a_real_browser_try(door: ApiLab, tmp_path: Path) -> None:
    """Refused before `cpxd register --browsers`, which is the remedy that is printed; taken after it."""

    def run(*words: str) -> str:
        environment = {**os.environ, **door.lab.env, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PATH": path}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=90, check=False).stdout

    def found() -> dict[str, object]:
        checks = json.loads(run("cpxd", "doctor", "--browser", "--json"))["checks"]
        return next(check for check in checks if check["id"] == "handshake")

    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    door.leaf()
    before = found()
    assert (before["code"], before["fix"]) == ("CPX-114", {"kind": "command", "value": "cpxd register --browsers"})
    run(*str(before["fix"]["value"]).split())  # type: ignore[index]
    assert found()["status"] == "ok"


def test_the_log_has_no_person_and_no_token(door: ApiLab) -> None:
    """After all that went before."""
    log = door.state("cpxd.log").read_text(encoding="utf-8")
    assert '"page"' in log
    for word in (NAME, "ALIENOR", "99700090014", "2600997001", "?t=", "2580", UNBLOCK):
        assert word not in log
    assert all(
        set(json.loads(line)) <= {"time", "event", "code", "operation", "generation", "status", "milliseconds", "error"}
        for line in log.splitlines()
    )
