# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns a card.

PC/SC calls may never return (a mute card, a reader unplugged in a bad moment). The caller therefore never waits on PC/SC: it
waits on this thread, with two bounds: how long the operation may queue behind another program, and how long the card may take
for one command. When a bound passes the caller gets its typed error at once, and the operation never gets hold of the card
again: nothing runs behind the caller's back. Only what holds the card then runs on: a command on the wire cannot be unsent.
"""

from __future__ import annotations

import contextlib
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
    queued: float = field(default_factory=time.monotonic)  # since when it waits for the card
    begun: float | None = None  # time.monotonic() at which the operation last got hold of the card
    abandoned: bool = False
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None
    notify: Callable[[], None] | None = None  # called on the card's thread once it is done

    def value(self) -> T:
        """The result, or raises the error."""
        if self.error is not None:
            raise self.error
        return self.result[0]

    def finish(self) -> None:
        self.done.set()
        if self.notify is not None:
            self.notify()

    def begin(self) -> None:
        """Called by the operation when it holds the card, before its first command. Raises if the caller has left."""
        with self.lock:
            if self.abandoned:
                raise errors.ReaderBusy(seconds=0)
            self.begun = time.monotonic()

    def wait(self) -> None:
        """Called by the operation when it asks for the card: from now on it waits for whoever has it."""
        with self.lock:
            self.begun, self.queued = None, time.monotonic()

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
        self._name = name
        self._wait = wait
        self._silence = silence
        self._queue: queue.SimpleQueue[Ticket[object] | None] = queue.SimpleQueue()
        self._alive = time.monotonic()
        self._interrupted = False  # Ctrl-C came while the card was at work
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
        if self._interrupted:
            raise KeyboardInterrupt
        ticket: Ticket[T] = Ticket(operation)
        self._queue.put(ticket)  # type: ignore[arg-type]  # a queue of Ticket[object]: the thread only runs it
        try:
            self._await(ticket, patience)
        except BaseException:
            ticket.abandon()
            raise
        return ticket.value()

    def _await(self, ticket: Ticket[T], patience: float) -> None:
        while True:
            try:
                if ticket.done.wait(0.05):
                    return
                self._check(ticket, patience)
            except KeyboardInterrupt:
                # what is on the wire cannot be unsent: its outcome is told, and the next operation is not begun. What a
                # person types on the reader is ended there, or with the process: pcscd then resets the card
                if ticket.begun is None or patience:
                    raise
                self._interrupted = True

    async def call_async(self, operation: Callable[[Ticket[T]], T], *, patience: float = 0.0) -> T:
        """As `call`, for the event loop that runs. When the caller is cancelled what has begun still ends by itself."""
        import asyncio  # the command line does without it

        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finished.set)

        ticket: Ticket[T] = Ticket(operation, notify=notify)
        self._queue.put(ticket)  # type: ignore[arg-type]  # as in call
        try:
            while not finished.is_set():
                try:
                    async with asyncio.timeout(max(0.0, self._limit(ticket, patience) - time.monotonic()) + 0.005):
                        await finished.wait()
                except TimeoutError:
                    self._check(ticket, patience)
        except BaseException:
            ticket.abandon()
            raise
        return ticket.value()

    def _limit(self, ticket: Ticket[T], patience: float) -> float:
        """When the caller's wait is over, as things stand (time.monotonic)."""
        begun = ticket.begun
        return ticket.queued + self._wait if begun is None else max(self._alive, begun) + self._silence + patience

    def _check(self, ticket: Ticket[T], patience: float) -> None:
        if time.monotonic() > self._limit(ticket, patience):
            if ticket.begun is not None:
                raise errors.CardMute()
            raise errors.ReaderBusy(seconds=round(self._wait), reader=self._name)

    def finish(self, last: Callable[[], None], *, wait: float = 1.0) -> None:
        """Run `last` after what is queued, then let the thread end. Not waited for longer than `wait` seconds."""

        def job(ticket: Ticket[None]) -> None:
            last()

        ticket: Ticket[None] = Ticket(job)
        self._queue.put(ticket)  # type: ignore[arg-type]  # as in call
        self._queue.put(None)
        if wait > 0:
            ticket.done.wait(wait)

    def _run(self) -> None:
        while (ticket := self._queue.get()) is not None:
            if not ticket.abandoned:
                try:
                    ticket.result.append(ticket.operation(ticket))
                except BaseException as error:  # handed to the caller, whatever it is
                    ticket.error = error
            ticket.finish()
