# SPDX-License-Identifier: Apache-2.0
"""The module lists of NSS: Firefox, Thunderbird and the shared database of Chromium keep them in `pkcs11.txt`."""

from __future__ import annotations

import configparser
import struct
from dataclasses import dataclass
from pathlib import Path

from cpxd.doctor.machine import Machine

_FIREFOX = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".thunderbird",
)
_SHARED = (".pki/nssdb", ".local/share/pki/nssdb")
_MACHINES = {"x86_64": 62, "aarch64": 183, "i686": 3, "armv7l": 40}  # e_machine of ELF, by uname
# other modules for the same cards, by the name of their file
COMPETITORS = ("libcps3_pkcs11", "opensc-pkcs11", "onepin-opensc-pkcs11", "cps_pkcs11", "libcps_pkcs11")


@dataclass(frozen=True)
class Module:
    name: str
    library: str  # empty: NSS's own

    @property
    def ours(self) -> bool:
        return Path(self.library).name.startswith("libcpxd-pkcs11")

    @property
    def competitor(self) -> bool:
        return Path(self.library).name.startswith(COMPETITORS)


@dataclass(frozen=True)
class Database:
    folder: Path
    program: str  # "Firefox", "Thunderbird", "Chromium"
    modules: tuple[Module, ...]

    @property
    def profile(self) -> str:
        """What a person knows it by: Firefox puts a random word before the name."""
        return self.folder.name.partition(".")[2] or self.folder.name


def databases(machine: Machine) -> list[Database]:
    """Of this user: each Firefox and Thunderbird profile that has been used, and the shared one."""
    found = [folder for base in _FIREFOX for folder in _profiles(machine.home / base)]
    found += [machine.home / place for place in _SHARED]
    return [_database(machine, folder) for folder in dict.fromkeys(found) if (folder / "pkcs11.txt").is_file()]


def _profiles(base: Path) -> list[Path]:
    """As profiles.ini names them."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(base / "profiles.ini", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return []
    found = []
    for section in parser.sections():
        path = parser.get(section, "Path", fallback="")
        if section.startswith("Profile") and path:
            relative = parser.get(section, "IsRelative", fallback="1") == "1"
            found.append(base / path if relative else Path(path))
    return found


def _database(machine: Machine, folder: Path) -> Database:
    place = str(folder)
    program = "Thunderbird" if ".thunderbird" in place else "Chromium" if "nssdb" in place else "Firefox"
    modules: list[Module] = []
    library, name = "", ""
    for line in [*machine.text(folder / "pkcs11.txt").splitlines(), "library="]:
        key, _, value = line.partition("=")
        if key == "library":
            if library or name:
                modules.append(Module(name, library))
            library, name = value, ""
        elif key == "name":
            name = value
    return Database(folder, program, tuple(modules))


def loadable(library: Path, architecture: str) -> str | None:
    """Why a shared library cannot be loaded here: "missing", "unreadable", "no library", "other architecture"; None: it can."""
    try:
        with library.open("rb") as file:
            head = file.read(20)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return "no library"
    wanted = _MACHINES.get(architecture)
    order = "<" if head[5] == 1 else ">"
    if wanted is not None and struct.unpack_from(f"{order}H", head, 18)[0] != wanted:
        return "other architecture"
    return None
