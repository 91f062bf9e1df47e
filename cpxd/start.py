# SPDX-License-Identifier: Apache-2.0
"""Where the command `cpxd` begins: Ctrl-C while Python still loads ends the process, without a traceback. No core is left, which
would hold what a PIN has opened."""

from __future__ import annotations

import resource
import signal


def main() -> int:
    """Run one command; the exit code (errors.Exit)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    from cpxd.cli.main import main as run

    return run()
