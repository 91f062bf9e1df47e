# SPDX-License-Identifier: Apache-2.0
"""The faults of services, readers, cards and codes, each with the code that the doctor must name, written by hand. Those of
cpxd itself on a workstation: doctor_faults_own.py."""

from __future__ import annotations

import dataclasses
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cpxd_lab import ATR_CPS2TER, card_with_codes, image, with_files
from doctor_bench import Bench, Case

from simulator.cardos import make_card
from simulator.foreign import ForeignCard
from simulator.image import ElementaryFile
from simulator.profile import pkcs15

Fault = Callable[[Bench, Case], None]
FAULTS: dict[str, tuple[str, int, Fault]] = {}  # name: code, exit code, what to do


def fault(code: str, verdict: int) -> Callable[[Fault], Fault]:
    def keep(make: Fault) -> Fault:
        FAULTS[make.__name__] = (code, verdict, make)
        return make

    return keep


# --- the service


@fault("CPX-101", 3)
def pcscd_absent(bench: Bench, case: Case) -> None:
    case.pcscd = case.folder / "none.comm"
    (case.root / "usr/sbin/pcscd").unlink()


@fault("CPX-101", 3)
def pcscd_dead(bench: Bench, case: Case) -> None:
    case.pcscd = case.folder / "p.comm"
    case.listening(case.pcscd).close()


@fault("CPX-101", 3)
def pcscd_silent(bench: Bench, case: Case) -> None:
    case.process(4320, "pcscd")
    case.pcscd = case.folder / "p.comm"
    case.listening(case.pcscd)


@fault("CPX-201", 3)
def pcscd_version(bench: Bench, case: Case) -> None:
    def other(link: socket.socket) -> None:
        if link.recv(64):
            link.sendall(struct.pack("=iiI", 9, 7, 0x8010001D))

    case.pcscd = case.folder / "p.comm"
    case.listening(case.pcscd, other)


@fault("CPX-202", 3)
def pcscd_hangs_up(bench: Bench, case: Case) -> None:
    """As a pcscd does whose polkit says no."""
    case.pcscd = case.folder / "p.comm"
    case.listening(case.pcscd, lambda link: link.recv(64) and None)


@fault("CPX-202", 3)
def pcscd_denies(bench: Bench, case: Case) -> None:
    """It says so after the versions are agreed on (pcsc-lite, winscard_msg.h: scope, context, result)."""

    def deny(link: socket.socket) -> None:
        if link.recv(20, socket.MSG_WAITALL):
            link.sendall(struct.pack("=iiI", 4, 4, 0))
        if link.recv(20, socket.MSG_WAITALL):
            link.sendall(struct.pack("=III", 0, 0, 0x8010006A))
            link.recv(1)  # until it has been read

    case.pcscd = case.folder / "p.comm"
    case.listening(case.pcscd, deny)


# --- readers


@fault("CPX-102", 2)
def no_reader(bench: Bench, case: Case) -> None:
    case.pcscd = bench.readerless()


@fault("CPX-102", 3)
def reader_without_driver(bench: Bench, case: Case) -> None:
    case.pcscd = bench.readerless()
    case.usb("08e6", "3437")


@fault("CPX-102", 2)
def ingenico_without_driver(bench: Bench, case: Case) -> None:
    case.pcscd = bench.readerless()
    case.usb("0b00", "0090", ccid=False)


@fault("CPX-117", 2)
def reader_name(bench: Bench, case: Case) -> None:
    case.reader = "inconnu"


@fault("CPX-203", 1)
def autosuspend(bench: Bench, case: Case) -> None:
    case.usb("08e6", "3437", control="auto")


@fault("CPX-204", 1)
def ingenico_beside(bench: Bench, case: Case) -> None:
    case.usb("0b00", "0090", ccid=False)


# --- other programs


@fault("CPX-118", 2)
def card_held(bench: Bench, case: Case) -> None:
    case.exclusive = True


@fault("CPX-220", 2)
def scdaemon_holds(bench: Bench, case: Case) -> None:
    case.exclusive = True
    case.process(4321, "scdaemon")


@fault("CPX-220", 1)
def scdaemon_runs(bench: Bench, case: Case) -> None:
    case.process(4321, "scdaemon")


@fault("CPX-221", 1)
def galss_runs(bench: Bench, case: Case) -> None:
    case.process(4322, "galsvlux")


@fault("CPX-227", 1)
def galss_ini_contradicts_itself(bench: Bench, case: Case) -> None:
    case.put("root/etc/galss.ini", "[CONFIG]\rNbCanaux=2\r[CANAL1]\rTCanal=1\rIndex=1\rNbPAD=0\r")


