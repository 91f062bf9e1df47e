# SPDX-License-Identifier: Apache-2.0
"""One examination: the machine, and the card read once for all checks, on its own thread, with a limit in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from smartcard import scard

from cpxd import config, errors
from cpxd.config import Settings
from cpxd.doctor import glance
from cpxd.doctor.machine import Machine
from cpxd.record.certificate import Beginning, CardCertificate
from cpxd.service import codes, desk, identity
from cpxd.service.desk import OpenCard, Place
from cpxd.service.identity import Identity
from cpxd.service.validity import Opposition, Validity, of_card

T = TypeVar("T")
SERVICE_SECONDS = 0.6  # a pcscd that works answers in a millisecond
START_SECONDS = 3.0  # one that the first client has started (socket activation) looks for its readers before
BUSY_SECONDS = 0.3  # how long another program may hold the card: the doctor says who, it does not wait
SILENCE_SECONDS = 1.0  # for one command; no read of these cards takes half of that
READ_SECONDS = 12.0  # for a whole card at the slowest speed there is; a usual one takes one second


@dataclass(frozen=True)
class Options:
    reader: str | None = None
    browser: bool = False
    whole: bool = False  # read all of the card, however slow it is
    site: str | None = None  # a teleservice that is looked at too


class Visit:
    """Answers are kept: each question is put once. Methods raise the typed errors of the product."""

    def __init__(self, machine: Machine, options: Options, observer: desk.Observer | None = None) -> None:
        self.machine = machine
        self.options = options
        self._observer = observer
        self._lock = threading.RLock()
        self._kept: dict[str, object] = {}
        self.glimpsed: Beginning | CardCertificate | None = None  # of a slow card: what was read of its certificate
        self.listed: tuple[str, ...] = ()  # data objects that the card names, once it was read

    def _once(self, name: str, ask: Callable[[], T]) -> T:
        if name not in self._kept:  # what is known is not waited for behind what takes long
            with self._lock:
                if name not in self._kept:
                    try:
                        self._kept[name] = ask()
                    except Exception as error:  # kept, and raised again to whoever asks next
                        self._kept[name] = error
        found = self._kept[name]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]  # what `ask` of this name gave

    def settings(self) -> Settings:
        """Raises BadConfig."""
        return self._once("settings", config.load)

    def usable_settings(self) -> Settings:
        """The settings, or the built-in ones where they are refused: that is another check's finding."""
        return Settings() if self.settings_refused() else self.settings()

    def settings_refused(self) -> bool:
        try:
            self.settings()
        except errors.CpxError:
            return True
        return False

    def service_code(self) -> int | None:
        """What PC/SC answers to a new client (winscard.h); None when nothing comes."""
        return self._once("service", lambda: within(SERVICE_SECONDS if self.service_runs() else START_SECONDS, _establish))

    def service_runs(self) -> bool:
        """Whether it did before anything was asked of it: with systemd it leaves when nobody needs it."""
        return self._once("runs", lambda: self.machine.running("pcscd") is not None)

    def places(self) -> list[Place]:
        """Raises NoService: that the readers are not told is not that there are none."""
        return self._once("places", self._places)

    def _places(self) -> list[Place]:
        found = within(SERVICE_SECONDS, desk.places)
        if found is None:
            raise errors.NoService()
        return found

    def place(self) -> Place:
        """The reader that is examined. Raises NoReader, UnknownReader, NoService."""
        return self._once("place", self._place)

    def _place(self) -> Place:
        found = self.places()
        if self.options.reader is not None:
            wanted = self.options.reader.casefold()
            found = [p for p in found if p.state.name.casefold() == wanted] or [
                p for p in found if wanted and wanted in p.state.name.casefold()
            ]
            if not found:
                raise errors.UnknownReader(reader=self.options.reader)
        if not found:
            raise errors.NoReader()
        return max(found, key=lambda p: (p.usable and not p.contactless, p.usable, p.state.present, p.hidden))

    def card(self) -> Identity:
        """All that the card says without a code, and the state of its codes."""
        return self._once("card", self._read)

    def _read(self) -> Identity:
        usable = self.usable_settings()
        settings = replace(usable, reader_wait=BUSY_SECONDS, card_silence=SILENCE_SECONDS, card_cache=False)
        pace = glance.Pace(self._observer)
        card = OpenCard(self.place().state.name, settings, pace)
        try:
            states = codes.states(card)  # first: what a person most often comes for
            if pace.slow and not self.options.whole:
                found, self.glimpsed = glance.read(card, states, kept=usable.card_cache)
            else:
                found = identity.read(card, private=False)
                self.listed = card.run(lambda session, begin: session.labels(begin))
        except BaseException:
            card.leave()  # a command that never returns is not waited for
            raise
        card.close()
        return found

    def validity(self) -> Validity:
        return self._once("validity", self._validity)

    def _validity(self) -> Validity:
        opposition = Opposition(replace(self.usable_settings(), revocation_fetch=False))
        now = self.machine.now()
        if self.card() and isinstance(self.glimpsed, Beginning):
            return glance.validity(self.glimpsed, opposition, now)
        return of_card(self.card().record, lambda der: opposition.answer(der, now), now)


def within(seconds: float, ask: Callable[[], T]) -> T | None:
    """What `ask` gives or raises, or None when it takes longer: it is then left behind."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:  # handed over, whatever it is
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    return found[0] if found else None


def _establish() -> int:
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if code == scard.SCARD_S_SUCCESS:
        scard.SCardReleaseContext(context)
    return int(code) & 0xFFFFFFFF


def pcscd_socket() -> str:
    return os.environ.get("PCSCLITE_CSOCK_NAME") or "/run/pcscd/pcscd.comm"
