# SPDX-License-Identifier: Apache-2.0
"""Which web sites may ask: exact origins (RFC 6454), as the administrator and the person list them. No patterns."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cpxd import errors, log
from cpxd.config import config_home
from cpxd.files import alone, reason, unwaited, write_new
from cpxd.text import Text, tr

MACHINE_FOLDER = Path("/etc/cpxd/origins.d")  # files *.list, one origin a line, # comments; root's alone
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(rf"https://(?=[^:]{{1,253}}(?::|\Z)){_LABEL}(?:\.{_LABEL})*(?::([1-9][0-9]{{0,4}}))?")
_LIMIT = 65536  # bytes of a list
_MOST_FAULTS = 20
_LONGEST = 80  # characters of a wrong line that are shown
_NOT_OBEYED = Text(
    "pas obéi : ce doit être un fichier à vous ou à root, que nul autre ne peut modifier (chmod 644), de 64 Kio au plus",
    "not obeyed: it must be a file of yours or of root's, which nobody else may change (chmod 644), of at most 64 KiB",
)


@dataclass(frozen=True)
class _List:
    """What a file says. `refused`: nothing of it is obeyed. `faults`: why, or which lines are not."""

    stamp: tuple[int, ...] = ()  # of the file as it was read
    lines: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    faults: list[Text] = field(default_factory=list)
    refused: bool = False


_READ: dict[Path, _List] = {}


def person_file() -> Path:
    return config_home() / "origins.list"


def is_origin(text: str) -> bool:
    """Whether this is an https origin as a browser writes it: lower case, ASCII, no path, no :443."""
    match = _ORIGIN.fullmatch(text)
    return match is not None and (match[1] is None or (int(match[1]) < 65536 and match[1] != "443"))


def allowed(origin: str) -> bool:
    return is_origin(origin) and (origin in by_person() or origin in by_administrator())


def by_person() -> list[str]:
    return _listed(person_file(), os.getuid()).origins


def by_administrator() -> list[str]:
    return [origin for path in _machine_files() for origin in _listed(path, 0).origins]


def faults(*, machine_only: bool = False) -> list[errors.BadFile]:
    """Lists, and lines of lists, that allow nobody: the first of them, and how many more there are."""
    lists = [*([] if machine_only else [(person_file(), os.getuid())]), *((path, 0) for path in _machine_files())]
    found = [(path, fault) for path, owner in lists for fault in _listed(path, owner).faults]
    if (more := len(found) - _MOST_FAULTS) > 0:
        path, last = found[_MOST_FAULTS - 1]
        found[_MOST_FAULTS - 1 :] = [(path, Text(f"{last.fr} ; et {more} de plus", f"{last.en}; and {more} more"))]
    return [errors.BadFile(file=path, reason=fault) for path, fault in found]


def add(origin: str) -> bool:
    """Whether it was new. Raises Usage for what is no origin, BadFile."""
    if not is_origin(origin):
        raise errors.Usage(
            detail=tr(
                f"« {origin} » n'est pas une origine : https://nom[:port], en minuscules, sans accent (xn--…), sans rien après",
                f"“{origin}” is no origin: https://name[:port], lower case, no accents (xn--…), nothing after it",
            )
        )
    with alone(person_file().parent):
        known = _person_list()
        if origin in known.origins:
            return False
        _write([*known.lines, origin])
    return True


def remove(origin: str) -> bool:
    """Whether it was there. Raises BadFile."""
    with alone(person_file().parent):
        known = _person_list()
        if origin not in known.origins:
            return False
        _write([line for line in known.lines if _meant(line) != origin])
    return True


def _person_list() -> _List:
    """To be written anew. Raises BadFile for one that is not obeyed: what it says is not lost for that."""
    found = _listed(person_file(), os.getuid())
    if found.refused:
        raise errors.BadFile(file=person_file(), reason=found.faults[0])
    return found


def _machine_files() -> list[Path]:
    try:
        return sorted(path for path in MACHINE_FOLDER.iterdir() if path.suffix == ".list")
    except OSError:
        return []


def _listed(path: Path, owner: int) -> _List:
    """It is opened each time, and read when it is not the file that it was."""
    try:
        with open(path, "rb", opener=unwaited) as file:
            status = os.fstat(file.fileno())
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
            known = _READ.get(path)
            if known is None or known.stamp != stamp:
                known = _READ[path] = _read(file, status, owner, stamp)
            return known
    except FileNotFoundError:
        return _List()
    except OSError as error:
        return _List(faults=[Text(reason(error), reason(error))], refused=True)


def _read(file: BinaryIO, status: os.stat_result, owner: int, stamp: tuple[int, ...]) -> _List:
    """A list that somebody else than its owner could have written allows nobody."""
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, owner) or others or status.st_size > _LIMIT:
        log.write("origins-refused")
        return _List(stamp, faults=[_NOT_OBEYED], refused=True)
    lines = file.read(_LIMIT).decode("utf-8-sig", "surrogateescape").splitlines()
    meant = [_meant(line) for line in lines]
    faults = [
        Text(f"ligne {number} : « {text[:_LONGEST]} » n'est pas une origine", f"line {number}: “{text[:_LONGEST]}” is no origin")
        for number, text in enumerate(meant, 1)
        if text and not is_origin(text)
    ]
    return _List(stamp, lines, [text for text in meant if is_origin(text)], faults)


def _meant(line: str) -> str:
    return line.partition("#")[0].strip()


def _write(lines: list[str]) -> None:
    write_new(person_file(), "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"), mode=0o600)
