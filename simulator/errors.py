# SPDX-License-Identifier: Apache-2.0
"""The errors of the simulator that a person may cause: one line in French, one in English, an exit code."""

from __future__ import annotations

import errno
from typing import ClassVar


class SimulatorError(Exception):
    """`str()` is the English line."""

    exit_code: ClassVar[int] = 70

    def __init__(self, french: str, english: str) -> None:
        super().__init__(english)
        self.french, self.english = french, english


class UsageError(SimulatorError):
    """Asked for in a way that is not understood."""

    exit_code = 2


class InputError(SimulatorError):
    """A persona, a file or an address that cannot be used."""

    exit_code = 40


class LabError(SimulatorError):
    """The lab cannot be built, or does not do what it was asked."""


_FRENCH = {
    errno.ENOENT: "n'existe pas",
    errno.EACCES: "accès refusé",
    errno.EPERM: "accès refusé",
    errno.EISDIR: "c'est un dossier",
    errno.ENOTDIR: "un nom du chemin n'est pas un dossier",
    errno.EEXIST: "existe déjà",
    errno.ENOSPC: "plus de place sur le disque",
    errno.EROFS: "disque en lecture seule",
    errno.ENAMETOOLONG: "nom trop long",
    errno.EADDRINUSE: "adresse déjà prise",
    errno.ENOEXEC: "n'est pas un programme",
}


def reason(error: OSError) -> tuple[str, str]:
    """Why the system refuses, in French (in its own words for what is rare) and in English."""
    said = error.strerror or str(error)
    return _FRENCH.get(error.errno or 0, said), said


def unusable(what: object, error: OSError) -> InputError:
    """A file that a person named and that cannot be used."""
    french, english = reason(error)
    return InputError(f"{what} : {french}", f"{what}: {english}")
