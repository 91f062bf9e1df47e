# SPDX-License-Identifier: Apache-2.0
"""Other software that takes the card or the reader for itself."""

from __future__ import annotations

import os
from pathlib import Path

from cpxd import errors
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, command, error, info, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.reader import galssini
from cpxd.text import Text

_SCDAEMON = "scdaemon"
_GALSS = ("galsvlux", "galsvw32", "galsvosx")  # the server of GALSS, by system
_NOTES = 3  # lines about galss.ini are enough to begin with
_GALSS_FOLDERS = ("/usr/local/galss", "/opt/santesocial/galss")


def _scdaemon(visit: Visit) -> Findings:
    process = visit.machine.running(_SCDAEMON)
    if process is None:
        yield ok("scdaemon", "scdaemon (GnuPG) ne tourne pas.", "scdaemon (GnuPG) does not run.")
        return
    settings = "mkdir -p -m 700 ~/.gnupg && printf 'disable-ccid\\npcsc-shared\\n' >> ~/.gnupg/scdaemon.conf"
    fix = command(f"{settings} && gpgconf --kill scdaemon")  # else the next gpg takes it again
    title = Text("scdaemon (GnuPG) tient le lecteur pour lui seul.", "scdaemon (GnuPG) keeps the reader to itself.")
    if _exclusive(visit):
        cause = Text(
            "La carte est prise en mode exclusif, et scdaemon tourne.", "The card is taken exclusively, and scdaemon runs."
        )
        yield error("scdaemon", "CPX-220", title, cause, fix, pid=process.pid)
    else:
        title = Text("scdaemon (GnuPG) tourne, et peut prendre la carte.", "scdaemon (GnuPG) runs, and may take the card.")
        yield warning("scdaemon", "CPX-220", title, Text("", ""), fix, pid=process.pid)


def _exclusive(visit: Visit) -> bool:
    try:
        return visit.place().state.exclusive
    except errors.CpxError:
        return False


def _galss(visit: Visit) -> Findings:
    process = visit.machine.running(*_GALSS)
    folder = next((f for f in _GALSS_FOLDERS if visit.machine.at(f).is_dir()), None)
    if process is None and folder is None:
        yield ok("galss", "Pas de GALSS sur ce poste.", "No GALSS on this workstation.")
    elif process is None:
        yield info(
            "galss",
            "CPX-221",
            Text("GALSS est installé, et ne tourne pas.", "GALSS is installed, and does not run."),
            Text("", ""),
            folder=folder,
        )
    else:
        yield _galss_runs(process.name)
    yield from _galss_ini(visit)


def _galss_ini(visit: Visit) -> Findings:
    """What its configuration says wrong: GALSS itself tells nobody."""
    named = visit.usable_settings().galss_ini
    paths = (Path(named),) if named else (visit.machine.at(str(place)) for place in galssini.PLACES)
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        return
    title = Text("galss.ini est inutilisable.", "galss.ini is unusable.")
    fix = Fix("physical", Text("Corrigez galss.ini, puis relancez GALSS", "Correct galss.ini, then restart GALSS"))
    try:
        notes = galssini.load(path).notes
    except errors.BadConfig as error:
        said = str(error.details.get("reason", ""))
        yield warning("galss", "CPX-227", title, Text(said, said), fix, file=path)
        return
    if notes:
        title = Text("galss.ini se contredit, ou est incomplet.", "galss.ini contradicts itself, or is incomplete.")
        shown = notes[:_NOTES]
        cause = Text(" ; ".join(note.fr for note in shown), "; ".join(note.en for note in shown))
        yield warning("galss", "CPX-227", title, cause, fix, file=path)


def _galss_runs(name: str) -> Finding:
    return warning(
        "galss",
        "CPX-221",
        Text("GALSS tourne : il peut tenir le terminal SESAM-Vitale.", "GALSS runs: it may hold the SESAM-Vitale terminal."),
        Text("Deux logiciels ne partagent pas un terminal en mode PSS.", "Two programs do not share a terminal in PSS mode."),
        Fix(
            "physical",
            Text(
                "Passez le terminal en mode PC/SC, ou fermez le logiciel qui utilise GALSS",
                "Switch the terminal to PC/SC, or close the program that uses GALSS",
            ),
        ),
        program=name,
    )


FAMILY = Family(
    "programs",
    Text("Logiciels concurrents", "Competing software"),
    (
        Check("scdaemon", Text("scdaemon (GnuPG)", "scdaemon (GnuPG)"), ("CPX-220",), _scdaemon, ("pcsc", "reader")),
        Check("galss", Text("GALSS (SESAM-Vitale)", "GALSS (SESAM-Vitale)"), ("CPX-221", "CPX-227"), _galss),
    ),
)
