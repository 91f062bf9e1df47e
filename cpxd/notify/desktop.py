# SPDX-License-Identifier: Apache-2.0
"""Notifications of the desktop (Desktop Notifications Specification 1.2), over the session bus.

Needs the optional package dbus-fast. Without it, without a bus or without a desktop nothing is told, and nothing fails.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpxd import log
from cpxd.notify.events import Event
from cpxd.text import tr

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

_NAME, _PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
_RULE = f"type='signal',interface='{_NAME}',member='ActionInvoked'"
_TERMINALS = (("xdg-terminal-exec",), ("x-terminal-emulator", "-e"), ("gnome-terminal", "--"), ("konsole", "-e"), ("xterm", "-e"))
_AS_MARKUP = str.maketrans({"<": "‹", ">": "›", "&": "＆"})  # a body may be taken as markup: a reader is named by its maker
_SHOWN = 64  # notifications whose click is still waited for


class Desktop:
    """One connection, made when something is first told."""

    def __init__(self) -> None:
        self._bus: MessageBus | None = None
        self._commands: dict[int, tuple[str, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    async def tell(self, event: Event) -> bool:
        """Show it; whether it was shown."""
        async with self._lock:
            try:
                number = await self._notify(event)
            except Exception as error:  # whatever is wrong with a desktop must not keep the cards from working
                log.write("not-told", operation=event.kind, error=type(error).__name__)
                self.stop()
                return False
        log.write("told", operation=event.kind)
        if event.command:
            self._commands[number] = event.command
            while len(self._commands) > _SHOWN:
                self._commands.pop(next(iter(self._commands)))
        return True

    def stop(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    async def _notify(self, event: Event) -> int:
        from dbus_fast import Variant

        actions = ["default", tr("Ouvrir", "Open")] if event.command else []
        hints = {"urgency": Variant("y", 2 if event.urgent else 1), "desktop-entry": Variant("s", "cpxd")}
        body = ["cpxd", 0, "dialog-warning", str(event.title), str(event.body).translate(_AS_MARKUP), actions, hints, -1]
        found = await self._call(await self._connected(), (_NAME, _PATH, _NAME), "Notify", "susssasa{sv}i", body)
        return int(found[0])

    async def _connected(self) -> MessageBus:
        if self._bus is None or not self._bus.connected:
            from dbus_fast import BusType
            from dbus_fast.aio import MessageBus

            bus = await MessageBus(bus_type=BusType.SESSION).connect()
            bus.add_message_handler(self._heard)
            place = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
            await self._call(bus, place, "AddMatch", "s", [_RULE])
            self._bus = bus
        return self._bus

    async def _call(
        self, bus: MessageBus, place: tuple[str, str, str], member: str, signature: str, body: list[Any]
    ) -> list[Any]:
        from dbus_fast import Message, MessageType

        where, path, interface = place
        request = Message(destination=where, path=path, interface=interface, member=member, signature=signature, body=body)
        async with asyncio.timeout(5):
            answer = await bus.call(request)
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            raise OSError(member)
        return list(answer.body)

    def _heard(self, message: Message) -> None:
        if message.member != "ActionInvoked" or message.interface != _NAME or len(message.body) != 2:
            return
        words = self._commands.pop(message.body[0], None)
        if words is not None:
            task = asyncio.get_running_loop().create_task(_open(words))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def terminal(words: tuple[str, ...]) -> list[str] | None:
    """The command line that shows a command of cpxd in a terminal window; None where there is no terminal program."""
    own = Path(sys.executable).with_name("cpxd")
    for start in _TERMINALS:
        if found := shutil.which(start[0]):
            return [found, *start[1:], str(own), *words]
    return None


async def _open(words: tuple[str, ...]) -> None:
    line = terminal(words)
    if line is None:
        log.write("not-opened", operation=words[0])
        return
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*line, stdin=null, stdout=null, stderr=null, start_new_session=True)
        await process.wait()
    except OSError as error:
        log.write("not-opened", operation=words[0], error=type(error).__name__)
