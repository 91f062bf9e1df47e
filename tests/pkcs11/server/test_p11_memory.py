# SPDX-License-Identifier: Apache-2.0
"""Half a hundred PINs pass through the daemon, and nothing of any of them is left in its memory, its core or its log."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from p11_daemon import Daemon, refused
from p11_wire import Wire

LEFT_AFTER = 0.1  # seconds
PINS = 26  # a slot; half of them wrong ones


def mapped(pid: int) -> Iterator[bytes]:
    """All that the process can write, mapping by mapping."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found:
                memory.seek(int(found[1], 16))
                yield memory.read(int(found[2], 16) - int(found[1], 16))


def count(pid: int, *needles: bytes) -> list[int]:
    totals = [0] * len(needles)
    for content in mapped(pid):
        totals = [total + content.count(needle) for total, needle in zip(totals, needles, strict=True)]
    return totals


def core(pid: int, folder: Path) -> bytes:
    """A core of the process, with the mappings in it that it keeps out of cores."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, "gcore", "-a", "-o", folder / "core", str(pid)], check=True, capture_output=True, timeout=60)
    written = folder / f"core.{pid}"
    if as_root:
        subprocess.run([*as_root, "chmod", "0644", written], check=True)
    return written.read_bytes()


def fresh_pins(pid: int, current: bytes, dumped: bytes) -> tuple[bytes, bytes]:
    """Two PINs whose digits the process does not hold: no padded block and no VERIFY of them either. Nor does its core `dumped`,
    which has what it only reads, too."""
    while True:
        first, second = (b"%04d" % secrets.randbelow(10_000) for _ in range(2))
        there = first in dumped or second in dumped
        if not there and len({first, second, current}) == 3 and count(pid, first, second) == [0, 0]:
            return first, second


def test_the_search_finds_what_is_there(fresh: Daemon, client: Wire, tmp_path: Path) -> None:
    """Else the test below could not fail."""
    session = client.open(0)
    marker = b"needle-%d" % secrets.randbelow(1 << 60)
    client.FindObjectsInit(session, [(0x3, marker)])
    client.DigestInit(session, 0x250)
    body = marker * 3
    client.DigestUpdate(session, body)
    client.socket.sendall(b"\0\0\0\x20\0\0\0\0\0\0\1\0" + marker)  # half a frame waits in the buffer
    time.sleep(LEFT_AFTER)
    assert count(fresh.process.pid, marker)[0] >= 1
    assert core(fresh.process.pid, tmp_path).count(marker) >= 1


@pytest.mark.parametrize("slot", [0, 1])
def test_nothing_is_left(fresh: Daemon, client: Wire, slot: int, tmp_path: Path) -> None:
    pid = fresh.process.pid
    session = client.open(slot)
    current, used = b"1234", [b"1234"]
    for left in reversed(range(PINS // 2)):
        new, wrong = fresh_pins(pid, current, b"" if left else core(pid, tmp_path))
        client.SetPIN(session, current, new)
        client.login(session, new)
        client.Logout(session)
        refused(0xA0, client.Login, session, 1, wrong)
        client.login(session, new)
        client.Logout(session)
        time.sleep(LEFT_AFTER)
        assert count(pid, new, wrong) == [0, 0]  # the bare digits: in the padded block and in VERIFY too
        current = new
        used += [new, wrong]
    log = fresh.log.read_text()
    assert '"defect"' not in log
    dumped = core(pid, tmp_path)
    assert not any(pin + b"\xff" * 4 in dumped for pin in used)  # what goes to the card; in VERIFY too
    assert [dumped.count(pin) for pin in used[-2:]] == [0, 0]
