# SPDX-License-Identifier: Apache-2.0
"""Screen lock and sleep, as logind tells them on the system bus (org.freedesktop.login1): nobody stays logged in then.

Needs the optional package dbus-fast. Without it, without a bus or without logind the daemon works on and its log says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from cpxd import log

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

_LOGIND = "org.freedesktop.login1"
_SESSION, _MANAGER = f"{_LOGIND}.Session", f"{_LOGIND}.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_RULES = (
    f"type='signal',sender='{_LOGIND}',interface='{_SESSION}',member='Lock'",
    f"type='signal',sender='{_LOGIND}',interface='{_MANAGER}',member='PrepareForSleep'",
    f"type='signal',sender='{_LOGIND}',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{_SESSION}'",
)


class LockWatch:
    """Calls `locked` when a session of this user is locked, and before the machine sleeps."""

    def __init__(self, locked: Callable[[], Awaitable[None]]) -> None:
        self._locked = locked
        self._bus: MessageBus | None = None
        self._tasks: set[Any] = set()

    async def start(self) -> None:
        try:
            from dbus_fast import BusType
            from dbus_fast.aio import MessageBus
        except ImportError:
            log.write("no-lock-signals", error="dbus-fast")
            return
        try:
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            for rule in _RULES:
                await self._call(bus, _BUS, "AddMatch", rule)
        except Exception as error:  # whatever is wrong with a bus must not keep the cards from working
            log.write("no-lock-signals", error=type(error).__name__)
            return
        bus.add_message_handler(self._heard)
        self._bus = bus

    def stop(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    def _heard(self, message: Message) -> None:
        if message.member not in ("Lock", "PrepareForSleep", "PropertiesChanged"):
            return
        task = asyncio.get_running_loop().create_task(self._judge(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, message: Message) -> None:
        if message.member == "PrepareForSleep":
            relevant = message.body[:1] == [True]
        elif message.member == "PropertiesChanged":
            hint = message.body[1].get("LockedHint") if message.body[:1] == [_SESSION] else None
            relevant = hint is not None and hint.value is True and await self._is_ours(message.path)
        else:
            relevant = await self._is_ours(message.path)
        if relevant:
            log.write("lock", operation=message.member)
            await self._locked()

    async def _is_ours(self, path: str | None) -> bool:
        """Whether a session is this user's; yes when logind does not say: a login too few does no harm."""
        if self._bus is None or path is None:
            return True
        try:
            found = await self._call(self._bus, (_LOGIND, path, _PROPERTIES), "Get", _SESSION, "User")
            return int(found[0].value[0]) == os.getuid()
        except Exception:
            return True

    async def _call(self, bus: MessageBus, place: tuple[str, str, str], member: str, *words: str) -> list[Any]:
        """A method whose arguments are strings. `place`: bus name, object, interface."""
        from dbus_fast import Message, MessageType

        where, path, interface = place
        request = Message(
            destination=where, path=path, interface=interface, member=member, signature="s" * len(words), body=list(words)
        )
        answer = await bus.call(request)
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            raise OSError(member)
        return list(answer.body)
