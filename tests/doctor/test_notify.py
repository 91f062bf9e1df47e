# SPDX-License-Identifier: Apache-2.0
"""What is told on the desktop: once an event, to a real session bus with a notification service of ours on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from browser_display import DIES_WITH_US, Display
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from cpxd.notify import desktop, events
from cpxd.notify.desktop import Desktop
from cpxd.notify.events import Told, View

TODAY = date(2026, 11, 30)
GOOD = View("0123456789", 3, blocked=False, for_good=False, valid_until=TODAY + timedelta(days=900))
NAME = "org.freedesktop.Notifications"


def kinds(told: Told, view: View, today: date = TODAY) -> list[str]:
    return [event.kind for event in told.new(view, today)]


def test_nothing_to_tell() -> None:
    assert kinds(Told(), GOOD) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"tries_left": 1}, "last-try"),
        ({"tries_left": 0, "blocked": True}, "blocked"),
        ({"tries_left": 0, "blocked": True, "for_good": True}, "for-good"),
        ({"revoked": True}, "revoked"),
        ({"valid_until": TODAY + timedelta(days=30)}, "expires"),
    ],
)
def test_once_an_event(change: dict[str, Any], kind: str) -> None:
    told = Told()
    ill = replace(GOOD, **change)
    assert kinds(told, ill) == [kind]
    assert kinds(told, ill) == []
    assert kinds(told, replace(ill, serial="other")) == [kind], "another card is another event"


def test_a_card_that_is_blocked_again_is_told_again() -> None:
    told = Told()
    blocked = replace(GOOD, tries_left=0, blocked=True)
    assert kinds(told, blocked) == ["blocked"] and kinds(told, GOOD) == [] and kinds(told, blocked) == ["blocked"]


def test_expiry_is_told_at_30_7_and_1_days() -> None:
    told, end = Told(), TODAY + timedelta(days=40)
    when = [left for left in range(40, -2, -1) if kinds(told, replace(GOOD, valid_until=end), end - timedelta(days=left))]
    assert when == [30, 7, 1]


def test_what_was_told_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "state" / "notified"
    ill = replace(GOOD, revoked=True)
    assert kinds(Told(file), ill) == ["revoked"] and kinds(Told(file), ill) == []
    assert GOOD.serial not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"\xff\x00 nonsense")
    assert kinds(Told(file), ill) == ["revoked"]


def test_every_event_in_both_languages() -> None:
    for event in (events.LAST_TRY, events.BLOCKED, events.FOR_GOOD, events.REVOKED, events.reader_lost("R"), events.expires(7)):
        assert event.title.fr and event.title.en and event.body.fr and event.body.en
        assert event.title.fr != event.title.en


# --- the bus


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a session bus of our own."""
    process = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    yield address
    process.terminate()
    process.wait(10)
    process.stdout.close()


class Service:
    """org.freedesktop.Notifications, as far as it is asked."""

    def __init__(self) -> None:
        self.shown: list[list[Any]] = []

    async def start(self, address: str) -> None:
        self.bus = await MessageBus(bus_address=address).connect()
        self.bus.add_message_handler(self._heard)
        await self.bus.request_name(NAME)

    def _heard(self, message: Message) -> Message | None:
        if message.member != "Notify":
            return None
        self.shown.append(message.body)
        return Message.new_method_return(message, "u", [len(self.shown)])

    async def click(self, number: int) -> None:
        await self.bus.send(
            Message.new_signal("/org/freedesktop/Notifications", NAME, "ActionInvoked", "us", [number, "default"])
        )


def test_shown_on_the_desktop_and_opened_by_a_click(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, ...]] = []

    async def note(words: tuple[str, ...]) -> None:
        opened.append(words)

    monkeypatch.setattr(desktop, "_open", note)

    async def scenario() -> Service:
        service, shown = Service(), Desktop()
        await service.start(bus)
        assert await shown.tell(events.BLOCKED)
        assert await shown.tell(events.reader_lost('<a href="https://example.org">R&D</a>'))
        await service.click(1)
        for _ in range(100):
            if opened:
                break
            await asyncio.sleep(0.02)
        shown.stop()
        service.bus.disconnect()
        return service

    service = asyncio.run(scenario())
    body, named = service.shown
    assert body[0] == "cpxd" and "bloquée" in body[3] and body[5][0] == "default"
    assert body[6]["urgency"].value == 2
    assert opened == [("rescue",)]
    assert not {"<", ">", "&"} & set(named[4])


@pytest.fixture
def dunst(bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The notification service of a real desktop, on a display of its own; where a click leaves what it opens."""
    opened = tmp_path / "opened"
    terminal = tmp_path / "xdg-terminal-exec"
    terminal.write_text(f'#!/bin/sh\necho "$@" >> {opened}\n')
    terminal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Display() as display, (tmp_path / "out").open("w") as out:
        environment = {**os.environ, "DISPLAY": display.name, "HOME": str(tmp_path)}
        process = subprocess.Popen([*DIES_WITH_US, "dunst", "-print"], env=environment, stdout=out, stderr=out)
        limit = time.monotonic() + 20
        while subprocess.run(["dunstctl", "count"], capture_output=True, check=False).returncode and time.monotonic() < limit:
            time.sleep(0.05)
        yield opened
        process.terminate()
        process.wait(10)


def test_a_real_desktop_shows_it_and_opens_what_it_is_about(dunst: Path) -> None:
    async def scenario() -> None:
        shown = Desktop()
        assert await shown.tell(events.BLOCKED)
        assert await shown.tell(events.reader_lost("<b>R&D"))
        limit = time.monotonic() + 20
        while not (dunst.exists() and dunst.read_text()) and time.monotonic() < limit:
            await asyncio.to_thread(subprocess.run, ["dunstctl", "action", "0"], check=True)
            await asyncio.sleep(0.1)
        shown.stop()

    asyncio.run(scenario())
    assert dunst.read_text().splitlines()[0].endswith("/cpxd rescue")
    said = (dunst.parent / "out").read_text()
    assert f"summary: '{events.BLOCKED.title.fr}'" in said and "urgency: CRITICAL" in said and '"default": "Ouvrir"' in said
    assert "<b>R&D" not in said


def test_a_desktop_that_is_not_there_fails_nothing(bus: str) -> None:
    async def scenario() -> bool:
        shown = Desktop()
        try:
            return await shown.tell(events.BLOCKED)
        finally:
            shown.stop()

    assert asyncio.run(scenario()) is False


def test_no_bus_fails_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert asyncio.run(Desktop().tell(events.REVOKED)) is False


def test_the_terminal_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert desktop.terminal(("rescue",)) is None
    (tmp_path / "xterm").write_text("#!/bin/sh\n")
    (tmp_path / "xterm").chmod(0o755)
    line = desktop.terminal(("rescue",))
    assert line is not None and line[0].endswith("xterm") and line[1] == "-e" and line[-1] == "rescue"
