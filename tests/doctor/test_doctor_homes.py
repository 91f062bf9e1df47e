# SPDX-License-Identifier: Apache-2.0
"""Homes that others have been in: folders that are closed to their own person, a missing home, disks that take nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cpxd_lab import card

from cpxd.api import origins
from cpxd.doctor import localhost
from cpxd.doctor.checks import storage
from cpxd.doctor.machine import Machine
from cpxd.doctor.visit import Options, Visit
from simulator.lab import Lab

CPXD = Path(sys.executable).with_name("cpxd")
# root goes through every door, unless it leaves its master key at home
_WITHOUT = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []


def doctor(lab: Lab, home: Path) -> dict[str, Any]:
    environment = {name: value for name, value in {**os.environ, **lab.env}.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": f"{CPXD.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run([*_WITHOUT, CPXD, "doctor", "--json"], env=environment, capture_output=True, timeout=60, check=False)
    assert done.stderr == b"", done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


CLOSED: tuple[dict[str, str | None], ...] = (
    {
        ".mozilla": "CPX-113",
        ".pki/nssdb": "CPX-113",
        "snap": "CPX-113",
        ".local/share": "CPX-113",
        ".config/chromium": None,
        ".cache/cpxd/cards": None,
    },
    {".config": "CPX-141", ".cache": "CPX-214", ".local/state": "CPX-215"},
)


@pytest.mark.parametrize("closed", CLOSED, ids=["inside", "above"])
def test_closed_folders_are_named_and_opened_by_the_printed_commands(
    lab: Lab, tmp_path: Path, closed: dict[str, str | None]
) -> None:
    lab.insert(0, card())
    for name in closed:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0)
    try:
        found = doctor(lab, tmp_path)
        assert "CPX-199" not in found["causes"], found["checks"]
        said = {(check["code"], check["fix"]["value"]) for check in found["checks"] if check["fix"]}
        for name, code in closed.items():
            line = f"chmod u+rwX {tmp_path / name}"
            assert code is None or (code, line) in said, said
            subprocess.run(line, shell=True, check=True, timeout=20)  # noqa: S602 - as a person does
        assert not set(closed.values()) & set(doctor(lab, tmp_path)["causes"])
    finally:
        for name in closed:
            (tmp_path / name).chmod(0o700)


def test_what_others_have_too_is_not_taken_from_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is missing lies in a folder of everybody's."""
    home = tmp_path / "home" / "paul"
    home.parent.mkdir()
    for name in ("CACHE", "STATE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    monkeypatch.setattr(os, "access", lambda *_: False)
    visit = Visit(Machine(tmp_path, home), Options())
    for check in storage.FAMILY.checks:
        (found,) = check.run(visit)
        assert found.fix is not None and found.fix.value.fr == f"sudo install -d -m 700 -o 4242 {home}"
        assert found.fix.automatic is None


@pytest.mark.parametrize(("flags", "free", "words"), [(os.ST_RDONLY, 9, "read only"), (0, 0, "full")])
def test_a_disk_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, free: int, words: str) -> None:
    fields = (4096, 4096, 100, free, free, 9, 9, 9, flags, 255)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    visit = Visit(Machine(tmp_path, tmp_path), Options())
    for check in storage.FAMILY.checks:
        (found,) = check.run(visit)
        assert found.status == "warning" and words in found.cause.en and found.fix is not None
        assert found.fix.kind == "physical" and found.fix.automatic is None


def test_sites_are_those_that_the_service_obeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    origins.person_file().parent.mkdir()
    origins.person_file().write_bytes(
        b"\xef\xbb\xbfhttps://a.example\r\nhttps://b.example # the hospital's\n#https://c.example\n"
    )
    assert localhost.sites(Machine(tmp_path, tmp_path)) == origins.by_person() == ["https://a.example", "https://b.example"]
