# SPDX-License-Identifier: Apache-2.0
"""Who has proved a code of one card, and until when that holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, replace
from typing import Literal

from cpxd import errors
from cpxd.card.session import CodeStates

Client = Hashable  # one a connection
Role = Literal["user", "so"]


# errors after which a code was certainly not proved: one that a program gave; one entry on the reader's keypad
NOT_PROVED = (
    errors.BadPinFormat,
    errors.SamePin,
    errors.KnownWrongPin,
    errors.LastTry,
    errors.WrongPin,
    errors.PinBlocked,
)
NOT_TYPED = (
    *NOT_PROVED,
    errors.WrongUnblockCode,
    errors.UnblockCodeBlocked,
    errors.PadCancelled,
    errors.PadTimeout,
    errors.PadUnable,
)


MOST_PIN_TRIES, MOST_UNBLOCK_TRIES = 3, 10  # when the card does not say (docs/CARDS.md)
_FULL = -1


def tries_told(outcome: BaseException | None) -> int | None:
    """Tries left after an operation that sent a code, as its error tells; None when it does not. For `counted`."""
    if isinstance(outcome, errors.WrongPin | errors.WrongUnblockCode):
        return outcome.tries_left
    if isinstance(outcome, errors.PinBlocked | errors.UnblockCodeBlocked):
        return 0
    if isinstance(outcome, errors.LastTry):
        return 1
    return _FULL if outcome is None else None


def counted(known: CodeStates, role: Role, tries: int) -> CodeStates:
    """The counters with what `tries_told` says of one: after a right code it is full again."""
    if role == "user":
        full = known.pin.max_tries or MOST_PIN_TRIES
        return replace(known, pin=replace(known.pin, tries_left=full if tries == _FULL else tries))
    full = known.unblock.max_tries or MOST_UNBLOCK_TRIES
    return replace(known, unblock=replace(known.unblock, tries_left=full if tries == _FULL else tries))


class CodeTurn:
    """What proves or changes a code of a card does so alone. `typing`: a person is doing it on the reader."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.typing = False

    def check(self) -> None:
        """CodeBeingTyped: nobody is made to wait for a person at the reader."""
        if self.typing:
            raise errors.CodeBeingTyped()

    @contextlib.asynccontextmanager
    async def take(self, typed: int) -> AsyncIterator[None]:
        """`typed`: entries on the reader. Raises as `check`."""
        self.check()
        self.typing = typed > 0
        try:
            async with self.lock:
                yield
        finally:
            self.typing = self.typing and not typed


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
