# SPDX-License-Identifier: Apache-2.0
"""A pinentry program that answers by itself, out of a file: tests and the lab ask it as any pinentry is asked.

`install` writes the program. Its answers are one a line, used in order by all runs together; the one that begins with
"* " stays and answers every further question; behind the last one everything is cancelled:

    pin 1234        GETPIN gives the text (and CONFIRM yes)
    ok              nothing typed, or yes
    cancel          the person cancels           no        the person refuses
    error CODE      any other ERR                timeout   ERR of a timeout
    hang            no answer, and no reaction to SIGINT or SIGTERM
    exit            leaves without a word        raw TEXT  these bytes (Python escapes) and no more
    endless         a line without end           chatter   comments without end
    inquire         an INQUIRE
    close           closes a MESSAGE, which stays until it is ended when the next answer is another one

`transcript` beside it keeps each command it was sent, a line "--" at each start. Answers are not written there.
`install` also writes a program beside it that shows a text and takes a yes (`reader`), which takes its answers from the same
list: ok or pin is yes (status 0), no or cancel is no (1), anything else fails (4) or hangs. The text is in the transcript.
It stands alone: the program runs this file with an isolated interpreter.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_SOURCE = 5 << 24  # GPG_ERR_SOURCE_PINENTRY
CANCELLED, TIMEOUT, NOT_CONFIRMED, UNKNOWN_COMMAND = 99, 62, 114, 275


def install(folder: Path, answers: Sequence[str], name: str = "pinentry-scripted") -> Path:
    """Write the program `folder/name` and its answers. Returns its path, for the setting dialog.pinentry."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    (folder / f"{name}.answers").write_text("".join(f"{answer}\n" for answer in answers))
    (folder / f"{name}.answers").chmod(0o600)
    words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(script)]
    for path, more in ((script, []), (reader(script), ["read"])):
        path.write_text(f'#!/bin/sh\nexec {shlex.join([*words, *more])} "$@"\n')
        path.chmod(0o700)
    return script


def reader(script: Path) -> Path:
    """The program that `install` wrote for the setting dialog.consent."""
    return script.with_name(f"{script.name}.reader")


def transcript(script: Path) -> list[str]:
    """What the program was told so far; empty when it never ran."""
    path = script.with_name(f"{script.name}.transcript")
    return path.read_text().splitlines() if path.exists() else []


def _next_answer(script: Path) -> str:
    with script.with_name(f"{script.name}.answers").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        if lines and lines[0].startswith("* "):
            return lines[0][2:]
        file.seek(0)
        file.truncate()
        file.write("".join(f"{line}\n" for line in lines[1:]))
    return lines[0] if lines else "cancel"


def _say(text: str) -> None:
    os.write(1, text.encode("latin-1"))


def _error(code: int) -> str:
    return f"ERR {_SOURCE + code} scripted\n"


def _sleep() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def _answer(answer: str, question: str) -> None:
    verb, _, text = answer.partition(" ")
    if verb == "pin" and question == "GETPIN":
        escaped = text.replace("%", "%25")
        _say(f"D {escaped}\nOK\n")
    elif verb in ("ok", "pin"):
        _say("OK\n")
    elif verb in ("cancel", "no", "timeout", "error"):
        codes = {"cancel": CANCELLED, "no": NOT_CONFIRMED, "timeout": TIMEOUT}
        _say(_error(codes[verb] if verb in codes else int(text)))
    elif verb == "raw":
        _say(text.encode("latin-1").decode("unicode_escape"))
    elif verb == "exit":
        sys.exit(0)
    elif verb == "inquire":
        _say("INQUIRE CHECKPIN 1234\n")
    elif verb in ("endless", "chatter"):
        while True:
            _say("D 1234" * 100 if verb == "endless" else "# still here\n" * 100)
    else:
        _sleep()


def read(script: Path) -> int:
    with script.with_name(f"{script.name}.transcript").open("a") as log:
        log.write("--\n" + sys.stdin.read() + "\n")
    verb = _next_answer(script).partition(" ")[0]
    if verb in ("ok", "pin"):
        return 0
    if verb == "hang":
        _sleep()
    return 1 if verb in ("no", "cancel") else 4


def _message(script: Path) -> None:
    """The one button of a message is pressed by the answer "close"; else it stays, and takes no answer away."""
    if script.with_name(f"{script.name}.answers").read_text().startswith("close\n"):
        _answer("ok" if _next_answer(script) else "", "MESSAGE")
    else:
        signal.pause()


def main(script: Path) -> int:
    with script.with_name(f"{script.name}.transcript").open("a") as log:
        log.write("--\n")
        log.flush()
        _say("OK scripted\n")
        for line in sys.stdin:
            command = line.rstrip("\n")
            log.write(f"{command}\n")
            log.flush()
            word = command.split(" ", 1)[0]
            if word in ("GETPIN", "CONFIRM"):
                _answer(_next_answer(script), word)
            elif word == "MESSAGE":
                _message(script)
            elif word in ("OPTION", "BYE") or word.startswith("SET"):
                _say("OK\n")
            else:
                _say(_error(UNKNOWN_COMMAND))
    return 0


if __name__ == "__main__":
    sys.exit((read if "read" in sys.argv[2:3] else main)(Path(sys.argv[1])))
