# SPDX-License-Identifier: Apache-2.0
"""The faults of cpxd itself on a workstation, beside those of doctor_faults.py. FAULTS holds them all."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from doctor_bench import MODULE, Bench, Case
from doctor_faults import FAULTS, fault

__all__ = ["FAULTS"]


# --- cpxd on this workstation


@fault("CPX-141", 2)
def config_wrong(bench: Bench, case: Case) -> None:
    case.config = ["[login", "idle = "]


@fault("CPX-141", 2)
def config_names_what_is_not_there(bench: Bench, case: Case) -> None:
    case.config = [*lab_config(bench), "[dialog]", "consent = '/opt/nothing'"]


@fault("CPX-141", 2)
def config_trusts_what_is_not_there(bench: Bench, case: Case) -> None:
    case.config = ["[sign]", "trust = '/opt/nothing'"]


@fault("CPX-141", 2)
def dictionary_wrong(bench: Bench, case: Case) -> None:
    case.config = [line for line in lab_config(bench) if not line.startswith("dictionary")]
    case.config.insert(case.config.index("[record]") + 1, f"dictionary = '{case.put('dictionary.json', '{')}'")


@fault("CPX-214", 1)
def cache_blocked(bench: Bench, case: Case) -> None:
    case.put("cache/cpxd", "a file")


@fault("CPX-215", 1)
def log_blocked(bench: Bench, case: Case) -> None:
    case.put("state/cpxd", "a file")


@fault("CPX-216", 1)
def socket_stale(bench: Bench, case: Case) -> None:
    case.listening(case.folder / "run/cpxd/pkcs11.sock").close()


@fault("CPX-217", 2)
def socket_taken(bench: Bench, case: Case) -> None:
    (case.folder / "run/cpxd/pkcs11.sock").mkdir(parents=True)


@fault("CPX-218", 2)
def daemon_deaf(bench: Bench, case: Case) -> None:
    case.listening(case.folder / "run/cpxd/pkcs11.sock")


@fault("CPX-228", 3)
def no_locked_memory_for_the_daemon(bench: Bench, case: Case) -> None:
    """It hangs up at once, as it does in truth; the socket is this process's."""
    case.listening(case.folder / "run/cpxd/pkcs11.sock", lambda link: None)
    case.put(
        f"root/proc/{os.getpid()}/limits", "Max locked memory         65536                65536                bytes     \n"
    )
    case.put(f"root/proc/{os.getpid()}/status", "Name:\tcpxd\nVmLck:\t      64 kB\n")


@fault("CPX-113", 2)
def not_registered(bench: Bench, case: Case) -> None:
    case.firefox()


@fault("CPX-222", 2)
def not_loadable(bench: Bench, case: Case) -> None:
    case.firefox(("cpxd", "/opt/old/libcpxd-pkcs11.so"))


@fault("CPX-223", 2)
def registered_twice(bench: Bench, case: Case) -> None:
    case.firefox(("cpxd", str(MODULE)), ("CPS", str(MODULE)))


@fault("CPX-222", 2)
def not_loadable_beside(bench: Bench, case: Case) -> None:
    """The module that works stays."""
    case.firefox(("cpxd", str(MODULE)), ("cpxd-old", "/opt/old/libcpxd-pkcs11.so"))


@fault("CPX-223", 1)
def competitor(bench: Bench, case: Case) -> None:
    case.firefox(("cpxd", str(MODULE)), ("CPS", "/opt/santesocial/CPS/lib/libcps3_pkcs11_lux.so"))


@fault("CPX-224", 3)
def policy_forbids(bench: Bench, case: Case) -> None:
    case.put("root/etc/firefox/policies/policies.json", '{"policies": {"SecurityDevices": {"Delete": ["cpxd"]}}}')


@fault("CPX-224", 3)
def policy_broken(bench: Bench, case: Case) -> None:
    case.put("root/etc/firefox/policies/policies.json", "{")


# --- pages: the certificate of localhost, what browsers let through

SITE = "https://lgc.exemple.fr"


def lab_config(bench: Bench, *more: str) -> list[str]:
    return [*(Path(bench.lab.env["XDG_CONFIG_HOME"]) / "cpxd" / "config.toml").read_text().splitlines(), *more]


def port_config(bench: Bench, port: int) -> list[str]:
    """The lab's settings, with another port."""
    lines = [line for line in lab_config(bench) if not line.startswith("port =")]
    at = lines.index("[api]")
    return [*lines[: at + 1], f"port = {port}", *lines[at + 1 :]]


@fault("CPX-114", 2)
def certificate_other(bench: Bench, case: Case) -> None:
    case.certificate()
    case.config = port_config(bench, case.serving(case.certificate("other.pem")))


@fault("CPX-114", 2)
def certificate_no_tls(bench: Bench, case: Case) -> None:
    case.certificate()
    case.config = port_config(bench, case.serving(None))


@fault("CPX-114", 2)
def key_exposed(bench: Bench, case: Case) -> None:
    case.certificate(mode=0o644)


@fault("CPX-114", 2)
def browser_distrusts(bench: Bench, case: Case) -> None:
    case.certificate()
    case.allowed(SITE)
    case.firefox(("cpxd", str(MODULE)))


@fault("CPX-116", 3)
def network_blocked_by_policy(bench: Bench, case: Case) -> None:
    case.allowed(SITE)
    case.put("home/.config/chromium/Default/Preferences", "{}")
    case.put("root/etc/chromium/policies/managed/it.json", '{"LoopbackNetworkBlockedForUrls": ["[*.]exemple.fr"]}')


@fault("CPX-116", 2)
def network_denied_in_chromium(bench: Bench, case: Case) -> None:
    case.allowed(SITE)
    said = {f"{SITE}:443,*": {"setting": 2, "last_modified": "13400000000000000"}}
    content = {"profile": {"content_settings": {"exceptions": {"loopback_network": said}}}}
    case.put("home/.config/chromium/Default/Preferences", json.dumps(content))


@fault("CPX-116", 2)
def network_denied_in_firefox(bench: Bench, case: Case) -> None:
    case.allowed(SITE)
    profile = case.firefox(("cpxd", str(MODULE)))
    with closing(sqlite3.connect(profile / "permissions.sqlite")) as link, link:
        link.execute("CREATE TABLE moz_perms (id INTEGER PRIMARY KEY, origin TEXT, type TEXT, permission INTEGER)")
        link.execute("INSERT INTO moz_perms (origin, type, permission) VALUES (?, 'loopback-network', 2)", (SITE,))
