# SPDX-License-Identifier: Apache-2.0
"""`cpxd status`, `cpxd trace` with `cpx-sim replay`, and the notifier on a real hub."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cpxd_lab import PIN, SCRIPTS, Terminal, card, card_with_codes, cpxd, fails, image, succeeds

from simulator import personas
from simulator.lab import Lab


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_status(lab: Lab, model: str) -> None:
    lab.insert(0, card(model=model))
    page = succeeds(cpxd(lab, "status")).out
    assert "●●●  3 essais" in page and "VALLEFICTIVE" in page and "Opposition" in page
    english = succeeds(cpxd(lab, "status", "--lang", "en")).out
    assert "●●●  3 tries" in english and "Revocation" in english


def test_status_of_a_card_with_two_tries_left(lab: Lab) -> None:
    lab.insert(0, card_with_codes("cps3", pin={"tries_left": 2}))
    assert "●●○  2 essais" in cpxd(lab, "status").out


def test_status_as_json(lab: Lab) -> None:
    lab.insert(0, card("cpe-opposee"))
    found = succeeds(cpxd(lab, "status", "--json")).json
    assert found["validity"]["opposition"]["state"] == "revoked" and found["card"]["pin"]["tries_left"] == 3
    assert found["trouble"] is None


def test_status_without_a_card(lab: Lab) -> None:
    result = cpxd(lab, "status")
    assert result.code == 12 and "CPX-103" in result.out and "cpxd rescue" in result.out
    assert cpxd(lab, "status", "--json").json["trouble"]["code"] == "CPX-103"


def test_watch_follows_the_card_until_interrupted(lab: Lab) -> None:
    with Terminal(lab, "status", "--watch", environment={"TERM": "xterm"}) as terminal:
        terminal.expect("CPX-103")
        lab.insert(0, card())
        terminal.expect("●●●  3 essais")
        lab.remove(0)
        terminal.expect("CPX-103")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 0


# --- traces


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_a_trace_shows_no_person_and_replays(lab: Lab, tmp_path: Path, model: str) -> None:
    handle = lab.insert(0, card(model=model))
    target = tmp_path / "t.apdu"
    result = cpxd(lab, "trace", str(target), "--", "card", "--pin", "--pin-fd", "9")
    assert result.code == 40 and target.exists(), "the trace is written though the command failed"
    assert cpxd(lab, "trace", "--out", str(target)).code == 0
    text = target.read_text(encoding="ascii")
    assert text.startswith("# cpxd-trace 1\n") and re.search(r"# @\d+\.\d \+\d+\.\d", text)
    person = personas.load("cps-medecin")
    for word in (person.holder.family_name, person.holder.identifier, person.card.number):
        assert word.encode().hex().upper() not in text
    chip = next(file.content for file in image(model=model).files if file.path[-1] == 0xD003)
    assert chip[2:10].hex().upper() not in text
    assert len(re.findall("^> ", text, re.M)) <= handle.apdu_count
    done = subprocess.run([SCRIPTS / "cpx-sim", "replay", target], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_codes_are_counted_and_replayed(lab: Lab, tmp_path: Path, model: str) -> None:
    lab.insert(0, card(model=model))
    target = tmp_path / "t.apdu"
    with Terminal(lab, "trace", str(target), "--", "pin", "verify") as terminal:
        terminal.expect_hidden()
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 0
    text = target.read_text(encoding="ascii")
    assert re.search(r"^> 0[01]20000108\[8\]$", text, re.M) and "31323334" not in text
    done = subprocess.run([SCRIPTS / "cpx-sim", "replay", target], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
    changed = re.sub(r"(\[8\]\n< )9000", r"\g<1>6983", text)
    target.write_text(changed, encoding="ascii")
    done = subprocess.run(
        [SCRIPTS / "cpx-sim", "replay", target, "--lang", "en"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1 and "6983" in done.stdout and "1 answers differ" in done.stdout


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"> 00A4\n< zz\n", b"> [9999999]\n< 9000\n", b"hello\n"])
def test_replay_of_what_is_no_trace(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "t.apdu"
    file.write_bytes(content)
    done = subprocess.run([SCRIPTS / "cpx-sim", "replay", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 40 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "why"), [("none", "n'existe pas"), (".", "c'est un dossier"), ("binary", "n'est pas une trace")]
)
def test_replay_of_a_file_that_cannot_be_read(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    done = subprocess.run(
        [SCRIPTS / "cpx-sim", "replay", tmp_path / name], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (40, f"cpx-sim: {tmp_path / name} : {why}\n")


def test_replay_of_a_device_that_never_ends() -> None:
    line = ["prlimit", "--as=2000000000", str(SCRIPTS / "cpx-sim"), "replay", "/dev/zero"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (40, "cpx-sim: /dev/zero : plus de 4 Mio\n")


def test_trace_of_a_command_that_cannot_be_traced(lab: Lab, tmp_path: Path) -> None:
    lab.insert(0, card())
    fails(cpxd(lab, "trace", str(tmp_path / "t"), "--", "serve"), 2)
    fails(cpxd(lab, "trace"), 2)
    fails(cpxd(lab, "trace", str(tmp_path / "none" / "t")), 40)


# --- the notifier


def test_the_notifier_tells_once_an_event(lab: Lab, tmp_path: Path) -> None:
    environment = {**os.environ, **lab.env, "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).with_name("notify_hub.py")
    process = subprocess.Popen(
        [sys.executable, script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for persona, kind in (("cps-pin-bloque", "blocked"), ("cps-expire-bientot", "expires"), ("cpe-opposee", "revoked")):
            lab.insert(0, card(persona))
            assert process.stdout.readline() == f"{kind}\n"
            lab.remove(0)
        lab.insert(0, card("cps-pin-bloque"))
        lab.remove(0)
        lab.insert(0, card_with_codes("cps3", pin={"tries_left": 1}))
        assert process.stdout.readline() == "last-try\n", "an event is told once"
        lab.kill_pcscd()
        assert process.stdout.readline() == "reader-lost\n"
    finally:
        lab.restart_pcscd()
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def test_a_click_opens_what_is_about_the_card_that_was_told_of() -> None:
    script = Path(__file__).with_name("notify_hub.py")
    with Lab(["cps-medecin:cps3"], slots=2) as two:
        two.insert(1, card("cps-pin-bloque"))
        process = subprocess.Popen(
            [sys.executable, script], env={**os.environ, **two.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            assert process.stdout.readline() == "blocked --reader cpx-sim 00 01\n"
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


def test_json_of_watch_is_one_object_a_line(lab: Lab) -> None:
    lab.insert(0, card())
    process = subprocess.Popen(
        [SCRIPTS / "cpxd", "status", "--watch", "--json"], env={**os.environ, **lab.env}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["card"]["pin"]["tries_left"] == 3
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()
