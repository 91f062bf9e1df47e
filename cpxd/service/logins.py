# SPDX-License-Identifier: Apache-2.0
"""Who has proved a code of one card, and until when that holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

Client = Hashable  # one a connection
Role = Literal["user", "so"]


@dataclass
class _Login:
    role: Role
    used: float  # loop time of the last use


class Logins:
    """`idle`: seconds without use after which a login ends (0: never). `expired` is then called with the client."""

    def __init__(self, idle: float, expired: Callable[[Client], None]) -> None:
        self._idle = idle
        self._expired = expired
        self._logins: dict[Client, _Login] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._logins)

    def role(self, client: Client) -> Role | None:
        login = self._logins.get(client)
        return login.role if login else None

    def has(self, role: Role) -> bool:
        return any(login.role == role for login in self._logins.values())

    def add(self, client: Client, role: Role) -> None:
        self._logins[client] = _Login(role, asyncio.get_running_loop().time())
        self._arm()

    def use(self, client: Client) -> None:
        login = self._logins.get(client)
        if login is not None:
            login.used = asyncio.get_running_loop().time()

    def remove(self, client: Client) -> Role | None:
        """The role that ended, if there was one."""
        login = self._logins.pop(client, None)
        self._disarm_if_empty()
        return login.role if login else None

    def clear(self, role: Role | None = None) -> bool:
        """End all logins, or those of one role; whether there were any."""
        gone = [client for client, login in self._logins.items() if role in (None, login.role)]
        for client in gone:
            del self._logins[client]
        self._disarm_if_empty()
        return bool(gone)

    def _arm(self) -> None:
        if self._idle > 0 and self._timer is None and self._logins:
            loop = asyncio.get_running_loop()
            first = min(login.used for login in self._logins.values()) + self._idle
            self._timer = loop.call_at(first, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for client in [c for c, login in self._logins.items() if now - login.used >= self._idle]:
            self._expired(client)
        self._arm()

    def _disarm_if_empty(self) -> None:
        if not self._logins and self._timer is not None:
            self._timer.cancel()
            self._timer = None
