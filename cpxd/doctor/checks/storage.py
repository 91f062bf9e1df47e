# SPDX-License-Identifier: Apache-2.0
"""The folders that cpxd writes into: cache and log. Nothing fails without them; things get slower, and nobody can look back."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cpxd import config, log
from cpxd.card import kept
from cpxd.doctor.machine import quoted
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, command, gesture, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.revocation.store import cache_folder
from cpxd.text import Text


@dataclass(frozen=True)
class _Kept:
    check: str
    code: str
    name: Text

    def lost(self, place: Path, cause: Text, fix: Fix) -> Finding:
        title = Text(f"{self.name.fr} ne peut pas être écrit.", f"{self.name.en} cannot be written.")
        return warning(self.check, self.code, title, cause, fix, folder=place)


_CACHE = _Kept("cache", "CPX-214", Text("Le cache", "The cache"))
_LOG = _Kept("log", "CPX-215", Text("Le journal", "The log"))
_READ_ONLY = Text("Ce disque est en lecture seule.", "This disk is read only.")
_FULL = Text("Le disque est plein.", "The disk is full.")
_RESTART = gesture(
    "Redémarrez ; sinon prévenez votre administrateur : le disque est peut-être abîmé",
    "Restart; else tell your administrator: the disk may be damaged",
)
_HOMELESS = Text("Vous n'avez pas de dossier personnel.", "You have no home folder.")
_NAME_IT = gesture("Nommez-en un dans la variable HOME", "Name one in the variable HOME")
_MAKE_ROOM = gesture("Libérez de la place : corbeille, téléchargements", "Make room: trash, downloads")


def _cache(visit: Visit) -> Findings:
    found = _folder(visit, _CACHE, cache_folder().parent)
    if found is not None:
        yield found
        return
    cards, size = 0, 0
    with contextlib.suppress(OSError):  # a folder of it that cannot be read: things get slower
        cards, size = kept.held()
    yield ok("cache", "Le cache est utilisable.", "The cache can be used.", cards=cards, bytes=size)


def _log(visit: Visit) -> Findings:
    file = log.log_file()
    found = _folder(visit, _LOG, file.parent)
    if found is None and os.path.exists(file) and not os.access(file, os.W_OK):
        found = _blocked(visit, _LOG, file, file)
    yield found or ok("log", "Le journal est utilisable.", "The log can be written.")


def _folder(visit: Visit, thing: _Kept, folder: Path) -> Finding | None:
    """What keeps us from writing into a folder of ours, which need not exist yet."""
    if config.NO_HOME in folder.parents:
        return thing.lost(folder, _HOMELESS, _NAME_IT)
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if os.path.isdir(place):
        disk = os.statvfs(place)
        if disk.f_flag & os.ST_RDONLY:
            return thing.lost(place, _READ_ONLY, _RESTART)
        if disk.f_blocks and not disk.f_bavail:
            return thing.lost(place, _FULL, _MAKE_ROOM)
        if os.access(place, os.W_OK | os.X_OK):
            return None
    return _blocked(visit, thing, place, folder)


def _blocked(visit: Visit, thing: _Kept, place: Path, wanted: Path) -> Finding:
    """`place`: what is in the way, or above what is `wanted`."""
    cause = Text(f"{place} n'est pas un dossier où l'on peut écrire.", f"{place} is no folder that can be written to.")
    if not os.path.isdir(place):
        return thing.lost(place, cause, command(quoted("mv", place, aside(place)), partial(move_aside, place)))
    if place.stat().st_uid == os.getuid():
        return thing.lost(place, cause, command(opening(place), partial(_open_up, place)))
    home, line = visit.machine.home, opening(place)
    if home == place or home not in place.parents:  # what others have too is not taken from them
        mine = home if wanted.is_relative_to(home) else wanted
        line = quoted("sudo", "install", "-d", "-m", "700", "-o", str(os.getuid()), mine)
    cause = Text(f"{place} appartient à un autre utilisateur.", f"{place} belongs to another user.")
    return thing.lost(place, cause, command(line))


def opening(place: Path) -> str:
    """The command that gives what is below a person's home back to them."""
    if place.stat().st_uid == os.getuid():
        return quoted("chmod", "u+rwX", place)
    return quoted("sudo", "chown", "-R", str(os.getuid()), place)


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
