# SPDX-License-Identifier: Apache-2.0
"""The port that pages reach the service on: free, or ours."""

from __future__ import annotations

import pwd

from cpxd.doctor import localhost, ports
from cpxd.doctor.machine import Machine, quoted
from cpxd.doctor.model import Check, Family, Finding, Findings, command, error, gesture, ok
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
    name = Text("un programme", "a program") if process is None else Text(*(f"pid {process.pid} « {process.name} »",) * 2)
    uid = ports.owner(machine, port) if process is None else process.uid
    who = Text(f"{name.fr} (utilisateur {_user(uid)})", f"{name.en} (user {_user(uid)})")
    return error(
        "port",
        "CPX-115",
        Text(f"Port {port} tenu par {who.fr}.", f"Port {port} is held by {who.en}."),
        Text("Les pages web ne peuvent pas joindre la carte.", "Web pages cannot reach the card."),
        gesture(
            "Fermez-le, ou changez [api] port dans la configuration, puis relancez le service",
            "Close it, or change [api] port in the configuration, then restart the service",
        ),
        port=port,
    )


def _certificate(visit: Visit) -> Findings:
    """Proven, not looked for: a handshake on both addresses with nothing trusted but the service's own certificate."""
    settings = visit.usable_settings()
    if not settings.api_enabled:
        return
    where = localhost.certificate_file()
    if localhost.exposed():
        yield error(
            "certificate",
            "CPX-114",
            Text("D'autres peuvent lire la clé de https://localhost.", "Others can read the key of https://localhost."),
            Text("Le service en fera une nouvelle.", "The service will make a new one."),
            command(quoted("rm", where), lambda: where.unlink(missing_ok=True)),
        )
        return
    holder = ports.holder(visit.machine, settings.api_port)
    if holder is None or not ports.is_ours(visit.machine, holder):
        yield ok("certificate", "Le service n'écoute pas encore.", "The service does not listen yet.")
        return
    yield from _shaken(visit.machine, settings.api_port, holder.pid)


def _shaken(machine: Machine, port: int, pid: int) -> Findings:
    leaf = localhost.leaf() or b""
    if not leaf:
        localhost.knock(port)
        leaf = localhost.leaf() or b""
    seen = {address: localhost.shake(address, port, leaf) if leaf else "silent" for address in ("127.0.0.1", "::1")}
    wrong = {address: how for address, how in seen.items() if how not in ("trusted", "absent")}
    if not wrong and "trusted" in seen.values():
        yield ok(
            "certificate",
            f"https://localhost:{port} montre son certificat (essai réel).",
            f"https://localhost:{port} shows its certificate (really tried).",
        )
        return
    address, how = next(iter((wrong or seen).items()))
    yield error(
        "certificate",
        "CPX-114",
        Text(
            f"https://localhost:{port} ne répond pas avec le certificat de cpxd (essai réel).",
            f"https://localhost:{port} does not answer with the certificate of cpxd (really tried).",
        ),
        Text(f"{address} : {_HOW[how].fr}.", f"{address}: {_HOW[how].en}."),
        command(machine.restart_ours(pid)),
        address=address,
        handshake=how,
    )


_HOW: dict[localhost.Shaken, Text] = {
    "other certificate": Text("un autre certificat, ou hors de ses dates", "another certificate, or outside its dates"),
    "no TLS": Text("la connexion est coupée, ou n'est pas du TLS", "the connection is cut, or is no TLS"),
    "silent": Text("aucune réponse", "no answer"),
    "absent": Text("personne n'écoute", "nobody listens"),
}


def _user(uid: int | None) -> str:
    if uid is None:
        return "?"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


FAMILY = Family(
    "web",
    Text("Pages web", "Web pages"),
    (
        Check("port", Text("Port local", "Local port"), ("CPX-115",), _port, ("settings",)),
        Check(
            "certificate",
            Text("Certificat de https://localhost (essai réel)", "Certificate of https://localhost (really tried)"),
            ("CPX-114",),
            _certificate,
            ("settings", "daemon", "port"),
        ),
    ),
)
