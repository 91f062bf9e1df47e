# SPDX-License-Identifier: Apache-2.0
"""One reader for as long as the daemon lives: the card that is in it, what is known of it, and who has proved its PIN.

Used on the event loop; every operation runs on the card's own thread. A login belongs to the client that proved the code;
when the last one ends, the card is reset, because nothing else ends a verified PIN.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

from cpxd import errors, log
from cpxd.card import registry
from cpxd.card.application import Mechanism, NotAllowed, Usage
from cpxd.card.pin import REFUSED
from cpxd.card.session import Begin, CardSession, CodeStates, registry_error
from cpxd.config import Settings
from cpxd.reader.link import ReaderState
from cpxd.reader.pinpad import NONE, Abilities
from cpxd.record.pkcs15 import DataObject
from cpxd.service.desk import OpenCard, Source
from cpxd.service.logins import NOT_PROVED, NOT_TYPED, Client, CodeTurn, Logins, Role, counted, tries_told
from cpxd.service.token import Token, read_token

T = TypeVar("T")
_LOST = (errors.CardRemoved, errors.CardMute, errors.NoService, errors.CardChanged)
_PATIENCE = 5.0  # seconds after which a card that could not be read is tried once more, if asked for

Guard = Callable[[], None]


def _nothing() -> None:
    pass


class Slot:
    """`insertion` grows at each insertion and removal: what was made for one card compares it. `changed` is called on the
    loop at insertion, removal, when the card was read, and when a login or a counter changes; `left` when a card leaves that
    somebody was logged in to."""

    def __init__(
        self, number: int, reader: str, settings: Settings, changed: Callable[[Slot], None], left: Callable[[], None]
    ) -> None:
        self.id = number
        self.reader = reader
        self.insertion = 0
        self.life = 0  # grows with it, and when screen lock or sleep ends what was begun: sessions compare it
        self.present = False
        self.hidden: float | None = None  # since when (time.monotonic) another program keeps the door from telling what is in it
        self.kind: registry.Kind | None = None  # what card it is, by its ATR alone
        self.error: errors.CpxError | None = None
        self.token: Token | None = None
        self.codes: CodeStates | None = None
        self.keypad: Abilities = NONE  # of the reader, when it is to be used; known with the token
        self._settings = settings
        self._changed = changed
        self._left = left
        self._state: ReaderState | None = None
        self._card: OpenCard | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._contents: dict[str, bytes] = {}  # data objects that were read, private ones while somebody is logged in
        self._logins = Logins(settings.login_idle, self._expired)
        self._turn = CodeTurn()  # held by what proves, changes or ends the proof of a code
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the reader

    def see(self, state: ReaderState | None) -> None:
        """What PC/SC says of the reader now; None: it is not there."""
        before, self._state = self._state, state
        was = self.hidden
        self.hidden = (was or monotonic()) if state is not None and state.hidden else None
        here = state is not None and state.present
        same = before is not None and state is not None and before.card == state.card
        if self.present and not (here and same):
            self._leave()
        if here and not self.present and state is not None:
            self._arrive(state)
        if (was is None) is not (self.hidden is None):
            self._changed(self)

    def _arrive(self, state: ReaderState) -> None:
        self.insertion += 1
        self.life += 1
        self.present = True
        self.kind = registry.identify(state.atr)
        if state.mute or not state.atr:
            self.error = errors.CardMute()
        elif self.kind not in registry.USABLE:
            self.error = registry_error(state.atr, self.kind)
        else:
            self._card = OpenCard(self.reader, self._settings)
            self._start_reading()
        self._changed(self)

    def _leave(self) -> None:
        self.insertion += 1
        self.life += 1
        self.present = False
        held = self._logins.clear()
        if self.token is not None:
            REFUSED.forget(self.token.root.serial.pan)
        self.token = self.codes = self.error = self.kind = None
        self.keypad = NONE
        self._contents.clear()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._card is not None:
            self._card.leave()
            self._card = None
        self._changed(self)
        if held:
            log.write("login-ended", operation="removal")
            self._left()

    async def close(self) -> None:
        """The daemon ends: give the card back."""
        self._logins.clear()
        card, self._card = self._card, None
        if self._reading is not None:
            self._reading.cancel()
        if card is not None:
            await asyncio.to_thread(card.close)

    # --- what is on the card

    def _start_reading(self) -> None:
        loop = asyncio.get_running_loop()
        self._read_at = loop.time()
        self._reading = loop.create_task(self._read())

    async def _read(self) -> None:
        insertion, started = self.insertion, self._read_at
        error: errors.CpxError | None = None
        try:
            token, codes = await self._run(read_token)
            keypad = await self._run(self._open().keypad)
        except errors.CpxError as failure:
            error = failure
        except NotAllowed:
            error = errors.DamagedCard(part="PIN")
        if insertion != self.insertion:
            return
        if error is None:
            self.token, self.codes, self.keypad, self.error = token, codes, keypad, None
            taken = round((asyncio.get_running_loop().time() - started) * 1000)
            log.write("card-read", generation=token.generation, milliseconds=taken)
            if not token.signs_pss:
                # browsers look at the mechanism list and never ask: this line tells why a TLS 1.3 login will fail
                log.write("card-without-pss", operation="RSA-PSS (TLS 1.3)", generation=token.generation)
        else:
            self.error = error
            log.write("card-not-read", code=error.code)
        self._reading = None
        self._changed(self)

    async def ready(self, seconds: float) -> Token | None:
        """Wait for the first reading of the card that is in, at most so long. One that failed is tried again unwaited for."""
        if self._reading is not None and self.error is None:
            await asyncio.wait({self._reading}, timeout=seconds)
        elif self._reading is None and self.error is not None and self.error.retry and self._card is not None:
            rested = asyncio.get_running_loop().time() - self._read_at
            if rested > _PATIENCE:
                self._start_reading()
        return self.token

    def content_known(self, label: str) -> bytes | None:
        """A data object that was read before."""
        return self._contents.get(label)

    async def content(self, client: Client, entry: DataObject) -> bytes:
        """A data object's whole file. Private ones need the client's login. FileMissing, NotAllowed."""
        if entry.private:
            self._need(client, "user")
        label = entry.label
        if label not in self._contents:
            insertion = self.insertion

            def operation(session: CardSession, begin: Begin) -> bytes:
                read = session.content if entry.path else session.cps2ter
                return read(session.only_verified(begin) if entry.private else begin, label)

            content = await self._run(operation)
            if entry.private:
                self._need(client, "user")  # the login may have ended meanwhile: then nothing is kept or given
            if insertion == self.insertion:
                self._contents[label] = content
            return content
        return self._contents[label]

    async def write(self, entry: DataObject, content: bytes) -> None:
        """Replace a data object that may be written. ValueError when it is longer than the file."""
        self._contents.pop(entry.label, None)
        await self._run(lambda session, begin: session.write(begin, entry.label, content))
        self._contents.pop(entry.label, None)

    # --- codes

    async def count(self) -> CodeStates:
        """The tries left now, none spent: another program may have used or given back some since the card was read."""
        self._turn.check()  # who counts is about to ask for a code
        found = await self._run(lambda session, begin: session.code_states(begin))
        if found != self.codes:
            self.codes = found
            self._changed(self)
        return found

    def logged_in(self, client: Client) -> Role | None:
        return self._logins.role(client)

    async def login(self, client: Client, pin: Source, *, last_try: bool = False, guard: Guard = _nothing) -> None:
        """VERIFY at once. Raises BadPinFormat, KnownWrongPin, LastTry, WrongPin, PinBlocked; CodeBeingTyped; as PinPad.

        `guard` raises when the client does not want it any more: asked just before VERIFY, and before the login counts.
        """
        entry, typed = self._open().entry(pin, 1)
        await self._prove(client, "user", lambda s, begin: s.verify(begin, entry(s, begin), last_try=last_try), guard, typed)

    async def login_unblock(self, client: Client, code: Source, *, last_try: bool = False, guard: Guard = _nothing) -> None:
        """VERIFY of the unblock code. Raises as `login`; WrongUnblockCode, UnblockCodeBlocked."""
        entry, typed = self._open().entry(code, 1)

        def prove(session: CardSession, begin: Begin) -> None:
            session.verify_unblock_code(begin, entry(session, begin), last_try=last_try)

        await self._prove(client, "so", prove, guard, typed)

    async def _prove(
        self, client: Client, role: Role, operation: Callable[[CardSession, Begin], None], guard: Guard, typed: int
    ) -> None:
        life = self.life
        async with self._turn.take(typed):
            self._still(life)  # while it waited here, the card may have left: the code was typed for that one
            guard()
            try:
                await self._learning(role, operation, typed)
            except NOT_TYPED:
                raise
            except Exception:
                if typed and not self._logins:  # what the reader said does not tell whether the code was proved
                    await self._reset()
                raise
            try:
                self._still(life)
                guard()
            except BaseException:
                if not self._logins:  # a proof that is nobody's
                    await self._reset()
                raise
            self._logins.add(client, role)
            self._changed(self)

    async def logout(self, client: Client) -> None:
        """NotAllowed when the client is not logged in; it is no more at once, whatever the card does then."""
        role = self._logins.remove(client)
        if role is None:
            raise NotAllowed
        self._changed(self)
        await self._ended(role)

    async def drop(self, client: Client) -> None:
        """The client is gone."""
        with contextlib.suppress(NotAllowed):
            await self.logout(client)

    async def end_logins(self) -> None:
        """The screen is locked, or the machine goes to sleep: nobody is logged in any more."""
        self.life += 1  # what is being typed for this card was begun by who has left the screen
        fell = self._logins.clear()
        self._changed(self)
        if fell:
            await self._ended("so")

    async def change_pin(
        self, client: Client, old: Source, new: Source, *, last_try: bool = False, guard: Guard = _nothing
    ) -> None:
        """Raises as login, and BadPinFormat or SamePin for the new one. Needs no login, and is none. On the reader: both."""
        life = self.life
        current, typed = self._open().entry(old, 3)
        wanted, _ = self._open().entry(new, 3)
        async with self._turn.take(typed):
            self._still(life)
            guard()
            proved = True  # a change proves the PIN as a login does, and nobody asked for that
            try:
                await self._learning(
                    "user", lambda s, begin: s.change(begin, current(s, begin), wanted(s, begin), last_try=last_try), typed
                )
            except NOT_PROVED:
                proved = typed > 0  # on the reader a CPS4 has the PIN proved before the new one is typed
                raise
            finally:
                if proved and not self._logins:
                    await self._reset()

    async def renew_pin(self, client: Client, new: Source, *, guard: Guard = _nothing) -> None:
        """Unblock: a new PIN, the client being logged in with the unblock code. Logins with the old PIN end."""
        self._need(client, "so")
        life = self.life
        entry, typed = self._open().entry(new, 2)
        async with self._turn.take(typed):
            self._still(life)
            guard()
            state = await self._run(lambda session, begin: session.renew_pin(begin, entry(session, begin)), typed)
            if self.codes is not None:
                self.codes = replace(self.codes, pin=state)
            self._logins.clear("user")
            self._contents_private_gone()
            self._changed(self)

    def _still(self, life: int) -> None:
        if life != self.life:
            raise errors.CardRemoved()

    async def _learning(self, role: Role, operation: Callable[[CardSession, Begin], None], typed: int) -> None:
        """Run what sends a code, and keep the counter that its outcome tells."""
        outcome: BaseException | None = None
        try:
            await self._run(operation, typed)
        except BaseException as error:
            outcome = error
            raise
        finally:
            tries = tries_told(outcome)
            if tries is not None and self.codes is not None:
                self.codes = counted(self.codes, role, tries)
                self._changed(self)

    # --- keys

    async def sign(self, client: Client, usage: Usage, mechanism: Mechanism, digest: bytes) -> bytes:
        """Raises NotAllowed without the client's login; else as CardSession.sign."""
        self._need(client, "user")
        return await self._run(lambda s, begin: s.sign(s.only_verified(begin), usage, mechanism, digest))

    async def sign_content(self, client: Client, content: bytes) -> bytes:
        self._need(client, "user")
        return await self._run(lambda s, begin: s.sign_content(s.only_verified(begin), content))

    async def sign_pss(self, client: Client, hash_name: str, digest: bytes, salt_length: int) -> bytes:
        self._need(client, "user")
        return await self._run(lambda s, begin: s.sign_pss(s.only_verified(begin), hash_name, digest, salt_length))

    async def decrypt(self, client: Client, cryptogram: bytes) -> bytes:
        self._need(client, "user")
        return await self._run(lambda s, begin: s.decrypt(s.only_verified(begin), cryptogram))

    async def random(self, count: int) -> bytes:
        return await self._run(lambda session, begin: session.random(begin, count))

    # --- inside

    def _need(self, client: Client, role: Role) -> None:
        if self.token is not None and self.token.contactless:  # no code is asked for on that side: the card knows none
            return
        if self._logins.role(client) != role:
            raise NotAllowed
        self._logins.use(client)

    def _open(self) -> OpenCard:
        if self._card is None:
            raise self.error if self.error is not None else errors.NoCard()
        return self._card

    async def _run(self, operation: Callable[[CardSession, Begin], T], typed: int = 0) -> T:
        """Run on the card's thread. What it shows of the card's state is drawn: a lost proof ends the logins."""
        card, insertion, proof, token = self._open(), self.insertion, [True], self.token

        def watched(session: CardSession, begin: Begin) -> T:
            try:
                if token is not None and session.root(begin).serial != token.root.serial:
                    raise errors.CardChanged()  # exchanged faster than the event of it came
                return operation(session, begin)
            finally:
                proof[0] = session.card.verified

        try:
            return await card.run_async(watched, entries=typed)
        except errors.CardUpdated:
            if insertion == self.insertion and self._state is not None:
                self._leave()  # what was believed of it, sessions and logins included, is of another card
                self._arrive(self._state)
            raise
        except _LOST:
            proof[0] = False
            if card is self._card:  # its thread may rest in a call that never returns: a new one takes over
                card.leave()
                self._card = OpenCard(self.reader, self._settings)
            raise
        finally:
            if not proof[0] and insertion == self.insertion and self._logins.has("user"):
                self._fall()

    def _fall(self) -> None:
        """The card does not know any more that the PIN was proved: nobody is logged in."""
        if self._logins.clear():
            log.write("login-ended", operation="lost")
            self._contents_private_gone()
            self._changed(self)

    def _contents_private_gone(self) -> None:
        if self._logins.has("user"):
            return
        private = {entry.label for entry in (self.token.data if self.token else ()) if entry.private}
        self._contents = {label: content for label, content in self._contents.items() if label not in private}

    async def _ended(self, role: Role) -> None:
        """A login ended: reset the card if it was the last, or if it had proved the unblock code."""
        self._contents_private_gone()
        if self._turn.typing:  # not waited for: the card is held for who types, and by nobody else
            self._begin(self._settled(role))
        else:
            await self._settled(role)

    async def _settled(self, role: Role) -> None:
        async with self._turn.lock:
            if role == "so":
                self._logins.clear()
                self._contents_private_gone()
            if not self._logins:
                await self._reset()

    async def _reset(self) -> None:
        if self._card is None:
            return
        try:
            await self._run(lambda session, begin: session.end_proof(begin))
        except (errors.CpxError, NotAllowed):
            if self._card is not None:  # the handle goes with what it knew, and resets the card if it still can
                self._card.leave()
                self._card = OpenCard(self.reader, self._settings)

    def _expired(self, client: Client) -> None:
        role = self._logins.remove(client)
        if role is not None:
            log.write("login-ended", operation="idle")
            self._changed(self)
            self._begin(self._ended(role))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
