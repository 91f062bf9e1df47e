# SPDX-License-Identifier: Apache-2.0
"""Runs the command of a lab as a shell would run it: same terminal, same descriptors, signals passed on, status passed back."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from simulator.errors import InputError, reason

PASSED_ON = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_WATCHED = PASSED_ON | {signal.SIGCHLD}
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as POSIX shells say it


def hold_signals() -> None:
    """Before any thread starts: from here on signals wait, and `run` takes them one by one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status a shell would show: 128+n after signal n, 126 or 127 when the command cannot be started.

    Descriptors above 2 that the caller left open reach the command. Needs `hold_signals` first. A signal that came before
    the command could start ends the whole.
    """
    early = signal.sigpending() & PASSED_ON
    if early:
        return 128 + int(min(early))
    try:
        child = os.posix_spawnp(
            command[0],
            list(command),
            dict(environment),
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )
    except FileNotFoundError:
        raise _cannot(command[0], "introuvable", "not found", _NOT_FOUND) from None
    except OSError as error:
        raise _cannot(command[0], *reason(error), _NOT_EXECUTABLE) from None
    while True:
        said = signal.sigwaitinfo(_WATCHED)
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if said.si_signo != signal.SIGCHLD and said.si_code <= 0:  # sent by a process; the terminal's reach the command anyway
            os.kill(child, said.si_signo)


class CommandError(InputError):
    """The command cannot be started."""

    def __init__(self, french: str, english: str, status: int) -> None:
        super().__init__(french, english)
        self.status = status


def _cannot(command: str, french: str, english: str, status: int) -> CommandError:
    return CommandError(f"{command} : {french}", f"{command}: {english}", status)
