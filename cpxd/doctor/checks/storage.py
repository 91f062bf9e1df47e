# SPDX-License-Identifier: Apache-2.0
"""The folders that cpxd writes into: cache and log. Nothing fails without them; things get slower, and nobody can look back."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path

from cpxd import log
from cpxd.card import kept
from cpxd.doctor.machine import quoted
from cpxd.doctor.model import Check, Family, Finding, Findings, command, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.revocation.store import cache_folder
from cpxd.text import Text


def _cache(visit: Visit) -> Findings:
    found = _folder("cache", "CPX-214", cache_folder().parent, Text("Le cache", "The cache"))
    if found is not None:
        yield found
        return
    cards, size = kept.held()
    cards, size = 0, 0
    with contextlib.suppress(OSError):  # a folder of it that cannot be read: things get slower
        cards, size = kept.held()
    yield ok("cache", "Le cache est utilisable.", "The cache can be used.", cards=cards, bytes=size)


def _log(visit: Visit) -> Findings:
    found = _folder("log", "CPX-215", log.log_file().parent, Text("Le journal", "The log"))
    if found is None and log.log_file().exists() and not os.access(log.log_file(), os.W_OK):
        found = _blocked("log", "CPX-215", log.log_file(), Text("Le journal", "The log"))
    yield found or ok("log", "Le journal est utilisable.", "The log can be written.")


def _folder(check: str, code: str, folder: Path, what: Text) -> Finding | None:
    """What keeps us from writing into a folder of ours, which need not exist yet."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return None
    return _blocked(check, code, place, what)


def _blocked(check: str, code: str, place: Path, what: Text) -> Finding:
    if place.is_dir() and place.stat().st_uid == os.getuid():
        line, repair = quoted("chmod", "u+rwx", place), partial(_open_up, place)
    elif place.is_dir():
        return warning(
            check,
            code,
            Text(f"{what.fr} ne peut pas être écrit.", f"{what.en} cannot be written."),
            Text(f"{place} appartient à un autre utilisateur.", f"{place} belongs to another user."),
            command(quoted("sudo", "chown", "-R", str(os.getuid()), place)),
            folder=place,
        )
    else:
        line, repair = quoted("mv", place, aside(place)), partial(move_aside, place)
    return warning(
        check,
        code,
        Text(f"{what.fr} ne peut pas être écrit.", f"{what.en} cannot be written."),
        Text(f"{place} n'est pas un dossier où l'on peut écrire.", f"{place} is no folder that can be written to."),
        command(line, repair),
        folder=place,
    )


def aside(place: Path) -> Path:
    """A free name beside it."""
    number = 0
    while os.path.lexists(other := place.with_name(f"{place.name}.old{number or ''}")):
        number += 1
    return other


def move_aside(place: Path) -> None:
    place.rename(aside(place))


def _open_up(place: Path) -> None:
    place.chmod(place.stat().st_mode | 0o700)


FAMILY = Family(
    "storage",
    Text("Dossiers de cpxd", "Folders of cpxd"),
    (
        Check("cache", Text("Cache", "Cache"), ("CPX-214",), _cache),
        Check("log", Text("Journal", "Log"), ("CPX-215",), _log),
    ),
)
