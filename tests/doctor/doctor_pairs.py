# SPDX-License-Identifier: Apache-2.0
"""Two faults of doctor_faults.py or doctor_faults_own.py at once, with the code of the one that comes first: what is broken below
makes what is above meaningless."""

from __future__ import annotations

import dataclasses

from cpxd_lab import image

from simulator.cardos import make_card

PAIRS: tuple[tuple[str, str, str], ...] = (
    ("pcscd_absent", "no_card", "CPX-101"),
    ("pcscd_dead", "not_registered", "CPX-101"),
    ("pcscd_silent", "log_blocked", "CPX-101"),
    ("pcscd_version", "ingenico_beside", "CPX-201"),
    ("pcscd_hangs_up", "not_registered", "CPX-202"),
    ("pcscd_dead", "pin_blocked", "CPX-101"),
    ("config_wrong", "pcscd_dead", "CPX-141"),
    ("config_wrong", "pin_blocked", "CPX-141"),
    ("config_names_what_is_not_there", "pin_blocked", "CPX-107"),
    ("dictionary_wrong", "not_registered", "CPX-141"),
    ("no_reader", "not_registered", "CPX-102"),
    ("no_reader", "scdaemon_runs", "CPX-102"),
    ("reader_without_driver", "socket_taken", "CPX-102"),
    ("ingenico_without_driver", "galss_runs", "CPX-102"),
    ("reader_name", "no_card", "CPX-117"),
    ("autosuspend", "no_card", "CPX-103"),
    ("autosuspend", "pin_blocked", "CPX-107"),
    ("autosuspend", "pin_last", "CPX-203"),
    ("ingenico_beside", "vitale", "CPX-104"),
    ("scdaemon_holds", "pin_blocked", "CPX-220"),
    ("scdaemon_holds", "expired", "CPX-220"),
    ("scdaemon_runs", "pin_blocked", "CPX-107"),
    ("card_held", "revoked", "CPX-118"),
    ("card_held", "not_registered", "CPX-118"),
    ("no_card", "not_registered", "CPX-103"),
    ("no_card", "clock_before_build", "CPX-103"),
    ("foreign", "cache_blocked", "CPX-104"),
    ("mute", "socket_taken", "CPX-105"),
    ("falls_silent", "daemon_deaf", "CPX-105"),
    ("cps2ter", "not_registered", "CPX-125"),
    ("damaged", "not_registered", "CPX-130"),
    ("refuses", "log_blocked", "CPX-129"),
    ("clock_late", "pin_blocked", "CPX-112"),
    ("clock_before_build", "expired", "CPX-112"),
    ("clock_before_build", "revoked", "CPX-112"),
    ("revoked", "not_registered", "CPX-111"),
    ("expired", "socket_taken", "CPX-110"),
    ("expired", "not_registered", "CPX-110"),
    ("expires_soon", "cache_blocked", "CPX-109"),
    ("list_stale", "pin_blocked", "CPX-107"),
    ("no_list", "pin_last", "CPX-210"),
    ("pin_blocked", "not_registered", "CPX-107"),
    ("both_blocked", "socket_taken", "CPX-108"),
    ("unblock_blocked", "socket_taken", "CPX-217"),
    ("pin_last", "log_blocked", "CPX-106"),
    ("unblock_few_tries", "competitor", "CPX-208"),
    ("cache_blocked", "socket_taken", "CPX-217"),
    ("socket_stale", "not_registered", "CPX-216"),
    ("certificate_other", "pin_blocked", "CPX-107"),
    ("certificate_other", "not_registered", "CPX-114"),
    ("certificate_no_tls", "browser_distrusts", "CPX-114"),
    ("key_exposed", "network_denied_in_chromium", "CPX-114"),
    ("browser_distrusts", "expired", "CPX-110"),
    ("daemon_deaf", "certificate_no_tls", "CPX-218"),
    ("network_blocked_by_policy", "no_card", "CPX-103"),
    ("network_denied_in_chromium", "not_registered", "CPX-113"),
    ("network_denied_in_firefox", "cache_blocked", "CPX-214"),
    ("network_denied_in_firefox", "pcscd_dead", "CPX-101"),
)


def blocked_and_expired() -> object:
    """One card that has both: unblocking it would help nobody."""
    base = image("cps-expiree")
    pins = tuple(dataclasses.replace(p, tries_left=0) if p.reference == 1 else p for p in base.pins)
    return make_card(dataclasses.replace(base, pins=pins))
