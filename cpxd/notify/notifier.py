# SPDX-License-Identifier: Apache-2.0
"""Watches the hub of the daemon, and tells the person what happens to their card."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from cpxd import errors
from cpxd.config import Settings, state_home
from cpxd.notify.desktop import Desktop
from cpxd.notify.events import Told, View, reader_lost
from cpxd.service import desk
from cpxd.service.hub import Hub, Slot
from cpxd.service.validity import Opposition

_DAILY = 6 * 3600  # seconds: a card that stays in for days is looked at again


class Notifier:
    """`start` on the daemon's loop, after the hub's; `stop` before it. Nothing it does can fail the daemon."""

    def __init__(self, hub: Hub, settings: Settings, desktop: Desktop | None = None) -> None:
        self._hub, self._settings = hub, settings
        self._desktop = desktop or Desktop()
        self._told = Told(state_home() / "notified")
        self._opposition: Opposition | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: dict[int, bool] = {}  # by slot: whether a card was in it
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._hub.subscribe(self._changed)
        for slot in self._hub.slots:
            self._changed(slot)
        self._spawn(self._again())

    def stop(self) -> None:
        self._unsubscribe()
        for task in tuple(self._tasks):
            task.cancel()
        self._desktop.stop()

    def _changed(self, slot: Slot) -> None:
        before, self._seen[slot.id] = self._seen.get(slot.id, False), slot.present
        if before and not slot.present:
            self._spawn(self._left(slot.reader))
        elif slot.present and slot.token is not None and slot.codes is not None:
            self._spawn(self._judge(slot))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(_DAILY)
            for slot in self._hub.slots:
                self._changed(slot)

    async def _left(self, reader: str) -> None:
        """A card has gone: alone, or with its reader?"""
        try:
            places = await asyncio.to_thread(desk.places)
        except errors.CpxError:
            places = []
        if all(place.state.name != reader for place in places):
            await self._desktop.tell(reader_lost(reader))

    async def _judge(self, slot: Slot) -> None:
        token, codes = slot.token, slot.codes
        if token is None or codes is None:
            return
        certificates = [certificate for certificate in token.certificates if certificate is not None]
        ends = [certificate.not_after.astimezone().date() for certificate in certificates]
        view = View(
            serial=token.serial,
            tries_left=codes.pin.tries_left,
            blocked=codes.pin.blocked,
            for_good=codes.unblock.blocked,
            valid_until=min(ends, default=None),
            revoked=await asyncio.to_thread(self._revoked, [certificate.der for certificate in certificates]),
        )
        several = sum(other.present for other in self._hub.slots) > 1
        for event in self._told.new(view, datetime.now(UTC).astimezone().date()):
            await self._desktop.tell(event.about(slot.reader) if several else event)

    def _revoked(self, certificates: list[bytes]) -> bool:
        try:
            self._opposition = self._opposition or Opposition(self._settings)
            return any(self._opposition.answer(der).state == "revoked" for der in certificates)
        except errors.CpxError:
            return False
