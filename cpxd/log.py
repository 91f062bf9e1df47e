# SPDX-License-Identifier: Apache-2.0
"""What is written down, once: one JSON object a line, allow-listed fields only, no person and no PIN in any of them.

The file is `cpxd.log` in the state folder (mode 0600, 1 MiB, one older copy). A log that cannot be written is no reason to
fail an operation: it is then silently not written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from cpxd.config import state_home
from cpxd.files import read_small

FIELDS = frozenset({"event", "code", "operation", "generation", "status", "milliseconds", "apdus", "error", "tries_left"})
LIMIT = 1 << 20


def log_file() -> Path:
    return state_home() / "cpxd.log"


def write(event: str, **values: str | int | float | None) -> None:
    """Append one event. A field that is not allow-listed is a programming error."""
    unknown = set(values) - FIELDS
    if unknown:
        raise ValueError(f"log fields not allowed: {sorted(unknown)}")
    entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **values}
    with contextlib.suppress(OSError):
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > LIMIT:
            path.replace(path.with_suffix(".log.1"))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def tail(count: int) -> list[str]:
    """The last `count` lines, oldest first; empty when there is no log."""
    try:
        lines = read_small(log_file(), 2 * LIMIT, errors="replace").splitlines()
    except OSError:
        return []
    return lines[-count:]
