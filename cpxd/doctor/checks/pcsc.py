# SPDX-License-Identifier: Apache-2.0
"""The PC/SC service: there, answering, speaking our version, letting us in."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Literal

from cpxd import errors
from cpxd.doctor.machine import quoted
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, Verdict, command, error, ok
from cpxd.doctor.visit import Visit, pcscd_socket
from cpxd.reader.galss import PREFIX
from cpxd.text import Text

_DONE, _REFUSED = 0, 0x8010006A  # SCARD_S_SUCCESS, SCARD_W_SECURITY_VIOLATION
# pcsc-lite, winscard_msg.h: header (size, CMD_VERSION), then major, minor, result
_VERSION_ASKED = struct.Struct("=IIiiI")
_VERSION_TOLD = struct.Struct("=iiI")
_OLDEST = (4, 0)
_SECONDS = 0.4


def _pcsc(visit: Visit) -> Findings:
    code = visit.service_code()
    if code == _DONE:
        yield ok("pcsc", "Le service de cartes (pcscd) répond.", "The smart card service (pcscd) answers.")
        return
    path = pcscd_socket()
    spoken = None if code in (_REFUSED, None) else _spoken(path)
    if code == _REFUSED or spoken == "hung up":
        yield _locked_out(_BY_POLKIT, command(_LET_IN))
    elif spoken == "no right":
        yield _locked_out(_BY_RIGHTS, command(quoted("sudo", "chmod", "666", path)))
    elif code is None:
        yield _silent(visit)
    elif isinstance(spoken, tuple):
        yield _other_version(visit, spoken)
    elif _by_galss(visit):
        yield ok(
            "pcsc", "pcscd ne tourne pas ; le terminal est joint par GALSS.", "pcscd does not run; GALSS reaches the terminal."
        )
    else:
        yield _absent(visit, path, code)


def _by_galss(visit: Visit) -> bool:
    try:
        return any(place.state.name.startswith(PREFIX) for place in visit.places())
    except errors.CpxError:
        return False


_BY_POLKIT = Text(
    "Une règle polkit ne l'ouvre qu'aux sessions locales : session distante, ou autre utilisateur.",
    "A polkit rule opens it to local sessions only: a remote session, or another user.",
)
_BY_RIGHTS = Text("Les droits de sa socket vous en écartent.", "The rights of its socket keep you out.")
# polkit(8), "Authorization rules": the two actions of pcscd, for the user who types it
_LET_IN = (
    """echo "polkit.addRule(function(action, subject) { if (action.id.indexOf('org.debian.pcsc-lite.') == 0 """
    """&& subject.user == '$USER') return polkit.Result.YES; });" | sudo tee /etc/polkit-1/rules.d/40-cpxd.rules"""
)


def _locked_out(cause: Text, fix: Fix) -> Finding:
    return error(
        "pcsc",
        "CPX-202",
        Text("Le service de cartes (pcscd) vous refuse l'accès.", "The smart card service (pcscd) denies you access."),
        cause,
        fix,
        verdict=Verdict.ADMIN,
    )


def _silent(visit: Visit) -> Finding:
    return error(
        "pcsc",
        "CPX-101",
        Text("Le service de cartes (pcscd) ne répond plus.", "The smart card service (pcscd) has stopped answering."),
        Text("Il tourne, mais n'a rien répondu en 0,6 s.", "It runs, but answered nothing in 0.6 s.")
        if visit.service_runs()
        else Text("Appelé, il n'a pas démarré en 3 s.", "It was called, and did not start within 3 s."),
        command(visit.machine.restart("pcscd")),
        verdict=Verdict.ADMIN,
    )


def _other_version(visit: Visit, spoken: tuple[int, int]) -> Finding:
    boxed = visit.machine.at("/.flatpak-info").exists() or "SNAP" in os.environ
    where = Text(" (Snap ou Flatpak)", " (Snap or Flatpak)") if boxed else Text("", "")
    return error(
        "pcsc",
        "CPX-201",
        Text(
            "Le service de cartes et sa bibliothèque ne sont pas de la même version.",
            "The smart card service and its library are of different versions.",
        ),
        Text(
            f"pcscd parle le protocole {spoken[0]}.{spoken[1]}, que la bibliothèque de ce programme{where.fr} refuse.",
            f"pcscd speaks protocol {spoken[0]}.{spoken[1]}, which the library of this program{where.en} refuses.",
        ),
        command(visit.machine.install("--reinstall pcscd libpcsclite1", "pcsc-lite pcsc-lite-libs", "pcsclite")),
        verdict=Verdict.ADMIN,
        protocol=f"{spoken[0]}.{spoken[1]}",
    )


def _absent(visit: Visit, path: str, code: int) -> Finding:
    machine = visit.machine
    if not machine.has("pcscd"):
        cause = Text("pcscd n'est pas installé.", "pcscd is not installed.")
        fix = command(machine.install("pcscd libccid", "pcsc-lite pcsc-lite-ccid", "pcsclite ccid"))
    elif _is_socket(path):
        cause = Text(
            "pcscd est installé, mais arrêté : sa socket ne répond pas.", "pcscd is installed, but stopped: its socket is dead."
        )
        fix = command(machine.start("pcscd.socket", "pcscd"))
    else:
        cause = Text("pcscd est installé, mais ne tourne pas.", "pcscd is installed, but does not run.")
        fix = command(machine.start("pcscd.socket", "pcscd"))
    return error(
        "pcsc",
        "CPX-101",
        Text("Le service de cartes (pcscd) ne tourne pas.", "The smart card service (pcscd) does not run."),
        cause,
        fix,
        verdict=Verdict.ADMIN,
        result=f"{code:08X}",
        socket=path,
    )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _spoken(path: str) -> tuple[int, int] | Literal["no right", "hung up"] | None:
    """The protocol version of the pcscd that listens there, or how it sends us away; None when nobody listens.

    A pcscd whose polkit says no closes the connection without a word."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_SECONDS)
            link.connect(path)
            link.sendall(_VERSION_ASKED.pack(_VERSION_TOLD.size, 0x11, *_OLDEST, 0))
            answer = link.recv(_VERSION_TOLD.size, socket.MSG_WAITALL)
    except PermissionError:
        return "no right"
    except (BrokenPipeError, ConnectionResetError):
        return "hung up"
    except OSError:
        return None
    if len(answer) != _VERSION_TOLD.size:
        return None if answer else "hung up"
    major, minor, _ = _VERSION_TOLD.unpack(answer)
    return (major, minor) if 0 < major < 100 else None


FAMILY = Family(
    "pcsc",
    Text("Service de cartes", "Smart card service"),
    (Check("pcsc", Text("Service PC/SC (pcscd)", "PC/SC service (pcscd)"), ("CPX-101", "CPX-201", "CPX-202"), _pcsc),),
)
