# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell ignores these in its background jobs, nohup the last, and what is ignored stays so in every program started from here:
# tests that send them would wait for ever. A handler is not inherited: nohup still protects the tests themselves.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, lambda *_: None),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
