# SPDX-License-Identifier: Apache-2.0
"""A text to be accepted: in a real window on a real display, and in a real pager on a real terminal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from test_dialog_real import Screen

from cpxd import errors
from cpxd.config import Settings
from cpxd.dialog import reading
from cpxd.dialog.display import DisplayHints
from cpxd.dialog.reading import Reading
from simulator import pinentry

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browsers"))
from browser_display import Display

TITLE = "Votre accord"
LONG = "\n".join(f"ligne {n} <b>&amp;" for n in range(2000))
WAIT = 20.0


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    with Display() as made:
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    os.close(made.master)
    os.close(made.slave)


def keys(display: Display, *names: str) -> None:
    environment = {**os.environ, "DISPLAY": display.name}
    subprocess.run(["xdotool", "key", *names], env=environment, check=True, timeout=20)


def on(display: Display, timeout: float = 60.0) -> Reading:
    return Reading(Settings(dialog_timeout=timeout), DisplayHints(display=display.name, lc_messages="fr_FR.UTF-8"))


def opened(display: Display) -> None:
    limit = time.monotonic() + WAIT
    while display.find_window(TITLE) is None:
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_window_is_accepted_only_after_its_time(display: Display, pool: ThreadPoolExecutor) -> None:
    started = time.monotonic()
    asked = pool.submit(on(display).accept, LONG, 2.0)
    opened(display)
    while not asked.done():
        keys(display, "Tab", "Tab", "space")  # text, Refuser, Accepter; before the time the second Tab comes back to the text
        assert time.monotonic() < started + WAIT
    took = time.monotonic() - started
    assert took >= 2.0 or asked.result() is False


def test_a_window_in_peace(display: Display, pool: ThreadPoolExecutor) -> None:
    asked = pool.submit(on(display).accept, LONG, 0.5)
    opened(display)
    keys(display, "Return", "End", "y", "o")  # no key alone is a yes
    time.sleep(1.5)
    assert not asked.done()
    keys(display, "Tab", "Tab", "Return")
    assert asked.result(WAIT) is True


@pytest.mark.parametrize("key", ["Escape", "alt+F4"])
def test_a_window_that_is_closed_is_no(display: Display, pool: ThreadPoolExecutor, key: str) -> None:
    asked = pool.submit(on(display).accept, "Signer ?", 0.1)
    opened(display)
    while not asked.done():
        keys(display, key)
        time.sleep(0.1)
    assert asked.result() is False


def test_nobody_answers(display: Display) -> None:
    with pytest.raises(errors.NoPinSource):
        on(display, 1.5).accept("?", 0.1)
    assert display.find_window(TITLE) is None


def test_who_asked_is_gone(display: Display) -> None:
    async def ask() -> None:
        one = on(display)
        task = asyncio.create_task(one.run(one.accept, LONG, 0.1))
        await asyncio.to_thread(opened, display)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert display.find_window(TITLE) is None


def in_terminal(screen: Screen, pool: ThreadPoolExecutor, text: str, **hints: str) -> Future[bool]:
    where = DisplayHints(tty=screen.name, tty_type="xterm", lc_messages="fr_FR.UTF-8", **hints)
    return pool.submit(Reading(Settings(dialog_timeout=20.0), where).accept, text, 0.1)


@pytest.mark.parametrize(("typed", "expected"), [(b"oui\r", True), (b"YES\r", True), (b"\r", False), (b"o\r", False)])
def test_in_a_terminal(screen: Screen, pool: ThreadPoolExecutor, typed: bytes, expected: bool) -> None:
    asked = in_terminal(screen, pool, LONG)
    screen.until("q pour repondre")
    assert b"ligne 1999" not in screen.shown
    screen.types(b"G")
    screen.until("ligne 1999")
    screen.types(b"qoui\r")  # what is typed ahead answers nothing
    screen.until("Tapez")
    assert not asked.done()
    screen.types(typed)
    assert asked.result(WAIT) is expected
    assert screen.given_back()


@pytest.mark.parametrize("key", [b"!", b"|", b"v", b":e"])
def test_the_pager_opens_nothing_else(screen: Screen, pool: ThreadPoolExecutor, key: bytes) -> None:
    asked = in_terminal(screen, pool, LONG)
    screen.until("q pour repondre")
    screen.types(key)
    screen.until("Command not available")
    screen.types(b"\rq")
    screen.until("Tapez")
    screen.types(b"non\r")
    assert asked.result(WAIT) is False


def test_a_display_that_is_gone_and_a_terminal(screen: Screen, pool: ThreadPoolExecutor) -> None:
    asked = in_terminal(screen, pool, "court", display=":77")
    screen.until("Tapez")
    screen.types(b"oui\r")
    assert asked.result(WAIT) is True


def test_nowhere() -> None:
    for text in ("court", LONG):
        started = time.monotonic()
        for hints in (DisplayHints(), DisplayHints(display=":77")):
            with pytest.raises(errors.NoPinSource):
                Reading(Settings(), hints).accept(text, 0.1)
        assert time.monotonic() - started < 10


def test_a_program_of_the_settings(tmp_path: Path) -> None:
    script = pinentry.install(tmp_path, ["ok", "no", "exit"])
    settings = Settings(dialog_consent=str(pinentry.reader(script)))
    assert Reading(settings, DisplayHints()).accept(LONG, 0.1) is True
    assert Reading(settings, DisplayHints()).accept("x", 0.1) is False
    with pytest.raises(errors.NoPinSource):
        Reading(settings, DisplayHints()).accept("x", 0.1)
    assert "ligne 1999 <b>&amp;" in pinentry.transcript(script)
    script.parent.chmod(0o777)
    with pytest.raises(errors.NoPinSource):
        Reading(settings, DisplayHints()).accept("x", 0.1)


def test_no_toolkit_and_no_pager(screen: Screen, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGER", Path("/nowhere/less"))
    with pytest.raises(errors.NoPinSource) as told:
        in_terminal(screen, pool, LONG).result(WAIT)
    assert "python3-gi" in str(told.value)
    asked = in_terminal(screen, pool, "Une question courte")
    screen.until("Une question courte")  # the distribution's pinentry
    screen.types(b"\r")
    assert asked.result(WAIT) in (True, False)
