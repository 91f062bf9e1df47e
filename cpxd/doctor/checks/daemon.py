# SPDX-License-Identifier: Apache-2.0
"""The service of cpxd and its socket, as a program that loads the PKCS#11 module meets them."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
import struct
from functools import partial
from pathlib import Path

from cpxd.config import PKCS11_SOCKET, SOCKET_PATH_LIMIT, run_home
from cpxd.doctor.checks.storage import aside, move_aside
from cpxd.doctor.machine import Machine, quoted
from cpxd.doctor.model import Check, Family, Finding, Findings, Verdict, command, error, gesture, info, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.secret import Secret, SecretError
from cpxd.text import Text

_SECONDS = 0.5
_CREDENTIALS = struct.Struct("=iII")  # unix(7), SO_PEERCRED: pid, uid, gid
_ABSENT = Text(
    "Le service cpxd ne tourne pas ; il démarre avec le premier programme.",
    "The cpxd service does not run; it starts with the first program.",
)


_LOCKED = 5  # pages: what the service locks for one program that gives a code (pkcs11/frames.py, secret.py)
_MAX_LOCKED = re.compile(r"^Max locked memory +(\d+)", re.MULTILINE)  # proc(5), /proc/pid/limits, bytes
_NOW_LOCKED = re.compile(r"^VmLck:\s+(\d+) kB", re.MULTILINE)  # /proc/pid/status


def _memory(visit: Visit) -> Findings:
    """Tried, for root may lock whatever the limit says."""
    try:
        held = [Secret() for _ in range(_LOCKED)]
    except SecretError:
        yield _refused("memory", Text("", ""), resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
        return
    yield ok("memory", "Le système protège la mémoire des codes.", "The system protects the memory of codes.", pages=len(held))


def _refused(check: str, whose: Text, limit: int) -> Finding:
    size = Text("illimitée", "unlimited") if limit == resource.RLIM_INFINITY else Text(f"{limit >> 10} Kio", f"{limit >> 10} KiB")
    return error(
        check,
        "CPX-228",
        Text(
            "Le système refuse la mémoire protégée, où cpxd reçoit les codes.",
            "The system refuses locked memory, where cpxd receives codes.",
        ),
        Text(
            f"Limite memlock{whose.fr} : {size.fr}. Des programmes voient alors zéro lecteur.",
            f"Limit memlock{whose.en}: {size.en}. Programs then see no reader.",
        ),
        gesture(
            "Mettez memlock à 8192 dans /etc/security/limits.conf (LimitMEMLOCK=8M pour systemd), puis rouvrez la session",
            "Set memlock to 8192 in /etc/security/limits.conf (LimitMEMLOCK=8M for systemd), then log in again",
        ),
        verdict=Verdict.ADMIN,
        limit=limit,
    )


def _daemon(visit: Visit) -> Findings:
    folder, path = run_home(), run_home() / PKCS11_SOCKET
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        yield error(
            "daemon",
            "CPX-217",
            Text("Le chemin de la socket du service est trop long.", "The path of the socket of the service is too long."),
            Text(f"{path} : plus de {SOCKET_PATH_LIMIT} octets.", f"{path}: more than {SOCKET_PATH_LIMIT} bytes."),
            gesture("Raccourcissez XDG_RUNTIME_DIR", "Shorten XDG_RUNTIME_DIR"),
        )
    elif os.path.lexists(folder) and (wrong := _wrong_folder(folder)):
        yield wrong
    elif not os.path.lexists(path):
        yield info("daemon", "CPX-144", _ABSENT, Text("", ""))
    elif not stat.S_ISSOCK(path.lstat().st_mode):
        yield _occupied(path)
    else:
        yield _asked(visit.machine, path)


def _wrong_folder(folder: Path) -> Finding | None:
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
        return None
    return _occupied(folder)


def _occupied(place: Path) -> Finding:
    return error(
        "daemon",
        "CPX-217",
        Text(
            f"La place de la socket du service est prise : {place}", f"The place of the socket of the service is taken: {place}"
        ),
        Text("Ce n'est pas le service cpxd de cet utilisateur.", "It is not the cpxd service of this user."),
        command(quoted("mv", place, aside(place)), partial(move_aside, place)),
    )


def _asked(machine: Machine, path: Path) -> Finding:
    """Connect, and agree on a version, as the module does."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_SECONDS)
        try:
            link.connect(str(path))
        except ConnectionRefusedError:
            return _stale(path)
        except OSError:
            return _deaf(machine, None)
        pid, uid, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.getuid()):
            return _occupied(path)
        try:
            link.sendall(b"\x00")
            answered = len(link.recv(1)) == 1
        except OSError:
            answered = False
    if answered:
        return ok("daemon", "Le service cpxd répond.", "The cpxd service answers.", pid=pid)
    return _starved(machine, pid) or _deaf(machine, pid)


def _starved(machine: Machine, pid: int) -> Finding | None:
    """A service that gets no locked memory hangs up on every program."""
    limit = _MAX_LOCKED.search(machine.text(f"/proc/{pid}/limits"))
    held = _NOW_LOCKED.search(machine.text(f"/proc/{pid}/status"))
    if limit is None or int(limit[1]) >= (int(held[1]) << 10 if held else 0) + _LOCKED * resource.getpagesize():
        return None
    return _refused("daemon", Text(" du service cpxd", " of the cpxd service"), int(limit[1]))


def _stale(path: Path) -> Finding:
    return warning(
        "daemon",
        "CPX-216",
        Text(
            "Socket abandonnée : le service cpxd s'est arrêté sans ranger.",
            "Stale socket: the cpxd service ended without cleaning up.",
        ),
        Text("Le service la remplace quand il redémarre.", "The service replaces it when it starts again."),
        command(quoted("rm", path), lambda: path.unlink(missing_ok=True)),
        socket=path,
    )


def _deaf(machine: Machine, pid: int | None) -> Finding:
    line = "cpxd serve" if pid is None else machine.restart_ours(pid)
    return error(
        "daemon",
        "CPX-218",
        Text("Le service cpxd tourne, mais ne répond pas.", "The cpxd service runs, but does not answer."),
        Text("Il n'a rien répondu en 0,5 s.", "It answered nothing in 0.5 s."),
        command(line),
    )


FAMILY = Family(
    "daemon",
    Text("Service cpxd", "cpxd service"),
    (
        Check("memory", Text("Mémoire protégée (essai réel)", "Locked memory (really tried)"), ("CPX-228",), _memory),
        Check(
            "daemon",
            Text("Service et socket", "Service and socket"),
            ("CPX-144", "CPX-216", "CPX-217", "CPX-218", "CPX-228"),
            _daemon,
            ("memory",),
        ),
    ),
)
