# SPDX-License-Identifier: Apache-2.0
"""Which web sites may ask: exact origins (RFC 6454), as the administrator and the person list them. No patterns."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from cpxd import errors, log
from cpxd.config import config_home
from cpxd.files import reason
from cpxd.text import tr

MACHINE_FOLDER = Path("/etc/cpxd/origins.d")  # files *.list, one origin a line, # comments; root's alone
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(rf"https://(?=[^:]{{1,253}}(?::|\Z)){_LABEL}(?:\.{_LABEL})*(?::([1-9][0-9]{{0,4}}))?")
_LIMIT = 65536  # bytes of a list
_READ: dict[Path, tuple[tuple[int, ...], list[str]]] = {}  # what each list said, and the state of its file


def person_file() -> Path:
    return config_home() / "origins.list"


def is_origin(text: str) -> bool:
    """Whether this is an https origin as a browser writes it: lower case, ASCII, no path, no :443."""
    match = _ORIGIN.fullmatch(text)
    return match is not None and (match[1] is None or (int(match[1]) < 65536 and match[1] != "443"))


def allowed(origin: str) -> bool:
    return is_origin(origin) and (origin in by_person() or origin in by_administrator())


def by_person() -> list[str]:
    return _listed(person_file(), os.getuid())


def by_administrator() -> list[str]:
    try:
        files = sorted(path for path in MACHINE_FOLDER.iterdir() if path.suffix == ".list")
    except OSError:
        return []
    return [origin for path in files for origin in _listed(path, 0)]


def add(origin: str) -> bool:
    """Whether it was new. Raises Usage for what is no origin, BadFile."""
    if not is_origin(origin):
        raise errors.Usage(
            detail=tr(
                f"« {origin} » n'est pas une origine : https://nom[:port], en minuscules, sans chemin",
                f"“{origin}” is no origin: https://name[:port], lower case, without a path",
            )
        )
    known = by_person()
    if origin in known:
        return False
    _write([*known, origin])
    return True


def remove(origin: str) -> bool:
    """Whether it was there. Raises BadFile."""
    known = by_person()
    if origin not in known:
        return False
    _write([item for item in known if item != origin])
    return True


def _listed(path: Path, owner: int) -> list[str]:
    """A list that somebody else than its owner could have written allows nobody. It is opened each time, and read when it is not
    the file that it was."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, owner) or others or status.st_size > _LIMIT:
                log.write("origins-refused")
                return []
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
            known, found = _READ.get(path, (None, []))
            if known != stamp:
                lines = file.read(_LIMIT).decode("ascii", "replace").splitlines()
                found = [line.strip() for line in lines if is_origin(line.strip())]
                _READ[path] = stamp, found
    except OSError:
        return []
    return found


def _write(origins: list[str]) -> None:
    path = person_file()
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write("".join(f"{origin}\n" for origin in origins))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None
