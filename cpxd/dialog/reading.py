# SPDX-License-Identifier: Apache-2.0
"""A text that a person reads and accepts or refuses: a window that scrolls, a pager in a terminal. None of it is a secret.

A pinentry is no place for it: it cuts what is longer than a few lines, or dies of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cpxd import errors
from cpxd.dialog import program
from cpxd.dialog.pinentry import Pinentry
from cpxd.files import reason
from cpxd.text import Text, tr

PYTHON, PAGER = Path("/usr/bin/python3"), Path("/usr/bin/less")
WINDOW = Path(__file__).with_name("window.py")
_ACCEPTED, _REFUSED, _UNABLE = 0, 1, 3
_SHORT = 640  # bytes that fit a pinentry whole
_LEAVES = 0.5  # seconds that a program has to leave after each hint
_LINE = 256  # bytes of what is typed
_YES = (b"oui", b"yes")
_PROMPT = Text("fleches pour lire, q pour repondre", "arrows to read, q to answer")
_QUESTION = Text("Accepter ? Tapez « oui » : ", "Accept? Type “yes”: ")
_TITLE, _ACCEPT, _REFUSE = (
    Text("cpxd – Votre accord", "cpxd – Your consent"),
    Text("Accepter", "Accept"),
    Text("Refuser", "Refuse"),
)


class Reading(Pinentry):
    """Raises as Pinentry does."""

    def accept(self, text: str, least: float) -> bool:
        """Whether the person accepts. `least`: seconds before which the window takes no yes."""
        if self._settings.dialog_consent or self._hints.graphical:
            answer = self._window(text, least)
            if answer is not None:
                return answer
        if self._hints.has_terminal() and PAGER.exists():
            return self._terminal(text)
        if len(text.encode()) <= _SHORT:
            return self.confirm(text)
        where = self._hints.graphical or self._hints.has_terminal()
        raise errors.NoPinSource(
            reason=tr(
                "rien pour montrer un long texte (paquets python3-gi et gir1.2-gtk-3.0, ou less dans un terminal)",
                "nothing to show a long text with (packages python3-gi and gir1.2-gtk-3.0, or less in a terminal)",
            )
            if where
            else tr("ni écran ni terminal", "neither display nor terminal")
        )

    def _say(self, text: Text) -> str:
        return text.en if self._hints.language == "en" else text.fr

    # --- on a display

    def _window(self, text: str, least: float) -> bool | None:
        """None: there is no toolkit, or the display is gone."""
        if self._settings.dialog_consent:
            command = [str(program.trusted(Path(self._settings.dialog_consent)))]
        else:
            command = [str(PYTHON), "-I", str(WINDOW)]
        command += [*map(self._say, (_TITLE, _ACCEPT, _REFUSE)), f"{least:g}"]
        with self._turn() as deadline:
            code = self._shown(command, text, deadline, self._hints.environment(), subprocess.DEVNULL)
        if code == _UNABLE and not self._settings.dialog_consent:
            return None
        if code not in (_ACCEPTED, _REFUSED):
            raise errors.NoPinSource(reason=tr(f"la fenêtre a échoué ({code})", f"the window failed ({code})"))
        return code == _ACCEPTED

    # --- in a terminal

    def _terminal(self, text: str) -> bool:
        """The pager, then the word: a key meant for another program is no yes."""
        with self._turn() as deadline:
            try:
                with _terminal(self._hints.tty) as tty:
                    prompt = self._say(_PROMPT)
                    command = [str(PAGER), "-FX", f"-Ps{prompt}", f"-PM{prompt}", "-"]
                    if self._shown(command, text, deadline, self._pager_environment(), tty) != 0:
                        raise errors.NoPinSource(reason=tr("less a échoué", "less failed"))
                    termios.tcflush(tty, termios.TCIFLUSH)
                    os.write(tty, self._say(_QUESTION).encode())
                    return self._typed(tty, deadline).strip().lower() in _YES
            except (OSError, termios.error):
                raise errors.NoPinSource(reason=tr("le terminal a disparu", "the terminal is gone")) from None

    def _pager_environment(self) -> dict[str, str]:
        """LESSSECURE: no shell, no editor, no other file."""
        ours = self._hints.environment()
        kept = {name: value for name, value in ours.items() if name in ("PATH", "LC_CTYPE", "TERM")}
        return {**kept, "LESSSECURE": "1", "LESSCHARSET": "utf-8", "LESSHISTFILE": "-"}

    def _typed(self, tty: int, deadline: float) -> bytes:
        """One line, on a terminal in whatever mode."""
        line = b""
        while len(line) < _LINE and not line.endswith((b"\n", b"\r")):
            self._wait(tty, deadline)
            block = os.read(tty, 1)
            if not block:
                break
            line += block
        return line

    # --- both

    def _wait(self, what: int, deadline: float) -> None:
        """Until a descriptor is readable. Raises Refused (stopped), NoPinSource (too late)."""
        poll = select.poll()
        poll.register(what, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if self._wake in ready:
            raise errors.Refused()
        if not ready:
            raise errors.NoPinSource(reason=tr("personne n'a répondu à temps", "nobody answered in time"))

    def _shown(self, command: Sequence[str], text: str, deadline: float, environment: dict[str, str], output: int) -> int:
        """The exit status of a program that was given the text. Raises Refused, NoPinSource; the program is ended then."""
        with os.fdopen(os.memfd_create("text", os.MFD_CLOEXEC), "w+b", buffering=0) as memory:
            memory.write(text.encode())
            memory.seek(0)
            try:
                process = subprocess.Popen(
                    command, stdin=memory, stdout=output, stderr=output, cwd="/", env=environment, start_new_session=True
                )
            except OSError as error:
                raise errors.NoPinSource(reason=f"{command[0]}, {reason(error)}") from None
        ended = os.pidfd_open(process.pid)
        try:
            self._wait(ended, deadline)
        finally:
            os.close(ended)
            _end(process)
        return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVES)
    process.wait()


@contextlib.contextmanager
def _terminal(name: str) -> Iterator[int]:
    """Left as it was found."""
    tty = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        before = termios.tcgetattr(tty)
        try:
            yield tty
        finally:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(tty, termios.TCSADRAIN, before)
    finally:
        os.close(tty)
