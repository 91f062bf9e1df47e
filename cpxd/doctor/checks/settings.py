# SPDX-License-Identifier: Apache-2.0
"""The settings: a file that is refused stops every command."""

from __future__ import annotations

from cpxd.doctor.model import Check, Family, Findings, Verdict, error, gesture, ok
from cpxd.doctor.visit import Visit
from cpxd.errors import BadConfig
from cpxd.text import Text


def _settings(visit: Visit) -> Findings:
    try:
        visit.settings()
    except BadConfig as refused:
        file, reason = refused.details["file"], refused.details["reason"]
        yield error(
            "settings",
            refused.code,
            Text(f"Configuration refusée : {file}", f"Configuration refused: {file}"),
            Text(str(reason), str(reason)),
            gesture(f"Corrigez ou retirez {file}", f"Correct or remove {file}"),
            verdict=Verdict.ADMIN if str(file).startswith("/etc/") else Verdict.USER,
        )
        return
    yield ok("settings", "Configuration lue.", "Configuration read.")


FAMILY = Family(
    "settings",
    Text("Configuration", "Configuration"),
    (Check("settings", Text("Fichiers de configuration", "Configuration files"), ("CPX-141",), _settings),),
)
