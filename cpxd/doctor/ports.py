# SPDX-License-Identifier: Apache-2.0
"""Who listens on a TCP port of this machine, by /proc (proc(5): net/tcp, PID/fd)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cpxd.doctor.machine import Machine, Process

_LISTENING = "0A"
_LOOPBACK = ("0100007F", "00000000", "0" * 32, "0" * 24 + "01000000")  # 127.0.0.1 and ::1, and any address


def inodes(machine: Machine, port: int) -> set[str]:
    """Sockets that listen on a port of the loopback interface."""
    return {inode for inode, _ in _listening(machine, port)}


def owner(machine: Machine, port: int) -> int | None:
    """The user whose program listens there: the kernel tells that of everybody's."""
    return next((int(uid) for _, uid in _listening(machine, port) if uid.isdecimal()), None)


def _listening(machine: Machine, port: int) -> Iterator[tuple[str, str]]:
    """(inode, user)"""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        yield from _rows(machine.text(table), port)


def _rows(table: str, port: int) -> Iterator[tuple[str, str]]:
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTENING:
            address, _, number = words[1].partition(":")
            if address in _LOOPBACK and number.isalnum() and int(number, 16) == port:
                yield words[9], words[7]


def holder(machine: Machine, port: int) -> Process | None:
    """The process that listens there; None when nobody does, or it is not ours to see."""
    wanted = {f"socket:[{inode}]" for inode in inodes(machine, port)}
    if not wanted:
        return None
    return next((p for p in machine.processes() if _has(machine.at(f"/proc/{p.pid}/fd"), wanted)), None)


def _has(folder: Path, wanted: set[str]) -> bool:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return False
    for entry in entries:
        try:
            if os.readlink(entry) in wanted:
                return True
        except OSError:
            continue
    return False


def is_ours(machine: Machine, process: Process) -> bool:
    """Whether it is this user's `cpxd serve`, by its command line."""
    if process.uid != os.getuid():
        return False
    words = machine.text(f"/proc/{process.pid}/cmdline").split("\0")
    return any(Path(word).name == "cpxd" for word in words[:3]) and "serve" in words
