# SPDX-License-Identifier: Apache-2.0
"""The desk: which readers and cards are there, and the one card that a request is about."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from cpxd import config, errors
from cpxd.apdu import Secret
from cpxd.card import registry
from cpxd.card.application import Code, Entry
from cpxd.card.session import Begin, CardSession, registry_error
from cpxd.config import Settings
from cpxd.reader import doors, typed
from cpxd.reader.link import Door, Link, ReaderState
from cpxd.reader.pinpad import GRACE, NONE, Abilities, Announce, PinPad
from cpxd.reader.worker import CardThread, Ticket

T = TypeVar("T")
Observer = Callable[[bytes, bytes, float], None]  # command (codes masked), answer, milliseconds
_PAUSE = 0.25  # seconds between two looks at a terminal that another program has


@dataclass(frozen=True)
class Place:
    """A reader and what is in it, by the ATR alone: no card is touched."""

    state: ReaderState
    kind: registry.Kind | None  # None: no card, mute, or a card that is not ours

    @property
    def usable(self) -> bool:
        return self.state.present and not self.state.mute and self.kind in registry.USABLE

    @property
    def hidden(self) -> bool:
        return self.state.hidden

    @property
    def contactless(self) -> bool:
        return self.kind is registry.Kind.CPS3_CONTACTLESS


def places() -> list[Place]:
    """All readers. Raises NoService."""
    return [Place(state, registry.identify(state.atr) if state.present else None) for state in doors.look()]


def command(words: str, place: Place, found: Sequence[Place]) -> str:
    """A command line for the card at `place`, which is named when there are others; `found`: all the places."""
    if sum(other.usable for other in found) < 2:
        return words
    return f"{words} --reader {shlex.quote(place.state.name)}"


def choose(reader: str | None, wait: float | None = None) -> Place:
    """The place a request is about: the reader named (whole name or a part only one has), else the only CPx card. A terminal that
    another program hides is waited for, at most `wait` seconds (None: as the settings say).

    Raises NoService, NoReader, UnknownReader, NoCard, CardMute, UnsupportedCard, RetiredCard, SeveralCards, ReaderBusy.
    """
    wait, begun = config.load().reader_wait if wait is None else wait, time.monotonic()
    while True:
        found = places()
        if not found:
            raise errors.NoReader()
        place = _only(found) if reader is None else _named(found, reader)
        if not place.hidden:
            return _checked(place)
        if time.monotonic() - begun > wait:
            raise errors.ReaderBusy(seconds=round(wait), reader=place.state.name)
        time.sleep(_PAUSE)


def _only(found: list[Place]) -> Place:
    """The place with the only CPx card; without one, the first that says why.

    A card in a contact slot is more than what is seen without contact, which may be its own other side."""
    usable = [place for place in found if place.usable]
    usable = [place for place in usable if not place.contactless] or usable
    if len(usable) > 1:
        raise errors.SeveralCards(readers=" ; ".join(f"« {place.state.name} »" for place in usable))
    told = sorted((place for place in found if place.state.present), key=lambda place: place.kind is registry.Kind.VITALE)
    hidden = [place for place in found if place.hidden]
    return (usable or told or hidden or found)[0]


def _named(found: list[Place], reader: str) -> Place:
    exact = [place for place in found if place.state.name == reader]
    part = [place for place in found if reader.casefold() in place.state.name.casefold()]
    match = exact or part
    if not match or not reader:
        raise errors.UnknownReader(reader=reader)
    return _only(match)


def _checked(place: Place) -> Place:
    if not place.state.present:
        raise errors.NoCard()
    if place.state.mute or not place.state.atr:
        raise errors.CardMute()
    if not place.usable:
        raise registry_error(place.state.atr, place.kind)
    return place


@dataclass(frozen=True)
class OnReader:
    """A code that will be typed on the reader. `announce` is called on the card's thread when it waits for the person."""

    announce: Announce


Source = Secret | OnReader


