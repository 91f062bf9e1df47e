# SPDX-License-Identifier: Apache-2.0
"""One application: what a connection has opened. Sessions, searches, operations and logins belong to it alone."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cpxd import errors
from cpxd.config import Settings
from cpxd.pkcs11.chain import authorities, chain
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.objects import Catalog, Object, build
from cpxd.pkcs11.rv import Failure
from cpxd.service.hub import Hub, Slot
from cpxd.service.token import Token

if TYPE_CHECKING:
    from cpxd.pkcs11.asking import Asker

O = TypeVar("O")  # noqa: E741 - an operation
READING = 9.0  # seconds that a call waits for the first reading of a card, a CPS3 8 of them; the module waits for 10


class Catalogs:
    """The objects of each inserted card, built once for all applications. Handles are never given twice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[int, tuple[int, Catalog]] = {}  # by slot: insertion, objects
        self._next = 1

    def of(self, slot: Slot, token: Token) -> Catalog:
        insertion, catalog = self._known.get(slot.id, (-1, None))
        if catalog is None or insertion != slot.insertion:
            leaves = [certificate for certificate in token.certificates if certificate is not None]
            issuers = chain(leaves, authorities(self._settings.pkcs11_chain))
            catalog = build(token, self._next, issuers, private_keys=self._settings.pkcs11_pin != "agent")
            self._next += len(catalog.objects)
            self._known[slot.id] = slot.insertion, catalog
        return catalog


@dataclass(eq=False)
class Session:
    handle: int
    slot: Slot
    life: int  # of the slot, when it was opened
    writable: bool
    operations: dict[str, object] = field(default_factory=dict)  # by the names of ck.CANCEL

    def start(self, kind: str, operation: object) -> None:
        self.check_idle(kind)
        self.operations[kind] = operation

    def check_idle(self, kind: str) -> None:
        if kind in self.operations:
            raise Failure(CKR.OPERATION_ACTIVE)

    def operation(self, kind: str, wanted: type[O]) -> O:
        found = self.operations.get(kind)
        if not isinstance(found, wanted):
            raise Failure(CKR.OPERATION_NOT_INITIALIZED)
        return found


@dataclass(eq=False)
class Application:
    """Also the client by which the hub knows it."""

    hub: Hub
    settings: Settings
    catalogs: Catalogs
    asker: Asker
    initialized: bool = False
    sessions: dict[int, Session] = field(default_factory=dict)
    dead: deque[int] = field(default_factory=lambda: deque(maxlen=1024))  # handles of sessions whose card has left
    seen: dict[int, int] = field(default_factory=dict)  # by slot: the insertion that C_WaitForSlotEvent knows of
    last_session: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # one question at a time where a key is first used

    def slot(self, number: int) -> Slot:
        if not self.initialized:
            raise Failure(CKR.CRYPTOKI_NOT_INITIALIZED)
        if not 0 <= number < len(self.hub.slots):
            raise Failure(CKR.SLOT_ID_INVALID)
        return self.hub.slots[number]

    def session(self, handle: int) -> Session:
        if not self.initialized:
            raise Failure(CKR.CRYPTOKI_NOT_INITIALIZED)
        session = self.sessions.get(handle)
        if session is None:
            raise Failure(CKR.SESSION_HANDLE_INVALID)
        if session.life != session.slot.life:  # the card left, or the screen was locked: its sessions died
            self.bury()
            raise Failure(CKR.SESSION_HANDLE_INVALID)
        return session

    def bury(self) -> None:
        """Forget the sessions whose card has left."""
        self.dead.extend(h for h, s in self.sessions.items() if s.life != s.slot.life)
        self.sessions = {h: s for h, s in self.sessions.items() if s.life == s.slot.life}

    def session_for_code(self, handle: int) -> Session:
        """As `session`, for a call that carries a PIN: DEVICE_REMOVED when the card it was typed for has left.

        On SESSION_HANDLE_INVALID NSS opens a new session and sends the same PIN again, to whatever card is there now.
        """
        self.bury()
        if handle in self.dead:
            raise Failure(CKR.DEVICE_REMOVED)
        return self.session(handle)

    def alive(self, session: Session) -> None:
        """Raises when the session has died or was closed while a person or the card was waited for."""
        if session.life != session.slot.life:
            raise Failure(CKR.DEVICE_REMOVED)
        if not self.initialized or self.sessions.get(session.handle) is not session:
            raise Failure(CKR.SESSION_CLOSED)

    def may_log_in(self, session: Session) -> None:
        """As `alive`, and nobody of this application has logged in meanwhile."""
        self.alive(session)
        if session.slot.logged_in(self) is not None:
            raise Failure(CKR.USER_ALREADY_LOGGED_IN)

    def open_on(self, slot: Slot) -> list[Session]:
        return [s for s in self.sessions.values() if s.slot is slot and s.life == slot.life]

    async def token(self, slot: Slot) -> Token:
        """The token in a slot, its reading awaited. TOKEN_NOT_PRESENT, TOKEN_NOT_RECOGNIZED."""
        if not slot.present:
            raise Failure(CKR.TOKEN_NOT_PRESENT)
        token = slot.token or await slot.ready(READING)
        if token is None:
            raise _absence(slot)
        return token

    def catalog(self, session: Session) -> Catalog:
        token = session.slot.token
        if token is None:
            raise Failure(CKR.DEVICE_REMOVED)
        return self.catalogs.of(session.slot, token)

    def sees_private(self, session: Session) -> bool:
        return session.slot.logged_in(self) == "user"

    def object(self, session: Session, handle: int, missing: CKR = CKR.OBJECT_HANDLE_INVALID) -> Object:
        """An object that the application may see now."""
        found = self.catalog(session).get(handle)
        if found is None or (found.private and not self.sees_private(session)):
            raise Failure(missing)
        return found


def _absence(slot: Slot) -> Exception:
    if not slot.present or isinstance(slot.error, errors.CardMute):
        return Failure(CKR.TOKEN_NOT_PRESENT)
    return slot.error or Failure(CKR.DEVICE_ERROR)
