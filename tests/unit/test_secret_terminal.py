# SPDX-License-Identifier: Apache-2.0
"""A secret typed on a terminal: a real pseudo-terminal, a real session, real signals."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from cpxd.secret import Secret, SecretError

WAIT = 20.0

PROGRAM = """
import signal, sys
from cpxd.secret import Secret, SecretError
{before}
try:
    with Secret.from_terminal("/dev/tty", "Code porteur : ", timeout={timeout}) as secret:
        print("digits" if secret.is_digits(4) else "other", secret.digest(b"salt").hex(), flush=True)
except SecretError as error:
    print("error", error.reason, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
{after}
"""


class Terminal:
    """A program in a session of its own on a pseudo-terminal, and the hands of the person in front of it."""

    def __init__(self, before: str = "", after: str = "", timeout: float | None = None) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            program = PROGRAM.format(before=before, after=after, timeout=timeout)
            os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606  # a forked pty has no other way
        self.shown = b""

    def until(self, text: bytes, count: int = 1) -> None:
        end = time.monotonic() + WAIT
        while self.shown.count(text) < count:
            assert time.monotonic() < end, self.shown
            if select.select([self.fd], [], [], 0.1)[0]:
                self.shown += os.read(self.fd, 4096)

    def prompted(self, count: int = 1) -> None:
        self.until(b"Code porteur : ", count)
        assert not self.echoes()

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def types(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def ends(self) -> int:
        """Exit status as os.waitstatus_to_exitcode gives it."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError("still running")

    def stops(self) -> int:
        pid, status = os.waitpid(self.pid, os.WUNTRACED)
        assert pid == self.pid
        assert os.WIFSTOPPED(status)
        return os.WSTOPSIG(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def started() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def typed(secret: bytes) -> bytes:
    return hashlib.sha256(b"salt" + secret).hexdigest().encode()


def test_typed_without_echo(started: list[Terminal]) -> None:
    started.append(terminal := Terminal())
    terminal.prompted()
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))
    assert b"1234" not in terminal.shown.replace(typed(b"1234"), b"")
    assert terminal.echoes()
    assert terminal.ends() == 0


def test_corrected_with_backspace(started: list[Terminal]) -> None:
    started.append(terminal := Terminal())
    terminal.prompted()
    terminal.types(b"1239\x7f4\r")
    terminal.until(b"digits " + typed(b"1234"))


def test_typed_before_the_prompt_is_not_taken(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(before="print('ready', flush=True); sys.stdin.readline(); input()"))
    terminal.until(b"ready")
    terminal.types(b"go\n9999\n8888\n")
    terminal.prompted()
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))


def test_ctrl_d(started: list[Terminal]) -> None:
    started.append(terminal := Terminal())
    terminal.prompted()
    terminal.types(b"\x04")
    terminal.until(b"error eof")
    assert terminal.echoes()


def test_ctrl_c(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(after="print('left:', input(), flush=True)"))
    terminal.prompted()
    terminal.types(b"12\x03")
    terminal.until(b"interrupted")
    assert terminal.echoes()
    terminal.types(b"rest\n")
    terminal.until(b"left: rest")  # and not 12rest
    assert terminal.ends() == 0


def test_ctrl_c_with_a_handler_that_only_notes_it(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(before="signal.signal(signal.SIGINT, lambda *_: print('noted', flush=True))"))
    terminal.prompted()
    terminal.types(b"12\x03")
    terminal.until(b"noted")
    terminal.until(b"error cancelled")
    assert terminal.echoes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it(started: list[Terminal], number: signal.Signals) -> None:
    started.append(terminal := Terminal())
    # held open here: at its last close a pseudo-terminal is reset, and would show an echo that was never given back
    holder = os.open(os.readlink(f"/proc/{terminal.pid}/fd/0"), os.O_RDWR | os.O_NOCTTY)
    terminal.prompted()
    terminal.types(b"12")
    os.kill(terminal.pid, number)
    assert terminal.ends() == -number
    assert terminal.echoes()
    os.close(holder)


