# SPDX-License-Identifier: Apache-2.0
"""Where the command `cpxd` begins: Ctrl-C while Python still loads ends the process, without a traceback."""

from __future__ import annotations

import signal


def main() -> int:
    """Run one command; the exit code (errors.Exit)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cpxd.cli.main import main as run

    return run()
