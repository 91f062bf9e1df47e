# SPDX-License-Identifier: Apache-2.0
"""Cards in serial SESAM-Vitale terminals, through the client library of GALSS: the last way to terminals that PC/SC cannot reach.

GALSS tells no events: presence is asked for, every `tpc_polling_time` (2 s at least). It shows an ATR only to who powers the
card, so one is powered once when it is first seen, in an exclusive section of its own, and its ATR left where the person's other
programs find it. Nothing is known here of the PSS bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cpxd import errors
from cpxd._apdu_ffi import lib as core_lib
from cpxd.apdu import GalssTransport
from cpxd.config import Settings, run_home
from cpxd.files import read_small
from cpxd.reader import galssini
from cpxd.reader.galsslib import (
    ABSENT,
    ON,
    PRESENCE,
    WITHDRAW,
    Answer,
    Library,
    Resource,
    Session,
    load,
    trouble,
)
from cpxd.reader.link import Link, ReaderState

PREFIX = "GALSS "  # of the names that its slots have here
FLOOR = 2.0  # seconds between two looks
_PAUSE = 0.1  # seconds between two attempts at an exclusive section


@dataclass
class _Known:
    """What this process last learnt of a slot. `events` moves when what is in it may be another card."""

    file: Path
    counter: int = -1
    present: bool = False
    atr: bytes = b""
    busy: bool = False
    events: int = 0

    def powered(self, answer: Answer, *, ours: bool) -> None:
        self.events += 0 if ours else 1
        self.counter, self.present, self.atr = answer.counter, True, answer.rest
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self.file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            temporary.write_text(f"{answer.counter} {answer.rest.hex()}", encoding="ascii")
            temporary.replace(self.file)

    def learn(self, counter: int) -> bool:
        """Whether another program of this person powered the card that the terminal counts so, and left its ATR: then nobody
        has to power it again, which would end what that program has proved."""
        try:
            said, _, atr = read_small(self.file, 256).partition(" ")
            known = (int(said), bytes.fromhex(atr))
        except (OSError, ValueError):
            return False
        if known[0] != counter or not known[1]:
            return False
        self.events += 1
        self.counter, self.present, self.atr = counter, True, known[1]
        return True

    def gone(self) -> None:
        self.events += 1 if self.present else 0
        self.counter, self.present, self.atr = -1, False, b""


_known: dict[tuple[int, str], _Known] = {}  # by library and resource: the door that looks and the links share it


def _of(library: Library, resource: Resource) -> _Known:
    name = hashlib.sha256(resource.reader.encode()).hexdigest()[:16]
    return _known.setdefault((id(library), resource.key), _Known(run_home() / f"galss-{name}"))


def _held(library: Library, seconds: float) -> None:
    if not library.line.acquire(timeout=max(0.0, seconds)):
        raise errors.ReaderBusy(seconds=round(seconds), reader=PREFIX)


def _listed(library: Library, ini: galssini.Ini | None, seconds: float) -> list[Resource]:
    """The terminals; as they were last listed, when an operation of this process has the line now."""
    known = library.listed
    if known is None:
        _held(library, seconds)
    elif not library.line.acquire(blocking=False):
        return known
    try:
        library.listed = library.resources(ini)
        return library.listed
    finally:
        library.line.release()


@contextlib.contextmanager
def _exclusive(session: Session) -> Iterator[bool]:
    """Whether the exclusive section was had."""
    try:
        yield session.claim()
    finally:
        session.yield_()


class GalssDoor:
    """`seen_by_pcsc`: names of the PC/SC readers, so that a terminal that both reach is shown, and asked, once."""

    def __init__(self, library: Library, settings: Settings) -> None:
        """Raises GalssTrouble, ReaderBusy, and BadConfig for a galss.ini that is none."""
        path = galssini.find(settings.galss_ini)
        self.ini = galssini.load(path) if path else None
        self._library = library
        self._resources = _listed(library, self.ini, settings.reader_wait)
        self._pause = max(FLOOR, settings.galss_tpc_polling_time)
        self._cancelled = threading.Event()
        self.seen_by_pcsc: tuple[str, ...] = ()

    def shown(self) -> list[Resource]:
        return [resource for resource in self._resources if not self._also_pcsc(resource)]

    def _also_pcsc(self, resource: Resource) -> bool:
        # no public source says how a PC/SC driver over GALSS names its reader: by its own name, or by the channel's
        channels = self.ini.channels if self.ini else ()
        names = {c.characteristics for c in channels if c.index == resource.channel and c.characteristics}
        return any("galss" in reader.casefold() or any(reader.startswith(n) for n in names) for reader in self.seen_by_pcsc)

    def states(self) -> list[ReaderState]:
        """A terminal of which GALSS tells an error is not there. Raises GalssTrouble when all are such."""
        found: list[ReaderState] = []
        trouble: errors.GalssTrouble | None = None
        for resource in self.shown():
            try:
                found.append(self._state(resource))
            except errors.GalssTrouble as error:
                trouble = error
        if trouble is not None and not found:
            raise trouble
        return found

    def _state(self, resource: Resource) -> ReaderState:
        known = _of(self._library, resource)
        if self._library.line.acquire(blocking=False):  # else an operation runs, and will tell
            try:
                self._look(resource, known)
            finally:
                self._library.line.release()
        return ReaderState(
            name=resource.reader,
            atr=known.atr,
            present=known.present,
            mute=known.present and not known.atr,
            in_use=known.busy,
            exclusive=known.busy,
            events=known.events & 0xFFFF,
        )

    def _look(self, resource: Resource, known: _Known) -> None:
        session = self._library.open(resource.key)
        try:
            try:
                seen = session.order(PRESENCE)
            except errors.GalssTrouble:
                session.close()  # what it may still answer, late, is nobody's
                session = self._library.open(resource.key)
                known.busy = not session.claim()
                if known.busy:  # somebody else's exclusive section: nothing is told in it
                    return
                seen = session.order(PRESENCE)
                session.yield_()
            known.busy = False
            if seen.state == ABSENT:
                known.gone()
            elif seen.counter != known.counter and not (seen.state == ON and known.learn(seen.counter)):
                self._meet(session, seen, known)
        finally:
            session.close()

    def _meet(self, session: Session, seen: Answer, known: _Known) -> None:
        """A card that is new to us, or that somebody else has powered: learn its ATR."""
        with _exclusive(session) as alone:
            if not alone:
                known.gone()
                known.busy = True
                return
            try:
                known.powered(session.power(), ours=False)
            except errors.GalssTrouble:
                known.powered(Answer(seen.state, seen.counter, b""), ours=False)

    def wait(self, known: list[ReaderState], seconds: float | None) -> list[ReaderState]:
        """Without a terminal nothing is asked for: it then rests until `cancel`."""
        limit = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if limit is None else max(0.0, limit - time.monotonic())
            pause = left if not self.shown() else self._pause if left is None else min(self._pause, left)
            cancelled = self._cancelled.wait(pause)
            self._cancelled.clear()
            found = self.states()
            if cancelled or found != known or (limit is not None and time.monotonic() >= limit):
                return found

    def cancel(self) -> None:
        self._cancelled.set()

    def connect(self, reader: str, *, wait: float, allowed: Callable[[], None]) -> Link:
        """Raises UnknownReader, ReaderBusy, NoCard, CardMute, GalssTrouble."""
        resource = next((r for r in self._resources if r.reader == reader), None)
        if resource is None:
            raise errors.CardRemoved()
        allowed()
        return GalssLink(self._library, resource, wait=wait, allowed=allowed)

    def close(self) -> None:
        self.cancel()


class GalssLink(Link):
    """An open session on a slot. Between operations other programs may use the terminal: its counter tells that they did."""

    def __init__(self, library: Library, resource: Resource, *, wait: float, allowed: Callable[[], None]) -> None:
        super().__init__(resource.reader)
        self._library, self._resource, self._wait = library, resource, wait
        self._seen = _of(library, resource)
        self._counter = self._seen.counter
        self._closed = False
        self.atr = self._seen.atr
        _held(library, wait)
        try:
            self._session = library.open(resource.key)
            try:
                self._claim(allowed)
                self._meet(first=True)
                self._session.yield_()
            except BaseException:
                self._session.close()
                raise
        finally:
            library.line.release()
        self.epoch = 0
        self.transport = self._transport()

    def _transport(self) -> GalssTransport:
        return self._session.transport(self._observer)

    def _begin(self) -> None:
        if self._closed:
            raise errors.GalssTrouble(code="?", operation="FermerSession")
        _held(self._library, self._wait)
        try:
            self._claim(lambda: None)
            self._meet(first=False)
        except BaseException:
            self._session.yield_()
            self._library.line.release()
            raise

    def _claim(self, allowed: Callable[[], None]) -> None:
        """Begin an exclusive section. A refusal may mean another program's, or a service that was started anew: no code is
        public that would tell. So each attempt after the first is made in a new session, which a dead service refuses.
        """
        limit = time.monotonic() + self._wait
        while not self._session.claim():
            if time.monotonic() > limit:
                raise errors.ReaderBusy(seconds=round(self._wait), reader=self.reader)
            time.sleep(_PAUSE)
            allowed()
            self._session.close()
            self._session = self._library.open(self._resource.key)
            self.transport = self._transport()

    def _meet(self, *, first: bool) -> None:
        """Find the card as it was left, or power it: somebody reset it, or it is another one."""
        seen = self._session.order(PRESENCE)
        if seen.state == ABSENT:
            self._seen.gone()
            raise errors.NoCard() if first else errors.CardRemoved()
        if seen.state != ON or seen.counter != self._counter or not self.atr:
            atr = self.atr
            if seen.state == ON and seen.counter != self._counter and self._seen.learn(seen.counter):
                self._counter, self.atr = self._seen.counter, self._seen.atr
            else:
                self._power(ours=seen.counter == self._seen.counter)
            self.epoch += 1
            if atr and atr != self.atr and not first:
                raise errors.CardRemoved()
        self._session.expect(self._counter)

    def _power(self, *, ours: bool) -> None:
        try:
            answer = self._session.power()
        except errors.GalssTrouble:
            raise errors.CardMute() from None
        self._seen.powered(answer, ours=ours)
        self._counter, self.atr = answer.counter, answer.rest
        self._session.expect(self._counter)

    def _end(self, *, reset: bool) -> None:
        try:
            if reset and not self._session.closed:
                with contextlib.suppress(errors.GalssTrouble, errors.CardMute):
                    self._session.order(WITHDRAW)
                    self._power(ours=True)
            self._session.yield_()
        finally:
            self._library.line.release()

    def _diagnose(self, code: int) -> errors.CpxError:
        """Its session is closed first: what it may still answer, late, must not be taken for the answer to something else."""
        self._session.close()
        if code == core_lib.APDU_GALSS_CHANGED:
            return errors.CardRemoved()
        try:
            session = self._library.open(self._resource.key)
        except errors.GalssTrouble:
            return trouble(code, "Echange")
        try:
            seen = session.order(PRESENCE)
        except errors.GalssTrouble:
            return errors.CardMute()
        finally:
            session.close()
        return errors.CardRemoved() if seen.state == ABSENT or seen.counter != self._counter else errors.CardMute()

    def _disconnect(self) -> None:
        self._closed = True
        # when another card's command never returns, the session stays with it: there is no other way to close it
        if not self._session.closed and self._library.line.acquire(timeout=self._wait):
            try:
                self._session.close()
            finally:
                self._library.line.release()


def installed(settings: Settings) -> bool:
    """Whether this machine has a GALSS that the settings want."""
    return settings.galss_use == "auto" and load(settings.galss_folder) is not None


def door(settings: Settings) -> GalssDoor | None:
    """None where there is none. Raises GalssTrouble, BadConfig."""
    library = load(settings.galss_folder) if installed(settings) else None
    return GalssDoor(library, settings) if library is not None else None
