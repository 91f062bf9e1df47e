# SPDX-License-Identifier: Apache-2.0
"""What only an administrator can say, for all users of the machine: our module in Firefox, and the sites that may reach the
loopback without a question (Local Network Access). Merged into what others have written, and taken out again.

Firefox: `policies.json` (SecurityDevices, LocalNetworkAccess). Chromium and its like read each file of a folder: one is ours.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cpxd.browsers.kept import Edit, Kept, content
from cpxd.browsers.nss import MODULE, MODULE_NAME
from cpxd.errors import BadFile
from cpxd.files import reason
from cpxd.text import tr

RECORD = Path("/var/lib/cpxd/browsers.json")
FIREFOX = Path("/etc/firefox/policies/policies.json")
FOLDERS = (
    Path("/etc/chromium"),
    Path("/etc/chromium-browser"),
    Path("/etc/opt/chrome"),
    Path("/etc/opt/edge"),
    Path("/etc/brave"),
)
_OURS = Path("policies/managed/cpxd.json")
# in a folder of the browser itself: read only while FIREFOX is not there
_SHADOWED = tuple(
    Path(folder) / "distribution" / "policies.json"
    for folder in ("/usr/lib/firefox-esr", "/usr/lib/firefox", "/usr/share/firefox-esr", "/opt/firefox")
)


def register(origins: list[str]) -> list[Path]:
    """For the sites that the administrator allows; the files that changed. Raises BadFile."""
    kept = Kept(RECORD)
    sites = sorted({*origins, *kept.told.get("origins", [])})
    kept.told = {"origins": origins, "created": kept.told.get("created", [])}
    files = [FIREFOX, *(folder / _OURS for folder in FOLDERS if folder.is_dir())]
    changed = []
    for path in files:
        _make(path.parent, kept)
        if kept.edit(path, *_edits(path, origins, sites)):
            changed.append(path)
    return changed


def unregister() -> list[Path]:
    """Each file as it was; those that changed. Raises BadFile."""
    kept = Kept(RECORD)
    origins, created = kept.told.get("origins", []), kept.told.get("created", [])
    changed = [Path(name) for name in kept.files]
    for path in changed:
        kept.undo(path, _edits(path, origins, origins)[1])
    for folder in [str(RECORD.parent), *reversed(created)]:
        with contextlib.suppress(OSError):  # somebody else's files are in it
            Path(folder).rmdir()
    return changed


def _edits(path: Path, origins: list[str], known: list[str]) -> tuple[Edit, Edit]:
    if path == FIREFOX:
        return lambda now: add_firefox(now or _shadowed(), origins, known), lambda now: strip_firefox(now, known)
    return lambda now: chromium(origins), lambda now: b""


def _shadowed() -> bytes:
    """What Firefox read until now, and would no longer read once it finds ours."""
    return next((found for path in _SHADOWED if (found := content(path)) is not None), b"")


def _make(folder: Path, kept: Kept) -> None:
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    kept.told["created"] += [str(place) for place in reversed(new)]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise BadFile(file=folder, reason=reason(error)) from None


def chromium(origins: list[str]) -> bytes:
    return _dump({"LoopbackNetworkAllowedForUrls": sorted(origins)}, 2)


def add_firefox(text: bytes, origins: list[str], known: list[str]) -> bytes:
    """`known`: sites that we may have written before. Raises BadFile for what is no policies file."""
    clean = strip_firefox(text, known)
    found = _load(clean) if clean.strip() else {}
    policies = _table(found, "policies")
    devices = _table(policies, "SecurityDevices")
    # an older form has the modules where "Add" is now
    old = devices and not {"Add", "Delete"} & set(devices)
    (devices if old else _table(devices, "Add"))[MODULE_NAME] = str(MODULE)
    sites = _hosts(origins)
    if sites:
        access = _table(policies, "LocalNetworkAccess")
        domains = access.setdefault("SkipDomains", [])
        if not isinstance(domains, list):
            raise _unfit()
        domains.extend(site for site in sites if site not in domains)
    return _dump(found, _indent(text))


def strip_firefox(text: bytes, origins: list[str]) -> bytes:
    """Without what `add_firefox` adds; unchanged when nothing of it is there. Raises BadFile."""
    if not text.strip():
        return text
    found = _load(text)
    before = json.dumps(found)
    policies = _table(found, "policies")
    devices = _table(policies, "SecurityDevices")
    for table in (devices, devices.get("Add")):
        if isinstance(table, dict) and str(table.get(MODULE_NAME, "")).endswith(MODULE.name):
            del table[MODULE_NAME]
    access = _table(policies, "LocalNetworkAccess")
    if isinstance(access.get("SkipDomains"), list):
        access["SkipDomains"] = [domain for domain in access["SkipDomains"] if domain not in _hosts(origins)]
    for table, name in (
        (devices, "Add"),
        (policies, "SecurityDevices"),
        (access, "SkipDomains"),
        (policies, "LocalNetworkAccess"),
        (found, "policies"),
    ):
        if name in table and not table[name]:
            del table[name]
    if json.dumps(found) == before:
        return text
    return _dump(found, _indent(text)) if found else b""


def _hosts(origins: list[str]) -> list[str]:
    return sorted({urlsplit(origin).hostname or "" for origin in origins} - {""})


def _table(parent: dict[str, Any], name: str) -> dict[str, Any]:
    found = parent.setdefault(name, {})
    if not isinstance(found, dict):
        raise _unfit()
    return found


def _load(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _unfit() from None
    if not isinstance(found, dict):
        raise _unfit()
    return found


def _unfit() -> BadFile:
    return BadFile(
        file=FIREFOX, reason=tr("règles illisibles : corrigez-les d'abord", "policies that cannot be read: mend them first")
    )


def _indent(text: bytes) -> int | str:
    found = re.search(rb"\n([ \t]+)\"", text)
    return found[1].decode() if found else 2


def _dump(value: Any, indent: int | str) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode() + b"\n"
