# SPDX-License-Identifier: Apache-2.0
"""Watches the readers, each door on a thread of its own: PC/SC rests in its service, no polling, no wake-up while nothing
happens; GALSS has to be asked again and again, and must not keep the others waiting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from cpxd import errors
from cpxd.reader import doors
from cpxd.reader.galss import GalssDoor
from cpxd.reader.link import Door, ReaderState

Seen = Callable[[list[ReaderState] | None], None]  # on the loop; None: no door opens
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds between two tries to reach a service that is away
_SPURIOUS = 0.05
_SETTLED = 0.5
_STOPPING = 1.5


class Monitor:
    """Made on the loop that `seen` is called on: once at the start, then at each change."""

    def __init__(self, seen: Seen) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen = seen
        self._found: dict[int, list[ReaderState] | None] = {}
        self._watches = [_Watch(opener, self._teller(number)) for number, opener in enumerate(doors.openers())]

    def look_again(self) -> None:
        """Somebody asks: try the services that were away now."""
        for watch in self._watches:
            watch.look_again()

    def stop(self) -> None:
        for watch in self._watches:
            watch.stop()

    @property
    def wakes(self) -> int:
        """How often a watch has come out of its rest."""
        return sum(watch.wakes for watch in self._watches)

    def _teller(self, number: int) -> Seen:
        def tell(states: list[ReaderState] | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._merge, number, states)

        return tell

    def _merge(self, number: int, states: list[ReaderState] | None) -> None:
        self._found[number] = states
        if number == 0:  # PC/SC: what it reaches is not asked for a second time
            for watch in self._watches:
                watch.hide(tuple(state.name for state in states or ()))
        elif 0 not in self._found:
            return
        there = [known for known in self._found.values() if known is not None]
        self._seen([state for known in there for state in known] if there else None)


class _Watch:
    """One door, from its opening to its trouble, again and again."""

    def __init__(self, opener: Callable[[], Door | None], tell: Seen) -> None:
        self._opener, self._tell = opener, tell
        self._stopped = threading.Event()
        self._again = threading.Event()
        self._door: Door | None = None
        self._hidden: tuple[str, ...] = ()
        self.wakes = 0
        # a daemon thread: a call that never returns must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="readers", daemon=True)
        self._thread.start()

    def look_again(self) -> None:
        self._again.set()

    def hide(self, names: tuple[str, ...]) -> None:
        """These are the readers of PC/SC."""
        self._hidden = names
        if isinstance(door := self._door, GalssDoor) and door.seen_by_pcsc != names:
            door.seen_by_pcsc = names
            door.cancel()

    def stop(self) -> None:
        self._stopped.set()
        self._again.set()
        waker = threading.Thread(target=self._wake, name="waker", daemon=True)  # SCardCancel waits for a pcscd that hangs
        waker.start()
        waker.join(_STOPPING)

    def _wake(self) -> None:
        for _ in range(20):  # a cancel that comes just before the thread rests is lost
            if (door := self._door) is not None:
                with contextlib.suppress(Exception):
                    door.cancel()
            self._thread.join(0.05)
            if not self._thread.is_alive():
                return

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                door = self._opener()
                if door is None:
                    return
                with contextlib.closing(door) as self._door:
                    pause = _FIRST_PAUSE
                    self._watch(door)
            except errors.CpxError:
                self._tell(None)
            finally:
                self._door = None
            self._again.clear()
            if not self._stopped.is_set() and not self._again.wait(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _watch(self, door: Door) -> None:
        if isinstance(door, GalssDoor):
            door.seen_by_pcsc = self._hidden
        known = door.states()
        self._tell(known)
        soon: float | None = None
        while not self._stopped.is_set():
            found = door.wait(known, soon)
            self.wakes += 1
            # readers come in company (a hub), and one that comes just before the rest goes unnoticed: look once more
            soon = _SETTLED if [state.name for state in found] != [state.name for state in known] else None
            if found == known:
                self._stopped.wait(_SPURIOUS)
            else:
                self._tell(found)
            known = found
