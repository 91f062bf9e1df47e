# SPDX-License-Identifier: Apache-2.0
"""The errors of the simulator that a person may cause: one line in French, one in English, an exit code."""

from __future__ import annotations

from typing import ClassVar


class SimulatorError(Exception):
    """`str()` is the English line."""

    exit_code: ClassVar[int] = 70

    def __init__(self, french: str, english: str) -> None:
        super().__init__(english)
        self.french, self.english = french, english


class UsageError(SimulatorError):
    """Asked for in a way that is not understood."""

    exit_code = 2


class InputError(SimulatorError):
    """A persona, a file or an address that cannot be used."""

    exit_code = 40


class LabError(SimulatorError):
    """The lab cannot be built, or does not do what it was asked."""
