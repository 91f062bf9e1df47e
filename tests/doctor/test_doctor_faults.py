# SPDX-License-Identifier: Apache-2.0
"""The fault table: the first cause is right, at once, and no code is ever sent."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from typing import Any

import pytest
from doctor_bench import MODULE, Bench
from doctor_faults_own import FAULTS
from doctor_pairs import PAIRS, blocked_and_expired

from cpxd.doctor.checks import FAMILIES

SECONDS = 2.0


def examined(bench: Bench, *names: str, again: int = 2) -> dict[str, Any]:
    """The first answer in time of at most three: other tests run at the same time."""
    with bench.case() as case:
        for name in names:
            FAULTS[name][2](bench, case)
        bench.insert(case)
        answer = bench.examine(case)
    return examined(bench, *names, again=again - 1) if again and answer["seconds"] >= SECONDS else answer


def french_in(lines: list[str]) -> list[str]:
    """English lines with a word that is French only."""
    french = (" le ", " la ", " les ", " est ", " une ", "carte ", "poste")
    return [line for line in lines if any(word in f" {line.lower()} " for word in french)]


def assert_can_be_pasted(check: dict[str, Any]) -> None:
    """A command is one in both languages, and a shell takes it: sentences are no commands."""
    french, english = (check["texts"][language]["fix"]["value"] for language in ("fr", "en"))
    assert french == english or "AAAA-MM-JJ" in french, french
    subprocess.run(["bash", "-n", "-c", french], check=True, capture_output=True)
    first = french.removeprefix("sudo ").split()[0]
    assert first in PROGRAMS, french


PROGRAMS = ("apt", "certutil", "chmod", "chown", "cpxd", "date", "dnf", "echo", "install", "kill", "mkdir", "modutil", "mv")
PROGRAMS += ("pacman", "python3", "rm", "service", "systemctl", "timedatectl")


def test_nothing_wrong(bench: Bench) -> None:
    answer = examined(bench)
    assert (answer["verdict"], answer["causes"]) == (0, []), answer["screen"]
    assert answer["seconds"] < SECONDS
    assert answer["screen"][-1] == "Aucun essai de code n'a été consommé par ce diagnostic."


@pytest.mark.parametrize("name", FAULTS)
def test_single_fault(bench: Bench, name: str) -> None:
    code, verdict, _ = FAULTS[name]
    answer = examined(bench, name)
    assert (answer["first_cause"], answer["verdict"]) == (code, verdict), answer["screen"]
    assert answer["seconds"] < SECONDS
    assert french_in(answer["english"]) == []
    first = next(check for check in answer["checks"] if check["code"] == code)
    assert first["fix"] is None or first["fix"]["value"].strip()
    for check in answer["checks"]:
        if check["fix"] and check["fix"]["kind"] == "command":
            assert_can_be_pasted(check)


@pytest.mark.parametrize(("one", "other", "code"), PAIRS, ids=lambda value: value)
def test_double_fault(bench: Bench, one: str, other: str, code: str) -> None:
    answer = examined(bench, one, other)
    assert answer["first_cause"] == code, answer["screen"]
    assert answer["seconds"] < SECONDS


def test_the_table_is_long_enough() -> None:
    assert len(FAULTS) >= 24 and len(PAIRS) >= 30


def test_a_pcscd_that_is_started_by_the_first_client_is_waited_for(bench: Bench) -> None:
    """As systemd does it: the socket takes connections at once, and whoever answers them comes later."""

    first: list[float] = []

    def come_late(link: socket.socket) -> None:
        first.append(time.monotonic())
        time.sleep(max(0.0, first[0] + 0.9 - time.monotonic()))
        with link, socket.socket(socket.AF_UNIX) as real, contextlib.suppress(OSError):
            real.connect(bench.lab.env["PCSCLITE_CSOCK_NAME"])
            ends = {link: real, real: link}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    if not (block := end.recv(65536)):
                        return
                    ends[end].sendall(block)

    with bench.case() as case:
        case.pcscd = case.folder / "p.comm"
        case.listening(case.pcscd, lambda link: threading.Thread(target=come_late, args=[link.dup()], daemon=True).start())
        bench.insert(case)
        answer = bench.examine(case)
    assert answer["causes"] == [], answer["screen"]


def test_consequences_are_not_causes(bench: Bench) -> None:
    answer = examined(bench, "pcscd_dead")
    assert answer["causes"] == ["CPX-101"]
    skipped = {check["id"] for check in answer["checks"] if check["status"] == "skipped"}
    assert {"reader", "card", "read", "pin", "dates"} <= skipped


def test_the_port_of_settings_that_are_refused_is_no_cause(bench: Bench) -> None:
    """The port that counts without them may be anybody's."""
    answer = examined(bench, "config_wrong")
    assert answer["causes"] == ["CPX-141"]
    assert {check["id"] for check in answer["checks"] if check["status"] == "skipped"} >= {"port", "certificate"}


