# SPDX-License-Identifier: Apache-2.0
"""A slot of the terminal: what it answers to the frames of GALSS. The orders are public, all numbers of errors are invented."""

from __future__ import annotations

import contextlib
import socket
import threading

from simulator import transport

IN, OUT, IN_OUT = 0x00, 0x01, 0x02
POWER_ON, WITHDRAW, PRESENCE = 0x14, 0x15, 0x16
ABSENT, OFF, ON = 0, 1, 3
# status bytes
DONE, BAD_FRAME, NO_CARD, OTHER_COUNTER, NOT_POWERED, WRONG_ORDER, MUTE = 0x00, 0x01, 0x10, 0x11, 0x12, 0x13, 0x17


class Slot:
    """`counter` moves when a card comes, leaves or is powered: whoever believes something of the card compares it."""

    def __init__(self, lad: int, name: str, alias: str, kind: int, timeout: float) -> None:
        self.lad, self.name, self.alias, self.kind = lad, name, alias, kind
        self.counter = 0
        self.orders: list[int] = []  # what was asked for, in order: for tests
        self._timeout = timeout
        self._lock = threading.Lock()  # of the serial line
        self._session: transport.Session | None = None
        self._link: socket.socket | None = None
        self._powered = False

    def put(self, card: transport.Card, options: transport.Options) -> transport.Session:
        ours, theirs = socket.socketpair()
        ours.settimeout(self._timeout)
        session = transport.Session(card, theirs, options)
        session.start(f"galss-{self.lad}")  # before anybody can find it at rest and take it for pulled
        with self._lock:
            self._link, self._session, self._powered = ours, session, False
            self._move()
        return session

    def take(self) -> None:
        """Out, even in the middle of an exchange."""
        session = self._session
        if session is not None:
            session.pull()
        with self._lock:
            self._gone()

    def record(self, index: int) -> bytes:
        """Of the table of resources: packed, names of 9 bytes with their final 0."""
        names = self.alias.encode("ascii").ljust(9, b"\0") + self.name.encode("ascii").ljust(9, b"\0")
        return names + bytes((self.lad, 0, index, self.kind, 0, 0 if self.kind == 1 else 1))

    def answer(self, frame: bytes) -> bytes:
        """Status, then without an error: state, counter, more."""
        with self._lock:
            if len(frame) < 3 or frame[0] != 0 or frame[1] != self.lad:
                return bytes((BAD_FRAME,))
            order = frame[2]
            self.orders.append(order)
            self._notice()
            if order == PRESENCE:
                return self._said()
            if self._link is None:
                return bytes((NO_CARD,))
            if order == POWER_ON:
                return self._power_on()
            if order == WITHDRAW:
                self._send(transport.OFF)
                self._powered = False
                return self._said()
            return self._command(order, frame[3:])

    def _said(self, more: bytes = b"") -> bytes:
        state = ABSENT if self._link is None else ON if self._powered else OFF
        return bytes((DONE, state, self.counter)) + more

    def _move(self) -> None:
        self.counter = (self.counter + 1) % 256

    def _notice(self) -> None:
        """A card pulled by a fault, or by hand."""
        if self._session is not None and not self._session.running:
            self._gone()

    def _gone(self) -> None:
        if self._link is not None:
            self._link.close()
            self._move()
        self._link, self._session, self._powered = None, None, False

    def _power_on(self) -> bytes:
        assert self._session is not None  # noqa: S101 - for the type checker
        self._send(transport.RESET if self._powered else transport.ON)
        self._send(transport.ATR)
        wanted = self._session.card.atr
        for _ in range(4):  # a late answer to an earlier command may come first
            said = self._receive()
            if said == wanted:
                self._powered = True
                self._move()
                return self._said(said)
            if said is None:
                return bytes((NO_CARD if self._link is None else MUTE,))
        return bytes((MUTE,))

    def _command(self, order: int, rest: bytes) -> bytes:
        if not rest or rest[0] != self.counter:
            return bytes((OTHER_COUNTER,))
        if not self._powered:
            return bytes((NOT_POWERED,))
        apdu = rest[1:]
        if not 4 <= len(apdu) <= 261 or order != _order_of(apdu):
            return bytes((WRONG_ORDER,))
        self._send(apdu)
        said = self._receive()
        if said is None:
            if self._link is not None:
                self._powered = False  # what it may still say is nobody's answer any more
                return bytes((MUTE,))
            return bytes((NO_CARD,))
        return self._said(said)

    def _send(self, payload: bytes) -> None:
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.sendall(len(payload).to_bytes(2, "big") + payload)

    def _receive(self) -> bytes | None:
        """None: nothing came in time, or the card is gone (then the slot is empty)."""
        head = self._read(2)
        return None if head is None else self._read(int.from_bytes(head, "big"))

    def _read(self, count: int) -> bytes | None:
        data = b""
        while self._link is not None and len(data) < count:
            try:
                part = self._link.recv(count - len(data))
            except TimeoutError:
                return None
            except OSError:
                part = b""
            if not part:
                self._gone()
                return None
            data += part
        return data if self._link is not None else None


def _order_of(apdu: bytes) -> int:
    """What the case of the command (ISO/IEC 7816-3 12.1, short) makes of the exchange."""
    if len(apdu) == 4:
        return IN
    if len(apdu) == 5:
        return OUT
    return IN if len(apdu) == 5 + apdu[4] else IN_OUT
