# SPDX-License-Identifier: Apache-2.0
"""Terminals on a USB of the lab's own, plugged in and out while the stock pcscd runs.

pcscd learns of USB devices from libudev: `fakeudev.c` stands for it, and pcscd's own hot-plug code does the rest. The names of
readers are those of a driver's Info.plist, as with real ones.
"""

from __future__ import annotations

import plistlib
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import LabError
from simulator.pcscd import MAX_SLOTS, PrivatePcscd, Setup

LIBRARY = Path(__file__).parent / "libcpxsimusb.so"
_VENDOR = 0xC9C5  # of nobody; each terminal of a lab is a product of its own
_SECONDS = 15.0
_BUNDLE = "cpx-sim.bundle"


@dataclass(frozen=True)
class Terminal:
    """`name`, `interface` and `serial` make the PC/SC name, as pcsc-lite writes it: NAME [INTERFACE] (SERIAL) RR SS."""

    name: str
    slots: int = 1
    interface: str = ""
    serial: str = ""


class UsbPcscd(PrivatePcscd):
    """`names`: of the readers by slot, the slots of the first terminal first; empty while it is unplugged."""

    def __init__(self, setup: Setup, terminals: Sequence[Terminal]) -> None:
        super().__init__(setup)
        self.terminals = tuple(terminals)
        self.names = [""] * self.setup.slots
        self._in = [True] * len(self.terminals)
        self._address = setup.folder / "usb"
        if not LIBRARY.exists():
            raise LabError(f"bibliothèque absente : {LIBRARY}", f"library missing: {LIBRARY}")

    def start(self) -> list[str]:
        contents = self.setup.folder / "drop" / _BUNDLE / "Contents"
        (contents / "Linux").mkdir(parents=True)
        shutil.copyfile(self.setup.driver, contents / "Linux" / self.setup.driver.name)
        names = [terminal.name for terminal in self.terminals]
        table = {
            "CFBundleExecutable": self.setup.driver.name,
            "ifdVendorID": [f"0x{_VENDOR:04X}" for _ in names],
            "ifdProductID": [f"0x{number:04X}" for number, _ in enumerate(names)],
            "ifdFriendlyName": names,
        }
        (contents / "Info.plist").write_bytes(plistlib.dumps(table))
        return super().start()

    def restart(self) -> list[str]:
        self._order("start")
        self.names = [""] * self.setup.slots
        for number, plugged in enumerate(self._in):
            if plugged:
                self.plug(number)
        return self.names

    def slots_of(self, number: int) -> range:
        first = sum(terminal.slots for terminal in self.terminals[:number])
        return range(first, first + self.terminals[number].slots)

    def plug(self, number: int) -> None:
        """Returns once pcscd shows the readers."""
        slots = self.slots_of(number)
        before = {reader.name for reader in self.wait(lambda found: True)}
        self._tell("add", number)
        # pcscd shows the name of a reader a moment before it has opened it
        paths = [self.slot_path(slot) for slot in slots]
        found = self.wait(
            lambda found: len({r.name for r in found} - before) >= len(slots) and all(path.exists() for path in paths)
        )
        for slot, name in zip(slots, sorted({reader.name for reader in found} - before), strict=False):
            self.names[slot] = name
        self._in[number] = True

    def unplug(self, number: int) -> None:
        """Returns once pcscd shows them no more."""
        gone = {self.names[slot] for slot in self.slots_of(number)}
        self._tell("remove", number)
        self.wait(lambda found: not gone & {reader.name for reader in found})
        for slot in self.slots_of(number):
            self.names[slot] = ""
        self._in[number] = False

    def _tell(self, action: str, number: int) -> None:
        terminal, pad = self.terminals[number], self.setup.pinpad
        options = (
            f"slots={terminal.slots}:first={self.slots_of(number)[0]}:timeout={self.setup.timeout_ms}"
            f":pinpad={pad if isinstance(pad, str) else int(pad)}:{self.setup.folder / 'slot'}"
        )
        sysname = f"1-{number + 1}:1.0"
        fields = (action, sysname, f"{_VENDOR:04x}", f"{number:04x}", "00", terminal.interface, terminal.serial, options)
        deadline = time.monotonic() + _SECONDS
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            while True:
                try:
                    link.sendto("".join(f"{field}\n" for field in fields).encode(), str(self._address))
                    return
                except (FileNotFoundError, ConnectionRefusedError):  # pcscd is still starting
                    if time.monotonic() > deadline or self.pid == 0:
                        raise LabError("pcscd n'écoute pas l'USB du lab", "pcscd does not listen to the lab's USB") from None
                    time.sleep(0.003)

    def _stanzas(self) -> list[str]:
        return []

    def _keeper_setup(self, namespace: bool) -> dict[str, object]:
        if not namespace:
            raise LabError("des terminaux USB demandent un espace de noms", "USB terminals need a namespace")
        setup = super()._keeper_setup(namespace)
        environment = {"LD_PRELOAD": str(LIBRARY.resolve()), "CPX_SIM_USB": str(self._address)}
        drivers = str(self._installed.drivers)
        run_folder = [path for path in _strings(setup["hide"]) if not path.startswith(f"{drivers}/")]
        return {
            **setup,
            "environment": {**self._environment_of(setup), **environment},
            "hide": [drivers, *run_folder],
            "copy": [[str(self.setup.folder / "drop" / _BUNDLE), f"{drivers}/{_BUNDLE}"]],
        }

    @staticmethod
    def _environment_of(setup: dict[str, object]) -> dict[str, str]:
        found = setup["environment"]
        return dict(found) if isinstance(found, dict) else {}


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def total(terminals: Sequence[Terminal]) -> int:
    """Slots of all of them. Raises LabError beyond what pcscd has."""
    count = sum(terminal.slots for terminal in terminals)
    if not terminals or count > MAX_SLOTS or any(terminal.slots < 1 for terminal in terminals):
        raise LabError(f"{count} fentes (1 à {MAX_SLOTS})", f"{count} slots (1 to {MAX_SLOTS})")
    return count
