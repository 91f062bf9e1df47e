# SPDX-License-Identifier: Apache-2.0
"""What a person is asked when a site or a program wants something of their card, and what is remembered of the answer.

All of it happens in native dialogs. A consent belongs to one card in one insertion while it is used; what is remembered is that
this holder lets this site know who they are, never that it may sign or log in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cpxd import errors
from cpxd.card.application import Code, NotAllowed
from cpxd.config import Settings, state_home
from cpxd.dialog.display import DisplayHints
from cpxd.dialog.pinentry import Pinentry
from cpxd.dialog.reading import Reading
from cpxd.files import read_small
from cpxd.reader.pinpad import NONE, Announce, Ask
from cpxd.secret import Secret
from cpxd.service.desk import OnReader, Source
from cpxd.service.keypad import Guard, at_the_reader
from cpxd.service.logins import Client
from cpxd.service.slot import Slot
from cpxd.service.token import Token
from cpxd.text import Text

T = TypeVar("T")
_MOST = 64  # holders remembered a site
_ASK_SITE = Text("Accepter, cette fois et les suivantes, pour ce site ?", "Accept, now and from now on, for this site?")
_ASK_ONCE = Text("Accepter, pour cette fois ?", "Accept, this time?")
_NAME = 60  # characters that a PIN dialog shows of a name
_ROUNDS = 3  # times that a question answered too fast to have been read is asked
_CHANGE = Text("changement du code", "change of the PIN")
_UNBLOCK = Text("déblocage", "unblocking")


def consent_file() -> Path:
    return state_home() / "consents.json"


def holder_of(token: Token) -> str:
    """Whose card: the identifier in the certificates, else the card's own number."""
    names = (c.subject.common_name for c in token.certificates if c is not None)
    return next((name for name in names if name), token.root.serial.pan)


