# SPDX-License-Identifier: Apache-2.0
"""GALSS itself: sessions, exclusive sections, the table of resources, its file of settings. See wire.h for the packets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from pathlib import Path

from simulator.errors import LabError
from simulator.galss.terminal import Slot

FOLDER = Path(__file__).parent
LIBRARIES = ("libgalcllux.so", "libgalinlux.so")
OPEN, CLOSE, CLAIM, YIELD, EXCHANGE, VERSION, WRITE_CONTEXT, READ_CONTEXT, COUNT, TABLE = range(1, 11)
HELD = 0x0008  # another program has reserved the reader (manual of SSV 4.03)
DEFECT = 0x0001  # a session, resource or call that is not known: invented
SERIAL, PCSC = 1, 3  # TypeCanal
_HEAD = struct.Struct("=IB")
_ANSWER = struct.Struct("=IH")
_PACKET = 8192


class Galss:
    """One terminal with `slots` CPS slots. `kind`: TypeCanal; `reader`: what galss.ini says of its channels, a line's settings
    or a PC/SC reader's name. `error`: the code that every call gets, None for none; `silent`: nothing is answered."""

    def __init__(self, folder: Path, *, slots: int = 1, kind: int = SERIAL, timeout_ms: int = 10_000, reader: str = "") -> None:
        missing = [name for name in LIBRARIES if not (FOLDER / name).exists()]
        if missing:
            raise LabError(
                f"{missing[0]} absent (construire : python setup.py build_ext --inplace)",
                f"{missing[0]} missing (build it: python setup.py build_ext --inplace)",
            )
        names = ["CPS"] if slots == 1 else [f"CPS{number + 1}" for number in range(slots)]
        self.slots = [Slot(i + 1, name, f"TRANSPA{i + 1}", kind, timeout_ms / 1000) for i, name in enumerate(names)]
        self.path, self.ini = folder / "galss.sock", folder / "galss.ini"
        self.error: int | None = None
        self.silent = threading.Event()
        self._kind, self._reader = kind, reader
        self._lock = threading.Lock()
        self._holder: socket.socket | None = None  # of the exclusive section
        self._context = b""
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.ini.write_bytes(self._settings())
        self.restart()

    @property
    def environment(self) -> dict[str, str]:
        """For programs that load GALSS by the names of its libraries."""
        before = os.environ.get("LD_LIBRARY_PATH", "")
        return {"CPX_SIM_GALSS": str(self.path), "LD_LIBRARY_PATH": f"{FOLDER}:{before}" if before else str(FOLDER)}

    @property
    def settings(self) -> str:
        """For cpxd's config.toml."""
        return f"[galss]\nfolder = {json.dumps(str(FOLDER))}\nini = {json.dumps(str(self.ini))}\n"

    def restart(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mask = os.umask(0o177)
        try:
            listener.bind(str(self.path))
        finally:
            os.umask(mask)
        listener.listen(16)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="galss", daemon=True).start()

    def kill(self) -> None:
        """As if the service had crashed: sessions end, cards stay in and lose nothing else."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self.path.unlink(missing_ok=True)
        with self._lock:
            links = list(self._links)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for slot in self.slots:
            slot.take()
        self.silent.clear()
        self.kill()

    @property
    def sessions(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._links)

    # -- inside ------------------------------------------------------------------------------------------------

    def _settings(self) -> bytes:
        """galss.ini as it is publicly known, with the CR line ends of the Mac's."""
        lines = ["; cpx-sim", "[PROTOCOLE0]", "Config=1000,20,15000", "TempoInit=1,1500,1000", "NomLib=psslux.so"]
        lines += ["[CONFIG]", f"NbCanaux={len(self.slots)}"]
        for number, slot in enumerate(self.slots, 1):
            line = self._reader or "9600,1,8,0,0"
            lines += [f"[CANAL{number}]", f"TCanal={self._kind}", f"Index={number}", "Protocole=0", f"Caracteristiques={line}"]
            lines += ["NbPAD=1", f"[CANAL{number}.PAD1]", "PAD=0", "NbLAD=1", f"[CANAL{number}.PAD1.LAD1]"]
            lines += [f"LAD={slot.lad}", f"NomLAD={slot.name}", "NbAlias=1", f"NomAlias1={slot.alias}"]
        return "\r".join(lines).encode("ascii") + b"\r"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), name="galss-session", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        slot: Slot | None = None
        try:
            while packet := link.recv(_PACKET):
                sequence, operation = _HEAD.unpack_from(packet)
                body = packet[_HEAD.size :]
                if operation == OPEN:
                    slot = self._named(body)
                code, answer = self._call(link, slot, operation, body)
                if self.silent.is_set():
                    continue
                link.send(_ANSWER.pack(sequence, code) + answer)
        except (OSError, struct.error):
            pass
        finally:
            with self._lock:
                self._links.discard(link)
                if self._holder is link:
                    self._holder = None
            link.close()

    def _named(self, body: bytes) -> Slot | None:
        name = body.split(b"\0")[1].decode("ascii", "replace") if body.count(b"\0") == 2 else ""
        return next((slot for slot in self.slots if name in (slot.name, slot.alias)), None)

    def _call(self, link: socket.socket, slot: Slot | None, operation: int, body: bytes) -> tuple[int, bytes]:
        if self.error is not None and operation != CLOSE:
            return self.error, b""
        if operation == VERSION:
            return 0, b"3.45.01 cpx-sim\0"
        if operation == COUNT:
            return 0, struct.pack("=H", len(self.slots))
        if operation == TABLE:
            return 0, b"".join(slot.record(number) for number, slot in enumerate(self.slots, 1))
        if slot is None:
            return DEFECT, b""
        return self._in_session(link, slot, operation, body)

    def _in_session(self, link: socket.socket, slot: Slot, operation: int, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            free = self._holder in (None, link)
            if operation == CLAIM and free:
                self._holder = link
            elif operation in (CLOSE, YIELD) and self._holder is link:
                self._holder = None
        if operation == OPEN:
            return 0, bytes((slot.lad,))
        if operation in (CLOSE, YIELD):
            return 0, b""
        return self._alone(slot, operation, body) if free else (HELD, b"")

    def _alone(self, slot: Slot, operation: int, body: bytes) -> tuple[int, bytes]:
        """What nobody may do in another session's exclusive section."""
        if operation == EXCHANGE:
            return 0, slot.answer(body)
        if operation == WRITE_CONTEXT:
            self._context = body
            return 0, b""
        if operation == READ_CONTEXT:
            return 0, self._context
        return (0 if operation == CLAIM else DEFECT), b""
