# SPDX-License-Identifier: Apache-2.0
"""One question to a pinentry program: it is started, asked once over its standard input and output, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpxd._apdu_ffi import ffi, lib
from cpxd.secret import Secret, SecretError

LONGEST = 900  # bytes of a command; a pinentry dies of 1,001
CANCELLED, FULLY_CANCELLED, NOT_CONFIRMED, TIMED_OUT = 99, 198, 114, 62  # codes of ERR (libgpg-error)
_LEAVES = 0.5  # seconds that a program has to leave after each hint
_MORE = "…"


@dataclass(frozen=True)
class Conversation:
    """What is said to a program: commands as `command` makes them. The last one is the question.

    `deadline` is of time.monotonic; when `wake` is readable the conversation ends.
    """

    program: Path
    environment: dict[str, str]
    commands: Sequence[bytes]
    deadline: float
    wake: int


def command(words: str, text: str = "", *, may_fail: bool = False) -> bytes:
    """One line: control characters dropped, `text` escaped, and cut when the line would be too long."""
    line = bytearray(words.encode())
    room = LONGEST - len(line) - len(_MORE.encode()) - 1
    escaped = [_escaped(character) for character in text]
    if text:
        line += b" "
        if sum(map(len, escaped)) > room + len(_MORE.encode()):
            while sum(map(len, escaped)) > room:
                escaped.pop()
            escaped.append(_MORE.encode())
        line += b"".join(escaped)
    return (b"-" if may_fail else b"") + bytes(line) + b"\n"


def _escaped(character: str) -> bytes:
    if character in "%\n":
        return f"%{ord(character):02X}".encode()
    return character.encode() if character.isprintable() else b" "


def ask(conversation: Conversation, secret: Secret | None) -> int:
    """0 and the answer in `secret`, a code of ERR, or APDU_E_* as _assuan.h says it. Raises OSError, SecretError.

    An answer too long for a secret is APDU_E_PIN. Without `secret` the answer is yes (0) or a code.
    """
    process = subprocess.Popen(
        [str(conversation.program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        env=conversation.environment,
        start_new_session=True,
    )
    answered = False
    try:
        code = _converse(process, conversation, secret)
        answered = code >= 0
        return code
    finally:
        _end(process, answered)


def _converse(process: subprocess.Popen[bytes], conversation: Conversation, secret: Secret | None) -> int:
    assert process.stdin and process.stdout  # noqa: S101 - for the type checker
    to, back = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(to, False)
    os.set_blocking(back, False)
    said = b"".join(conversation.commands)
    kept = ffi.from_buffer(said)
    milliseconds = int(conversation.deadline * 1000)
    memory = lib.assuan_new(to, back, conversation.wake, kept, len(said), milliseconds)
    if memory == ffi.NULL:
        raise SecretError("memory")
    try:
        handle = ffi.NULL if secret is None else secret._handle
        while (code := int(lib.assuan_run(memory, handle))) == lib.APDU_E_INTERRUPTED:
            pass  # between two calls the interpreter runs its signal handlers; the conversation goes on where it was
        return code
    finally:
        lib.assuan_free(memory)


def _end(process: subprocess.Popen[bytes], answered: bool) -> None:
    """A program that has answered leaves when its input ends; SIGINT lets another give the terminal back first."""
    assert process.stdin and process.stdout  # noqa: S101 - for the type checker
    process.stdin.close()
    for number in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        elif not answered:
            continue
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVES)
            break
    process.wait()
    process.stdout.close()
