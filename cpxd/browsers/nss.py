# SPDX-License-Identifier: Apache-2.0
"""The databases of NSS: Firefox, Thunderbird and the shared one of Chromium keep their PKCS#11 modules in `pkcs11.txt` and the
certificates that they trust in `cert9.db`. Read here; changed by NSS's own programs alone (certutil, modutil)."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import ssl
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cpxd import version
from cpxd.browsers import problems

MODULE = Path(version.__file__).parent / "pkcs11" / "module" / "libcpxd-pkcs11.so"
MODULE_NAME, NICKNAME = "cpxd", "cpxd localhost"
_FIREFOX = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    "snap/firefox/common/.config/mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    ".thunderbird",
)
_FLATPAKS = ("org.chromium.Chromium", "com.google.Chrome", "com.brave.Browser", "com.microsoft.Edge")
_SHARED = (
    ".pki/nssdb",
    ".local/share/pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    "snap/brave/current/.pki/nssdb",
    *(f".var/app/{name}/{place}" for name in _FLATPAKS for place in (".pki/nssdb", "data/pki/nssdb")),
)
_CONFINED = ("snap", ".var")
_MACHINES = {"x86_64": 62, "aarch64": 183, "i686": 3, "armv7l": 40}  # e_machine of ELF, by uname
# other modules for the same cards, by the name of their file
COMPETITORS = ("libcps3_pkcs11", "opensc-pkcs11", "onepin-opensc-pkcs11", "cps_pkcs11", "libcps_pkcs11")
_SECONDS = 20  # for one run of a program of NSS
_MOST = 16  # certificates of ours that a database could have gathered


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
    confined: bool = False  # of a Snap or Flatpak, which sees no library of the system: our module cannot be loaded there

    @property
    def profile(self) -> str:
        """What a person knows it by: Firefox puts a random word before the name."""
        return self.folder.name.partition(".")[2] or self.folder.name

    @property
    def ours(self) -> tuple[Module, ...]:
        return tuple(module for module in self.modules if module.ours)


def databases(home: Path) -> list[Database]:
    """Of this user: each Firefox and Thunderbird profile that has been used, and the shared ones."""
    found = [folder for base in _FIREFOX for folder in _profiles(home / base)]
    found += [home / place for place in _SHARED]
    return [read(home, folder) for folder in dict.fromkeys(found) if os.path.isfile(folder / "pkcs11.txt")]


def closed(home: Path) -> list[Path]:
    """Folders of browsers that this user may not enter, so that nothing is known of what is in them."""
    return list(dict.fromkeys(place for name in (*_FIREFOX, *_SHARED) if (place := _closed(home, Path(name))) is not None))


def _closed(home: Path, name: Path) -> Path | None:
    place = home
    for part in name.parts:
        place = place / part
        if os.path.isdir(place) and not os.access(place, os.R_OK | os.X_OK):
            return place
    return None


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


def read(home: Path, folder: Path) -> Database:
    place = folder.relative_to(home).as_posix() if folder.is_relative_to(home) else str(folder)
    program = "Thunderbird" if ".thunderbird" in place else "Chromium" if "nssdb" in place else "Firefox"
    modules: list[Module] = []
    library, name = "", ""
    for line in [*_lines(folder / "pkcs11.txt"), "library="]:
        key, _, value = line.partition("=")
        if key == "library":
            if library or name:
                modules.append(Module(name, library))
            library, name = value, ""
        elif key == "name":
            name = value
    return Database(folder, program, tuple(modules), place.partition("/")[0] in _CONFINED)


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


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


# --- changes. All raise MissingProgram, DatabaseRefused.


def adding(database: Database) -> list[str]:
    """The command that makes a database load our module."""
    return _modutil(database, "-add", MODULE_NAME, "-libfile", str(MODULE))


def deleting(database: Database, name: str) -> list[str]:
    """The command that makes a database forget a module."""
    return _modutil(database, "-delete", name)


def _modutil(database: Database, *words: str) -> list[str]:
    return ["modutil", "-force", "-dbdir", f"sql:{database.folder}", *words]


def change(database: Database, *commands: list[str]) -> None:
    """Run what `adding` and `deleting` gave."""
    for words in commands:
        if _run(words).returncode:
            raise problems.DatabaseRefused(folder=database.folder, program=words[0])


def certificates(folder: Path) -> list[bytes]:
    """DER of those that bear our name in a database."""
    done = _run(["certutil", "-L", "-a", "-n", NICKNAME, "-d", f"sql:{folder}"])
    blocks = done.stdout.replace("\r", "").split("-----BEGIN CERTIFICATE-----")[1:]
    return [ssl.PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE-----" + block.strip()) for block in blocks]


def trust_only(folder: Path, leaf: bytes) -> None:
    """The leaf as a trusted peer ("P": for itself, it vouches for nobody), and none of ours from before."""
    if certificates(folder) == [leaf]:
        return
    distrust(folder)
    words = ["certutil", "-A", "-a", "-n", NICKNAME, "-t", "P,,", "-d", f"sql:{folder}"]
    if _run(words, ssl.DER_cert_to_PEM_cert(leaf)).returncode:
        raise problems.DatabaseRefused(folder=folder, program="certutil")


def distrust(folder: Path) -> None:
    for _ in range(_MOST):
        if _run(["certutil", "-D", "-n", NICKNAME, "-d", f"sql:{folder}"]).returncode:
            break
    if certificates(folder):
        raise problems.DatabaseRefused(folder=folder, program="certutil")


def create(folder: Path) -> None:
    """An empty database, without a password."""
    if _run(["certutil", "-N", "--empty-password", "-d", f"sql:{folder}"]).returncode:
        raise problems.DatabaseRefused(folder=folder, program="certutil")


def empty(folder: Path) -> bool:
    """Whether a database knows no certificate, no key and no module but NSS's own."""
    listed = _run(["certutil", "-L", "-d", f"sql:{folder}"])
    keys = _run(["certutil", "-K", "-d", f"sql:{folder}"])
    # what is left of the list are its two lines of headings
    nothing = len([line for line in listed.stdout.splitlines() if line.strip()]) == 2 and not listed.returncode
    return nothing and "<" not in keys.stdout and not any(module.library for module in read(folder, folder).modules)


def _run(words: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """modutil loads the module that it adds: that must not start our service."""
    program = tool(words[0])
    if program is None:
        raise problems.MissingProgram(program=words[0], package="libnss3-tools")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "CPXD_NO_START": "1"}
    try:
        return subprocess.run(
            [program, *words[1:]],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return subprocess.CompletedProcess(words, 1, "", "")


def tool(name: str) -> str | None:
    """The path of a program of the system."""
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")


def line(words: list[str]) -> str:
    """As it is pasted into a shell."""
    return shlex.join(words)
