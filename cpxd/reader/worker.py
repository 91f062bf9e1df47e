# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns a card.

PC/SC calls may never return (a mute card, a reader unplugged in a bad moment). The caller therefore never waits on PC/SC: it
waits on this thread, with two bounds: how long the operation may queue behind another program, and how long the card may take
for one command. When a bound passes the caller gets its typed error at once, and the operation never gets hold of the card
again: nothing runs behind the caller's back. Only what holds the card then runs on: a command on the wire cannot be unsent.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cpxd import errors

T = TypeVar("T")


@dataclass
class Ticket(Generic[T]):
    """One queued operation: its state, and the result or the error once there is one."""

    operation: Callable[[Ticket[T]], T]
    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: float | None = None  # time.monotonic() at which the operation last got hold of the card
    abandoned: bool = False
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None

    def begin(self) -> None:
        """Called by the operation when it holds the card, before its first command. Raises if the caller has left."""
        with self.lock:
            if self.abandoned:
                raise errors.ReaderBusy(seconds=0)
            self.begun = time.monotonic()

    def abandon(self) -> float | None:
        """The caller leaves: the operation will not get hold of the card any more. When it last did, if ever."""
        with self.lock:
            self.abandoned = True
            return self.begun


class CardThread:
    """Runs operations one after the other on a thread of its own.

    `wait`: seconds an operation may take to begin (ReaderBusy); `silence`: seconds one command may take (CardMute).
    """

    def __init__(self, name: str, *, wait: float, silence: float) -> None:
        self._wait = wait
        self._silence = silence
        self._queue: queue.SimpleQueue[Ticket[object] | None] = queue.SimpleQueue()
        self._alive = time.monotonic()
        # a daemon thread: a PC/SC call that never returns must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name=f"card {name}", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """A sign of life: called after each command that the card answered."""
        self._alive = time.monotonic()

    def call(self, operation: Callable[[Ticket[T]], T], *, patience: float = 0.0) -> T:
        """Run `operation` on the thread and return its result, or raise its error.

        The operation calls `ticket.begin()` once it holds the card. `patience` is added to the silence allowed, for
        operations during which a person types on the reader.
        """
        ticket: Ticket[T] = Ticket(operation)
        queued = time.monotonic()
        self._queue.put(ticket)  # type: ignore[arg-type]  # a queue of Ticket[object]: the thread only runs it
        try:
            while not ticket.done.wait(0.05):
                self._check(ticket, queued, patience)
        except BaseException:
            ticket.abandon()
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.result[0]

    def _check(self, ticket: Ticket[T], queued: float, patience: float) -> None:
        now = time.monotonic()
        if ticket.begun is None:
            if now - queued > self._wait:
                raise errors.ReaderBusy(seconds=round(self._wait))
        elif now - max(self._alive, ticket.begun) > self._silence + patience:
            raise errors.CardMute()

    def finish(self, last: Callable[[], None]) -> None:
        """Run `last` after what is queued, then let the thread end. Not waited for longer than a moment."""

        def job(ticket: Ticket[None]) -> None:
            last()

        ticket: Ticket[None] = Ticket(job)
        self._queue.put(ticket)  # type: ignore[arg-type]  # as in call
        self._queue.put(None)
        ticket.done.wait(1.0)

    def _run(self) -> None:
        while (ticket := self._queue.get()) is not None:
            if not ticket.abandoned:
                try:
                    ticket.result.append(ticket.operation(ticket))
                except BaseException as error:  # handed to the caller, whatever it is
                    ticket.error = error
            ticket.done.set()
