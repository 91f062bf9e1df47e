# SPDX-License-Identifier: Apache-2.0
"""Browsers and mail: our module in each profile, loadable, alone for the card, and allowed by the administrator."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

from cpxd import errors
from cpxd.browsers import nss, registration
from cpxd.browsers.nss import MODULE, Database, Module
from cpxd.browsers.problems import MissingProgram
from cpxd.doctor import lna, localhost, ports
from cpxd.doctor.checks.storage import opening
from cpxd.doctor.machine import tool
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, Verdict, command, error, gesture, ok, unknown, warning
from cpxd.doctor.visit import Visit
from cpxd.text import Text

_WHY = {
    "missing": Text("le fichier n'existe pas", "the file does not exist"),
    "unreadable": Text("le fichier est illisible", "the file cannot be read"),
    "no library": Text("ce n'est pas une bibliothèque", "it is no library"),
    "other architecture": Text("il est d'une autre architecture", "it is of another architecture"),
}
_POLICIES = (
    "/etc/firefox/policies/policies.json",
    "/usr/lib/firefox/distribution/policies.json",
    "/usr/lib/firefox-esr/distribution/policies.json",
    "/usr/share/firefox-esr/distribution/policies.json",
)
_MODUTIL_SECONDS = 10


def _module(visit: Visit) -> Findings:
    why = nss.loadable(MODULE, platform.machine())
    if why is None:
        yield ok("module", "Le module PKCS#11 est là.", "The PKCS#11 module is there.")
        return
    yield error(
        "module",
        "CPX-219",
        Text("Le module PKCS#11 de cpxd ne peut pas être chargé.", "The PKCS#11 module of cpxd cannot be loaded."),
        Text(f"{MODULE} : {_WHY[why].fr}.", f"{MODULE}: {_WHY[why].en}."),
        gesture("Réinstallez cpxd", "Install cpxd again"),
        verdict=Verdict.ADMIN,
    )


def _registered(visit: Visit) -> Findings:
    found, closed = nss.databases(visit.machine.home), nss.closed(visit.machine.home)
    yield from (_closed(place) for place in closed)
    if not found and not closed:
        yield ok("profiles", "Aucun profil de navigateur à vérifier.", "No browser profile to check.")
    for database in found:
        if database.confined:
            yield ok("profiles", f"{_name(database).fr} : Snap ou Flatpak.", f"{_name(database).en}: Snap or Flatpak.")
            continue
        ours = database.ours
        if not ours:
            yield _missing(visit, database)
        elif broken := next(((m, w) for m in ours if (w := nss.loadable(Path(m.library), platform.machine()))), None):
            yield _broken(database, *broken)
        elif len(ours) > 1:
            yield _twice(database, ours[-1])
        else:
            yield ok("profiles", f"{_name(database).fr} a le module cpxd.", f"{_name(database).en} has the cpxd module.")


def _name(database: Database) -> Text:
    return Text(f"{database.program} (profil {database.profile})", f"{database.program} (profile {database.profile})")


def _closed(place: Path) -> Finding:
    return warning(
        "profiles",
        "CPX-113",
        Text(f"Un dossier de navigateur vous est fermé : {place}", f"A folder of a browser is closed to you: {place}"),
        Text("Un programme lancé avec sudo l'a peut-être créé.", "A program that was run with sudo may have made it."),
        command(opening(place)),
        verdict=Verdict.USER,
        folder=place,
    )


def _twice(database: Database, module: Module) -> Finding:
    name = _name(database)
    return warning(
        "profiles",
        "CPX-223",
        Text(f"{name.fr} a le module cpxd deux fois.", f"{name.en} has the cpxd module twice."),
        Text("Chaque carte y apparaît en double.", "Each card appears twice there."),
        command(nss.line(nss.deleting(database, module.name)), _Change(database, nss.deleting(database, module.name))),
        verdict=Verdict.USER,
    )


def _missing(visit: Visit, database: Database) -> Finding:
    name = _name(database)
    return warning(
        "profiles",
        "CPX-113",
        Text(f"{name.fr} n'a pas le module cpxd.", f"{name.en} does not have the cpxd module."),
        Text("Les sites n'y verront pas la carte. Fermez-le d'abord.", "Sites will not see the card there. Close it first."),
        localhost.register(visit.machine),
        verdict=Verdict.USER,
    )


def _broken(database: Database, module: Module, why: str) -> Finding:
    name = _name(database)
    changes = [nss.deleting(database, module.name)]
    if all(nss.loadable(Path(other.library), platform.machine()) for other in database.ours):
        changes.append(nss.adding(database))
    return warning(
        "profiles",
        "CPX-222",
        Text(f"{name.fr} a un module cpxd qui ne se charge pas.", f"{name.en} has a cpxd module that does not load."),
        Text(f"{module.library} : {_WHY[why].fr}.", f"{module.library}: {_WHY[why].en}."),
        command(" && ".join(nss.line(change) for change in changes), _Change(database, *changes)),
        verdict=Verdict.USER,
    )


class _Change:
    """The printed commands, run as they are printed. Raises OSError when one fails."""

    def __init__(self, database: Database, *commands: list[str]) -> None:
        self._database, self._commands = database, commands

    def __call__(self) -> None:
        try:
            nss.change(self._database, *self._commands)
        except errors.CpxError as error:
            raise OSError(error.sentence()) from None


def _competitors(visit: Visit) -> Findings:
    alone = True
    for database in nss.databases(visit.machine.home):
        for module in database.modules:
            if module.competitor:
                alone = False
                name = _name(database)
                yield warning(
                    "competitors",
                    "CPX-223",
                    Text(
                        f"{name.fr} a un autre module pour la même carte : {module.name}.",
                        f"{name.en} has another module for the same card: {module.name}.",
                    ),
                    Text(
                        "Deux modules se disputent la carte et redemandent le code.",
                        "Two modules compete for the card and ask for the PIN again.",
                    ),
                    command(nss.line(nss.deleting(database, module.name))),
                    library=module.library,
                )
    if alone:
        yield ok("competitors", "Aucun autre module pour cette carte.", "No other module for this card.")


def _policies(visit: Visit) -> Findings:
    for path in _POLICIES:
        content = visit.machine.text(path)
        if not content:
            continue
        try:
            policies = json.loads(content)["policies"]
            devices = policies.get("SecurityDevices", {})
            forbidden = [str(name) for name in devices.get("Delete", []) if "cpxd" in str(name).lower()]
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            yield warning(
                "policies",
                "CPX-224",
                Text(f"Règles de Firefox illisibles : {path}", f"Firefox policies cannot be read: {path}"),
                Text("Firefox les ignore toutes.", "Firefox ignores all of them."),
                Fix("command", Text(f"python3 -m json.tool {path}", f"python3 -m json.tool {path}")),
                verdict=Verdict.ADMIN,
            )
            continue
        if forbidden:
            yield warning(
                "policies",
                "CPX-224",
                Text(
                    "L'administrateur interdit le module cpxd dans Firefox.",
                    "The administrator forbids the cpxd module in Firefox.",
                ),
                Text(f"{path} : SecurityDevices, Delete.", f"{path}: SecurityDevices, Delete."),
                Fix("phone", Text("Demandez à votre administrateur", "Ask your administrator")),
                verdict=Verdict.ADMIN,
            )


def _trusted(visit: Visit) -> Findings:
    """Which browsers accept the certificate of https://localhost. Without a site that may ask, only "Ma carte" needs it."""
    settings, leaf = visit.usable_settings(), localhost.leaf()
    if leaf is None or not settings.api_enabled:
        return
    asked = bool(localhost.sites(visit.machine))
    for database in nss.databases(visit.machine.home):
        if database.program == "Thunderbird" or not (database.ours or database.confined):
            continue  # what gives it the module gives it the certificate
        name = _name(database)
        try:
            known = registration.knows(database, leaf, settings.api_port)
        except MissingProgram as missing:
            what = Text("Certificat local non vérifié.", "Local certificate not looked at.")
            why, fix = Text(missing.sentence(), missing.sentence()), visit.machine.install("libnss3-tools", "nss-tools", "nss")
            yield Finding("trust", "info", missing.code, what, why, command(fix))
            return
        if known:
            yield ok("trust", f"{name.fr} connaît le certificat local.", f"{name.en} knows the local certificate.")
            continue
        title = Text(
            f"{name.fr} refuse https://localhost:{settings.api_port}.",
            f"{name.en} refuses https://localhost:{settings.api_port}.",
        )
        cause = Text("Il n'a pas le certificat du service cpxd.", "It does not have the certificate of the cpxd service.")
        if asked:
            yield warning("trust", "CPX-114", title, cause, localhost.register(visit.machine), verdict=Verdict.USER)
        else:
            yield Finding("trust", "info", "CPX-114", title, cause, localhost.register(visit.machine))


