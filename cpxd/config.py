# SPDX-License-Identifier: Apache-2.0
"""Settings: one TOML file of the machine, one of the person, the second wins. Unknown keys and wrong types are refused."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cpxd.errors import BadConfig
from cpxd.files import read_small, reason
from cpxd.text import tr

MACHINE_FILE = Path("/etc/cpxd/config.toml")
PKCS11_SOCKET = "pkcs11.sock"  # of the service, in run_home()
SOCKET_PATH_LIMIT = 107  # bytes of an AF_UNIX address
NO_HOME = Path("/proc/nonexistent")  # nobody can make it, root neither


@dataclass(frozen=True)
class Settings:
    """Key `section_name` stands in the file as `name` under `[section]`. Times are in seconds."""

    reader_wait: float = 10.0  # how long another program may hold the card before we give up
    card_silence: float = 5.0  # how long the card may take for one command before it counts as mute
    card_cache: bool = True  # keep the certificates of cards, nothing else, under the user's cache folder (docs/DATA.md)
    record_dictionary: str = ""  # a tag dictionary laid over the shipped one (see docs/DATA.md)
    sign_tsa: str = ""  # address of the RFC 3161 time-stamping authority (see docs/SIGNATURES.md)
    sign_trust: str = ""  # a file or folder of authorities trusted beside IGC-Santé (PEM or DER)
    sign_network_wait: float = 10.0  # for one answer of a CRL, OCSP or time-stamp server
    revocation_fetch: bool = False  # may lists of opposition be fetched from the servers that certificates name
    revocation_folder: str = ""  # a folder of lists (CRL, delta CRL) that an administrator keeps up to date
    revocation_proxy: str = ""  # address of the proxy to fetch them through; "none": directly; "": as the system says
    revocation_wait: float = 10.0  # how long a question about opposition may wait for servers
    sign_hash_origins: str = ""  # who may have bare hashes signed, separated by spaces; from the machine's file alone
    # no public source says which key of the card signs a VIHF
    vihf_key: str = field(default="authentication", metadata={"choices": ("authentication", "signature")})
    vihf_version: str = "3.0"
    vihf_lps_id: str = ""
    vihf_lps_name: str = ""
    vihf_lps_version: str = ""
    vihf_lps_approval: str = ""  # LPS_ID_HOMOLOGATION_DMP
    dialog_pinentry: str = ""  # the pinentry program that asks for codes, by its absolute path (see docs/DIALOG.md)
    dialog_consent: str = ""  # the program that shows what is asked and takes a yes, likewise; default: our window, or less
    dialog_timeout: float = 120.0  # how long a dialog waits for the person
    # who asks for the PIN: the host program, our dialog at C_Login, or our dialog when a key is first used
    pkcs11_pin: str = field(default="host", metadata={"choices": ("host", "protected", "agent")})
    # with one try left, a C_Login that brings the PIN: ask the person first, or let it pass
    pkcs11_last_try: str = field(default="confirm", metadata={"choices": ("confirm", "allow")})
    # codes are typed on the keypad of a reader that has one, unless it is named here (docs/DIALOG.md)
    pinpad_use: str = field(default="auto", metadata={"choices": ("auto", "never")})
    pinpad_ignore: str = ""  # parts of the names of readers whose keypad is not used, separated by ";"
    pinpad_timeout: int = field(default=30, metadata={"least": 5, "limit": 35})  # for one entry on the keypad
    pkcs11_chain: str = ""  # folder of more issuing certificates to offer (test authorities)
    login_idle: int = field(default=14400, metadata={"limit": 86400})  # unused that long, a login ends; 0: never
    login_on_removal: str = field(default="logout", metadata={"choices": ("logout", "lock", "hook")})
    api_enabled: bool = True  # https on the loopback, for allowed sites (docs/API.md); the unix socket is always there
    api_port: int = field(default=14443, metadata={"least": 1024, "limit": 65535})
    api_consent: float = 1.0  # a question answered faster than that was not read, and is asked again
    # SESAM-Vitale terminals behind GALSS (docs/CARDS.md): when its library is on this machine, or not at all
    galss_use: str = field(default="auto", metadata={"choices": ("auto", "no")})
    galss_folder: str = ""  # where its libraries are; "": their usual places
    galss_ini: str = ""  # its configuration; "": its usual places
    galss_tpc_polling_time: float = 2.0  # between two looks at its terminals; less than 2 counts as 2
    login_hook: str = ""  # the program that on_removal = "hook" runs, by its absolute path


MACHINE_ONLY = {"sign_hash_origins"}  # an administrator's decision: refused in the person's file
_TYPES = {f.name: type(f.default) for f in fields(Settings)}
_RULES = {f.name: f.metadata for f in fields(Settings)}


def home() -> Path:
    """The person's folder, the password file's where HOME is not set, or NO_HOME. Never a relative path: that is somewhere else
    for each program."""
    found = os.environ.get("HOME", os.path.expanduser("~"))
    return Path(found) if found.startswith("/") else NO_HOME


def config_home() -> Path:
    return _base("XDG_CONFIG_HOME", ".config")


def state_home() -> Path:
    return _base("XDG_STATE_HOME", ".local/state")


def cache_home() -> Path:
    """What may be lost."""
    return _base("XDG_CACHE_HOME", ".cache")


def _base(name: str, usual: str) -> Path:
    """Our part of a base folder; a relative one is none (XDG Base Directory Specification)."""
    given = os.environ.get(name, "")
    return (Path(given) if given.startswith("/") else home() / usual) / "cpxd"


def run_home() -> Path:
    """Where the daemon's sockets are: the user's runtime folder, else the cache (the PKCS#11 module looks likewise)."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/"):
        runtime = f"/run/user/{os.getuid()}"
        if not os.path.isdir(runtime):
            return home() / ".cache" / "cpxd" / "run"
    return Path(runtime) / "cpxd"


def load() -> Settings:
    """The settings in force. Raises BadConfig with the file and the reason."""
    settings = Settings()
    for path in (MACHINE_FILE, config_home() / "config.toml"):
        settings = _merge(settings, path)
    return settings


def _merge(settings: Settings, path: Path) -> Settings:
    try:
        table = tomllib.loads(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        return settings
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = place[1] if place else "?"
        raise BadConfig(file=path, reason=tr(f"écriture incorrecte, ligne {line}", f"malformed, line {line}")) from None
    except RecursionError:
        raise BadConfig(file=path, reason=tr("trop d'imbrications", "nested too deep")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(file=path, reason=reason(error)) from None
    except ValueError:  # a number of thousands of digits
        raise BadConfig(file=path, reason=tr("écriture incorrecte", "malformed")) from None
    changes: dict[str, Any] = {}
    for section, keys in table.items():
        if not isinstance(keys, dict):
            raise _unknown(path, section)
        for key, value in keys.items():
            if f"{section}_{key}" not in _TYPES or "_" in section or not section:
                raise _unknown(path, f"{section}.{key}")
            if f"{section}_{key}" in MACHINE_ONLY and path != MACHINE_FILE:
                why = tr(f"« {section}.{key} » est réservé à l'administrateur", f"“{section}.{key}” is the administrator's")
                raise BadConfig(file=path, reason=why)
            changes[f"{section}_{key}"] = _checked(path, section, key, value)
    return replace(settings, **changes)


def _unknown(path: Path, key: str) -> BadConfig:
    return BadConfig(file=path, reason=tr(f"clé inconnue « {key} »", f"unknown key “{key}”"))


def _checked(path: Path, section: str, key: str, value: object) -> object:
    name = f"{section}_{key}"
    if _TYPES[name] is float and type(value) is int and abs(value) < 1 << 32:  # no float is as large as any integer
        value = float(value)
    if type(value) is not _TYPES[name] or not _allowed(name, value):
        raise BadConfig(file=path, reason=tr(f"valeur refusée pour « {section}.{key} »", f"bad value for “{section}.{key}”"))
    return value


def _allowed(name: str, value: object) -> bool:
    if isinstance(value, float):
        return 0 < value <= 3600
    if isinstance(value, int) and not isinstance(value, bool):
        return int(_RULES[name].get("least", 0)) <= value <= int(_RULES[name].get("limit", 3600))
    return value in _RULES[name].get("choices", (value,))
