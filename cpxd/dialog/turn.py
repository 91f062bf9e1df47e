# SPDX-License-Identifier: Apache-2.0
"""What all trusted dialogs share: one is open at a time, whoever asks; the others wait within their own deadline. A task that is
cancelled closes its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from cpxd import errors
from cpxd.config import Settings
from cpxd.dialog.display import DisplayHints
from cpxd.secret import Secret
from cpxd.text import tr

P = ParamSpec("P")
T = TypeVar("T")

_TURN = threading.Condition()
_open: list[Turn] = []


class Turn:
    """A dialog on the display or terminal of the program that asks. Its kinds have methods that block; `run` calls them from an
    event loop.

    `until` (time.monotonic) bounds all questions together; each method is bounded by the setting dialog.timeout.
    """

    def __init__(self, settings: Settings, hints: DisplayHints, *, until: float | None = None) -> None:
        self._settings = settings
        self._hints = hints
        self._until = until
        self._stopped = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._wake)

    async def run(self, method: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """One of the methods, in a thread. When the task is cancelled the dialog closes before this returns."""
        thread = asyncio.ensure_future(asyncio.to_thread(method, *arguments, **options))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([thread])
            if thread.exception() is None and isinstance(left := thread.result(), Secret):
                left.wipe()
            raise

    def stop(self) -> None:
        """Close the dialog, from any thread, and ask nothing more: the program that asked is gone."""
        with _TURN:
            self._stopped = True
            _TURN.notify_all()
        os.eventfd_write(self._wake, 1)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[float]:
        """The deadline of this dialog, once it is alone. Raises Refused (stopped), NoPinSource (not its turn in time)."""
        now = time.monotonic()
        deadline = min(now + self._settings.dialog_timeout, *([] if self._until is None else [self._until]), now + 86400)
        with _TURN:
            free = _TURN.wait_for(lambda: self._stopped or not _open, deadline - now)
            if self._stopped:
                raise errors.Refused()
            if not free:
                raise errors.NoPinSource(reason=tr("une autre fenêtre attend déjà un code", "another dialog is waiting already"))
            _open.append(self)
        try:
            yield deadline
        finally:
            with _TURN:
                _open.clear()
                _TURN.notify_all()
