# SPDX-License-Identifier: Apache-2.0
"""What was there before a registration, so that its undoing leaves each file as it was, to the byte.

Written before the files are: whenever we are interrupted, what we did can be undone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpxd.errors import BadFile
from cpxd.files import read_bounded, reason, write_new

Edit = Callable[[bytes], bytes]
_LIMIT = 4 << 20


class Kept:
    """`path`: where this is remembered. `told`: what the browsers were told, for who registered. `lost`: it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, dict[str, str | None]] = {}
        self.databases: dict[str, dict[str, Any]] = {}
        self.told: dict[str, Any] = {}
        self.lost = path.exists()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = json.loads(path.read_bytes())
            files = {str(name): _file(entry) for name, entry in found["files"].items()}
            databases = {str(name): _database(entry) for name, entry in found["databases"].items()}
            self.files, self.databases, self.told = files, databases, dict(found["told"])
            self.lost = False

    @property
    def known(self) -> bool:
        return bool(self.files or self.databases)

    def save(self) -> None:
        """Nothing to remember: no file. Raises BadFile."""
        try:
            if not self.known:
                self.path.unlink(missing_ok=True)
                return
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadFile(file=self.path, reason=reason(error)) from None
        content = {"told": self.told, "files": self.files, "databases": self.databases}
        write_new(self.path, json.dumps(content, indent=1).encode(), mode=0o600)

    def edit(self, path: Path, add: Edit, strip: Edit) -> bool:
        """Make of a file what `add` makes of it; `strip` takes out what is ours. Whether it changed. Raises BadFile."""
        now = content(path)
        wanted = add(now or b"")
        entry = self.files.get(str(path))
        if now == wanted and entry is not None:
            return False
        if entry is None or entry["after"] != _digest(now):  # nobody's but theirs: what others wrote meanwhile is kept
            clean = strip(now or b"")
            before = None if now is None or (clean != now and not clean.strip()) else clean
            entry = {"before": None if before is None else base64.b64encode(before).decode(), "after": ""}
        entry["after"] = _digest(wanted)
        self.files[str(path)] = entry
        self.save()
        _write(path, wanted)
        return now != wanted

    def undo(self, path: Path, strip: Edit) -> None:
        """As it was; when others have written to it since, as they left it, without what is ours. Raises BadFile."""
        entry, now = self.files.get(str(path)), content(path)
        before = None if entry is None or entry["before"] is None else base64.b64decode(entry["before"])
        ours = entry is not None and entry["after"] == _digest(now)
        clean = b"" if now is None else strip(now)
        if now is not None and (ours or clean != now):
            left = before if ours or not clean.strip() else clean
            if left is None:
                _remove(path)
            else:
                _write(path, left)
        self.files.pop(str(path), None)
        self.save()


def content(path: Path) -> bytes | None:
    """None: there is no such file. Raises BadFile."""
    try:
        return read_bounded(path, _LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFile(file=path, reason=reason(error)) from None


def _write(path: Path, new: bytes) -> None:
    """Whole or not at all, with the mode that it has; a link stays one."""
    try:
        target = path.resolve()
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    except OSError as error:
        raise BadFile(file=path, reason=reason(error)) from None
    write_new(target, new, mode=mode)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BadFile(file=path, reason=reason(error)) from None


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _file(entry: Any) -> dict[str, str | None]:
    before = entry["before"]
    if before is not None:
        base64.b64decode(before, validate=True)
    return {"before": before, "after": str(entry["after"])}


def _database(entry: Any) -> dict[str, Any]:
    """`created`: the folders made for a database that was not there; None: it was."""
    created = entry["created"]
    return {"module": bool(entry["module"]), "created": created if created is None else [str(name) for name in created]}
