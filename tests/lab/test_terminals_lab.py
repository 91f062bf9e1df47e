# SPDX-License-Identifier: Apache-2.0
"""Terminals with a slot for the CPS and one for the Vitale card, by the names that drivers give them, under the stock pcscd."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
from cpxd_lab import ATR_CPS2TER, ATR_CPS4_RC, ATR_CPS4_T0, PIN, card, cpxd, fails, image, succeeds

from simulator.cardos import make_card
from simulator.foreign import ForeignCard
from simulator.lab import Lab, LabError
from simulator.usb import Terminal

TELIUM, VEGA = "Ingenico TL TELIUM", "Covadis Véga-Alpha"
FIRST, SECOND, OTHER = 0, 1, 2


VITALES = ["3F6525002C09699000", "3B751300004309EA9000", "3B751300004509FA9000"]


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3"], usb=[Terminal(TELIUM, 2), Terminal(VEGA, serial="0982")], daemon=True) as lab:
        lab.remove(0)
        yield lab


@pytest.fixture
def lab(opened: Lab) -> Iterator[Lab]:
    """Two slots of a SESAM-Vitale terminal and a reader whose name is not ASCII, all empty."""
    yield opened
    for slot in range(opened.slots):
        with contextlib.suppress(LabError):
            opened.remove(slot)


@pytest.mark.parametrize("slot", [FIRST, SECOND])
@pytest.mark.parametrize("model", ["cps3", "cps4", "cps4-t0"])
def test_the_cps_is_found_in_either_slot_and_the_vitale_card_left_alone(lab: Lab, slot: int, model: str) -> None:
    vitale = ForeignCard(VITALES[slot])
    lab.insert(slot, card(model=model))
    lab.insert(1 - slot, vitale)
    assert succeeds(cpxd(lab, "card", "--json")).json["reader"] == lab.readers[slot]
    succeeds(cpxd(lab, "pin", "verify", codes=[PIN]))
    for arguments in (("status",), ("doctor",), ("readers",)):
        shown = cpxd(lab, *arguments)
        assert ("interverties" in shown.out) == (slot == SECOND and arguments != ("status",)), shown.out
    lab.remove(1 - slot)
    assert vitale.seen == [], "a Vitale card is never sent a byte"
    assert "reset" not in vitale.power and vitale.power.count("on") == 1, "nor reset: pcscd powers it, and that is all"


@pytest.mark.parametrize("atr", [ATR_CPS4_T0, ATR_CPS4_RC], ids=["T=0 only", "release candidate"])
def test_a_cps4_as_terminals_show_it(lab: Lab, atr: bytes) -> None:
    lab.insert(SECOND, make_card(dataclasses.replace(image(model="cps4"), atr=atr)))
    assert succeeds(cpxd(lab, "card", "--json")).json["card"]["generation"] == "CPS4"
    succeeds(cpxd(lab, "pin", "verify", codes=[PIN]))


@pytest.mark.parametrize("slot", [FIRST, SECOND])
def test_a_vitale_card_alone_is_named(lab: Lab, slot: int) -> None:
    vitale = ForeignCard(VITALES[2])
    lab.insert(slot, vitale)
    for arguments in (("card",), ("pin", "status"), ("sign", "/etc/hostname")):
        assert "Vitale" in fails(cpxd(lab, *arguments), 13)
    assert "l'autre fente" in cpxd(lab, "doctor").out
    listed = succeeds(cpxd(lab, "readers"))
    assert "Vitale" in listed.out and "l'autre fente" in listed.out
    lab.insert(OTHER, card())
    assert succeeds(cpxd(lab, "card", "--json")).json["reader"] == lab.readers[OTHER], "in another reader altogether"
    lab.remove(slot)
    assert vitale.seen == [] and "reset" not in vitale.power


def test_what_hides_behind_a_vitale_card_is_told_first(lab: Lab) -> None:
    lab.insert(FIRST, ForeignCard(VITALES[0]))
    lab.insert(SECOND, ForeignCard(ATR_CPS2TER))
    assert "demandez une nouvelle carte" in fails(cpxd(lab, "card"), 13)


def test_slots_are_shown_as_one_terminal(lab: Lab) -> None:
    entries = {entry["reader"]: entry for entry in succeeds(cpxd(lab, "readers", "--json")).json}
    assert [entries[name]["slot"] for name in lab.readers] == [1, 2, 1]
    assert [entries[name]["slots"] for name in lab.readers] == [2, 2, 1]
    assert entries[lab.readers[0]]["terminal"] == entries[lab.readers[1]]["terminal"] == f"{TELIUM} 00"
    assert "fente 2 sur 2" in succeeds(cpxd(lab, "readers")).out


def test_a_reader_whose_name_is_not_ascii(lab: Lab) -> None:
    lab.insert(OTHER, card("cps-infirmier", "cps4"))
    assert VEGA in lab.readers[OTHER]
    assert succeeds(cpxd(lab, "card", "--reader", "véga", "--json")).json["reader"] == lab.readers[OTHER]
    succeeds(cpxd(lab, "pin", "verify", "--reader", lab.readers[OTHER], codes=[PIN]))
    assert VEGA in cpxd(lab, "doctor", "--all").out


def test_a_reader_that_would_steer_the_terminal() -> None:
    """What is between the brackets a device says of itself."""
    with Lab(["cps-medecin:cps3"], usb=[Terminal("Lecteur", interface="\x1b]0;t\x07", serial="\x1b[31m\u202e")]) as lab:
        for arguments in (("readers",), ("doctor", "--all"), ("status",)):
            shown = cpxd(lab, *arguments)
            assert all(char.isprintable() or char == "\n" for char in shown.out + shown.err), ascii(shown)
        name = succeeds(cpxd(lab, "readers", "--json")).json[0]["reader"]
        assert name == "Lecteur [\ufffd]0;t\ufffd] (\ufffd[31m\ufffd) 00 00"
        assert succeeds(cpxd(lab, "card", "--reader", name, "--json")).json["reader"] == name


# --- a CPS2ter


@pytest.mark.parametrize("arguments", [("card",), ("pin", "status"), ("pin", "verify"), ("validity",), ("usages", "--pin")])
def test_a_cps2ter_is_told_apart_everywhere(lab: Lab, arguments: tuple[str, ...]) -> None:
    old = ForeignCard(ATR_CPS2TER)
    lab.insert(FIRST, old)
    message = fails(cpxd(lab, *arguments, codes=[PIN] if arguments[-1] in ("verify", "--pin") else None), 13)
    assert "CPS2ter" in message and "n'est plus prise en charge, demandez une nouvelle carte" in message
    lab.remove(FIRST)
    assert old.seen == []


def test_a_cps2ter_in_status_readers_and_doctor(lab: Lab) -> None:
    old = ForeignCard(ATR_CPS2TER)
    lab.insert(FIRST, old)
    for arguments in (("status",), ("readers",)):
        assert "n'est plus prise en charge, demandez une nouvelle carte" in cpxd(lab, *arguments).out
    doctor = cpxd(lab, "doctor")
    assert doctor.code == 4 and "CPX-125" in doctor.out and "plus prise en charge" in doctor.out
    status = cpxd(lab, "status", "--json")
    assert status.json["trouble"]["code"] == "CPX-125" and status.json["card"] is None
    lab.remove(FIRST)
    assert old.seen == []
