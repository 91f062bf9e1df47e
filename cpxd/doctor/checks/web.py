# SPDX-License-Identifier: Apache-2.0
"""The port that pages reach the service on: free, or ours."""

from __future__ import annotations

import pwd

from cpxd.doctor import ports
from cpxd.doctor.machine import Machine
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, error, ok
from cpxd.doctor.visit import Visit
from cpxd.text import Text


def _port(visit: Visit) -> Findings:
    settings = visit.usable_settings()
    if getattr(settings, "api_enabled", False):
        yield judged(visit.machine, int(getattr(settings, "api_port", 0)))


def judged(machine: Machine, port: int) -> Finding:
    """What is to be said of a port."""
    if not ports.inodes(machine, port):
        return ok("port", f"Port {port} libre.", f"Port {port} is free.")
    process = ports.holder(machine, port)
    if process is not None and ports.is_ours(machine, process):
        return ok("port", f"Port {port} : service cpxd.", f"Port {port}: the cpxd service.")
    who = Text("un programme d'un autre utilisateur", "a program of another user")
    if process is not None:
        name = f"pid {process.pid} « {process.name} »"
        who = Text(f"{name} (utilisateur {_user(process.uid)})", f"{name} (user {_user(process.uid)})")
    return error(
        "port",
        "CPX-115",
        Text(f"Port {port} tenu par {who.fr}.", f"Port {port} is held by {who.en}."),
        Text("Les pages web ne peuvent pas joindre la carte.", "Web pages cannot reach the card."),
        Fix(
            "command",
            Text(
                "fermez-le, ou changez [api] port dans la configuration, puis relancez le service",
                "close it, or change [api] port in the configuration, then restart the service",
            ),
        ),
        port=port,
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


FAMILY = Family("web", Text("Pages web", "Web pages"), (Check("port", Text("Port local", "Local port"), ("CPX-115",), _port),))
