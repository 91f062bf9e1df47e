# SPDX-License-Identifier: Apache-2.0
"""Local Network Access: whether browsers let a site reach this workstation, by the administrator's policies and by what the
person once answered.

Chromium 145 and later: policies LoopbackNetworkAllowedForUrls and -BlockedForUrls, before them LocalNetworkAccess…; the answers
in the profile's Preferences, content setting `loopback_network` (`local_network_access`), 1 allows and 2 blocks. Firefox 144 and
later: policy LocalNetworkAccess; the answers in permissions.sqlite, type `loopback-network` (`localhost`), 1 allows and 2 blocks.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from cpxd.browsers import nss
from cpxd.doctor.machine import Machine
from cpxd.files import read_small

Answer = Literal["allowed", "asks", "blocked by policy", "blocked by person"]
_POLICY_FOLDERS = ("chromium", "chromium-browser", "opt/chrome", "opt/edge", "brave")
_CHROMIUMS = (
    (".config/chromium", "Chromium"),
    ("snap/chromium/common/chromium", "Chromium"),
    (".config/google-chrome", "Chrome"),
    (".config/microsoft-edge", "Edge"),
    (".config/BraveSoftware/Brave-Browser", "Brave"),
)
_ALLOWING = ("LoopbackNetworkAllowedForUrls", "LocalNetworkAccessAllowedForUrls")
_BLOCKING = ("LoopbackNetworkBlockedForUrls", "LocalNetworkAccessBlockedForUrls")
_SETTINGS = ("loopback_network", "local_network_access")
_FIREFOX_POLICIES = ("/etc/firefox/policies/policies.json", "/usr/lib/firefox-esr/distribution/policies.json")
_SAID: dict[int, Answer] = {1: "allowed", 2: "blocked by person"}
_LARGEST = 32 << 20  # bytes of a profile's Preferences


@dataclass(frozen=True)
class Access:
    """`where`: the policy's file, or the profile, that says so."""

    browser: str
    site: str
    answer: Answer
    where: str = ""


def of(machine: Machine, sites: list[str]) -> Iterator[Access]:
    """For each site in each browser profile of this user."""
    policies = list(_chromium_policies(machine))
    for place, name in _CHROMIUMS:
        for preferences in _profiles(machine.home / place):
            for site in sites:
                yield _chromium(name, preferences, site, policies)
    firefox = [database.folder for database in nss.databases(machine.home) if database.program == "Firefox"]
    for folder in firefox:
        for site in sites:
            yield _firefox(machine, folder, site)


# --- Chromium


def _chromium_policies(machine: Machine) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in _POLICY_FOLDERS:
        for path in sorted(machine.at(f"/etc/{folder}/policies/managed").glob("*.json")):
            yield f"/etc/{folder}/policies/managed/{path.name}", _object(path)


def _profiles(folder: Path) -> list[Path]:
    """The Preferences of each profile; none of a folder that is closed to this user, which another check says."""
    try:
        return sorted(folder.glob("*/Preferences"))
    except OSError:
        return []


def _chromium(name: str, preferences: Path, site: str, policies: list[tuple[str, dict[str, Any]]]) -> Access:
    ruled: tuple[tuple[tuple[str, ...], Answer], ...] = ((_BLOCKING, "blocked by policy"), (_ALLOWING, "allowed"))
    for names, answer in ruled:
        for where, policy in policies:
            if any(_matches(pattern, site) for key in names for pattern in _list(policy.get(key))):
                return Access(name, site, answer, where)
    profile = preferences.parent.name
    exceptions = _at(_object(preferences), "profile", "content_settings", "exceptions")
    for setting in _SETTINGS:
        for pattern, value in _at(exceptions, setting).items():
            said = value.get("setting") if isinstance(value, dict) else None
            if said in (1, 2) and _matches(str(pattern).partition(",")[0], site):
                return Access(name, site, "allowed" if said == 1 else "blocked by person", profile)
    return Access(name, site, "asks", profile)


def _matches(pattern: object, site: str) -> bool:
    """URL patterns of enterprise policies and content settings: [scheme://][[*.]]host[:port], or *."""
    text = str(pattern).rstrip("/")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "https", text
    host, port = _parts(site)
    wanted, _, number = rest.partition(":")
    if scheme not in ("https", "*") or (number not in ("", "*") and number != str(port)):
        return False
    domain = wanted.removeprefix("[*.]")
    return wanted == "*" or host == domain or (wanted != domain and host.endswith(f".{domain}"))


def _parts(site: str) -> tuple[str, int]:
    parts = urlsplit(site)
    return parts.hostname or "", parts.port or 443


# --- Firefox


def _firefox(machine: Machine, folder: Path, site: str) -> Access:
    for where in _FIREFOX_POLICIES:
        policy = _at(_object(machine.at(where)), "policies", "LocalNetworkAccess")
        if policy.get("Enabled") is False or _parts(site)[0] in _list(policy.get("SkipDomains")):
            return Access("Firefox", site, "allowed", where)
    said = _permission(folder / "permissions.sqlite", site)
    profile = folder.name.partition(".")[2] or folder.name
    return Access("Firefox", site, _SAID.get(said, "asks"), profile)


def _permission(path: Path, site: str) -> int:
    if not os.path.isfile(path):
        return 0
    host, port = _parts(site)
    origin = f"https://{host}" if port == 443 else f"https://{host}:{port}"
    question = "SELECT permission FROM moz_perms WHERE origin = ? AND type IN ('loopback-network', 'localhost')"
    try:  # the browser may have it open: what is in the file itself is read, and nothing of it locked
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as link:
            row = link.execute(question, (origin,)).fetchone()
    except sqlite3.Error:
        return 0
    return row[0] if row and isinstance(row[0], int) else 0


# --- untrusted JSON


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_small(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _at(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
