# SPDX-License-Identifier: Apache-2.0
"""A private pcscd: its own socket, its own readers, nothing of the system's touched.

The stock pcscd has its socket path compiled in, but takes a listening socket from systemd-style activation; a client finds it by
PCSCLITE_CSOCK_NAME. It runs in its own mount namespace, where an empty tmpfs stands for its run folder (so that it neither needs
nor overwrites /run/pcscd/pcscd.pid) and for each USB driver (so that it leaves real readers to the system's pcscd).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulator import pcscwire
from simulator.errors import LabError

DRIVER = Path(__file__).parent / "driver" / "libifdcpxsim.so"
_KEEPER = Path(__file__).parent / "namespace.py"
_PATH = os.pathsep.join(filter(None, [os.environ.get("PATH"), "/usr/sbin:/usr/local/sbin:/sbin", os.defpath]))
_ANSWER_SECONDS = 10.0
_START_SECONDS = 15.0
_VPCD = "serial/libifdvpcd.so"
_VPCD_PORT, _VPCD_SLOTS = 35963, 2
MAX_SLOTS = 16


@dataclass(frozen=True)
class Setup:
    """folder: private, short (socket paths hold 107 bytes). environment: added to pcscd's own (tests)."""

    folder: Path
    slots: int = 4
    pinpad: bool | str = False
    vpcd: bool = False
    timeout_ms: int = 10_000
    driver: Path = DRIVER
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Installed:
    program: str
    run_folder: Path
    drivers: Path


def _installed() -> _Installed:
    """Where this machine's pcscd is and what it has compiled in, as `pcscd --version` says."""
    program = shutil.which("pcscd", path=_PATH)
    if program is None:
        raise LabError("pcscd introuvable : installez le paquet pcscd", "pcscd not found: install the package pcscd")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    run_folder = re.search(r"ipcdir=(\S+)", said)
    drivers = re.search(r"usbdropdir=(\S+)", said)
    return _Installed(
        program,
        Path(run_folder[1] if run_folder else "/run/pcscd"),
        Path(drivers[1] if drivers else "/usr/lib/pcsc/drivers"),
    )


