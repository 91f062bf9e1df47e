# SPDX-License-Identifier: Apache-2.0
"""When the process of a lab is gone, however it died, what it had beside its pcscd goes too (pcscd has its own keeper).

Run as a script, stdlib only: standard input is a pipe whose other end the owner holds, and says a byte on when nothing is to be
done; the arguments are the lab's folder and, maybe, the descriptor (pidfd) of a process to end.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_TERM_SECONDS = 3.0


class Watcher:
    """Watches over `folder`, and over a child of ours, from now on until `close`: then they are seen to by their owner."""

    def __init__(self, folder: Path, child: int | None = None) -> None:
        handles = [os.pidfd_open(child)] if child is not None else []
        try:
            self._script = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(folder), *map(str, handles)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=handles,
                start_new_session=True,  # a Ctrl-C at the terminal is for the lab, which then closes
            )
        finally:
            for handle in handles:
                os.close(handle)

    def close(self) -> None:
        """Idempotent."""
        if self._script.poll() is None:
            self._script.communicate(b".")


def main(folder: str, handles: list[int]) -> None:
    if os.read(0, 1):
        return
    for handle in handles:
        for how, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _TERM_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, how)
            if select.select([handle], [], [], seconds)[0]:
                break
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])
