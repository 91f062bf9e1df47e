# SPDX-License-Identifier: Apache-2.0
"""A card is put in and pulled out, SOAK_CYCLES times (10,000), under a program that keeps the PKCS#11 module loaded.

Each time the token must appear as that card's, with nobody logged in; every tenth time a login and a signature must work; then
the card leaves, in the middle of that program's sessions: they must be dead and the slot empty. Exit 1 at the first that is not
so, at a try lost, or when the daemon grows.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable

from soak import CARDS, MODULE, PIN, Failed, Figures
from soak_client import PLACES, Module, Refused, operation

from simulator.cardos.card import VirtualCard
from simulator.lab import Lab

PATIENCE = 10.0  # seconds, for a card to be seen or to be gone
SIGNING = 10  # a login with a signature each so many cycles
WARM_UP, MEASURED = 50, 50  # cycles before the daemon is measured, and between two measures
PRESENT, SERIAL_AT, SERIAL = 1, 80, 16  # CKF_TOKEN_PRESENT; CK_TOKEN_INFO: label 32, manufacturer 32, model 16, serial 16
HANDLE_DEAD, NOT_PRESENT, PUBLIC = 0xB3, 0xE0, 0  # CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT; CKS_RO_PUBLIC_SESSION
_Ulong = ctypes.c_ulong
PLACES |= {"C_GetSlotInfo": 5, "C_GetTokenInfo": 6, "C_GetSessionInfo": 15}


def until(condition: Callable[[], bool], what: str) -> float:
    """Milliseconds that it took. Raises Failed."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > PATIENCE:
            raise Failed(f"{what} after {PATIENCE:.0f} s")
        time.sleep(0.002)
    return (time.monotonic() - begin) * 1000


class Program:
    """The one that looks on. It is this process: should the module crash it, the campaign ends there."""

    def __init__(self) -> None:
        self.call = Module(str(MODULE))
        self.call("C_Initialize", None)
        found, count = (_Ulong * 16)(), _Ulong(16)
        self.call("C_GetSlotList", ctypes.c_ubyte(0), found, ctypes.byref(count))
        self.slot = _Ulong(found[0])

    def present(self) -> bool:
        info = ctypes.create_string_buffer(256)  # CK_SLOT_INFO: description 64, manufacturer 32, flags
        self.call("C_GetSlotInfo", self.slot, info)
        return bool(int.from_bytes(info.raw[96:104], sys.byteorder) & PRESENT)

    def serial(self) -> str:
        info = ctypes.create_string_buffer(512)
        self.call("C_GetTokenInfo", self.slot, info)
        return info.raw[SERIAL_AT : SERIAL_AT + SERIAL].decode("ascii").strip()

    def open(self) -> _Ulong:
        session = _Ulong()
        self.call("C_OpenSession", self.slot, _Ulong(4), None, None, ctypes.byref(session))
        return session

    def state(self, session: _Ulong) -> int:
        info = (_Ulong * 4)()  # CK_SESSION_INFO: slot, state, flags, device error
        self.call("C_GetSessionInfo", session, info)
        return info[1]

    def refused(self, rv: int, call: Callable[[], object], what: str) -> None:
        try:
            call()
        except Refused as error:
            if error.rv != rv:
                raise Failed(f"{what}: {error}") from None
        else:
            raise Failed(f"{what}: answered")


def cycle(lab: Lab, program: Program, number: int, serials: dict[str, str]) -> tuple[float, float]:
    """Milliseconds until the token is seen, and until it is gone. Raises Failed or Refused."""
    spec = CARDS[number % len(CARDS)]
    lab.insert(0, spec)
    seen = until(program.present, "no token")
    session = program.open()
    if serials.setdefault(spec, program.serial()) != program.serial() or len(set(serials.values())) != len(serials):
        raise Failed(f"another card's serial: {serials}")
    if program.state(session) != PUBLIC:
        raise Failed("somebody is logged in to a card just put in")
    if number % SIGNING == 0:
        operation(program.call, PIN.encode())
        session = program.open()
    card = lab.card(0).card
    lab.remove(0)
    gone = until(lambda: not program.present(), "the token is still there")
    program.refused(HANDLE_DEAD, lambda: program.state(session), "a session outlived its card")
    program.refused(NOT_PRESENT, program.open, "a session without a card")
    assert isinstance(card, VirtualCard)
    codes = card.state()["codes"]
    if (codes["1"]["tries_left"], codes["2"]["tries_left"]) != (3, 10):
        raise Failed(f"tries lost: {codes}")
    return seen, gone


def campaign(cycles: int) -> list[tuple[float, float]]:
    times: list[tuple[float, float]] = []
    serials: dict[str, str] = {}
    with Lab([], slots=1, daemon=True) as lab:
        os.environ.update(lab.env, CPXD_NO_START="1")
        assert lab.daemon is not None
        program, daemon, before = Program(), lab.daemon.process, None
        for number in range(cycles):
            try:
                times.append(cycle(lab, program, number, serials))
            except (Failed, Refused) as error:
                raise Failed(f"cycle {number}, card {CARDS[number % len(CARDS)]}: {error}") from None
            if daemon.poll() is not None or lab.errors():
                raise Failed(f"cycle {number}: the daemon died ({daemon.returncode}), or the simulator: {lab.errors()}")
            if number == WARM_UP:
                before = Figures.of(daemon.pid)
            elif before is not None and number % MEASURED == 0:
                Figures.of(daemon.pid).check(before)
        print(f"{cycles} cycles, daemon {before} at {WARM_UP}, then {Figures.of(daemon.pid)}")
    return times


def main() -> int:
    cycles = int(os.environ.get("SOAK_CYCLES") or 10_000)
    try:
        times = campaign(cycles)
    except Failed as error:
        print(f"cycles: {error}", file=sys.stderr)
        return 1
    for title, row in zip(("put in until the token is seen", "pulled until it is gone"), zip(*times, strict=True), strict=True):
        print(f"  {title}: median {statistics.median(row):.0f} ms, slowest {max(row):.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
