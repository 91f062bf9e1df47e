# SPDX-License-Identifier: Apache-2.0
"""A lab: the stock pcscd with virtual readers and virtual cards in them, private to whoever opens it.

    with Lab(["cps-medecin:cps3"]) as lab:
        lab.run(["opensc-tool", "-l"], check=True)

Nothing listens on the network; several labs live side by side; leaving the block leaves no process and no file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from simulator import faults, transport
from simulator.daemon import Daemon, free_port
from simulator.daemon import settings as daemon_settings
from simulator.errors import LabError, reason
from simulator.galss.server import Galss
from simulator.leftovers import Watcher
from simulator.pcscd import MAX_SLOTS, PrivatePcscd, Setup, writable_in_configuration
from simulator.pcscwire import Reader
from simulator.timing import Delay, delay_model
from simulator.tracefile import TraceWriter
from simulator.usb import Terminal, UsbPcscd, total

__all__ = ["CardHandle", "Lab", "LabError"]

CardSpec = str | transport.Card
_TAGS = Path(__file__).parent / "invented-tags.json"


class CardHandle:
    """A card in a slot: what it was asked, and what may go wrong with it."""

    def __init__(self, card: transport.Card, session: transport.Session, trace: list[tuple[bytes, bytes]]) -> None:
        self.card = card
        self.trace = trace
        self.session = session

    @property
    def apdu_count(self) -> int:
        """Commands answered since the insertion, GET RESPONSE included."""
        return len(self.trace)

    @property
    def error(self) -> BaseException | None:
        """What ended the card other than its removal: its state could not be saved, a fault of the simulator."""
        return self.session.error

    def set_fault(self, spec: str | None) -> None:
        """See `simulator.faults`; the next command is number 0. None or empty: no fault any more. Raises FaultError."""
        self.session.set_faults(faults.parse(spec) if spec else ())

    def pull(self) -> None:
        """Out of the slot at once, pcscd not waited for."""
        self.session.pull()


class Lab:
    """cards: one a slot, from slot 0: "PERSONA[:MODEL]", a card object, or None for an empty slot.
    slots: 1 to 16. vpcd: through the distribution's vpcd, in its own network namespace, instead of the project's driver.
    trace: one file for all cards. state_dir: what survives power-off is kept there, one file a card.
    galss: in the slots of a serial SESAM-Vitale terminal behind a stand-in for GALSS; there is no pcscd then.
    usb: terminals on a USB of the lab's own, that can be unplugged; they say how many slots there are.
    pinpad: readers with a keypad; a name: one that is not as the standard has it (docs/LAB.md).
    faults: SPEC by slot. pad: the keys of the PIN pad (see `type_keys`); without it every entry is cancelled.
    daemon: `cpxd serve` runs beside, as `daemon` says; dialog_pin: what its PIN dialog answers.
    api_port: of its https API, a free one by default; api_consent: seconds before its questions can be accepted.
    timeout_ms: how long the reader waits for a card. driver, pcscd_environment: for tests of the driver itself.
    """

    def __init__(
        self,
        cards: Sequence[CardSpec | None] = (),
        *,
        slots: int = 4,
        pinpad: bool | str = False,
        vpcd: bool = False,
        galss: bool = False,
        usb: Sequence[Terminal] = (),
        trace: str | Path | None = None,
        state_dir: str | Path | None = None,
        timing: str = "none",
        faults: Mapping[int, str] | None = None,
        pad: transport.Pad | None = None,
        daemon: bool = False,
        dialog_pin: str | None = None,
        api_port: int | None = None,
        api_consent: float | None = None,
        timeout_ms: int = 10_000,
        driver: Path | None = None,
        pcscd_environment: Mapping[str, str] | None = None,
    ) -> None:
        slots = total(usb) if usb else slots
        if not 1 <= slots <= MAX_SLOTS or len(cards) > slots:
            raise LabError(
                f"{len(cards)} cartes pour {slots} fentes (1 à {MAX_SLOTS})",
                f"{len(cards)} cards for {slots} slots (1 to {MAX_SLOTS})",
            )
        if vpcd and pinpad:
            raise LabError("vpcd n'a pas de clavier", "vpcd has no PIN pad")
        if usb and (vpcd or galss):
            raise LabError("USB : ni vpcd ni GALSS", "USB: neither vpcd nor GALSS")
        if galss and (vpcd or pinpad):
            raise LabError("GALSS : ni vpcd ni clavier", "GALSS: neither vpcd nor a PIN pad")
        self.slots, self.pinpad, self.vpcd, self.timing = slots, pinpad, vpcd, timing
        self.pad = pad if pad is not None else transport.Pad()
        self.env: dict[str, str] = {}
        self.readers: list[str] = []
        self._specs = list(cards)
        self._named = [spec for spec in cards if isinstance(spec, str)]
        self._faults = dict(faults or {})
        self._trace_path, self._state_dir = trace, Path(state_dir) if state_dir is not None else None
        self._trace: TraceWriter | None = None
        self._handles: dict[int, CardHandle] = {}
        self._usb, self._away = tuple(usb), dict[int, transport.Card]()  # cards in slots that are unplugged
        self._lock = threading.RLock()
        self._more: dict[str, Any] = {"timeout_ms": timeout_ms, "environment": dict(pcscd_environment or {})}
        if driver is not None:
            self._more["driver"] = driver
        self._pcscd: PrivatePcscd | None = None
        self._with_galss = galss
        self.galss: Galss | None = None
        self._watcher: Watcher | None = None
        self._with_daemon, self._dialog_pin = daemon, dialog_pin
        self.api_port, self._api_consent = free_port() if api_port is None else api_port, api_consent
        self.daemon: Daemon | None = None
        self.folder: Path | None = None

    # -- life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        try:
            return self._open()
        except OSError as error:  # its own folder: the disk is full, or nothing can be written
            self.close()
            french, english = reason(error)
            raise LabError(f"dossier du lab : {french}", f"folder of the lab: {english}") from None
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open(self) -> Lab:
        cards = [self._card(spec) for spec in self._specs]  # first: a wrong name costs nothing
        if self._trace_path is not None:
            self._trace = TraceWriter(self._trace_path)
        self.folder = Path(tempfile.mkdtemp(prefix="cpx-", dir=_short_folder()))
        if self._with_galss:
            self._watcher = Watcher(self.folder)  # a pcscd's keeper does as much
            self.galss = Galss(self.folder, slots=self.slots, timeout_ms=self._more["timeout_ms"])
            self.readers = [slot.name for slot in self.galss.slots]
        else:
            setup = Setup(self.folder, slots=self.slots, pinpad=self.pinpad, vpcd=self.vpcd, **self._more)
            self._pcscd = UsbPcscd(setup, self._usb) if self._usb else PrivatePcscd(setup)
            self.readers = self._pcscd.start()
        self.env = self._environment(self.folder)
        for slot, card in enumerate(cards):
            if card is not None:
                self._put(slot, card, self._faults.get(slot))
        self._wait_for({slot: True for slot in self._handles})
        if self._with_daemon:
            self.daemon = Daemon({**os.environ, **self.env}, self.folder / "daemon.log")
        return self

    def close(self) -> None:
        """Idempotent; `with` calls it."""
        with self._lock:
            if self.daemon is not None:
                self.daemon.stop()
                self.daemon = None
            for handle in self._handles.values():
                handle.pull()
            self._handles.clear()
            if self._pcscd is not None:
                self._pcscd.close()
                self._pcscd = None
            if self.galss is not None:
                self.galss.close()
                self.galss = None
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            if self._trace is not None:
                self._trace.close()
                self._trace = None

    # -- cards -------------------------------------------------------------------------------------------------

    def insert(self, slot: int, card: CardSpec, fault: str | None = None) -> CardHandle:
        """Returns once pcscd shows the card. A card already there is removed first."""
        with self._lock:
            made = self._card(card)
            self._publish(card)
            if slot in self._handles:
                self.remove(slot)
            self._put(slot, made, fault)
            self._wait_for({slot: True})
            return self._handles[slot]

    def remove(self, slot: int) -> None:
        """Returns once pcscd shows the slot empty."""
        with self._lock:
            self.card(slot).pull()
            if self.galss is not None:
                self.galss.slots[slot].take()
            del self._handles[slot]
            self._wait_for({slot: False})

    def card(self, slot: int) -> CardHandle:
        """The card last inserted there, pulled by a fault or not. Raises LabError when there was none."""
        with self._lock:
            if slot not in self._handles:
                raise LabError(f"pas de carte dans la fente {slot}", f"no card in slot {slot}")
            return self._handles[slot]

    def type_keys(self, *entries: str | bytes) -> None:
        """What is typed on the PIN pad from now on, one item an entry: digits, `transport.CANCEL` or `transport.NOBODY`.
        The last one is typed again and again."""
        self.pad.type(*entries)

    def errors(self) -> list[BaseException]:
        """Of the cards in the lab; see `CardHandle.error`."""
        with self._lock:
            return [handle.error for handle in self._handles.values() if handle.error is not None]

    @property
    def pcscd_pid(self) -> int:
        """0: none is running."""
        return self._running().pid

    def slot_path(self, slot: int) -> Path:
        """The driver's socket of a slot, for a card that comes from elsewhere (`cpx-sim run --slot`)."""
        return self._running().slot_path(slot)

    # -- USB ---------------------------------------------------------------------------------------------------

    def unplug(self, terminal: int = 0) -> None:
        """Returns once pcscd shows its readers no more. The cards stay in their slots, without power."""
        with self._lock:
            hub = self._hub()
            for slot in hub.slots_of(terminal):  # first: a command on its way ends with the cable
                hub.slot_path(slot).unlink(missing_ok=True)
                handle = self._handles.pop(slot, None)
                if handle is not None and not handle.session.pulled:
                    self._away[slot] = handle.card
                    handle.pull()
            hub.unplug(terminal)

    def plug(self, terminal: int = 0) -> None:
        """Returns once pcscd shows its readers, perhaps under other numbers (`readers`), and the cards that are in."""
        with self._lock:
            hub = self._hub()
            hub.plug(terminal)
            back = {slot: self._away.pop(slot) for slot in hub.slots_of(terminal) if slot in self._away}
            for slot, card in back.items():
                self._put(slot, card, None)
            self._wait_for(dict.fromkeys(back, True))

    def _hub(self) -> UsbPcscd:
        pcscd = self._running()
        if not isinstance(pcscd, UsbPcscd):
            raise LabError("ce lab n'a pas d'USB", "this lab has no USB")
        return pcscd

    # -- pcscd -------------------------------------------------------------------------------------------------

    def kill_pcscd(self) -> None:
        """As if it had crashed. The cards lose their power and wait for `restart_pcscd`."""
        with self._lock:
            self._running().kill()

    def restart_pcscd(self) -> None:
        """A new pcscd on the same socket, with the cards that were in, inserted anew (without faults, traces empty)."""
        with self._lock:
            cards = {slot: handle.card for slot, handle in self._handles.items() if not handle.session.pulled}
            for handle in self._handles.values():
                handle.pull()
            self.readers = self._running().restart()
            for slot, card in cards.items():
                self._put(slot, card, None)
            self._wait_for({slot: True for slot in cards})

    def run(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[Any]:
        """`subprocess.run` with the lab's environment; `env` in the options is merged over it. Text unless told otherwise."""
        environment = {**os.environ, **self.env, **(options.pop("env", None) or {})}
        check = options.pop("check", False)
        return subprocess.run(command, env=environment, check=check, **{"text": True, **options})

    def shown(self) -> list[Reader]:
        """What pcscd shows now, one record a slot."""
        return self._running().wait(lambda found: True)[: self.slots]

    # -- inside ------------------------------------------------------------------------------------------------

    def _running(self) -> PrivatePcscd:
        if self._pcscd is None:
            raise LabError("le lab est fermé", "the lab is closed")
        return self._pcscd

    def _card(self, spec: CardSpec | None) -> transport.Card | None:
        if not isinstance(spec, str):
            return spec
        from simulator import source

        return source.make(spec, self._state_dir)

    def _publish(self, spec: CardSpec) -> None:
        """Who came later stands in the lists of the published PKI too."""
        if isinstance(spec, str) and spec not in self._named and "CPX_SIM_PKI" in self.env:
            from simulator import source

            self._named.append(spec)
            source.export_pki(Path(self.env["CPX_SIM_PKI"]), self._named)

    def _put(self, slot: int, card: transport.Card | None, fault: str | None) -> None:
        if card is None or not 0 <= slot < self.slots:
            raise LabError(f"pas de fente {slot}", f"no slot {slot}")
        trace: list[tuple[bytes, bytes]] = []
        options = transport.Options(
            trace=self._trace,
            slot=slot if self.slots > 1 else None,
            delay=self._delay(card),
            faults=faults.parse(fault) if fault else (),
            pad=self.pad if self.pinpad else None,
            on_exchange=lambda command, answer: trace.append((command, answer)),
        )
        if self.galss is not None:
            self._handles[slot] = CardHandle(card, self.galss.slots[slot].put(card, options), trace)
            return
        session = transport.Session(card, self._running().card_link(slot), options)
        self._handles[slot] = CardHandle(card, session, trace)
        session.start(f"card-{slot}")

    def _delay(self, card: transport.Card) -> Delay | None:
        return delay_model(self.timing, card.atr)

    def _wait_for(self, wanted: Mapping[int, bool]) -> None:
        if not wanted or self.galss is not None:
            return

        def ready(found: list[Reader]) -> bool:
            here = {reader.name: reader.present for reader in found}
            return all(here.get(self.readers[slot]) is there for slot, there in wanted.items())

        self._running().wait(ready)

    def _environment(self, folder: Path) -> dict[str, str]:
        places = {
            "XDG_RUNTIME_DIR": "run",
            "XDG_CONFIG_HOME": "config",
            "XDG_CACHE_HOME": "cache",
            "XDG_DATA_HOME": "data",
            "XDG_STATE_HOME": "state",
        }
        for name in places.values():
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        environment = {"PCSCLITE_CSOCK_NAME": str(folder / "pcscd.comm")}
        environment |= {variable: str(folder / name) for variable, name in places.items()}
        if self.galss is not None:
            environment |= self.galss.environment
        elif not self.vpcd:
            environment["CPX_SIM_SLOT"] = str(folder / "slot")
        if self._named:
            from simulator import source

            environment |= source.pki_environment(folder / "pki", self._named)
        pki = Path(environment["CPX_SIM_PKI"]) if "CPX_SIM_PKI" in environment else None
        config = folder / "config" / "cpxd"
        config.mkdir()
        environment["CPX_SIM_API"] = f"https://localhost:{self.api_port}"
        api = {"port": self.api_port} | ({} if self._api_consent is None else {"consent": self._api_consent})
        text = daemon_settings(folder, _TAGS.resolve() if _TAGS.exists() else None, pki, self._dialog_pin, api)
        text += self.galss.settings if self.galss is not None else ""
        (config / "config.toml").write_text(text, encoding="utf-8")
        return environment


def _short_folder() -> str:
    """Socket paths hold 107 bytes, and what lies under /run is hidden from the private pcscd."""
    usual = os.path.realpath(tempfile.gettempdir())
    unfit = len(usual) > 60 or f"{usual}/".startswith("/run/") or not writable_in_configuration(usual)
    return "/tmp" if unfit else usual  # noqa: S108 - mkdtemp makes a private folder in it
