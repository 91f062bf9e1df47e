# SPDX-License-Identifier: Apache-2.0
"""A person who types a code on the reader, while a dialog says so and lets them give up.

Nothing in PC/SC takes an order back from a reader that waits for its keys (pcscd serves one call a reader): who gives up in the
dialog is let go at once, and what is typed on the reader after that proves nothing: the card is reset.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from cpxd import errors
from cpxd.reader.pinpad import Announce, Ask

Guard = Callable[[], None]
Entry = Callable[[Announce, Guard], Coroutine[Any, Any, None]]  # arms the reader; the guard raises when nobody wants it any more
Dialog = Callable[[Ask], Awaitable[None]]  # until it is cancelled, or Refused when the person closes it; NoPinSource

_left_behind: set[asyncio.Task[None]] = set()  # entries whose person gave up in the dialog, until the reader is done


async def at_the_reader(entry: Entry, dialog: Dialog) -> None:
    """Run `entry`, with a dialog each time that the reader waits. Raises as `entry`; Refused as soon as the dialog is closed."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[Ask] = asyncio.Queue()
    wanted = True

    def announce(ask: Ask) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(asked.put_nowait, ask)

    def guard() -> None:
        if not wanted:
            raise errors.Refused()

    typing = loop.create_task(entry(announce, guard))
    shown = loop.create_task(_shown(asked, dialog))
    try:
        await asyncio.wait({typing, shown}, return_when=asyncio.FIRST_COMPLETED)
        if not typing.done():
            raise errors.Refused()
    finally:
        wanted = False
        if not typing.done():
            _left_behind.add(typing)
            typing.add_done_callback(_forget)
        await _ended(shown)
    typing.result()


async def _shown(asked: asyncio.Queue[Ask], dialog: Dialog) -> None:
    """Show what the reader waits for, until the person closes it. A dialog that cannot be shown is done without."""
    ask = await asked.get()
    while True:
        window, following = asyncio.ensure_future(dialog(ask)), asyncio.ensure_future(asked.get())
        try:
            await asyncio.wait({window, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                with contextlib.suppress(errors.CpxError):
                    try:
                        await window
                    except errors.Refused:
                        return
            ask = await following
        finally:
            await _ended(window, following)


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:  # all of them first: we can be cancelled while we wait
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def _forget(task: asyncio.Task[None]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # who it was for has been told
