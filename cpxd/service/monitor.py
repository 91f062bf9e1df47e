# SPDX-License-Identifier: Apache-2.0
"""Watches the readers on a thread of its own, which rests in PC/SC: no polling, no wake-up while nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from cpxd import errors
from cpxd.reader.pcsc import Context, ReaderState

Seen = Callable[[list[ReaderState] | None], None]  # on the loop; None: no PC/SC service
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds between two tries to reach a service that is away
_SPURIOUS = 0.05


class Monitor:
    """Made on the loop that `seen` is called on: once at the start, then at each change."""

    def __init__(self, seen: Seen) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen = seen
        self._stopped = threading.Event()
        self._again = threading.Event()
        self._context: Context | None = None
        # a daemon thread: a PC/SC call that never returns must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="readers", daemon=True)
        self._thread.start()

    def look_again(self) -> None:
        """Somebody asks: try the service now if it was away."""
        self._again.set()

    def stop(self) -> None:
        self._stopped.set()
        self._again.set()
        for _ in range(20):  # a cancel that comes just before the thread rests is lost
            if self._context is not None:
                with contextlib.suppress(Exception):
                    self._context.cancel()
            self._thread.join(0.05)
            if not self._thread.is_alive():
                return

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                with Context() as self._context:
                    pause = _FIRST_PAUSE
                    self._watch(self._context)
            except errors.CpxError:
                self._tell(None)
            finally:
                self._context = None
            self._again.clear()
            if not self._stopped.is_set() and not self._again.wait(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _watch(self, context: Context) -> None:
        known = context.states()
        self._tell(known)
        while not self._stopped.is_set():
            found = context.wait(known, None)
            if found == known:
                self._stopped.wait(_SPURIOUS)
            else:
                self._tell(found)
            known = found

    def _tell(self, states: list[ReaderState] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._seen, states)
