# SPDX-License-Identifier: Apache-2.0
"""Codes typed in a real pinentry pass through our process and nothing of them is left in its memory."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_dialog_real import Screen

CHILD = """
import sys, time
from cpxd.config import Settings
from cpxd.dialog.display import DisplayHints
from cpxd.dialog.pinentry import Pinentry

hints = DisplayHints(tty=sys.argv[1], tty_type="xterm", lc_messages="fr_FR.UTF-8")
one = Pinentry(Settings(dialog_pinentry="/usr/bin/pinentry-tty"), hints)

def stage(name):
    print(name, flush=True)
    sys.stdin.readline()

while True:
    stage("ready")
    with one.pin("x", "CPS 1", 3) as pin, one.unblock_code("x", "CPS 1", 3) as code:
        pin.equals(code)
        stage("read")
    time.sleep(0.1)
"""


def mapped(pid: int) -> Iterator[bytes]:
    """All that the process can write or has read into memory, mapping by mapping."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(.*)", line)
            if found:
                memory.seek(int(found[1], 16))
                yield memory.read(int(found[2], 16) - int(found[1], 16))


def count(pid: int, *needles: bytes) -> list[int]:
    totals = [0] * len(needles)
    for content in mapped(pid):
        totals = [total + content.count(needle) for total, needle in zip(totals, needles, strict=True)]
    return totals


def fresh(pid: int, length: int) -> bytes:
    """Digits that the process does not hold: then their padded block, their VERIFY or any other form cannot be there either."""
    while True:
        digits = b"%0*d" % (length, secrets.randbelow(10**length))
        if count(pid, digits) == [0]:
            return digits


class Child:
    """The process under the magnifying glass, and the terminal its dialogs are typed on."""

    def __init__(self) -> None:
        self.screen = Screen()
        words = [sys.executable, "-c", CHILD, self.screen.name]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd(), bufsize=0)
        self.reads("ready")

    def reads(self, stage: str) -> None:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 20)[0]
        assert self.process.stdout.readline().decode().strip() == stage

    def goes_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"\n")

    def types(self, pin: bytes, code: bytes) -> None:
        self.goes_on()
        for text, digits in (("4 chiffres", pin), ("8 chiffres", code)):
            self.screen.until(text)
            self.screen.types(digits + b"\r")
        self.reads("read")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()
        os.close(self.screen.master)
        os.close(self.screen.slave)


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


def test_nothing_of_a_typed_code_is_left(child: Child) -> None:
    child.types(b"0000", b"00000000")  # a first round, so that what a dialog leaves behind is there already
    child.goes_on()
    child.reads("ready")
    for _ in range(10):
        pin = fresh(child.process.pid, 4)
        code = fresh(child.process.pid, 8)
        child.types(pin, code)
        assert count(child.process.pid, code) == [1]  # the search does find it, in one place
        child.goes_on()
        child.reads("ready")
        time.sleep(0.1)
        assert count(child.process.pid, pin, code) == [0, 0]