def test_a_dictionary_that_is_not_there_is_said_once(bench: Bench) -> None:
    with bench.case() as case:
        case.config = ["[record]", "dictionary = '/opt/nothing'"]
        bench.insert(case)
        answer = bench.examine(case)
    assert answer["causes"] == ["CPX-141"], answer["screen"]


def test_a_card_that_is_blocked_and_expired_is_expired(bench: Bench) -> None:
    with bench.case() as case:
        case.card = blocked_and_expired()
        bench.insert(case)
        answer = bench.examine(case)
    assert answer["causes"][:2] == ["CPX-110", "CPX-107"] and answer["verdict"] == 4


def test_two_tries_left_is_no_trouble_and_is_said(bench: Bench) -> None:
    from cpxd_lab import card_with_codes

    with bench.case() as case:
        case.card = card_with_codes("cps4", pin={"tries_left": 2})
        bench.insert(case)
        answer = bench.examine(case)
    assert answer["verdict"] == 0 and any("CPX-206" in line for line in answer["screen"])


def test_the_ingenico_terminal_is_named(bench: Bench) -> None:
    answer = examined(bench, "ingenico_without_driver")
    assert any("Ingenico" in line and "0b00:0090" in line for line in answer["screen"])


def test_the_driver_that_is_missing_is_named(bench: Bench) -> None:
    with bench.case() as case:
        FAULTS["reader_without_driver"][2](bench, case)
        (case.root / "usr/lib/pcsc/drivers/ifd-ccid.bundle/Info.plist").unlink()
        (case.root / "usr/lib/pcsc/drivers/ifd-ccid.bundle").rmdir()
        bench.insert(case)
        answer = bench.examine(case)
    assert any("08e6:3437" in line for line in answer["screen"])
    assert any("sudo apt install libccid" in line for line in answer["screen"])


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        (("root/run/systemd/system/x",), "sudo systemctl enable --now pcscd.socket"),
        ((), "sudo service pcscd start"),
    ],
    ids=["systemd", "no systemd"],
)
def test_fixes_are_what_the_machine_can_run(bench: Bench, files: tuple[str, ...], fix: str) -> None:
    with bench.case() as case:
        FAULTS["pcscd_dead"][2](bench, case)
        for file in files:
            case.put(file)
        bench.insert(case)
        assert any(fix in line for line in bench.examine(case)["screen"])


@pytest.mark.parametrize(("program", "fix"), [("dnf", "sudo dnf install pcsc-lite pcsc-lite-ccid"), ("pacman", "sudo pacman -S")])
def test_packages_are_those_of_the_distribution(bench: Bench, program: str, fix: str) -> None:
    with bench.case() as case:
        FAULTS["pcscd_absent"][2](bench, case)
        case.put(f"root/usr/bin/{program}")
        bench.insert(case)
        assert any(fix in line for line in bench.examine(case)["screen"])


def test_every_check_has_both_languages_and_is_in_the_table() -> None:
    from cpxd.doctor.explain import table

    known = {row.code for row in table()}
    for family in FAMILIES:
        assert family.title.fr and family.title.en
        for check in family.checks:
            assert check.title.fr and check.title.en and check.codes
            assert set(check.codes) <= known, f"{check.name}: a code that `cpxd explain` does not know"


BROKEN = (
    b"",
    b"\xff\xfe{",
    b"[" * 5000,
    b"[1]",
    b'{"profile": {"content_settings": {"exceptions": []}}}',
    b'{"profile": 3}',
    None,
)


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content)[:20])
def test_files_of_browsers_that_make_no_sense(bench: Bench, content: bytes | None) -> None:
    """Nonsense, and a pipe that nobody writes to, cost the check nothing but its answer."""
    with bench.case() as case:
        case.allowed("https://lgc.exemple.fr")
        profile = case.firefox(("cpxd", str(MODULE)))
        for place in (
            "home/.config/chromium/Default/Preferences",
            "root/etc/chromium/policies/managed/x.json",
            "state/cpxd/localhost.pem",
            f"{profile.relative_to(case.folder)}/permissions.sqlite",
        ):
            path = case.put(place, content or b"")
            if content is None:
                path.unlink()
                os.mkfifo(path, 0o600)
            path.chmod(0o600)
        bench.insert(case)
        answer = min((bench.examine(case) for _ in range(2)), key=lambda answer: answer["seconds"])
    assert "CPX-199" not in answer["causes"] and answer["seconds"] < SECONDS, answer["screen"]
