# SPDX-License-Identifier: Apache-2.0
"""Where codes come from: a terminal without echo, or a file descriptor, one code a line. Never an argument or a variable."""

from __future__ import annotations

import os
from typing import Protocol

from cpxd import errors
from cpxd.apdu import Secret, SecretError
from cpxd.reader.pinpad import Ask
from cpxd.text import Text, tr

LAST_WORD = "dernier"
_REASONS = {
    "eof": Text("il n'y a plus rien à lire", "nothing left to read"),
    "too-long": Text("ligne trop longue", "line too long"),
    "timeout": Text("rien n'est venu", "nothing came"),
    "no-terminal": Text("pas de terminal", "no terminal"),
    "cancelled": Text("saisie abandonnée", "entry given up"),
    "busy": Text("le terminal est déjà utilisé", "the terminal is in use"),
    "memory": Text(
        "mémoire protégée refusée par le système, limite « ulimit -l »", "the system refuses locked memory, limit “ulimit -l”"
    ),
    "system": Text("lecture impossible", "cannot be read"),
}


ON_PAD: dict[Ask, Text] = {
    "pin": Text("Tapez votre code porteur sur le clavier du lecteur.", "Type your PIN on the keypad of the reader."),
    "unblock": Text(
        "Tapez le code de déblocage (8 chiffres) sur le clavier du lecteur.",
        "Type the unblock code (8 digits) on the keypad of the reader.",
    ),
    "change": Text(
        "Sur le clavier du lecteur : tapez votre code porteur actuel, puis deux fois le nouveau (4 chiffres).",
        "On the keypad of the reader: type your current PIN, then the new one twice (4 digits).",
    ),
    "new": Text(
        "Sur le clavier du lecteur : tapez deux fois le nouveau code porteur (4 chiffres).",
        "On the keypad of the reader: type the new PIN twice (4 digits).",
    ),
}


class CodeSource(Protocol):
    """Asks for the codes of one command, in order."""

    def ask(self, prompt: str) -> Secret:
        """The next code. Raises NoPinSource, Refused."""

    def confirm_last_try(self, what: str) -> bool:
        """Whether the person typed the word "dernier"."""

    def confirm_new(self, prompt: str, new: Secret) -> None:
        """Have a new code typed twice where a person types it. Raises PinsDiffer."""


class Descriptor:
    """Codes written by a program, one a line, on a file descriptor it passed to us."""

    def __init__(self, number: int) -> None:
        self._number = number

    def ask(self, prompt: str) -> Secret:
        try:
            return Secret.from_fd(self._number)
        except SecretError as error:
            why = _REASONS.get(error.reason, error.reason)
            raise errors.NoPinSource(
                reason=tr(f"descripteur {self._number}, {why}", f"descriptor {self._number}, {why}")
            ) from None

    def confirm_last_try(self, what: str) -> bool:
        return False  # a program cannot have read the warning: it says --last-try

    def confirm_new(self, prompt: str, new: Secret) -> None:
        return None


class Terminal:
    """A person at the controlling terminal. What is typed is not shown."""

    def __init__(self, path: str = "/dev/tty") -> None:
        self._path = path

    def ask(self, prompt: str) -> Secret:
        try:
            return Secret.from_terminal(self._path, prompt=prompt + tr(" : ", ": "))
        except KeyboardInterrupt:
            raise errors.Refused() from None
        except SecretError as error:
            if error.reason in ("cancelled", "eof"):  # Ctrl-C, Ctrl-D: the person closed the entry
                raise errors.Refused() from None
            raise errors.NoPinSource(reason=_REASONS.get(error.reason, error.reason)) from None

    def confirm_last_try(self, what: str) -> bool:
        question = tr(
            f"{what} : il ne reste qu'un essai, un code faux bloque. Tapez « {LAST_WORD} » pour continuer : ",
            f"{what}: one try is left, a wrong code blocks. Type “{LAST_WORD}” to go on: ",
        )
        try:
            return self._answer(question).strip().casefold() == LAST_WORD
        except KeyboardInterrupt:
            raise errors.Refused() from None
        except OSError:
            return False

    def _answer(self, question: str) -> str:
        fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            os.write(fd, question.encode())
            return os.read(fd, 256).decode("utf-8", "replace")
        finally:
            os.close(fd)

    def confirm_new(self, prompt: str, new: Secret) -> None:
        with self.ask(prompt) as again:
            if not again.equals(new):
                raise errors.PinsDiffer()
