# SPDX-License-Identifier: Apache-2.0
"""A mark that a code is being typed on a reader, for the person's other programs: they hold the card up for nothing else.

A lock on a file of the person's runtime folder. It falls with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cpxd.config import run_home


@contextlib.contextmanager
def marked(reader: str) -> Iterator[None]:
    """While a code is typed on `reader`. A mark that cannot be set changes nothing but what others are told."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path = _path(reader)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def now(reader: str) -> bool:
    """Whether a code is being typed on `reader` for a program of this person."""
    try:
        fd = os.open(_path(reader), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def _path(reader: str) -> Path:
    return run_home() / f"typed-{hashlib.sha256(reader.encode()).hexdigest()[:16]}"
