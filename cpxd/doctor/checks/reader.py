# SPDX-License-Identifier: Apache-2.0
"""Readers: connected, driven, awake."""

from __future__ import annotations

from cpxd import errors
from cpxd.doctor import usb
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, Verdict, command, error, gesture, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.reader.terminals import by_name
from cpxd.text import Text


def _reader(visit: Visit) -> Findings:
    try:
        place = visit.place()
    except errors.UnknownReader as unknown:
        names = ", ".join(p.state.name for p in visit.places()) or "-"
        yield error(
            "reader",
            unknown.code,
            Text("Aucun lecteur ne porte ce nom.", "No reader has this name."),
            Text(f"Lecteurs présents : {names}", f"Readers there are: {names}"),
            command("cpxd readers"),
        )
        return
    except errors.NoReader:
        yield _none(visit)
        return
    yield ok(
        "reader", f"Lecteur « {place.state.name} » prêt.", f"Reader “{place.state.name}” is ready.", readers=len(visit.places())
    )


def _none(visit: Visit) -> Finding:
    plugged = usb.readers(visit.machine)
    undriven = next((r for r in plugged if r.terminal and not r.terminal.in_ccid), plugged[0] if plugged else None)
    if undriven is None:
        return error(
            "reader",
            "CPX-102",
            Text("Aucun lecteur de cartes n'est branché.", "No card reader is connected."),
            Text("Rien sur USB qui ressemble à un lecteur.", "Nothing on USB that looks like a reader."),
            gesture("Branchez le lecteur, ou essayez une autre prise USB", "Connect the reader, or try another USB socket"),
        )
    title = Text(
        f"Lecteur sans pilote. Vu sur USB : {undriven.name} ({undriven.usb}).",
        f"Reader without a driver. Seen on USB: {undriven.name} ({undriven.usb}).",
    )
    if undriven.terminal is not None and not undriven.terminal.in_ccid:
        remedy = undriven.terminal.remedy
        cause = Text(
            f"Terminal connu, mode {undriven.terminal.mode} ; son pilote est {undriven.terminal.driver}.",
            f"Known terminal, mode {undriven.terminal.mode}; its driver is {undriven.terminal.driver}.",
        )
        return error("reader", "CPX-102", title, cause, Fix("physical", remedy), usb=undriven.usb)
    if not any(visit.machine.at(path).exists() for path in _DRIVERS):
        cause = Text("Le pilote libccid n'est pas installé.", "The driver libccid is not installed.")
        fix = command(visit.machine.install("libccid", "pcsc-lite-ccid", "ccid"))
    else:
        cause = Text(
            "Le pilote est installé, mais pcscd n'a pas pris le lecteur.",
            "The driver is there, but pcscd did not take the reader.",
        )
        fix = command(visit.machine.restart("pcscd"))
    return error("reader", "CPX-102", title, cause, fix, verdict=Verdict.ADMIN, usb=undriven.usb)


_DRIVERS = (
    "/usr/lib/pcsc/drivers/ifd-ccid.bundle",
    "/usr/lib64/pcsc/drivers/ifd-ccid.bundle",
    "/usr/lib/x86_64-linux-gnu/pcsc/drivers/ifd-ccid.bundle",
)


def _usb(visit: Visit) -> Findings:
    plugged = usb.readers(visit.machine)
    driven = any(_is_terminal(place.state.name) for place in visit.places())
    for reader in plugged:
        if reader.terminal is not None and not reader.terminal.in_ccid and not driven:
            yield warning(
                "usb",
                "CPX-204",
                Text(
                    f"Terminal vu sur USB sans pilote : {reader.name} ({reader.usb}).",
                    f"Terminal without a driver: {reader.name} ({reader.usb}).",
                ),
                Text(f"Mode : {reader.terminal.mode}.", f"Mode: {reader.terminal.mode}."),
                Fix("physical", reader.terminal.remedy),
                usb=reader.usb,
            )
        elif reader.autosuspend:
            rule = f"echo on | sudo tee /sys/bus/usb/devices/{reader.place}/power/control"
            yield warning(
                "usb",
                "CPX-203",
                Text(
                    f"Le lecteur {reader.name} peut s'endormir (économie d'énergie USB).",
                    f"The reader {reader.name} may fall asleep (USB autosuspend).",
                ),
                Text("Il peut alors disparaître, ou perdre le code vérifié.", "It may then disappear, or lose a verified PIN."),
                command(rule),
                usb=reader.usb,
            )
    if not plugged:
        yield ok("usb", "Aucun lecteur USB à signaler.", "No USB reader to report on.")


def _is_terminal(name: str) -> bool:
    """Whether PC/SC shows a SESAM-Vitale terminal under this name: by its maker's driver, then."""
    known = by_name(name)
    return known is not None and known.kind == "sesam-vitale"


FAMILY = Family(
    "reader",
    Text("Lecteur", "Reader"),
    (
        Check(
            "reader",
            Text("Lecteur branché et pris en charge", "Reader connected and driven"),
            ("CPX-102", "CPX-117"),
            _reader,
            ("pcsc",),
        ),
        Check("usb", Text("Lecteurs vus sur USB", "Readers seen on USB"), ("CPX-203", "CPX-204"), _usb, ("pcsc", "reader")),
    ),
)
