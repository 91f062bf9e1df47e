# SPDX-License-Identifier: Apache-2.0
"""The clock of the workstation: it cannot be before the newest date that is known to be past."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from cpxd import errors
from cpxd.doctor.model import Check, Family, Findings, Fix, Verdict, command, error, ok
from cpxd.doctor.visit import Visit
from cpxd.revocation import SKEW
from cpxd.revocation.store import cache_folder, lists_in
from cpxd.text import Text

_LARGEST = 1 << 20  # bytes of a list that is opened for its date alone
_YEAR = 365  # days: nobody counts them closer here
SYNCHRONISED = "/run/systemd/timesync/synchronized"


def _clock(visit: Visit) -> Findings:
    now = visit.machine.now()
    known = sorted(_past(visit))
    newest, why = known[-1]
    if now + SKEW >= newest:
        yield ok(
            "clock",
            "L'horloge du poste est plausible.",
            "The clock of the workstation is plausible.",
            now=f"{now:%Y-%m-%d %H:%M}Z",
        )
        return
    late = newest - now
    yield error(
        "clock",
        "CPX-112",
        Text(
            f"Horloge du poste en retard d'au moins {_long(late, 'j')}.",
            f"The clock of the workstation is late by at least {_long(late, 'd')}.",
        ),
        Text(
            f"Il est {now:%d/%m/%Y %H:%M} UTC sur ce poste, avant une date déjà passée ({why.fr}).",
            f"It is {now:%Y-%m-%d %H:%M} UTC here, before a date that is past ({why.en}).",
        ),
        _set_clock(visit),
        verdict=Verdict.ADMIN,
        now=f"{now:%Y-%m-%d %H:%M}Z",
        after=f"{newest:%Y-%m-%d %H:%M}Z",
    )


def _set_clock(visit: Visit) -> Fix:
    if visit.machine.systemd:
        return command("sudo timedatectl set-ntp true")
    return Fix("command", Text("sudo date -s 'AAAA-MM-JJ HH:MM'", "sudo date -s 'YYYY-MM-DD HH:MM'"))


def _past(visit: Visit) -> Iterator[tuple[datetime, Text]]:
    """Dates that are surely over, and where they come from."""
    yield visit.machine.built(), Text("fabrication de cpxd", "build of cpxd")
    settings = visit.usable_settings()
    folders = [Path(settings.revocation_folder)] if settings.revocation_folder else []
    for folder in folders:
        with contextlib.suppress(errors.CpxError):
            for held in lists_in(folder):
                if held.stamp[1] <= _LARGEST and (date := _list_date(held.read())):
                    yield date, Text("liste d'opposition", "list of opposition")
    with contextlib.suppress(OSError):
        for path in cache_folder().iterdir():
            if path.stat().st_size <= _LARGEST and (date := _list_date(path.read_bytes())):
                yield date, Text("liste d'opposition", "list of opposition")
    if visit.machine.at(SYNCHRONISED).exists():
        return  # set over the network: a certificate of later is then the card's matter
    with contextlib.suppress(errors.CpxError):
        visit.card()
        seen = [visit.glimpsed] if visit.glimpsed is not None else visit.card().record.certificates
        for certificate in seen:
            yield certificate.not_before, Text("émission de la carte", "issue of the card")


def _list_date(content: bytes) -> datetime | None:
    try:
        return x509.load_der_x509_crl(content).last_update_utc
    except ValueError:
        return None


def _long(late: timedelta, day: str) -> str:
    minutes = int(late.total_seconds()) // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d}"
    if late.days < 2 * _YEAR:
        return f"{late.days} {day}"
    return f"{late.days // _YEAR} {'ans' if day == 'j' else 'years'}"


FAMILY = Family(
    "clock",
    Text("Horloge", "Clock"),
    (Check("clock", Text("Horloge du poste", "Clock of the workstation"), ("CPX-112",), _clock),),
)
