# SPDX-License-Identifier: Apache-2.0
"""The dialogs in the distribution's own pinentry programs, on a real pseudo-terminal, typed as a person types."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pty
import select
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from cpxd import errors
from cpxd.config import Settings
from cpxd.dialog.display import DisplayHints
from cpxd.dialog.pinentry import Pinentry
from cpxd.secret import Secret

T = TypeVar("T")

WAIT = 20.0
PROGRAMS = ("/usr/bin/pinentry-tty", "/usr/bin/pinentry-curses")
CANCEL = {PROGRAMS[0]: b"\x04", PROGRAMS[1]: b"\t\t\r"}


class Screen:
    """A terminal of 24 lines and 80 columns, and the hands of the person in front of it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.name = os.ttyname(self.slave)
        self.before = termios.tcgetattr(self.slave)
        self.shown = b""

    def until(self, text: str) -> None:
        end = time.monotonic() + WAIT
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 4096)

    def types(self, keys: bytes) -> None:
        self.shown = b""
        os.write(self.master, keys)

    def given_back(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def dialog(self, program: str, timeout: float = 20.0, **hints: str) -> Pinentry:
        where = DisplayHints(tty=self.name, tty_type="xterm", lc_messages=hints.pop("lc_messages", "fr_FR.UTF-8"), **hints)
        return Pinentry(Settings(dialog_pinentry=program, dialog_timeout=timeout), where)


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    os.close(made.master)
    os.close(made.slave)


@contextlib.contextmanager
def person(act: Callable[[], None]) -> Iterator[None]:
    """Somebody who types while the block asks; what went wrong with him is raised at its end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if failed:
            raise failed[0]


def typed(screen: Screen, *steps: tuple[str, bytes]) -> contextlib.AbstractContextManager[None]:
    """Each step: wait for a text, then type."""

    def act() -> None:
        for text, keys in steps:
            screen.until(text)
            screen.types(keys)

    return person(act)


def holds(secret: Secret, content: bytes) -> bool:
    return secret.digest(b"salt") == hashlib.sha256(b"salt" + content).digest()


@pytest.mark.parametrize("program", PROGRAMS)
def test_pin(screen: Screen, program: str) -> None:
    with typed(screen, ("4 chiffres", b"1234\r")):
        pin = screen.dialog(program).pin("firefox-esr", "CPS 2800000001", 3)
    assert holds(pin, b"1234")
    assert screen.given_back()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_person_reads_who_asks_and_how_many_tries_are_left(screen: Screen, program: str) -> None:
    seen: list[bytes] = []

    def act() -> None:
        screen.until("4 chiffres")
        seen.append(screen.shown)
        screen.types(b"1234\r")

    with person(act):
        screen.dialog(program).pin("firefox-esr", "CPS 2800000001", 2, error="Code porteur faux.")
    for text in ("firefox-esr", "2800000001", "Essais restants", "faux"):
        assert text.encode() in seen[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_english(screen: Screen, program: str) -> None:
    with typed(screen, ("4 digits", b"1234\r")):
        screen.dialog(program, lc_messages="en_GB.UTF-8").pin("ssh", "CPS 1", 3)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("locale", ["", "C", "fr_FR.UTF-8", "xx_YY"])
def test_in_any_locale(screen: Screen, program: str, locale: str) -> None:
    with typed(screen, ("8 chiffres", b"12345678\r")):
        assert holds(screen.dialog(program, lc_ctype=locale).unblock_code("x", "CPS 1", 1), b"12345678")


@pytest.mark.parametrize("program", PROGRAMS)
def test_odd_characters_arrive_as_typed(screen: Screen, program: str) -> None:
    with typed(screen, ("demande", b"1%2 \xc3\xa9+\r")):
        secret = screen.dialog(program).secret("x", "un mot")
    assert holds(secret, b"1%2 \xc3\xa9+")


@pytest.mark.parametrize("program", PROGRAMS)
def test_asked_again_until_it_is_a_pin(screen: Screen, program: str) -> None:
    with typed(screen, ("4 chiffres", b"12\r"), ("exactement", b"\r"), ("exactement", b"1234\r")):
        assert holds(screen.dialog(program).pin("x", "CPS 1", 3), b"1234")


@pytest.mark.parametrize("program", PROGRAMS)
def test_new_pin(screen: Screen, program: str) -> None:
    with typed(screen, ("4 chiffres", b"4321\r"), ("Encore", b"4321\r")):
        assert holds(screen.dialog(program).new_pin("x", "CPS 1"), b"4321")


@pytest.mark.parametrize("program", PROGRAMS)
def test_cancelled(screen: Screen, program: str) -> None:
    with typed(screen, ("4 chiffres", CANCEL[program])), pytest.raises(errors.Refused):
        screen.dialog(program).pin("x", "CPS 1", 3)
    assert screen.given_back()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_last_try(screen: Screen, program: str) -> None:
    with typed(screen, ("Mot", b"Dernier\r")):
        assert screen.dialog(program).confirm_last_try("x", "CPS 1")
    with typed(screen, ("Mot", b"1234\r")):
        assert not screen.dialog(program).confirm_last_try("x", "CPS 1")


@pytest.mark.parametrize(
    ("program", "keys", "expected"),
    [(PROGRAMS[0], b"o", True), (PROGRAMS[0], b"n", False), (PROGRAMS[1], b"\r", True), (PROGRAMS[1], b"\t\r", False)],
)
def test_confirm(screen: Screen, program: str, keys: bytes, expected: bool) -> None:
    with typed(screen, ("on>" if program == PROGRAMS[1] else "[on]", keys)):
        assert screen.dialog(program).confirm("Autoriser cette page ?") is expected
    assert screen.given_back()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_long_text_is_cut_and_kills_no_pinentry(screen: Screen, program: str) -> None:
    with typed(screen, ("on>" if program == PROGRAMS[1] else "[on]", b"\r" if program == PROGRAMS[1] else b"o")):
        assert screen.dialog(program).confirm("Vous allez signer à 100 % : " + "é un mot " * 500)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nobody_there(screen: Screen, program: str) -> None:
    start = time.monotonic()
    with pytest.raises(errors.NoPinSource, match="personne"):
        screen.dialog(program, timeout=1.2).pin("x", "CPS 1", 3)
    assert time.monotonic() - start < 4
    assert screen.given_back()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_that_asked_is_gone(screen: Screen, program: str) -> None:
    async def ask() -> None:
        one = screen.dialog(program)
        task = asyncio.create_task(one.run(one.pin, "x", "CPS 1", 3))
        await asyncio.to_thread(screen.until, "4 chiffres")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert screen.given_back()


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_terminal_no_dialog(program: str) -> None:
    for tty in ("", "/dev/pts/99999", "not a tty"):
        start = time.monotonic()
        with pytest.raises(errors.NoPinSource, match="terminal"):
            Pinentry(Settings(dialog_pinentry=program), DisplayHints(display=":77", tty=tty)).pin("x", "CPS 1", 3)
        assert time.monotonic() - start < 2


def test_the_program_is_found_without_a_setting(screen: Screen) -> None:
    with typed(screen, ("4 chiffres", b"1234\r")):
        assert holds(screen.dialog("").pin("x", "CPS 1", 3), b"1234")


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_to_type_on_the_reader_stays_until_it_is_over_or_closed(screen: Screen, program: str) -> None:
    dialog = screen.dialog(program)

    def over() -> None:
        screen.until("clavier")
        dialog.stop()

    with person(over), pytest.raises(errors.Refused):
        dialog.on_pad("firefox-esr", "CPS 2800000001", "pin", 3)
    assert screen.given_back()
    screen.shown = b""
    closed = threading.Event()

    def close() -> None:
        screen.until("nnuler")
        while not closed.wait(0.2):  # what is typed before the program listens is thrown away
            screen.types(b"\r")

    with person(close), pytest.raises(errors.Refused):
        try:
            screen.dialog(program).on_pad("firefox-esr", "CPS 2800000001", "change", 3)
        finally:
            closed.set()
    assert screen.given_back()
