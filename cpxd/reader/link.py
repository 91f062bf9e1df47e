# SPDX-License-Identifier: Apache-2.0
"""What the upper floors see of any reader: its state, and an open handle on the card in it.

A `Door` is a way to readers: PC/SC (`pcsc.py`) or GALSS (`galss.py`). Above this floor nobody knows which one it is.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cpxd import errors
from cpxd.apdu import ApduError, Transport, TransportError
from cpxd.text import tr

Observer = Callable[[bytes, bytes, float], None]


@dataclass(frozen=True)
class ReaderState:
    """One reader as its door sees it now. `events` counts insertions and removals since the door was opened (16 bits)."""

    name: str
    atr: bytes
    present: bool
    mute: bool
    in_use: bool
    exclusive: bool
    events: int

    @property
    def card(self) -> tuple[bool, bool, bytes, int]:
        """What changes when the card does."""
        return self.present, self.mute, self.atr, self.events

    @property
    def hidden(self) -> bool:
        """Another program has the terminal, whose door tells nothing meanwhile (GALSS)."""
        return self.exclusive and not self.present


class Door(Protocol):
    """Used by one thread, `cancel` apart. Every call raises typed errors only."""

    def states(self) -> list[ReaderState]:
        """Each reader now."""

    def wait(self, known: list[ReaderState], seconds: float | None) -> list[ReaderState]:
        """Rest until something differs from `known`, or `seconds` pass; the states then."""

    def cancel(self) -> None:
        """Wake a `wait` that rests in another thread."""

    def connect(self, reader: str, *, wait: float, allowed: Callable[[], None]) -> Link:
        """Open the card in `reader`. Whoever has it is waited for, at most `wait` seconds (ReaderBusy)."""

    def close(self) -> None: ...


class Link(ABC):
    """An open handle on the card of one reader. Used by one thread only. It never holds the card while idle.

    `epoch` grows at each reset: whoever believes something of the card's state compares it. `transport` carries the commands.
    """

    atr: bytes
    transport: Transport

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self.epoch = 0
        self._observer: Observer | None = None
        self._waiting: Callable[[], None] = lambda: None
        self._kept = False

    @abstractmethod
    def _transport(self) -> Transport:
        """A new transport on this handle, which shows its exchanges to `_observer`."""

    @abstractmethod
    def _begin(self) -> None:
        """Wait for the card and hold it; `epoch` and `transport` follow what happened to it since."""

    @abstractmethod
    def _end(self, *, reset: bool) -> None:
        """Give the card back; with `reset` it forgets every proved code on the way."""

    @abstractmethod
    def _diagnose(self, code: int) -> errors.CpxError:
        """The typed error for a transport that failed in a transaction."""

    def control(self, code: int, data: bytes) -> bytes:
        """SCardControl: something that the reader does by itself. PadRefused when it says no, TransportError for a lost card."""
        raise errors.PadRefused(status="-")

    def shown(self, sent: bytes, received: bytes, milliseconds: float) -> None:
        """An exchange that the reader had with the card by itself, its codes masked."""
        if self._observer is not None:
            self._observer(sent, received, milliseconds)

    @abstractmethod
    def _disconnect(self) -> None:
        """Give the handle back, and leave the card as it is."""

    def observe(self, observer: Observer, waiting: Callable[[], None]) -> None:
        """Show every exchange to `observer`: command with its codes masked, answer, milliseconds.

        `waiting` is called when the card is asked for, before whoever has it gives it back.
        """
        self._observer, self._waiting = observer, waiting
        self.transport = self._transport()

    @contextlib.contextmanager
    def transaction(self, allowed: Callable[[], None]) -> Iterator[None]:
        """Hold the card for one operation. `allowed` is called once it is held and may raise to give it back untouched.

        Errors of the transport become typed errors here: CardRemoved, CardReset, CardMute, NoService.
        """
        if not self._kept:
            self._hold()
        try:
            allowed()
            yield
        except TransportError as error:
            raise self._diagnose(error.code) from None
        except ApduError:  # an answer that no card may give; our own commands are well formed
            raise errors.DamagedCard(part=tr("réponse mal formée", "malformed answer")) from None
        finally:
            if not self._kept:
                self._end(reset=False)

    def _hold(self) -> None:
        self._waiting()
        self._begin()

    def keep(self) -> None:
        """Inside a transaction: hold the card after its end too, until `release`, so that nobody comes between."""
        self._kept = True

    def release(self, *, reset: bool) -> None:
        """Give the card back, holding it or not before. With `reset` it forgets every proved code on the way.

        The reset is part of the end of a transaction: it can hit no other program in the middle of its own.
        """
        if not self._kept:
            if not reset:
                return
            self._hold()
        self._kept = False
        self._end(reset=reset)
        self.epoch += 1 if reset else 0

    def close(self) -> None:
        """Give the handle back, and leave the card as it is."""
        self.release(reset=False)
        self._disconnect()
