# SPDX-License-Identifier: Apache-2.0
"""No service, reader or card; cards of other families, silent, or held by others: the right exit code, in bounded time."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpxd_lab import (
    ATR_CPS2TER,
    ATR_CPS4_RC,
    ATR_CPS4_T0,
    PIN,
    UNBLOCK,
    Wrapped,
    card,
    command,
    cpxd,
    fails,
    image,
    succeeds,
    tries,
    with_codes,
)

from cpxd.version import __version__
from simulator.cardos import make_card
from simulator.foreign import ForeignCard
from simulator.lab import Lab
from simulator.pcscd import PrivatePcscd, Setup

Orders = dict[str, tuple[list[str], list[str] | None]]
ORDERS = ("card", "card with code", "status", "verify", "change", "unblock", "sign")
FOREIGN = {
    "Vitale 1": "3F 65 25 00 2C 09 69 90 00",
    "Vitale 2": "3B 75 13 00 00 43 09 EA 90 00",
    "Vitale 2, other": "3B 75 13 00 00 45 09 FA 90 00",
    "IAS-ECC Gemalto": "3B 7F 96 00 00 00 31 B8 64 40 70 14 10 73 94 01 80 82 90 00",
    "IAS-ECC Oberthur": "3B DD 18 00 81 31 FE 45 80 F9 A0 00 00 00 77 01 08 00 07 90 00 FE",
    "bank card": "3B 68 00 00 00 73 C8 40 12 00 90 00",
    "shortest": "3B 00",
}


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    """Everything that can be asked of a card: arguments, codes."""
    (tmp_path / "paper").write_text("x")
    return {
        "card": (["card"], None),
        "card with code": (["card"], [PIN]),
        "status": (["pin", "status"], None),
        "verify": (["pin", "verify"], [PIN]),
        "change": (["pin", "change"], [PIN, "4321"]),
        "unblock": (["pin", "unblock"], [UNBLOCK, "4321"]),
        "sign": (["sign", str(tmp_path / "paper")], [PIN]),
    }


@pytest.fixture(scope="module")
def quick_lab() -> Iterator[Lab]:
    """A reader that gives up on a silent card after 200 ms."""
    with Lab([None], slots=2, timeout_ms=200) as lab:
        yield lab


# -- commands written wrongly ----------------------------------------------------------------------------------

WRONG = ["", "nonsense", "pin", "pin nonsense", "sign", "card --reader", "card --lang de", "card x", "pin verify --pin-fd x"]


@pytest.mark.parametrize("line", WRONG)
def test_usage(line: str) -> None:
    nowhere = Lab([])
    french, english = (fails(cpxd(nowhere, *line.split(), env={"LANG": lang}), 2) for lang in ("fr_FR.UTF-8", "en_GB.UTF-8"))
    assert french != english and "--help" in french and "--help" in english


@pytest.mark.parametrize(("line", "said"), [("path", "il manque : pkcs11|module|socket"), ("cache x", "show|clear : « x »")])
def test_no_name_of_ours_in_a_usage(line: str, said: str) -> None:
    assert said in fails(cpxd(Lab([]), *line.split()), 2)


def test_version() -> None:
    assert succeeds(command(Lab([]), "--version")).out.split() == ["cpxd", __version__]


# -- nothing there ---------------------------------------------------------------------------------------------


def test_no_service(orders: Orders, tmp_path: Path) -> None:
    alone = Lab([])
    alone.env = {"PCSCLITE_CSOCK_NAME": str(tmp_path / "nobody-listens"), "XDG_STATE_HOME": str(tmp_path / "state")}
    for arguments, codes in [*orders.values(), (["readers"], None), (["readers", "--json"], None)]:
        result = cpxd(alone, *arguments, codes=codes)
        assert "pcscd" in fails(result, 10)
        assert result.seconds < 5
    fails(command(alone, "card"), 10)
    assert not (tmp_path / "paper.p7s").exists()


def test_no_card(desk: Lab, orders: Orders) -> None:
    for arguments, codes in orders.values():
        fails(cpxd(desk, *arguments, codes=codes), 12)
        fails(cpxd(desk, *arguments, "--reader", desk.readers[2], codes=codes), 12)
    fails(command(desk, "card"), 12)


class WithoutReader(PrivatePcscd):
    """The stock pcscd on a machine with nothing plugged in."""

    def _stanzas(self) -> list[str]:
        return []


def test_no_reader(orders: Orders) -> None:
    with tempfile.TemporaryDirectory(prefix="cpx-", dir="/tmp") as folder:
        pcscd = WithoutReader(Setup(Path(folder), slots=0))
        try:
            pcscd.start()
            empty = Lab([])
            empty.env = {"PCSCLITE_CSOCK_NAME": str(pcscd.socket), "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
            for arguments, codes in orders.values():
                fails(cpxd(empty, *arguments, codes=codes), 11)
            listed = cpxd(empty, "readers", "--json")
            assert (listed.code, listed.json) == (11, [])
            fails(cpxd(empty, "readers"), 11)
        finally:
            pcscd.close()


def test_unknown_or_ambiguous_reader(desk: Lab) -> None:
    desk.insert(0, card())
    message = fails(cpxd(desk, "pin", "status", "--reader", "Gemalto"), (2, 11))
    assert "Gemalto" in message and "cpxd readers" in message
    desk.insert(1, card())
    fails(cpxd(desk, "pin", "status", "--reader", "cpx-sim"), 2)
    succeeds(cpxd(desk, "pin", "status", "--reader", "00 00"))


def test_readers(desk: Lab) -> None:
    vitale = ForeignCard(bytes.fromhex(FOREIGN["Vitale 2"]))
    desk.insert(0, card(model="cps4"))
    desk.insert(2, vitale)
    listed = succeeds(cpxd(desk, "readers", "--json")).json
    assert [entry["reader"] for entry in listed] == desk.readers
    assert [entry["card"] for entry in listed][:2] == ["CPS4", None]
    assert listed[0]["atr"] == image(model="cps4").atr.hex().upper() and listed[1]["atr"] is None
    lines = succeeds(cpxd(desk, "readers")).out.splitlines()
    assert len(lines) == 3 and all(name in line for name, line in zip(desk.readers, lines, strict=True))
    assert vitale.seen == []


# -- cards of other families -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_card_gets_no_command_at_all(desk: Lab, orders: Orders, kind: str) -> None:
    foreign = ForeignCard(bytes.fromhex(FOREIGN[kind]))
    desk.insert(0, foreign)
    messages = {fails(cpxd(desk, *arguments, codes=codes), 13) for arguments, codes in orders.values()}
    succeeds(cpxd(desk, "readers"))
    assert foreign.seen == []
    if kind.startswith("Vitale"):
        assert all("Vitale" in message for message in messages)


def test_cps2ter_has_its_own_words(desk: Lab, orders: Orders) -> None:
    """Its ATR also fits the published mask of CPS3: only the version bytes tell."""
    foreign = ForeignCard(ATR_CPS2TER)
    desk.insert(0, foreign)
    for arguments, codes in orders.values():
        assert "CPS2ter" in fails(cpxd(desk, *arguments, codes=codes), 13)
    assert foreign.seen == []


def test_foreign_card_beside_a_cpx(desk: Lab) -> None:
    """The only CPx card is the one meant."""
    foreign = ForeignCard(bytes.fromhex(FOREIGN["Vitale 2"]))
    desk.insert(0, foreign)
    desk.insert(1, card())
    assert succeeds(cpxd(desk, "pin", "status", "--json")).json["reader"] == desk.readers[1]
    fails(cpxd(desk, "pin", "status", "--reader", desk.readers[0]), 13)
    assert foreign.seen == []


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_card_that_only_has_the_atr(desk: Lab, orders: Orders, model: str) -> None:
    """The right ATR, and no application behind it: the probe says no, before any code is sent."""
    pretender = ForeignCard(image(model=model).atr)
    desk.insert(0, pretender)
    for arguments, codes in orders.values():
        fails(cpxd(desk, *arguments, codes=codes), 13)
    assert with_codes([(apdu, b"") for apdu in pretender.seen]) == []


@pytest.mark.parametrize("atr", [ATR_CPS4_T0, ATR_CPS4_RC], ids=["T=0 only", "release candidate"])
def test_every_published_atr_of_cps4(desk: Lab, atr: bytes) -> None:
    desk.insert(0, make_card(dataclasses.replace(image(model="cps4"), atr=atr)))
    assert succeeds(cpxd(desk, "readers", "--json")).json[0]["card"] == "CPS4"
    succeeds(cpxd(desk, "pin", "verify", codes=[PIN]))


def test_contactless_cps3_ends_cleanly(desk: Lab, orders: Orders) -> None:
    """It has neither code nor signature key: an error in one line, whatever is asked."""
    desk.insert(0, card(model="cps3cl"))
    for arguments, codes in orders.values():
        if arguments != ["card"]:
            fails(cpxd(desk, *arguments, codes=codes), 13)


# -- mute cards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("first", [0, 5])
def test_card_that_falls_silent(quick_lab: Lab, orders: Orders, model: str, name: str, first: int) -> None:
    virtual = card(model=model)
    arguments, codes = orders[name]
    quick_lab.insert(0, virtual, f"mute@{first}-")
    result = cpxd(quick_lab, *arguments, codes=codes)
    fails(result, 14)
    assert result.seconds < 3
    assert tries(virtual) == 3 and tries(virtual, 2) == 10
    assert not Path(orders["sign"][0][1] + ".p7s").exists()


class Dead(Wrapped):
    """Inserted the wrong way round: no ATR at all."""

    @property
    def atr(self) -> bytes:
        return b""


def test_card_without_atr(quick_lab: Lab, orders: Orders) -> None:
    quick_lab.insert(0, Dead(card()))
    for arguments, codes in orders.values():
        result = cpxd(quick_lab, *arguments, codes=codes)
        fails(result, 14)
        assert result.seconds < 5
    succeeds(cpxd(quick_lab, "readers"))


# -- cards that another program holds --------------------------------------------------------------------------


class Exclusive:
    """Another program that has the card for itself alone."""

    def __init__(self, lab: Lab) -> None:
        script = (
            "import sys\nfrom smartcard.scard import *\n"
            "context = SCardEstablishContext(SCARD_SCOPE_USER)[1]\n"
            "hr, card, _ = SCardConnect(context, sys.argv[1], SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)\n"
            "print(hr, flush=True)\nsys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, lab.readers[0]],
            env={**os.environ, **lab.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None and self.process.stdout.readline().strip() == "0"

    def release(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("")


def test_card_held_by_another_program(desk: Lab) -> None:
    handle = desk.insert(0, card())
    holder = Exclusive(desk)
    try:
        before = os.times()
        result = command(desk, "pin", "verify", codes=[PIN])
        assert re.search("programme|application|logiciel", fails(result, (10, 14)))
        assert result.seconds < 15, "waited for with a bound"
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        assert used < 2, "waiting is not working"
        assert handle.trace == []
        succeeds(cpxd(desk, "readers"))
    finally:
        holder.release()
    succeeds(cpxd(desk, "pin", "status"))


def test_card_released_in_time_is_waited_for(desk: Lab) -> None:
    desk.insert(0, card())
    holder = Exclusive(desk)
    release = threading.Timer(0.6, holder.release)
    release.start()
    started = time.monotonic()
    succeeds(cpxd(desk, "pin", "status"))
    assert time.monotonic() - started > 0.4
    release.join()
