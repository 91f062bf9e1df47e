# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# A shell ignores these in its background jobs, nohup the last, and what is ignored stays so in every program started from here:
# tests that send them would wait for ever. A handler is not inherited: nohup still protects the tests themselves.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, lambda *_: None),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    """The same examples every time, so that what lands is what was tested; `make fuzz` looks for new ones (--hypothesis-seed)."""
    if config.getoption("--hypothesis-seed") is None:
        settings.register_profile("same", derandomize=True)
        settings.load_profile("same")
