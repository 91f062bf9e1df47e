# SPDX-License-Identifier: Apache-2.0
"""The settings: a file that is refused stops every command."""

from __future__ import annotations

import os
from pathlib import Path

from cpxd.doctor.checks.storage import opening
from cpxd.doctor.model import Check, Family, Findings, Fix, Verdict, command, error, gesture, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.errors import BadConfig
from cpxd.text import Text

_TRUST = "[sign] trust"  # without it no signature and no list of opposition is checked
_PATHS = (  # a dictionary that is not there is what reading the card says
    _TRUST,
    "[revocation] folder",
    "[pkcs11] chain",
    "[dialog] pinentry",
    "[dialog] consent",
    "[galss] folder",
    "[galss] ini",
    "[login] hook",
)


def _settings(visit: Visit) -> Findings:
    try:
        settings = visit.settings()
    except BadConfig as refused:
        file, reason = refused.details["file"], refused.details["reason"]
        yield error(
            "settings",
            refused.code,
            Text(f"Configuration refusée : {file}", f"Configuration refused: {file}"),
            Text(str(reason), str(reason)),
            _fix(Path(str(file)), visit.machine.home),
            verdict=Verdict.ADMIN if str(file).startswith("/etc/") else Verdict.USER,
        )
        return
    lost = [
        (name, str(path))
        for name in _PATHS
        if (path := getattr(settings, name.replace("] ", "_").strip("["))) and not os.path.exists(path)
    ]
    for name, path in lost:
        tell = error if name == _TRUST else warning
        yield tell(
            "settings",
            BadConfig.code,
            Text(
                f"La configuration nomme ce qui n'existe pas : {name} = {path}",
                f"The settings name what is not there: {name} = {path}",
            ),
            Text("Ce qui en a besoin ne marche pas.", "What needs it does not work."),
            gesture("Corrigez cette ligne, ou remettez le fichier", "Correct that line, or put the file back"),
            verdict=Verdict.USER,
        )
    if not lost:
        yield ok("settings", "Configuration lue.", "Configuration read.")


def _fix(file: Path, home: Path) -> Fix:
    """A file that may not even be read is not to be corrected: what closes it is to be opened."""
    for place in (*reversed(file.parents), file):
        if home in place.parents and os.path.lexists(place) and not os.access(place, os.R_OK):
            return command(opening(place))
    return gesture(f"Corrigez ou retirez {file}", f"Correct or remove {file}")


FAMILY = Family(
    "settings",
    Text("Configuration", "Configuration"),
    (Check("settings", Text("Fichiers de configuration", "Configuration files"), ("CPX-141",), _settings),),
)
