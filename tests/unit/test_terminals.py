# SPDX-License-Identifier: Apache-2.0
"""The table of terminals, the slots of one terminal, and what the doctor sees of both on made-up machines."""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpxd.card.registry import identify
from cpxd.config import Settings
from cpxd.doctor import usb
from cpxd.doctor.machine import Machine
from cpxd.reader import terminals
from cpxd.reader.link import ReaderState
from cpxd.service.desk import Place
from cpxd.service.seating import remarks

CPS3, CPS4_T0 = "3BAC00402A001225006480000310009000", "3BDC18FF00001225006480000401009000"
VITALE_1, VITALE_2 = "3F6525002C09699000", "3B751300004309EA9000"


def test_the_table_is_well_formed_dated_and_without_doubles() -> None:
    table = terminals.table()
    identifiers = [row.usb for row in table if row.usb]
    assert len(identifiers) == len(set(identifiers)) and len(table) > 30
    assert all(re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", identifier) for identifier in identifiers)
    assert all(row.usb or row.name for row in table), "a row must be found by something"
    assert {row.kind for row in table} == {"sesam-vitale", "contact", "contactless", "dual"}
    assert all(row.remedy.fr and row.remedy.en for row in table if row.usb and not row.in_ccid)
    text = (Path(terminals.__file__).parents[1] / "data" / "readers" / "terminals.csv").read_text(encoding="utf-8")
    for line in text.splitlines()[1:]:
        found = re.search(r"\d{4}-\d{2}-\d{2}\"?$", line)
        assert found, f"a source without a date: {line}"
        datetime.date.fromisoformat(found[0].strip('"'))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Ingenico TL TELIUM 00 00", "Ingenico TL TELIUM 00 01"], [(1, 2), (2, 2)]),
        (["Ingenico TL TELIUM 00 01", "Ingenico TL TELIUM 00 00"], [(2, 2), (1, 2)]),
        (["Ingenico TL TELIUM 00 00", "Ingenico TL TELIUM 01 00"], [(1, 1), (1, 1)]),
        (["Prox-DU [Contact] (0979) 00 00", "Prox-DU [Contactless] (0979) 01 00"], [(1, 2), (2, 2)]),
        (["Prox-DU [Contact] (0979) 00 00", "Prox-DU [Contact] (0980) 01 00"], [(1, 1), (1, 1)]),
        (["A [Contact] 00 00", "A [Contactless] 01 00"], [(1, 1), (1, 1)]),
        (["PC Twin (73131FC4) 00 00", "PC Twin (73131FC4) 01 00"], [(1, 1), (1, 1)]),
        (["Véga-Alpha 0A 00", "Véga-Alpha 0A 01", "Véga-Alpha 0A 02"], [(1, 3), (2, 3), (3, 3)]),
        (["Lecteur sans numéro", "", "00 00", "\ufffd 00 00"], [(1, 1)] * 4),
    ],
)
def test_slots_of_one_terminal(names: list[str], wanted: list[tuple[int, int]]) -> None:
    found = terminals.seats(names)
    assert [(found[name].number, found[name].count) for name in names] == wanted


def test_names_find_their_row() -> None:
    telium = terminals.by_name("INGENICO tl telium 00 01")
    assert telium is not None and telium.kind == "sesam-vitale"
    assert terminals.by_name("cpx-sim 00 00") is None
    twin = terminals.by_name("Gemalto PC Twin Reader (73131FC4) 00 00")
    assert twin is not None and twin.model.startswith("Gemalto PC Twin")


# --- cards in the slots of a terminal


def place(name: str, atr: str) -> Place:
    content = bytes.fromhex(atr)
    state = ReaderState(name, content, present=bool(content), mute=False, in_use=False, exclusive=False, events=0)
    return Place(state, identify(content) if content else None)


def told(first: str, second: str, name: str = "Ingenico TL TELIUM", settings: Settings | None = None) -> str:
    found = remarks([place(f"{name} 00 00", first), place(f"{name} 00 01", second)], settings or Settings(galss_ini="/none"))
    return "\n".join(remark.fr for remark in found)


def test_what_is_said_of_cards_in_a_terminal() -> None:
    assert told(CPS3, VITALE_2) == told(CPS3, "") == told("", CPS4_T0) == told("", "") == ""
    assert "interverties" in told(VITALE_1, CPS3) and "fente 2" in told(VITALE_2, CPS4_T0)
    assert "va dans l'autre fente" in told(VITALE_2, "") and "Vitale" in told("", VITALE_1)
    assert told(VITALE_2, CPS3, "cpx-sim") == "", "nothing tells which slot of this reader is for which card"


def test_galss_ini_says_which_slot_is_for_which_card(tmp_path: Path) -> None:
    channel = "[CANAL{0}]\nTCanal=3\nIndex={0}\nProtocole=1\nCaracteristiques={1}\nNbPAD=1\n"
    channel += "[CANAL{0}.PAD1]\nPAD=0\nNbLAD=1\n[CANAL{0}.PAD1.LAD1]\nLAD=1\nNomLAD={2}\n"
    head = "[CONFIG]\nNbCanaux=2\n"
    names = ("Ingenico TL TELIUM 00 00", "Ingenico TL TELIUM 00 01")
    file = tmp_path / "galss.ini"
    file.write_text(head + channel.format(1, names[1], "CPS") + channel.format(2, names[0], "Vitale"))
    assert told(VITALE_2, CPS3, settings=Settings(galss_ini=str(file))) == ""
    assert "interverties" in told(CPS3, VITALE_2, settings=Settings(galss_ini=str(file)))
    file.write_text("?")
    assert "interverties" in told(VITALE_2, CPS3, settings=Settings(galss_ini=str(file))), "a bad file is as none"


