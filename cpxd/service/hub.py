# SPDX-License-Identifier: Apache-2.0
"""The hub: owner of all readers, on one event loop, for every door of the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from cpxd.config import Settings
from cpxd.reader.link import ReaderState
from cpxd.service.logins import Client
from cpxd.service.monitor import Monitor
from cpxd.service.removal import on_removal
from cpxd.service.slot import Slot

__all__ = ["Client", "Hub", "Slot"]

Changed = Callable[[Slot], None]


class Hub:
    """Slots are numbered by the order in which their readers appear, and never removed: only emptied."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._slots: list[Slot] = []
        self._by_reader: dict[str, Slot] = {}
        self._callbacks: list[Changed] = []
        self._monitor: Monitor | None = None
        self._looked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.service = False  # whether PC/SC answers

    async def start(self) -> None:
        """Begin to watch. Readers that are there already are in `slots` once this returns, unless PC/SC is slow."""
        self._monitor = Monitor(self._seen)
        await self.looked(1.0)

    async def stop(self) -> None:
        """Give all cards back; proved codes end with it."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            await asyncio.to_thread(monitor.stop)
        await asyncio.gather(*(slot.close() for slot in self._slots))

    async def looked(self, seconds: float) -> None:
        """Wait for the first look at the readers, at most so long. If the service is away it is tried again, unwaited for."""
        if self._monitor is not None and not self.service:
            self._monitor.look_again()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._looked.wait()

    @property
    def slots(self) -> Sequence[Slot]:
        return self._slots

    def subscribe(self, callback: Changed) -> Callable[[], None]:
        """`callback(slot)` on the loop, at insertion, removal, reading, login and counter changes. Returns its undoing."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    async def drop(self, client: Client) -> None:
        """A connection died: its logins end everywhere."""
        await asyncio.gather(*(slot.drop(client) for slot in self._slots))

    async def lock(self) -> None:
        """The screen is locked, or the machine goes to sleep."""
        await asyncio.gather(*(slot.end_logins() for slot in self._slots))

    def _seen(self, states: list[ReaderState] | None) -> None:
        self.service = states is not None
        found = {state.name: state for state in states or ()}
        for name in found:
            if name not in self._by_reader:
                slot = Slot(len(self._slots), name, self.settings, self._changed, self._card_left)
                self._by_reader[name] = slot
                self._slots.append(slot)
        for slot in self._slots:
            slot.see(found.get(slot.reader))
        self._looked.set()

    def _changed(self, slot: Slot) -> None:
        for callback in tuple(self._callbacks):
            callback(slot)

    def _card_left(self) -> None:
        task = asyncio.get_running_loop().create_task(on_removal(self.settings))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