@fault("CPX-227", 1)
def galss_ini_is_none(bench: Bench, case: Case) -> None:
    case.put("root/usr/local/galss/galss.ini", "# nothing\n")


# --- the card


@fault("CPX-103", 2)
def no_card(bench: Bench, case: Case) -> None:
    case.card = None


@fault("CPX-104", 2)
def foreign(bench: Bench, case: Case) -> None:
    case.card = ForeignCard(bytes.fromhex("3B6500002063CB6800"))


@fault("CPX-104", 2)
def vitale(bench: Bench, case: Case) -> None:
    case.card = ForeignCard(bytes.fromhex("3B7513000044 09EA9000".replace(" ", "")))


@fault("CPX-104", 2)
def contactless(bench: Bench, case: Case) -> None:
    case.card = "cps-medecin:cps3cl"


@fault("CPX-105", 2)
def mute(bench: Bench, case: Case) -> None:
    case.card = ForeignCard(b"\x3b")


@fault("CPX-105", 2)
def falls_silent(bench: Bench, case: Case) -> None:
    case.card_fault = "mute@6-"


@fault("CPX-125", 4)
def cps2ter(bench: Bench, case: Case) -> None:
    case.card = ForeignCard(ATR_CPS2TER)


@fault("CPX-129", 2)
def refuses(bench: Bench, case: Case) -> None:
    case.card_fault = "sw@*=6F00"


@fault("CPX-130", 4)
def damaged(bench: Bench, case: Case) -> None:
    base = image()
    numbers = {
        file.path[-1] for file in base.files if file.path[0] != 0x0002 and file.content[:1] == b"\x30" and len(file.content) > 600
    }
    case.card = make_card(with_files(base, {number: b"\xff" * 700 for number in numbers}))


@fault("CPX-104", 2)
def not_ours(bench: Bench, case: Case) -> None:
    case.card = ForeignCard(image().atr)


# --- the clock, the dates


@fault("CPX-112", 3)
def clock_late(bench: Bench, case: Case) -> None:
    case.now = datetime.now(UTC) - timedelta(days=400)


@fault("CPX-112", 3)
def clock_before_build(bench: Bench, case: Case) -> None:
    case.built = datetime.now(UTC) + timedelta(hours=4)


@fault("CPX-111", 4)
def revoked(bench: Bench, case: Case) -> None:
    case.card = "cpe-opposee:cps3"


@fault("CPX-110", 4)
def expired(bench: Bench, case: Case) -> None:
    case.card = "cps-expiree:cps3"


@fault("CPX-109", 1)
def expires_soon(bench: Bench, case: Case) -> None:
    case.card = "cps-expire-bientot:cps4"


@fault("CPX-209", 2)
def not_yet_valid(bench: Bench, case: Case) -> None:
    case.now = datetime.now(UTC) - timedelta(days=4000)
    case.built = datetime(2000, 1, 1, tzinfo=UTC)
    case.put("root/run/systemd/timesync/synchronized")
    case.config = ["[sign]", f"trust = '{bench.lab.env['CPX_SIM_PKI']}'"]


@fault("CPX-210", 1)
def list_stale(bench: Bench, case: Case) -> None:
    case.now = datetime.now(UTC) + timedelta(days=60)


@fault("CPX-210", 1)
def no_list(bench: Bench, case: Case) -> None:
    case.config = ["[sign]", f"trust = '{bench.lab.env['CPX_SIM_PKI']}'"]


@fault("CPX-211", 1)
def authority_unknown(bench: Bench, case: Case) -> None:
    case.config = ["[login]", "idle = 60"]


# --- the codes


@fault("CPX-106", 1)
def pin_last(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps3", pin={"tries_left": 1})


@fault("CPX-107", 2)
def pin_blocked(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps4", pin={"tries_left": 0})


@fault("CPX-108", 4)
def both_blocked(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps3", pin={"tries_left": 0}, unblock={"tries_left": 0})


@fault("CPX-207", 1)
def unblock_blocked(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps4", unblock={"tries_left": 0})


@fault("CPX-208", 1)
def unblock_few_tries(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps3", unblock={"tries_left": 2})


@fault("CPX-208", 1)
def unblock_few_uses(bench: Bench, case: Case) -> None:
    case.card = card_with_codes("cps3", unblock={"uses_left": 1})


@fault("CPX-146", 1)
def update_interrupted(bench: Bench, case: Case) -> None:
    made = image()
    marker = ElementaryFile((0xD010,), pkcs15.update_marker(complete=False))
    case.card = make_card(dataclasses.replace(made, files=(*made.files, marker)))
