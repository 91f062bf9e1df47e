# SPDX-License-Identifier: Apache-2.0
"""All readers of this machine, whichever way they are reached: PC/SC, and GALSS where it is installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from cpxd import config, errors, log
from cpxd.reader import galss
from cpxd.reader.link import Door, ReaderState
from cpxd.reader.pcsc import Context
from cpxd.reader.worker import CardThread, Ticket

_SERVICE_WAIT = 10.0  # seconds: pcscd may only be starting


def pcsc_door() -> Context:
    """Raises NoService."""
    return Context()


def galss_door() -> galss.GalssDoor | None:
    """None where there is no GALSS. Raises GalssTrouble, BadConfig."""
    return galss.door(config.load())


def openers() -> list[Callable[[], Door | None]]:
    """What opens each door, PC/SC first; the others give None where they do not exist."""
    return [pcsc_door, galss_door]


def door_to(reader: str) -> Door:
    """The door that `reader`, a name of `look` or of a watch, is behind. Raises NoService."""
    if reader.startswith(galss.PREFIX) and not _pcsc_has(reader):
        with contextlib.suppress(errors.BadConfig):
            if (door := galss_door()) is not None:
                return door
    return pcsc_door()


def _pcsc_has(reader: str) -> bool:
    """A PC/SC driver may have named its reader so."""
    try:
        with pcsc_door() as context:
            return reader in context.names()
    except errors.CpxError:
        return False


def look() -> list[ReaderState]:
    """Every reader now. What is wrong with one door hides no reader of the other. Raises NoService, GalssTrouble, BadConfig."""
    trouble: errors.CpxError | None = None
    found: list[ReaderState] = []
    try:
        found = _pcsc_states()
    except errors.NoService as error:
        trouble = error
    try:
        found += _galss_states(tuple(state.name for state in found))
    except errors.CpxError as error:
        log.write("galss", code=error.code)
        trouble = error
    if trouble is not None and not found:
        raise trouble
    return found


def _pcsc_states() -> list[ReaderState]:
    """On a thread of its own: a pcscd that hangs takes the connection and never answers."""

    def job(ticket: Ticket[list[ReaderState]]) -> list[ReaderState]:
        with pcsc_door() as context:
            return context.states()

    thread = CardThread("PC/SC", wait=_SERVICE_WAIT, silence=_SERVICE_WAIT)
    try:
        return thread.call(job)
    except errors.ReaderBusy:
        raise errors.SilentService() from None
    finally:
        thread.finish(lambda: None, wait=0)


def _galss_states(pcsc: tuple[str, ...]) -> list[ReaderState]:
    """On a thread of its own: GALSS answers when it answers."""
    settings = config.load()
    if not galss.installed(settings):
        return []

    def job(ticket: Ticket[list[ReaderState]]) -> list[ReaderState]:
        ticket.begin()
        door = galss_door()
        if door is None:
            return []
        door.seen_by_pcsc = pcsc
        return door.states()

    thread = CardThread(galss.PREFIX, wait=settings.reader_wait, silence=settings.card_silence)
    try:
        return thread.call(job)
    except errors.CardMute:
        raise errors.GalssTrouble(code="?", operation=f"{settings.card_silence:.0f} s") from None
    finally:
        thread.finish(lambda: None, wait=0)
