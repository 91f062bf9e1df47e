# SPDX-License-Identifier: Apache-2.0
"""Errors of this room."""

from __future__ import annotations

from cpxd.failure import CpxError, Exit, Fault
from cpxd.text import Text


class MissingProgram(CpxError):
    code, exit, fault = "CPX-190", Exit.BAD_INPUT, Fault.WORKSTATION
    what = Text(
        "Il manque le programme {program}. Installez-le (sudo apt install {package}), puis recommencez.",
        "The program {program} is missing. Install it (sudo apt install {package}), then try again.",
    )


class DatabaseRefused(CpxError):
    code, exit, fault = "CPX-191", Exit.BAD_INPUT, Fault.WORKSTATION
    what = Text(
        "{program} n'a pas pu modifier « {folder} ». Fermez le navigateur ; si la base a un mot de passe, ôtez-le d'abord.",
        "{program} could not change “{folder}”. Close the browser; if the database has a password, remove it first.",
    )


class BrowsersLeft(CpxError):
    code, exit, fault = "CPX-147", Exit.BAD_INPUT, Fault.WORKSTATION
    what = Text(
        "{count} navigateur(s) pas à jour : voir les lignes ci-dessus.", "{count} browser(s) not up to date: see the lines above."
    )
