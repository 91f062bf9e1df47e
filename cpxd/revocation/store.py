# SPDX-License-Identifier: Apache-2.0
"""Where lists and answers are kept: a folder that an administrator fills, and our own cache of what was fetched.

What is kept is never believed: it is checked again, signature and dates, whenever it is used. A damaged file says nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from cpxd.config import cache_home
from cpxd.errors import BadFile
from cpxd.files import read_bounded, reason, write_new
from cpxd.revocation.crl import MAX_LIST

_MOST_FILES = 256
_PEM = re.compile(rb"-----BEGIN X509 CRL-----(.+?)-----END X509 CRL-----", re.DOTALL)


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/cpxd/revocation."""
    return cache_home() / "revocation"


@dataclass(frozen=True)
class Held:
    """A file with a list, as it was when it was looked at: `stamp` changes with the file."""

    name: str  # what a person knows it by
    path: Path
    stamp: tuple[int, int, int]

    def read(self) -> bytes:
        """The list in DER. Raises OSError, ValueError."""
        content = read_bounded(self.path, MAX_LIST)
        block = _PEM.search(content)
        return base64.b64decode(block[1]) if block else content


class Cache:
    """Bytes by the address they came from (and, for an answer, the question)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()

    def held(self, key: str) -> Held | None:
        return _held(self._path(key), key)

    def everything(self) -> list[Held]:
        """Whatever it holds, wherever that came from."""
        try:
            found = sorted(self._folder.iterdir())[:_MOST_FILES]
        except OSError:
            return []
        return [held for path in found if (held := _held(path, path.name)) is not None]

    def read(self, key: str) -> bytes | None:
        try:
            return read_bounded(self._path(key), MAX_LIST)
        except OSError:
            return None

    def write(self, key: str, content: bytes) -> None:
        """Whole or not at all; a cache that cannot be written is none."""
        with contextlib.suppress(OSError, BadFile):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_new(self._path(key), content)

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()


def lists_in(folder: Path) -> list[Held]:
    """The lists in a folder, one a file (.crl, DER or PEM). Raises BadFile when the folder cannot be read."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".crl")[:_MOST_FILES]
    except OSError as error:
        raise BadFile(file=folder, reason=reason(error)) from None
    return [held for path in found if (held := _held(path, path.name)) is not None]


def _held(path: Path, name: str) -> Held | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return Held(name, path, (state.st_mtime_ns, state.st_size, state.st_ino)) if stat.S_ISREG(state.st_mode) else None