class OpenCard:
    """The card in one reader, open until `close`. Every call runs on the card's own thread and is bounded in time."""

    def __init__(self, reader: str, settings: Settings, observer: Observer | None = None) -> None:
        self.reader = reader
        self.settings = settings
        self._observer = observer
        self._session: CardSession | None = None
        self._door: Door | None = None
        self._thread = CardThread(reader, wait=settings.reader_wait, silence=settings.card_silence)

    def __enter__(self) -> OpenCard:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run(self, operation: Callable[[CardSession, Begin], T], *, entries: int = 0) -> T:
        """Run one request of the session on the card's thread. After a lost card the next call opens it anew.

        `entries`: how many times a person may be asked to type on the reader meanwhile.
        """
        with self._said(entries):
            return self._thread.call(self._job(operation), patience=self._patience(entries))

    async def run_async(self, operation: Callable[[CardSession, Begin], T], *, entries: int = 0) -> T:
        """As `run`, for an event loop."""
        with self._said(entries):
            return await self._thread.call_async(self._job(operation), patience=self._patience(entries))

    def keypad(self, session: CardSession, begin: Begin) -> Abilities:
        """What the reader's keypad can do, when it is to be used. For an operation of `run`."""
        ignored = (part.strip().casefold() for part in self.settings.pinpad_ignore.split(";"))
        if self.settings.pinpad_use == "never" or any(part and part in self.reader.casefold() for part in ignored):
            return NONE
        found = session.keypad(begin)
        return found if found.verifies(Code.PIN.digits) else NONE

    def pinpad(self, session: CardSession, begin: Begin, announce: Announce) -> PinPad:
        """The keypad, for one operation of `run`; `announce` is called on the card's thread when it waits for the person."""
        return PinPad(session.link, self.keypad(session, begin), self.settings.pinpad_timeout, announce)

    def entry(self, source: Source, most: int) -> tuple[Callable[[CardSession, Begin], Entry], int]:
        """How an operation of `run` has a code, and how many entries on the reader it may wait for: `most`, or none."""
        if isinstance(source, OnReader):
            return (lambda session, begin: self.pinpad(session, begin, source.announce)), most
        return (lambda session, begin: source), 0

    def _patience(self, entries: int) -> float:
        return entries * (self.settings.pinpad_timeout + GRACE)

    @contextlib.contextmanager
    def _said(self, entries: int) -> Iterator[None]:
        """A reader that is busy because somebody types a code there for another program is said to be.

        pcscd holds even SCardConnect up while a reader waits for its keys: the card then seems mute.
        """
        try:
            yield
        except (errors.ReaderBusy, errors.CardMute):
            if not entries and typed.now(self.reader):
                raise errors.CodeBeingTyped() from None
            raise

    def _job(self, operation: Callable[[CardSession, Begin], T]) -> Callable[[Ticket[T]], T]:
        def job(ticket: Ticket[T]) -> T:
            if self._session is None:
                link = self._open(ticket)
                link.observe(self._seen, ticket.wait)
                self._session = CardSession(link, keeps=self.settings.card_cache)
            else:
                self._session.link.observe(self._seen, ticket.wait)
            try:
                return operation(self._session, ticket.begin)
            except (errors.CardRemoved, errors.CardMute, errors.NoService, errors.CardChanged):
                self._drop()
                raise

        return job

    def _open(self, ticket: Ticket[T]) -> Link:
        self._door = self._door or doors.door_to(self.reader)

        def allowed() -> None:
            ticket.begin()
            self._thread.touch()

        return self._door.connect(self.reader, wait=self.settings.reader_wait, allowed=allowed)

    def _seen(self, sent: bytes, received: bytes, milliseconds: float) -> None:
        self._thread.touch()
        if self._observer is not None:
            self._observer(sent, received, milliseconds)

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            if session.card.verified or session.card.unblocks:
                # no command of the card ends a proved code, and another program's handle would keep it powered
                with contextlib.suppress(errors.CpxError):
                    session.link.release(reset=True)
            session.link.close()
        door, self._door = self._door, None
        if door is not None:
            door.close()

    def close(self) -> None:
        """Give the card back, once what runs is done."""
        self._thread.finish(self._drop)

    def leave(self) -> None:
        """As `close`, without waiting for it."""
        self._thread.finish(self._drop, wait=0)