# --- sysfs


@dataclass(frozen=True)
class Device:
    """`place`: as the kernel names it. `classes`: bInterfaceClass of its interfaces."""

    identifier: str
    classes: tuple[str, ...] = ("0b",)
    place: str = "1-2"
    product: str | bytes = "A reader"
    power: str | None = "on"


def tree(root: Path, devices: tuple[Device, ...]) -> Machine:
    """As Linux lays it out: devices below their bus, interfaces inside the device, links to both in /sys/bus/usb/devices."""
    links = root / "sys/bus/usb/devices"
    links.mkdir(parents=True)
    for device in devices:
        real = root / "sys/devices/pci0000:00/0000:00:14.0/usb1" / device.place
        for number, kind in enumerate(device.classes):
            interface = real / f"{device.place}:1.{number}"
            interface.mkdir(parents=True)
            (interface / "bInterfaceClass").write_text(f"{kind}\n")
            (links / interface.name).symlink_to(interface)
        real.mkdir(parents=True, exist_ok=True)
        vendor, product = device.identifier.split(":")
        (real / "idVendor").write_text(f"{vendor}\n")
        (real / "idProduct").write_text(f"{product}\n")
        name = device.product
        (real / "product").write_bytes(name if isinstance(name, bytes) else name.encode())
        if device.power is not None:
            (real / "power").mkdir()
            (real / "power" / "control").write_text(f"{device.power}\n")
        (links / device.place).symlink_to(real)
    return Machine(root)


TWO_SLOTS = "Ingenico ou Olaqin, terminal SESAM-Vitale à deux fentes"
INGENICO = Device("0b00:0090", ("ff",), product="Lecteur SESAM VITALE")
TREES: dict[str, tuple[tuple[Device, ...], list[str]]] = {
    "nothing": ((), []),
    "mouse and keyboard": ((Device("046d:c077", ("03",)), Device("046a:0011", ("03", "03"), "1-3")), []),
    "Ingenico in PSS": ((INGENICO,), [TWO_SLOTS]),
    "Ingenico as a serial line": ((Device("0b00:0090", ("02", "0a")),), [TWO_SLOTS]),
    "Ingenico behind two hubs": (
        (Device("1a40:0101", ("09",), "1-1"), Device("0b00:0090", ("ff",), "1-1.4.2")),
        [TWO_SLOTS],
    ),
    "Ingenico beside a PC Twin": (
        (INGENICO, Device("08e6:3437", place="1-3")),
        [TWO_SLOTS, "Gemalto PC Twin / IDBridge CT30"],
    ),
    "PC Twin": ((Device("08e6:3437"),), ["Gemalto PC Twin / IDBridge CT30"]),
    "PC Twin that sleeps": ((Device("08e6:3437", power="auto"),), ["Gemalto PC Twin / IDBridge CT30"]),
    "upper case identifiers": ((Device("08E6:3437"),), ["Gemalto PC Twin / IDBridge CT30"]),
    "Véga-Alpha": ((Device("0982:0008"),), ["Covadis Véga-Alpha"]),
    "Leo": ((Device("0f14:003b"),), ["Ingenico Leo"]),
    "MyLeo": ((Device("0f14:0037"),), ["XIRING MyLeo"]),
    "keyboard with a reader": ((Device("046a:00a1", ("03", "0b")),), ["Clavier Cherry KC 1000 SC"]),
    "laptop reader": ((Device("0a5c:5834", ("fe", "0b", "ff")),), ["Broadcom 5880 (portables Dell)"]),
    "dual reader": ((Device("076b:5422", ("0b", "0b")),), ["HID OMNIKEY 5422"]),
    "contactless reader": ((Device("072f:2200"),), ["ACS ACR122U"]),
    "unknown CCID reader": ((Device("dead:beef", product="Lecteur Untel"),), ["Lecteur Untel"]),
    "unknown CCID reader without a name": ((Device("dead:beef", product=""),), ["dead:beef"]),
    "a name that is no UTF-8": ((Device("dead:beef", product=b"Lecteur \xe9\n"),), ["Lecteur \ufffd"]),
    "a name that would steer the terminal": (
        (Device("dead:beef", product=b"Lecteur\x1b[31m\n\x07rouge\n"),),
        ["Lecteur\ufffd[31m \ufffdrouge"],
    ),
    "no power folder": ((Device("0f14:0038", power=None),), ["XIRING Leo v2"]),
    "identifiers missing": ((Device(":"),), []),
    "sixteen readers": (tuple(Device("0f14:0038", place=f"1-{n}") for n in range(1, 17)), ["XIRING Leo v2"] * 16),
    "a terminal seen by its maker's name only": ((Device("0b00:9999", ("ff",)),), []),
}


@pytest.mark.parametrize("name", TREES)
def test_readers_in_sysfs(name: str, tmp_path: Path) -> None:
    devices, wanted = TREES[name]
    found = usb.readers(tree(tmp_path, devices))
    assert sorted(reader.name for reader in found) == sorted(wanted)
    assert [reader.autosuspend for reader in found] == [name == "PC Twin that sleeps"] * len(found)
    for reader in found:
        if reader.usb == "0b00:0090":
            assert reader.terminal is not None and not reader.terminal.in_ccid and "PC/SC" in reader.terminal.remedy.fr


def test_a_sysfs_that_is_none(tmp_path: Path) -> None:
    assert usb.readers(Machine(tmp_path)) == []
    links = tmp_path / "sys/bus/usb/devices"
    links.mkdir(parents=True)
    (links / "1-1").symlink_to("1-1")
    (links / "1-2").symlink_to("/nowhere")
    (links / "1-3").write_text("a file")
    os.mkfifo(links / "1-4")
    assert usb.readers(Machine(tmp_path)) == []
