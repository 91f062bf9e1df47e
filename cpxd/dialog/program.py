# SPDX-License-Identifier: Apache-2.0
"""Which pinentry program asks, and whether it may: nobody but root and the person can have put it there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cpxd import errors
from cpxd.dialog.display import DisplayHints
from cpxd.text import tr

FOLDER = Path("/usr/bin")
_ON_TERMINAL = ("pinentry-curses", "pinentry-tty")
_ON_DISPLAY = tuple(
    f"pinentry-{kind}" for kind in ("gnome3", "qt", "qt6", "qt5", "gtk-2", "gtk", "x11", "fltk", "efl")
)  # in the order of how well they fit a desktop; all fall back to the terminal without a display


def choose(setting: str, hints: DisplayHints, folder: Path = FOLDER) -> Path:
    """The program to start, by its real path. Raises NoPinSource.

    `setting` (dialog.pinentry) wins; else what the distribution's `pinentry` stands for when it suits, else the others.
    """
    terminal = hints.has_terminal()
    if setting:
        chosen = trusted(Path(setting))
        if chosen.name in _ON_TERMINAL and not terminal:
            raise errors.NoPinSource(reason=tr("pas de terminal", "no terminal"))
        if chosen.name in _ON_DISPLAY and not terminal and not hints.graphical:
            raise _nowhere()
        return chosen
    if not terminal and not hints.graphical:
        raise _nowhere()
    for path in _suitable(folder, terminal, hints.graphical):
        return trusted(path)
    raise errors.NoPinSource(
        reason=tr(
            "aucun programme pinentry n'est installé (paquet pinentry-gnome3, pinentry-qt ou pinentry-curses)",
            "no pinentry program is installed (package pinentry-gnome3, pinentry-qt or pinentry-curses)",
        )
    )


def _nowhere() -> errors.NoPinSource:
    return errors.NoPinSource(reason=tr("ni écran ni terminal", "neither display nor terminal"))


def _suitable(folder: Path, terminal: bool, graphical: bool) -> list[Path]:
    found = [path for name in ("pinentry", *_ON_DISPLAY, *_ON_TERMINAL) if (path := folder / name).exists()]
    text = [path for path in found if path.resolve().name in _ON_TERMINAL]
    windows = [path for path in found if path not in text]
    if graphical:
        return windows + (text if terminal else [])
    return text + windows


def trusted(path: Path) -> Path:
    try:
        real = path.resolve(strict=True)
        if path.is_absolute() and real.is_file() and os.access(real, os.X_OK) and all(map(_guarded, (real, *real.parents))):
            return real
    except (OSError, RuntimeError, ValueError):
        pass
    raise errors.NoPinSource(
        reason=tr(
            f"« {path} » n'est pas un programme désigné par un chemin absolu que seuls root et vous pouvez modifier",
            f"“{path}” is no program named by an absolute path that root and you alone can change",
        )
    )


def _guarded(path: Path) -> bool:
    """Nobody else can change it. What lies in a sticky folder (/tmp) can be changed by its owner only."""
    status = path.stat()
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, os.geteuid()) and (not others or bool(sticky))
