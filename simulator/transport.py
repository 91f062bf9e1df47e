# SPDX-License-Identifier: Apache-2.0
"""A card at the end of a socket: the reader driver's (one AF_UNIX socket a slot), or vpcd's (TCP).

Wire: 2-byte big-endian length, payload. A one-byte payload is a control: 00 off, 01 on, 02 reset (not answered), 04 send the
ATR, 08 send the keys typed on the PIN pad (ASCII digits; nothing: cancelled; one byte 00: nobody typed). Anything else is a
command APDU. Closing the socket pulls the card out.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulator import faults
from simulator.timing import Delay
from simulator.tracefile import TraceWriter

OFF, ON, RESET, ATR, KEYS = b"\x00", b"\x01", b"\x02", b"\x04", b"\x08"
CANCEL, NOBODY = b"", b"\x00"

_CONNECT_SECONDS = 5
_JOIN_SECONDS = 5.0


class Card(Protocol):
    """What is needed of a virtual card."""

    @property
    def atr(self) -> bytes: ...
    def power_on(self) -> None: ...
    def power_off(self) -> None: ...
    def reset(self) -> None: ...
    def transmit(self, apdu: bytes, /) -> bytes: ...


class Pad:
    """The keys of a PIN pad: each entry asked for gets the next of the list, and the last one again and again."""

    def __init__(self, entries: Iterable[str | bytes] = ()) -> None:
        self._lock = threading.Lock()
        self._entries: deque[bytes] = deque()
        self.type(*entries)

    def type(self, *entries: str | bytes) -> None:
        """What will be typed from now on: digits, CANCEL or NOBODY. Nothing at all: every entry is cancelled."""
        with self._lock:
            self._entries = deque(e.encode("ascii") if isinstance(e, str) else e for e in entries)

    def next(self) -> bytes:
        with self._lock:
            if not self._entries:
                return CANCEL
            return self._entries.popleft() if len(self._entries) > 1 else self._entries[0]

    def __repr__(self) -> str:
        return "Pad(...)"


@dataclass(frozen=True)
class Options:
    """How a card is served. `slot` names it in a trace shared by several; `on_exchange` sees each finished exchange."""

    trace: TraceWriter | None = None
    slot: int | None = None
    delay: Delay | None = None
    faults: tuple[faults.Fault, ...] = ()
    pad: Pad | None = None
    on_exchange: Callable[[bytes, bytes], None] | None = None
    on_taken: Callable[[], None] | None = None  # the reader has taken the card: it said its first word


def connect_slot(path: str | Path) -> socket.socket:
    """Raises OSError when no reader listens there."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # not settimeout(): that makes connect() fail at once while the slot's queue is full
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_SECONDS, 0))
        link.connect(str(path))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    except BaseException:
        link.close()
        raise
    return link


def connect_vpcd(host: str, port: int) -> socket.socket:
    """Raises OSError when no vpcd listens there."""
    link = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
    link.settimeout(None)
    return prepared_tcp(link)


def prepared_tcp(link: socket.socket) -> socket.socket:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class _Pulled(Exception):
    """The card leaves the reader."""


class Session:
    """One card from its insertion to its removal. `run` serves; `stop` and `pull` may come from another thread."""

    def __init__(self, card: Card, link: socket.socket, options: Options | None = None) -> None:
        self.card = card
        self.options = options or Options()
        self.error: BaseException | None = None
        self.pulled = False  # by `pull` or a fault; not when the reader went away
        self._link = link
        self._tcp = link.family != socket.AF_UNIX
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._faults = self.options.faults
        self._index = 0
        self._muted = False
        self._thread: threading.Thread | None = None

    def start(self, name: str = "card") -> None:
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)
        self._thread.start()

    def set_faults(self, plan: tuple[faults.Fault, ...]) -> None:
        """From now on; the next command is number 0."""
        with self._lock:
            self._faults, self._index = plan, 0

    def pull(self) -> None:
        """Out of the reader, even in the middle of an exchange. Returns once the card is served no more."""
        self.pulled = True
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    stop = pull

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _guarded(self) -> None:
        try:
            self.run()
        except Exception as error:
            self.error = error

    def run(self) -> None:
        """Serves until the reader closes, the card is pulled or a fault pulls it."""
        self._comment("inserted")
        taken = self.options.on_taken
        try:
            while (payload := self._receive()) is not None:
                if taken is not None:
                    taken()
                    taken = None
                self._serve(payload)
        except _Pulled:
            self.pulled = True
        except ConnectionError:
            pass
        except OSError:
            if not self._stopped.is_set():
                raise
        finally:
            self._link.close()
            self.card.power_off()
            self._comment("removed")

    def _serve(self, payload: bytes) -> None:
        if payload == OFF:
            self.card.power_off()
            self._comment("power off")
        elif payload == ON:
            self._muted = False
            self.card.power_on()
            self._comment("power on")
        elif payload == RESET:
            self._muted = False
            self.card.reset()
            self._comment("reset")
        elif payload == ATR:
            self._send(self.card.atr)
        elif payload == KEYS:
            self._send(self.options.pad.next() if self.options.pad is not None else CANCEL)
        elif payload:
            self._exchange(payload)

    def _exchange(self, command: bytes) -> None:
        with self._lock:
            here = [fault for fault in self._faults if fault.hits(self._index)]
            self._index += 1
        kinds = {fault.kind for fault in here}
        if self.options.trace is not None:
            self.options.trace.command(command, self.options.slot)
        for fault in here:
            self._comment(f"fault: {fault.kind}")
        if "pull-before" in kinds:
            raise _Pulled
        if "mute" in kinds or self._muted:
            self._muted = True
            return
        forced = [f.value for f in here if f.kind in ("sw", "answer") and isinstance(f.value, bytes)]
        answer = forced[-1] if forced else self.card.transmit(command)
        for fault in here:
            answer = faults.distort(fault, answer)
        self._wait(command, answer, here)
        if "pull" in kinds:
            raise _Pulled
        if self.options.trace is not None:
            self.options.trace.answer(answer, self.options.slot)
        if self.options.on_exchange is not None:
            self.options.on_exchange(command, answer)
        self._send(answer)

    def _wait(self, command: bytes, answer: bytes, here: list[faults.Fault]) -> None:
        seconds = self.options.delay(command, answer) if self.options.delay is not None else 0.0
        seconds += sum(f.value for f in here if f.kind == "delay" and isinstance(f.value, int)) / 1000
        if seconds and self._stopped.wait(seconds):
            raise _Pulled

    def _comment(self, text: str) -> None:
        if self.options.trace is not None:
            self.options.trace.comment(text, self.options.slot)

    def _send(self, payload: bytes) -> None:
        self._link.sendall(len(payload).to_bytes(2, "big") + payload)

    def _receive(self) -> bytes | None:
        head = self._read(2)
        return None if head is None else self._read(int.from_bytes(head, "big"))

    def _read(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            part = self._link.recv(count - len(data))
            if not part:
                return None
            if self._tcp:  # vpcd sends length and payload apart: without this each costs a delayed ACK, 40 ms; not sticky
                self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data += part
        return data
