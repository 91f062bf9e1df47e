# SPDX-License-Identifier: Apache-2.0
"""Where a code or a name must never be: arguments, environment, memory after its use, journal, files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cpxd_lab import CPXD, card, card_with_codes, command, cpxd, fails, pin_pipe, plain_environment, succeeds

from simulator.lab import CardHandle, Lab

# codes that nothing else can look like
SECRET_UNBLOCK, SECRET_PIN = "73190586", "8352"


@contextmanager
def running(
    lab: Lab, handle: CardHandle, instruction: int, *arguments: str, codes: list[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """cpxd, stopped while the card takes its time over the first command of that instruction that carries data."""
    rehearsal = [command[1] == instruction and len(command) > 5 for command, _ in handle.trace]
    handle.set_fault(f"delay@{rehearsal.index(True)}=5s")
    before = handle.apdu_count
    with pin_pipe(codes) as descriptor:
        environment = {**os.environ, **lab.env, **plain_environment()}
        line = [CPXD, *arguments, "--pin-fd", str(descriptor)]
        process = subprocess.Popen(line, env=environment, pass_fds=(descriptor,), stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 15
        while handle.apdu_count - before < rehearsal.index(True):
            assert process.poll() is None and time.monotonic() < deadline, "the command is not reached"
            time.sleep(0.005)
        time.sleep(0.05)  # the command itself is then on its way
        yield process
    finally:
        process.kill()
        process.wait()


def _mappings_with(pid: int, secret: bytes) -> list[str]:
    """The flags (proc(5), VmFlags) of each mapping of the process that holds `secret`."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for text in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text())[1:]:
            bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", text)
            if bounds is None:
                continue
            start, end = int(bounds[1], 16), int(bounds[2], 16)
            memory.seek(start)
            if secret in memory.read(end - start):
                found.append(text[text.index("VmFlags:") :].strip())
    return found


def test_neither_in_arguments_nor_environment(desk: Lab) -> None:
    handle = desk.insert(0, card_with_codes("cps3", pin={"value": SECRET_PIN.encode()}))
    succeeds(cpxd(desk, "pin", "verify", codes=[SECRET_PIN]))
    with running(desk, handle, 0x20, "pin", "verify", codes=[SECRET_PIN]) as process:
        for task in [str(process.pid), *_children(process.pid)]:
            for name in ("cmdline", "environ"):
                assert SECRET_PIN.encode() not in Path("/proc", task, name).read_bytes()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(("model", "instruction"), [("cps3", 0x2C), ("cps4", 0x24)])
def test_code_leaves_no_copy_behind(desk: Lab, model: str, instruction: int) -> None:
    """Stopped at the command after VERIFY: the unblock code was read, checked, put in a command and sent. It may still be in
    the one buffer that is locked in memory ("lo"); a copy anywhere else can neither be found nor wiped by the program."""
    codes = [SECRET_UNBLOCK, SECRET_PIN]
    virtual = card_with_codes(model, unblock={"value": SECRET_UNBLOCK.encode()})
    handle = desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "unblock", codes=codes))
    with running(desk, handle, instruction, "pin", "unblock", codes=codes) as process:
        flags = _mappings_with(process.pid, SECRET_UNBLOCK.encode())
        assert process.poll() is None, "looked at too late"
    assert [flag for flag in flags if " lo " not in f"{flag} "] == []


def test_the_search_in_memory_finds_what_is_there() -> None:
    """The test above can fail."""
    waiting = "import sys; kept = sys.stdin.readline(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{SECRET_UNBLOCK}\n")
        process.stdin.flush()
        process.stdout.readline()
        assert _mappings_with(process.pid, SECRET_UNBLOCK.encode()) != []


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_journal_and_files_have_neither_code_nor_name(desk: Lab, model: str, tmp_path: Path) -> None:
    codes = {"pin": {"value": SECRET_PIN.encode()}, "unblock": {"value": SECRET_UNBLOCK.encode()}}
    desk.insert(0, card_with_codes(model, **codes))
    succeeds(cpxd(desk, "pin", "unblock", codes=[SECRET_UNBLOCK, SECRET_PIN]))
    fails(cpxd(desk, "pin", "unblock", codes=["90817263", SECRET_PIN]), 23)
    succeeds(cpxd(desk, "card", codes=[SECRET_PIN]))
    paper = tmp_path / "compte rendu de M. Untel.txt"
    paper.write_text("x")
    succeeds(cpxd(desk, "sign", str(paper), codes=[SECRET_PIN]))
    fails(cpxd(desk, "pin", "verify", codes=["12a4"]), 40)
    assert cpxd(desk, "pin", "verify", SECRET_UNBLOCK).code == 2
    assert desk.folder is not None
    kept = {
        path: path.read_bytes()
        for name in ("run", "config", "cache", "data", "state")
        for path in (desk.folder / name).rglob("*")
        if path.is_file()
    }
    kept[Path("cpxd logs")] = succeeds(command(desk, "logs", "-n", "100000")).out.encode()
    assert kept[Path("cpxd logs")].strip(), "a journal that says nothing shows nothing"
    secrets = [SECRET_UNBLOCK, "90817263", *(c.encode().hex() for c in (SECRET_UNBLOCK, "90817263", SECRET_PIN, "12a4"))]
    names = ["VALLEFICTIVE", "ALIENOR", "99700090014", "Untel"]
    for path, data in kept.items():
        for word in [*secrets, *names]:
            assert word.lower().encode() not in data.lower(), f"{word} in {path}"
            assert " ".join(re.findall("..", word)).lower().encode() not in data.lower(), f"{word} in {path}"


def test_journal_is_for_its_owner_alone(desk: Lab) -> None:
    desk.insert(0, card())
    succeeds(cpxd(desk, "pin", "status"))
    path = Path(succeeds(command(desk, "logs", "--path")).out.strip())
    assert path.is_file() and path.stat().st_mode & 0o077 == 0
