# SPDX-License-Identifier: Apache-2.0
"""Browsers of this user, told of our module and of exactly the certificate of https://localhost; and made to forget both.

No authority is planted: Firefox gets an exception for the name, the port and the fingerprint (overrides.py), Chromium a trusted
peer (nss.py). Both were seen to serve fetch and WebSockets; neither needs an administrator.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cpxd import errors
from cpxd.browsers import nss, overrides
from cpxd.browsers.kept import Kept, content
from cpxd.browsers.nss import Database
from cpxd.config import state_home
from cpxd.files import alone, reason

_OVERRIDES = "cert_override.txt"
_SHARED = ".pki/nssdb"
_CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "brave-browser",
    "vivaldi",
)
_LOCKS = (
    ".config/*/SingletonLock",
    ".config/*/*/SingletonLock",
    "snap/*/common/*/SingletonLock",
    ".var/app/*/config/*/SingletonLock",
)


@dataclass(frozen=True)
class Told:
    """What came of one database. `restart`: it is in use, and its browser reads it at its start."""

    database: Database
    done: Literal["changed", "unchanged", "failed"]
    restart: bool = False
    error: errors.CpxError | None = None


def record() -> Path:
    return state_home() / "browsers.json"


def register(home: Path, leaf: bytes, port: int) -> Iterator[Told]:
    """Every browser of this user, one after the other; again: only what is missing. Raises MissingProgram, BadFile."""
    with alone(record().parent):
        kept = Kept(record())
        old = _tell(kept, leaf, port)
        _make_shared(home, kept)
        for database in nss.databases(home):
            yield _told(home, database, kept, leaf, old)


def follow(home: Path, leaf: bytes, port: int) -> bool:
    """The certificate, or the port, is another one: tell those that were told of the old one. Whether there was need."""
    with alone(record().parent):
        kept = Kept(record())
        before = dict(kept.told)
        old = _tell(kept, leaf, port)
        if not kept.known or kept.told == before:
            return False
        for database in nss.databases(home):
            if str(database.folder) in kept.databases:
                _told(home, database, kept, leaf, old)
        kept.save()
        return True


def unregister(home: Path) -> Iterator[Told]:
    """What `register` has changed is as it was. Raises MissingProgram, BadFile."""
    with alone(record().parent):
        yield from _unregister(home)


def _unregister(home: Path) -> Iterator[Told]:
    kept = Kept(record())
    for database in nss.databases(home):
        try:
            changed = _forget(database, kept)
            yield Told(database, "changed" if changed else "unchanged", changed and running(home, database))
        except errors.CpxError as error:
            yield Told(database, "failed", error=error)
    for name in [*kept.databases]:
        if _deleted(Path(name, "pkcs11.txt")):
            del kept.databases[name]
    for name in [*kept.files]:
        if _deleted(Path(name).parent):
            del kept.files[name]
    kept.save()
    for place in nss.closed(home):
        if any(Path(name).is_relative_to(place) for name in (*kept.databases, *kept.files)):
            raise errors.BadFile(file=place, reason=reason(PermissionError(errno.EACCES, "")))


def _deleted(path: Path) -> bool:
    """Since it was told of us; what nobody may look at is still to be undone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def knows(database: Database, leaf: bytes, port: int) -> bool:
    """Whether a browser accepts exactly this certificate. Raises MissingProgram, BadFile."""
    if database.program == "Chromium":
        return nss.certificates(database.folder) == [leaf]
    return overrides.accepts(content(database.folder / _OVERRIDES) or b"", leaf, port)


def running(home: Path, database: Database) -> bool:
    """As the locks of its browser say: links whose text ends with a process."""
    locks = [database.folder / "lock"] if database.program != "Chromium" else [p for place in _LOCKS for p in home.glob(place)]
    for lock in locks:
        try:
            pid = os.readlink(lock).rpartition("+" if lock.name == "lock" else "-")[2]
        except OSError:
            continue
        if pid.isdigit() and Path("/proc", pid).exists():
            return True
    return False


def _tell(kept: Kept, leaf: bytes, port: int) -> str:
    """What is told from now on; SHA-256 of the certificate of before."""
    old = str(kept.told.get("leaf", ""))
    kept.told = {"leaf": hashlib.sha256(leaf).hexdigest(), "port": port}
    return old


def _told(home: Path, database: Database, kept: Kept, leaf: bytes, old: str) -> Told:
    try:
        _check_writable(database.folder)
        entry = kept.databases.setdefault(str(database.folder), {"module": kept.lost, "created": None})
        kept.save()
        changed = _add_module(database, kept, entry)
        if database.program == "Firefox":
            changed |= kept.edit(
                database.folder / _OVERRIDES,
                lambda now: overrides.add(now, leaf, kept.told["port"], old),
                lambda now: overrides.strip(now, leaf, old),
            )
        elif database.program == "Chromium" and nss.certificates(database.folder) != [leaf]:
            nss.trust_only(database.folder, leaf)
            changed = True
        return Told(database, "changed" if changed else "unchanged", changed and running(home, database))
    except errors.CpxError as error:
        return Told(database, "failed", error=error)


def _check_writable(folder: Path) -> None:
    """The programs of NSS leave half of their work where they may not write all of it. Raises BadFile."""
    for place in (folder, folder / "pkcs11.txt"):
        if not os.access(place, os.W_OK):
            read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            raise errors.BadFile(file=place, reason=reason(OSError(errno.EROFS if read_only else errno.EACCES, "")))


def _add_module(database: Database, kept: Kept, entry: dict[str, Any]) -> bool:
    if database.confined or any(module.library == str(nss.MODULE) for module in database.ours):
        return False
    entry["module"] = True
    kept.save()
    nss.change(database, *(nss.deleting(database, module.name) for module in database.ours), nss.adding(database))
    return True


def _forget(database: Database, kept: Kept) -> bool:
    name = str(database.folder)
    entry = kept.databases.get(name, {"module": True, "created": None})
    changed = False
    if entry["module"] and database.ours:
        nss.change(database, *(nss.deleting(database, module.name) for module in database.ours))
        changed = True
    if database.program == "Chromium" and nss.certificates(database.folder):
        nss.distrust(database.folder)
        changed = True
    path = database.folder / _OVERRIDES
    if str(path) in kept.files:
        before = content(path)
        kept.undo(path, lambda now: overrides.strip(now, str(kept.told.get("leaf", ""))))
        changed |= content(path) != before
    if entry["created"] is not None and nss.empty(database.folder):
        _remove(database.folder, [Path(folder) for folder in entry["created"]])
        changed = True
    kept.databases.pop(name, None)
    kept.save()
    return changed


def _make_shared(home: Path, kept: Kept) -> None:
    """The database that a Chromium which was never started does not have yet."""
    if any(database.program == "Chromium" and not database.confined for database in nss.databases(home)):
        return
    if not any(nss.tool(name) for name in _CHROMIUMS):
        return
    folder = home / _SHARED
    new = [place for place in (folder, folder.parent) if not place.exists()]
    kept.databases[str(folder)] = {"module": False, "created": [str(place) for place in new]}
    kept.save()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise errors.BadFile(file=folder, reason=reason(error)) from None
    nss.create(folder)


def _remove(database: Path, folders: list[Path]) -> None:
    """An empty database that we had made, and the folders made for it when nothing else is in them."""
    try:
        for name in ("cert9.db", "key4.db", "pkcs11.txt"):
            (database / name).unlink(missing_ok=True)
        for folder in folders:
            if not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise errors.BadFile(file=database, reason=reason(error)) from None