class Consents:
    """Who let which site know them. The file names sites, and holders only as digests with a salt of this file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or consent_file()

    def given(self, origin: str, holder: str) -> bool:
        salt, sites = self._load()
        return _digest(salt, origin, holder) in sites.get(origin, ())

    def remember(self, origin: str, holder: str) -> None:
        salt, sites = self._load()
        known = [d for d in sites.get(origin, ()) if d != _digest(salt, origin, holder)]
        sites[origin] = [*known, _digest(salt, origin, holder)][-_MOST:]
        self._save(salt, sites)

    def forget(self, origin: str) -> None:
        salt, sites = self._load()
        if sites.pop(origin, None) is not None:
            self._save(salt, sites)

    def _load(self) -> tuple[bytes, dict[str, list[str]]]:
        """A file that makes no sense remembers nothing."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found = json.loads(read_small(self._path))
            sites = {str(k): [str(d) for d in v] for k, v in found["sites"].items()}
            salt = bytes.fromhex(found["salt"])
            if len(salt) == 32:
                return salt, sites
        return secrets.token_bytes(32), {}

    def _save(self, salt: bytes, sites: Mapping[str, Sequence[str]]) -> None:
        """What cannot be written is asked again."""
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.unlink(missing_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump({"salt": salt.hex(), "sites": sites}, file)
            new.replace(self._path)


def _digest(salt: bytes, origin: str, holder: str) -> str:
    return hmac.new(salt, f"{origin}\n{holder}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Binding:
    """The card that a request is about: any other, or the same one put in again, ends the request."""

    slot: Slot
    token: Token
    insertion: int

    @classmethod
    def to(cls, slot: Slot) -> Binding:
        if slot.token is None:
            raise slot.error or errors.NoCard()
        return cls(slot, slot.token, slot.insertion)

    def check(self) -> None:
        """Raises CardRemoved, CardChanged."""
        if self.slot.insertion != self.insertion or self.slot.token is None:
            raise errors.CardChanged() if self.slot.present else errors.CardRemoved()
        if self.slot.token.serial != self.token.serial:
            raise errors.CardChanged()


@dataclass
class Asking:
    """One request of one site or program (`who`), in front of the person. Cancelling a call closes its dialog."""

    who: str
    settings: Settings
    hints: DisplayHints
    remembers: bool = False  # for sites: the name of a program says too little, many are called "python3"
    consents: Consents = field(default_factory=Consents)

    async def share(self, bound: Binding, what: Text) -> None:
        """Let `who` know who the holder is. Asked once a holder and site. Raises Refused, NoPinSource, CardChanged."""
        holder = holder_of(bound.token)
        if self.remembers and self.consents.given(self.who, holder):
            return
        card = bound.token.tree.information.label
        ask = _ASK_SITE if self.remembers else _ASK_ONCE
        fr = f"« {self.who} » veut lire sur votre carte : {what.fr}.\nCarte : {card}\n{ask.fr}"
        en = f"“{self.who}” wants to read on your card: {what.en}.\nCard: {card}\n{ask.en}"
        await self._yes(Text(fr, en))
        bound.check()
        if self.remembers:
            self.consents.remember(self.who, holder)

    async def document(self, bound: Binding, number: int, of: int, lines: Sequence[str], certificate: str) -> None:
        """Show one document that is about to be signed. `certificate`: whose. Raises Refused, NoPinSource, CardChanged."""
        count = f" ({number}/{of})" if of > 1 else ""
        head = Text(f"« {self.who} » demande votre signature{count} :", f"“{self.who}” asks for your signature{count}:")
        card = bound.token.tree.information.label
        with_ = Text(f"Avec : {certificate} ({card})", f"With: {certificate} ({card})")
        end = Text("Signer ce document ?", "Sign this document?")
        parts = [head, Text("", ""), *(Text(line, line) for line in lines), Text("", ""), with_, end]
        await self._yes(Text("\n".join(p.fr for p in parts), "\n".join(p.en for p in parts)))
        bound.check()

    async def _yes(self, text: Text) -> None:
        """An answer that came before the text can have been read is not one: a key meant for another window."""
        loop = asyncio.get_running_loop()
        words = text.en if self.hints.language == "en" else text.fr
        for _ in range(_ROUNDS):
            started = loop.time()
            reading = Reading(self.settings, self.hints)
            if not await reading.run(reading.accept, words, self.settings.api_consent):
                raise errors.Refused()
            if loop.time() - started >= self.settings.api_consent:
                return
        raise errors.Refused()

    async def proved(self, bound: Binding, purpose: Text, work: Callable[[Client], Awaitable[T]]) -> T:
        """Ask for the PIN, prove it, do the work, and end the proof: one entry, at most one try.

        Raises as Slot.login, Refused, NoPinSource, CardChanged, CardReset. A cancelled call ends its work on the card first.
        """
        if bound.slot.keypad != NONE:
            client: Any = object()
            try:
                await self._on_reader(
                    bound,
                    purpose,
                    lambda pin, last, guard: bound.slot.login(client, pin, last_try=last, guard=guard),
                )
            except BaseException:
                await bound.slot.drop(client)
                raise
            return await _unbroken(self._then(bound, client, work))
        pin, last = await self._pin(bound, purpose)
        return await _unbroken(self._with(bound, pin, last, work))

    async def _on_reader(
        self,
        bound: Binding,
        purpose: Text,
        do: Callable[[OnReader, bool, Guard], Coroutine[Any, Any, None]],
        code: Code = Code.PIN,
    ) -> None:
        """`do` with a code that is typed on the reader, while a dialog says so. Raises as it does, Refused, LastTry."""
        who, card, tries = await self._counted(bound, purpose, code)
        bound.check()

        def entry(announce: Announce, wanted: Guard) -> Coroutine[Any, Any, None]:
            def guard() -> None:
                wanted()
                bound.check()

            return do(OnReader(announce), tries == 1, guard)

        async def dialog(ask: Ask) -> None:
            pinentry = Pinentry(self.settings, self.hints)
            await pinentry.run(pinentry.on_pad, who, card, ask, None if ask == "new" else tries)

        await at_the_reader(entry, dialog)

    async def change(self, bound: Binding) -> None:
        """Ask for the PIN and a new one, and replace it. Raises as `proved`, BadPinFormat, PinsDiffer, SamePin."""
        if bound.slot.keypad != NONE:
            await self._on_reader(
                bound,
                _CHANGE,
                lambda both, last, guard: bound.slot.change_pin(object(), both, both, last_try=last, guard=guard),
            )
            return
        old, last = await self._pin(bound, _CHANGE)
        with old:
            pinentry = Pinentry(self.settings, self.hints)
            with await pinentry.run(pinentry.new_pin, self._short(), bound.token.tree.information.label) as new:
                bound.check()
                await _unbroken(bound.slot.change_pin(object(), old, new, last_try=last, guard=bound.check))

    async def unblock(self, bound: Binding) -> None:
        """Ask for the unblock code and a new PIN, and set it: one entry costs at most one try of the unblock code.

        Raises UnblockCodeBlocked, LastTry, WrongUnblockCode, and as `change`.
        """
        if bound.slot.keypad != NONE:
            await self._on_reader(
                bound, _UNBLOCK, lambda both, last, guard: self._renew(bound, both, both, last, guard), Code.UNBLOCK
            )
            return
        who, card, tries = await self._counted(bound, _UNBLOCK, Code.UNBLOCK)
        pinentry = Pinentry(self.settings, self.hints)
        with (
            await pinentry.run(pinentry.unblock_code, who, card, tries) as code,
            await pinentry.run(pinentry.new_pin, who, card) as new,
        ):
            bound.check()
            await _unbroken(self._renew(bound, code, new, tries == 1, bound.check))

    async def _renew(self, bound: Binding, code: Source, new: Source, last: bool, guard: Guard) -> None:
        client: Any = object()
        await bound.slot.login_unblock(client, code, last_try=last, guard=guard)
        try:
            await bound.slot.renew_pin(client, new, guard=guard)
        except NotAllowed:
            raise errors.CardReset() from None
        finally:
            await bound.slot.drop(client)

    async def _pin(self, bound: Binding, purpose: Text) -> tuple[Secret, bool]:
        who, card, tries = await self._counted(bound, purpose, Code.PIN)
        pinentry = Pinentry(self.settings, self.hints)
        return await pinentry.run(pinentry.pin, who, card, tries), tries == 1

    async def _counted(self, bound: Binding, purpose: Text, code: Code) -> tuple[str, str, int]:
        """Who asks and what for, in a dialog's words, and the tries left: the last one only if the person says so."""
        codes = await bound.slot.count()
        word = purpose.en if self.hints.language == "en" else purpose.fr
        label = bound.token.tree.information.label
        card, who = f"{label} · {word}" if word else label, self._short()
        state = codes.pin if code is Code.PIN else codes.unblock
        if codes.unblock.blocked and state.blocked:
            raise errors.PinBlockedForGood() if code is Code.PIN else errors.UnblockCodeBlocked()
        if state.blocked:
            raise errors.PinBlocked()
        pinentry = Pinentry(self.settings, self.hints)
        if state.tries_left == 1 and not await pinentry.run(pinentry.confirm_last_try, who, card, code):
            raise errors.LastTry()
        return who, card, state.tries_left

    def _short(self) -> str:
        """The end of a name says whose it is."""
        return self.who if len(self.who) <= _NAME else f"…{self.who[1 - _NAME :]}"

    async def _with(self, bound: Binding, pin: Secret, last: bool, work: Callable[[Client], Awaitable[T]]) -> T:
        client: Any = object()
        slot = bound.slot
        with pin:
            bound.check()
            await slot.login(client, pin, last_try=last)
        return await self._then(bound, client, work)

    async def _then(self, bound: Binding, client: Client, work: Callable[[Client], Awaitable[T]]) -> T:
        try:
            bound.check()
            return await work(client)
        except NotAllowed:
            raise errors.CardReset() from None
        finally:
            await bound.slot.drop(client)


async def _unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Nothing on a card is stopped half-way: a call that is cancelled ends once the work is done."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.exception()
        raise
