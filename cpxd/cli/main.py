# SPDX-License-Identifier: Apache-2.0
"""The command `cpxd`: one error, one line on stderr, one exit code; never a traceback."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from cpxd import log
from cpxd.cli import parser
from cpxd.errors import BadFile, CpxError, Exit, Internal, Refused
from cpxd.files import reason
from cpxd.text import printable, tr
from cpxd.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (errors.Exit)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # see cpxd/start.py
    _complete_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser.take_language(words)
        status = _run(words)
        sys.stdout.flush()
        return status
    except CpxError as error:
        return _say(error)
    except KeyboardInterrupt:
        return _say(Refused())
    except OSError as error:
        return _output_lost(error)
    except Exception as defect:
        log.write("defect", error=type(defect).__name__)
        return _say(Internal(detail=_where(defect)))


def _complete_streams() -> None:
    """Python has no stream object where the caller closed the descriptor, and a strict one where the locale is poor."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115  # kept open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without French letters is no reason to fail


def _output_lost(error: OSError) -> int:
    # files are handled where they are used: what is left is our own output, which has no name, or a file that was forgotten
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return Exit.DONE  # the reader of our output has left: nothing to say, and nobody to say it to
    return _say(BadFile(file=error.filename or tr("sortie standard", "standard output"), reason=reason(error)))


# command → its module in this room; only the one that is asked for is loaded
_COMMANDS = {
    "card": "card",
    "pin": "pin",
    "sign": "sign",
    "verify": "verify",
    "decrypt": "decrypt",
    "readers": "readers",
    "usages": "usages",
    "validity": "validity",
    "fhir": "fhir",
    "codes": "codes",
    "serve": "serve",
    "p11-bridge": "serve",
    "path": "path",
    "logs": "logs",
    "cache": "cache",
    "doctor": "doctor",
    "explain": "explain",
    "unblock": "unblock",
    "allow": "allow",
    "api": "api",
    "register": "register",
    "unregister": "register",
    "rescue": "rescue",
    "status": "status",
    "trace": "trace",
}


def _run(words: list[str]) -> int:
    places = zip(["", *words], words, strict=False)
    asked = next((word for before, word in places if not word.startswith("-") and before != "--lang"), "")
    modules = [_COMMANDS[asked]] if asked in _COMMANDS else dict.fromkeys(_COMMANDS.values())
    commands = [importlib.import_module(f"cpxd.cli.{name}").add for name in modules]
    try:
        options = parser.build(commands, __version__).parse_args(words)
    except SystemExit:  # --help, --version
        return Exit.DONE
    return int(options.run(options))


def _say(error: CpxError) -> int:
    log.write("error", code=error.code)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"cpxd{tr(' : ', ': ')}{error}{_aside(error)}\n")
        sys.stderr.flush()
    return int(error.exit)


def _aside(error: CpxError) -> str:
    if error.code != "CPX-118":
        return ""
    from cpxd.reader import neighbours

    who = printable(neighbours.after(error))
    return who and f" {who}"


def _where(defect: BaseException) -> str:
    # the place in our code, not the message: a message can quote data of the card
    trace = defect.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return f"{type(defect).__name__}, {place}"


if __name__ == "__main__":
    sys.exit(main())