def test_an_ignored_signal_stays_ignored(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)"))
    terminal.prompted()
    os.kill(terminal.pid, signal.SIGHUP)
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))


def test_another_programs_signal_does_not_disturb(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(before="signal.signal(signal.SIGUSR1, lambda *_: print('noted', flush=True))"))
    terminal.prompted()
    os.kill(terminal.pid, signal.SIGUSR1)
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))
    assert terminal.shown.count(b"Code porteur") == 1
    assert b"noted" in terminal.shown


def test_timeout(started: list[Terminal]) -> None:
    started.append(terminal := Terminal(timeout=0.5, after="print('left:', input(), flush=True)"))
    terminal.prompted()
    terminal.types(b"12")
    terminal.until(b"error timeout")
    assert terminal.echoes()
    terminal.types(b"rest\n")
    terminal.until(b"left: rest")  # and not 12rest


def test_ctrl_z_and_back(started: list[Terminal]) -> None:
    """Under a shell that does not exit: the leader of the session waits, its child asks, stops and goes on."""
    before = """
import os
child = os.fork()
if child:
    os.setpgid(child, child)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, child)
    _, status = os.waitpid(child, os.WUNTRACED)
    print("stopped", os.WIFSTOPPED(status) and os.WSTOPSIG(status), flush=True)
    os.tcsetpgrp(0, os.getpgrp())
    print("got", input(), flush=True)
    os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    sys.exit(0)
os.setpgid(0, 0)
import time
while os.tcgetpgrp(0) != os.getpgrp():
    time.sleep(0.001)
"""
    started.append(terminal := Terminal(before=before))
    terminal.prompted()
    terminal.types(b"99\x1a")
    terminal.until(b"stopped %d" % signal.SIGTSTP)
    assert terminal.echoes()
    terminal.types(b"ls\n")
    terminal.until(b"got ls")
    terminal.prompted(2)
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))
    assert terminal.ends() == 0


def test_asked_in_the_background(started: list[Terminal]) -> None:
    before = """
import os
child = os.fork()
if child:
    os.setpgid(child, child)
    _, status = os.waitpid(child, os.WUNTRACED)
    print("stopped", os.WIFSTOPPED(status) and os.WSTOPSIG(status), flush=True)
    os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    sys.exit(0)
import time
while os.getpgrp() != os.getpid():
    time.sleep(0.001)
"""
    started.append(terminal := Terminal(before=before))
    terminal.until(b"stopped %d" % signal.SIGTTOU)
    terminal.prompted()
    terminal.types(b"1234\n")
    terminal.until(b"digits " + typed(b"1234"))
    assert terminal.echoes()


def test_no_terminal() -> None:
    program = PROGRAM.format(before="", after="", timeout=None)
    done = subprocess.run(
        [sys.executable, "-c", program], start_new_session=True, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"error no-terminal\n", b"")


@pytest.mark.parametrize("path", ["/dev/null", "/nowhere/tty", "/", "with\0zero"])
def test_not_a_terminal(path: str) -> None:
    with pytest.raises(SecretError) as caught:
        Secret.from_terminal(path)
    assert caught.value.reason == "no-terminal"


def test_one_question_at_a_time_and_outside_the_main_thread() -> None:
    controller, terminal = pty.openpty()
    path = os.ttyname(terminal)
    answers: list[Secret] = []
    thread = threading.Thread(target=lambda: answers.append(Secret.from_terminal(path, "Code : ", timeout=WAIT)))
    thread.start()
    shown = b""
    while b"Code : " not in shown:
        shown += os.read(controller, 100)
    with pytest.raises(SecretError) as caught:
        Secret.from_terminal(path)
    assert caught.value.reason == "busy"
    os.write(controller, b"1234\n")
    thread.join(WAIT)
    assert answers[0].digest(b"salt").hex().encode() == typed(b"1234")
    os.close(terminal)
    os.close(controller)