def _handshake(visit: Visit) -> Findings:
    """A real Chromium, with this user's certificates, opens the address of the service."""
    port = visit.usable_settings().api_port
    if not ports.inodes(visit.machine, port):
        return
    took = localhost.chromium(visit.machine.home, port)
    if took:
        yield ok(
            "handshake", "Chromium ouvre https://localhost (essai réel).", "Chromium opens https://localhost (really tried)."
        )
    elif took is not None:
        yield warning(
            "handshake",
            "CPX-114",
            Text(
                f"Chromium refuse https://localhost:{port} (essai réel).",
                f"Chromium refuses https://localhost:{port} (really tried).",
            ),
            Text("Il n'a pas le certificat du service cpxd.", "It does not have the certificate of the cpxd service."),
            localhost.register(visit.machine),
            verdict=Verdict.USER,
        )


def _local_network(visit: Visit) -> Findings:
    for found in lna.of(visit.machine, localhost.sites(visit.machine)):
        if not found.answer.startswith("blocked"):
            continue
        policy = found.answer == "blocked by policy"
        asks = Text("Demandez à votre administrateur", "Ask your administrator")
        unblock = gesture(
            f"Dans {found.browser}, sur ce site : icône à gauche de l'adresse, « Réseau local », Autoriser",
            f"In {found.browser}, on that site: icon left of the address, “Local network”, Allow",
        )
        yield warning(
            "lna",
            "CPX-116",
            Text(
                f"{found.browser} empêche {found.site} de joindre ce poste (« réseau local »).",
                f"{found.browser} keeps {found.site} from reaching this workstation (“local network”).",
            ),
            Text(f"Règle de l'administrateur : {found.where}.", f"Policy of the administrator: {found.where}.")
            if policy
            else Text(f"Refusé un jour, profil {found.where}.", f"Denied once, profile {found.where}."),
            Fix("phone", asks) if policy else unblock,
            verdict=Verdict.ADMIN if policy else Verdict.USER,
            site=found.site,
        )


