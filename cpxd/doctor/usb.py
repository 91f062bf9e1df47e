# SPDX-License-Identifier: Apache-2.0
"""Card readers on USB, as sysfs shows them (Documentation/ABI/stable/sysfs-bus-usb of Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cpxd.doctor.machine import Machine
from cpxd.reader.terminals import Terminal, by_usb
from cpxd.text import printable

_CCID_CLASS = "0b"  # bInterfaceClass: smart card


@dataclass(frozen=True)
class UsbReader:
    usb: str  # "vvvv:pppp"
    product: str
    ccid: bool
    place: str  # name of the device in sysfs
    autosuspend: bool  # the kernel may power it down
    terminal: Terminal | None  # what is known of it

    @property
    def name(self) -> str:
        return self.terminal.model if self.terminal else self.product or self.usb


def readers(machine: Machine) -> list[UsbReader]:
    """What is plugged in and is, or is known to be, a card reader."""
    try:
        devices = sorted(machine.at("/sys/bus/usb/devices").iterdir())
    except OSError:
        return []
    classes: dict[str, set[str]] = {}  # of interfaces, by their device: they are listed beside it, and in it
    for entry in devices:
        name, colon, _ = entry.name.partition(":")
        if colon:
            classes.setdefault(name, set()).add(machine.text(entry / "bInterfaceClass"))
    found = (_reader(machine, device, classes.get(device.name, set())) for device in devices if ":" not in device.name)
    return [reader for reader in found if reader is not None]


def _reader(machine: Machine, device: Path, beside: set[str]) -> UsbReader | None:
    vendor, product = machine.text(device / "idVendor").lower(), machine.text(device / "idProduct").lower()
    if not vendor or not product:
        return None
    usb = f"{vendor}:{product}"
    classes = beside | {machine.text(path) for path in device.glob("*:*/bInterfaceClass")}
    terminal = by_usb(usb)
    if _CCID_CLASS not in classes and terminal is None:
        return None
    sleeps = machine.text(device / "power" / "control") == "auto"
    product_name = printable(machine.text(device / "product"))  # what the device says of itself
    return UsbReader(usb, product_name, _CCID_CLASS in classes, device.name, sleeps, terminal)
