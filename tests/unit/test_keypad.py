# SPDX-License-Identifier: Apache-2.0
"""A person at the reader, a dialog that says so, and who may go when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cpxd import errors
from cpxd.reader.pinpad import Announce, Ask
from cpxd.service.keypad import Guard, at_the_reader


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """And nothing is left running."""

    async def whole() -> None:
        async with asyncio.timeout(10):
            await case()
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


class Reader:
    """Asks for each of `asks`, and is done when told."""

    def __init__(self, *asks: Ask) -> None:
        self.asks, self.done = asks, asyncio.Event()
        self.outcome: list[str] = []

    async def entry(self, announce: Announce, guard: Guard) -> None:
        for ask in self.asks:
            announce(ask)
            await asyncio.sleep(0.01)
        await self.done.wait()
        try:
            guard()
            self.outcome.append("counts")
        except errors.Refused:
            self.outcome.append("nobody's")
            raise


class Dialog:
    def __init__(self, ending: BaseException | None = None) -> None:
        self.ending = ending
        self.shown: list[Ask] = []
        self.open = 0

    async def __call__(self, ask: Ask) -> None:
        self.shown.append(ask)
        self.open += 1
        try:
            if self.ending is not None:
                raise self.ending
            await asyncio.sleep(60)
        finally:
            self.open -= 1


@pytest.mark.parametrize("ending", [None, errors.NoPinSource(reason="x"), errors.PinBlocked()])
def test_the_dialog_lasts_as_long_as_the_reader_waits(ending: BaseException | None) -> None:
    async def case() -> None:
        reader, dialog = Reader("pin", "new"), Dialog(ending)
        asyncio.get_running_loop().call_later(0.1, reader.done.set)
        await at_the_reader(reader.entry, dialog)
        assert (reader.outcome, dialog.shown, dialog.open) == (["counts"], ["pin", "new"], 0)

    run(case)


def test_what_the_entry_raises_is_raised() -> None:
    async def fails(announce: Announce, guard: Guard) -> None:
        announce("pin")
        await asyncio.sleep(0.01)
        raise errors.PadTimeout()

    async def case() -> None:
        dialog = Dialog()
        with pytest.raises(errors.PadTimeout):
            await at_the_reader(fails, dialog)
        assert dialog.open == 0

    run(case)


def test_who_closes_the_dialog_is_let_go_and_the_entry_is_nobodys() -> None:
    async def case() -> None:
        reader = Reader("pin")
        with pytest.raises(errors.Refused):
            await at_the_reader(reader.entry, Dialog(errors.Refused()))
        assert reader.outcome == []
        reader.done.set()
        while not reader.outcome:
            await asyncio.sleep(0)
        assert reader.outcome == ["nobody's"]

    run(case)


@pytest.mark.parametrize("after", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("ending", [None, errors.Refused(), errors.NoPinSource(reason="x")])
def test_a_caller_who_is_cancelled_leaves_nothing_behind(after: float, ending: BaseException | None) -> None:
    async def case() -> None:
        reader = Reader("pin", "new")
        caller = asyncio.ensure_future(at_the_reader(reader.entry, Dialog(ending)))
        await asyncio.sleep(after)
        caller.cancel()
        with pytest.raises((asyncio.CancelledError, errors.Refused)):
            await caller
        reader.done.set()
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert reader.outcome in ([], ["nobody's"])

    run(case)