class PrivatePcscd:
    """Use `start()`, then `close()`. Not thread-safe."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.socket = setup.folder / "pcscd.comm"
        self.log = setup.folder / "pcscd.log"
        self._installed = _installed()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> list[str]:
        """Returns the reader names, one a slot, once pcscd shows them. Raises LabError."""
        conf = self.setup.folder / "reader.conf.d"
        conf.mkdir(exist_ok=True)
        (conf / "cpx-sim").write_text("\n".join(self._stanzas()), encoding="utf-8")
        self._start_keeper()
        return self.restart()

    def restart(self) -> list[str]:
        self._order("start")
        return [reader.name for reader in self.wait(lambda found: len(found) >= self.setup.slots)][: self.setup.slots]

    @property
    def pid(self) -> int:
        """0: pcscd has ended."""
        return int(self._order("alive").removeprefix("ok "))

    def kill(self) -> None:
        """SIGKILL: as if it had crashed. Clients are refused until `restart`."""
        self._order("kill")

    def close(self) -> None:
        if self._control is not None:
            self._control.close()  # the keeper ends pcscd, removes the folder and leaves
            self._control = None
        if self._keeper is not None:
            try:
                self._keeper.wait(_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            self._keeper = None

    def card_link(self, slot: int) -> socket.socket:
        """A fresh connection to a slot: to put in a card. Raises LabError."""
        from simulator import transport

        try:
            if not self.setup.vpcd:
                return transport.connect_slot(self.slot_path(slot))
            descriptors: list[int] = []
            self._order(f"connect {_VPCD_PORT + slot}", descriptors)
            return transport.prepared_tcp(socket.socket(fileno=descriptors[0]))
        except OSError as error:
            raise LabError(f"lecteur {slot} : {error}", f"reader {slot}: {error}") from None

    def slot_path(self, slot: int) -> Path:
        return self.setup.folder / f"slot.{slot}"

    def wait(self, ready: Callable[[list[pcscwire.Reader]], bool]) -> list[pcscwire.Reader]:
        """Until what pcscd shows is `ready`. Raises LabError when that takes too long or pcscd has ended."""
        deadline = time.monotonic() + _START_SECONDS
        trouble: object = ""
        while True:
            try:
                found = pcscwire.readers(self.socket, timeout=_START_SECONDS)
                if ready(found):
                    return found
                trouble = ", ".join(f"{r.name}{' (card)' if r.present else ''}" for r in found) or "no reader"
            except OSError as error:
                trouble = error
            if time.monotonic() > deadline or self.pid == 0:
                last = (self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []) or [""]
                raise LabError(
                    f"pcscd privé : {trouble} ; son journal finit par : {last[-1]}",
                    f"private pcscd: {trouble}; its log ends with: {last[-1]}",
                )
            time.sleep(0.003)

    def _stanzas(self) -> list[str]:
        if not self.setup.vpcd:
            if not self.setup.driver.exists():
                raise LabError(
                    f"pilote absent : {self.setup.driver} (construire : python setup.py build_ext --inplace)",
                    f"driver missing: {self.setup.driver} (build it: python setup.py build_ext --inplace)",
                )
            name = "cpx-sim PIN pad" if self.setup.pinpad else "cpx-sim"
            pad = self.setup.pinpad if isinstance(self.setup.pinpad, str) else int(self.setup.pinpad)
            options = f"slots={self.setup.slots}:pinpad={pad}:timeout={self.setup.timeout_ms}"
            device = f"cpx-sim:{options}:{self.setup.folder / 'slot'}"
            return [_stanza(name, device, self._reachable(self.setup.driver), 0)]
        original = self._installed.drivers / _VPCD
        if not original.exists():
            raise LabError(
                f"vpcd absent : {original} (paquet vsmartcard-vpcd)", f"vpcd missing: {original} (package vsmartcard-vpcd)"
            )
        lines = []
        for first in range(0, self.setup.slots, _VPCD_SLOTS):
            # its slots are kept by number alone: two readers on one loaded library would share them
            copy = self.setup.folder / f"libifdvpcd{first}.so"
            shutil.copyfile(original, copy)
            port = _VPCD_PORT + first
            lines.append(_stanza(f"Virtual PCD {chr(65 + first // 2)}", f"/dev/null:{port:#x}", copy, port))
        return lines

    def _reachable(self, driver: Path) -> Path:
        """The driver under a name that the reader configuration can hold and that no tmpfs hides."""
        resolved = driver.resolve()
        if resolved.is_relative_to("/run") or not writable_in_configuration(str(resolved)):
            return Path(shutil.copyfile(resolved, self.setup.folder / resolved.name))
        return resolved

    def _start_keeper(self) -> None:
        trouble = "unshare : paquet util-linux"
        for unshare in self._ways():
            trouble = self._try_keeper(unshare)
            if not trouble:
                return
        raise LabError(
            f"pas d'espace de noms pour un pcscd privé ({trouble}) : autorisez les espaces de noms d'utilisateur",
            f"no namespace for a private pcscd ({trouble}): allow user namespaces",
        )

    def _ways(self) -> list[list[str]]:
        """Prefixes to try, best first. Root without any namespace: pcscd then writes /run/pcscd/pcscd.pid of the system."""
        unshare = shutil.which("unshare", path=_PATH)
        flags = ["--mount", *(["--net"] if self.setup.vpcd else [])]
        ways = []
        if unshare is not None:
            ways = [[unshare, *flags], [unshare, "--map-root-user", *flags]]
            if os.geteuid() != 0:
                del ways[0]
        if os.geteuid() == 0 and not self.setup.vpcd:
            ways.append([])
        return ways

    def _try_keeper(self, prefix: Sequence[str]) -> str:
        """Empty when the keeper is ready, else why not."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_SECONDS)
        arguments = [*prefix, sys.executable, "-I", "-S", str(_KEEPER), json.dumps(self._keeper_setup(bool(prefix)))]
        with theirs:
            keeper = subprocess.Popen(
                arguments,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C at the terminal is for the lab, which then closes
            )
        try:
            answer = ours.recv(4096).decode()
        except OSError as error:
            answer = f"error {error}"
        if answer == "ok":
            assert keeper.stderr is not None  # noqa: S101 - for the type checker
            keeper.stderr.close()
            self._keeper, self._control = keeper, ours
            return ""
        ours.close()
        keeper.kill()
        _, said = keeper.communicate()
        return (answer or said.decode(errors="replace")).strip().replace("\n", " ") or "?"

    def _keeper_setup(self, namespace: bool) -> dict[str, object]:
        run_folder = self._installed.run_folder
        hidden = [str(path) for path in sorted(self._installed.drivers.glob("*.bundle"))] if namespace else []
        if namespace:
            hidden.append(str(run_folder) if run_folder.is_dir() else "/run")
        return {
            "orders": {"socket": str(self.socket), "log": str(self.log), "folder": str(self.setup.folder)},
            "arguments": [
                self._installed.program,
                "--foreground",
                "--config",
                str(self.setup.folder / "reader.conf.d"),
            ],
            "environment": {"PATH": _PATH, **self.setup.environment},
            "hide": hidden,
            "make": [str(run_folder)],
            "loopback": self.setup.vpcd,
        }

    def _order(self, text: str, descriptors: list[int] | None = None) -> str:
        if self._control is None:
            raise LabError("le lab est fermé", "the lab is closed")
        try:
            self._control.send(text.encode())
            answer, files, _, _ = socket.recv_fds(self._control, 4096, 1)
        except OSError as error:
            raise LabError(f"pcscd privé : {error}", f"private pcscd: {error}") from None
        for file in files:
            if descriptors is None:
                with contextlib.suppress(OSError):
                    os.close(file)
            else:
                descriptors.append(file)
        said = answer.decode()
        if not said.startswith("ok"):
            raise LabError(f"pcscd privé : {said}", f"private pcscd: {said}")
        return said


def writable_in_configuration(path: str) -> bool:
    """pcscd's reader configuration takes few characters outside quotes, and fewer versions agree on quotes."""
    return re.fullmatch(r"[A-Za-z0-9_./-]+", path) is not None


def _stanza(name: str, device: str, library: Path, channel: int) -> str:
    return f'FRIENDLYNAME "{name}"\nDEVICENAME {device}\nLIBPATH {library}\nCHANNELID {channel}\n'
