# SPDX-License-Identifier: Apache-2.0
"""Our own dialogs, on the display or terminal of the program that asks. Nothing here holds a card while a person types."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cpxd import errors
from cpxd.card.application import Code
from cpxd.config import Settings
from cpxd.reader.pinpad import Ask
from cpxd.record.sdo import PinState
from cpxd.secret import Secret
from cpxd.service.hub import Slot

if TYPE_CHECKING:
    from cpxd.dialog.pinentry import Pinentry


class Asker(Protocol):
    """What a connection needs of a person. All raise Refused, NoPinSource."""

    async def code(self, slot: Slot, code: Code) -> Secret:
        """The PIN, or the unblock code."""

    async def new_pin(self, slot: Slot) -> Secret:
        """A new PIN, typed twice."""

    async def confirm_last_try(self, slot: Slot, code: Code) -> bool:
        """Whether the person typed "dernier"."""

    async def on_pad(self, slot: Slot, ask: Ask) -> None:
        """Say what is to be typed on the reader, until it is cancelled; Refused when the person closes it."""

    def close(self, slot: Slot, *, dead_only: bool = False) -> None:
        """The sessions that a dialog was about are gone: it ends as if it were refused. `dead_only`: those of a past life."""

    def stop(self) -> None:
        """Nobody waits for an answer any more: close what is open, ask nothing more."""


class _Unseen:
    """Stands for a dialog that cannot be shown: it ends when one would."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


@dataclass
class Person:
    """Asks the person in front of the program at the other end of a connection. `environment` is what that program told."""

    settings: Settings
    pid: int
    environment: Mapping[str, str] = field(default_factory=dict)
    _open: dict[Pinentry | _Unseen, tuple[Slot, int]] = field(default_factory=dict)  # what it is about, and its life then
    _stopped: bool = False

    async def code(self, slot: Slot, code: Code) -> Secret:
        tries = _tries(slot, code)
        with self._pinentry(slot) as (pinentry, who):
            ask = pinentry.pin if code is Code.PIN else pinentry.unblock_code
            return await pinentry.run(ask, who, _card(slot), tries)

    async def new_pin(self, slot: Slot) -> Secret:
        with self._pinentry(slot) as (pinentry, who):
            return await pinentry.run(pinentry.new_pin, who, _card(slot))

    async def confirm_last_try(self, slot: Slot, code: Code) -> bool:
        with self._pinentry(slot) as (pinentry, who):
            return await pinentry.run(pinentry.confirm_last_try, who, _card(slot), code)

    async def on_pad(self, slot: Slot, ask: Ask) -> None:
        state = _state(slot, Code.UNBLOCK if ask == "unblock" else Code.PIN)
        tries = None if state is None or state.blocked or ask == "new" else state.tries_left
        with self._pinentry(slot) as (pinentry, who), contextlib.suppress(errors.NoPinSource):
            await pinentry.run(pinentry.on_pad, who, _card(slot), ask, tries)
        if self._stopped:  # while the dialog was tried
            raise errors.Refused()
        unseen = _Unseen()
        self._open[unseen] = slot, slot.life
        try:
            await unseen.stopped.wait()
        finally:
            self._open.pop(unseen, None)
        raise errors.Refused()

    def close(self, slot: Slot, *, dead_only: bool = False) -> None:
        for pinentry, (about, life) in tuple(self._open.items()):
            if about is slot and not (dead_only and life == slot.life):
                pinentry.stop()

    def stop(self) -> None:
        self._stopped = True
        for pinentry in tuple(self._open):
            pinentry.stop()

    @contextlib.contextmanager
    def _pinentry(self, slot: Slot) -> Iterator[tuple[Pinentry, str]]:
        from cpxd.dialog.display import DisplayHints, program_name
        from cpxd.dialog.pinentry import Pinentry

        if self._stopped:
            raise errors.Refused()
        pinentry = Pinentry(self.settings, DisplayHints.from_environ(self.environment, self.pid))
        self._open[pinentry] = slot, slot.life
        try:
            yield pinentry, program_name(self.pid)
        finally:
            self._open.pop(pinentry, None)


def _card(slot: Slot) -> str:
    return slot.token.tree.information.label if slot.token is not None else ""


def _state(slot: Slot, code: Code) -> PinState | None:
    if slot.codes is None:
        return None
    return slot.codes.pin if code is Code.PIN else slot.codes.unblock


def _tries(slot: Slot, code: Code) -> int | None:
    state = _state(slot, code)
    if state is None:
        return None
    if state.blocked:
        raise errors.PinBlocked() if code is Code.PIN else errors.UnblockCodeBlocked()
    return state.tries_left