def _really(visit: Visit) -> Findings:
    """NSS itself loads the module, in each profile: as the browser does at its start."""
    program = tool("modutil")
    if program is None:
        yield unknown(
            "load",
            "CPX-225",
            Text("Chargement non essayé : modutil manque.", "Loading not tried: modutil is missing."),
            Text("", ""),
            command(visit.machine.install("libnss3-tools", "nss-tools", "nss")),
        )
        return
    for database in nss.databases(visit.machine.home):
        if not any(module.ours for module in database.modules):
            continue
        name = _name(database)
        try:
            done = subprocess.run(
                [program, "-dbdir", f"sql:{database.folder}", "-list", "cpxd"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_MODUTIL_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            # not its exit code: modutil gives one for an empty slot too
            loaded = any(line.startswith("  Slot: ") for line in done.stdout.splitlines())
        except (OSError, subprocess.TimeoutExpired):
            loaded = False
        if loaded:
            yield ok("load", f"{name.fr} charge le module (essai réel).", f"{name.en} loads the module (really tried).")
        else:
            yield error(
                "load",
                "CPX-225",
                Text(f"{name.fr} ne charge pas le module (essai réel).", f"{name.en} does not load the module (really tried)."),
                Text("Le service cpxd démarre-t-il ?", "Does the cpxd service start?"),
                command("cpxd serve"),
            )


FAMILY = Family(
    "browsers",
    Text("Navigateurs", "Browsers"),
    (
        Check("module", Text("Module PKCS#11", "PKCS#11 module"), ("CPX-219",), _module),
        Check(
            "profiles",
            Text("Module dans chaque profil", "Module in each profile"),
            ("CPX-113", "CPX-222", "CPX-223"),
            _registered,
            ("module",),
        ),
        Check("competitors", Text("Autres modules pour la carte", "Other modules for the card"), ("CPX-223",), _competitors),
        Check(
            "trust",
            Text("Certificat local dans chaque profil", "Local certificate in each profile"),
            ("CPX-114",),
            _trusted,
            ("certificate",),
        ),
        Check(
            "handshake",
            Text("Essai réel de Chromium (--browser)", "Real trial of Chromium (--browser)"),
            ("CPX-114",),
            _handshake,
            ("certificate",),
            slow=True,
        ),
        Check("lna", Text("Autorisation « réseau local »", "Local Network Access"), ("CPX-116",), _local_network),
        Check("policies", Text("Règles de l'administrateur", "Policies of the administrator"), ("CPX-224",), _policies),
        Check(
            "load",
            Text("Chargement réel par NSS (--browser)", "Real loading by NSS (--browser)"),
            ("CPX-225",),
            _really,
            ("module",),
            slow=True,
        ),
    ),
)
