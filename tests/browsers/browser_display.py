# SPDX-License-Identifier: Apache-2.0
"""A display that nobody looks at (Xvfb, with the openbox window manager), the windows on it, and the keyboard before it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

# before a command: it ends when the test run does, however that ends
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
_SIZE = "1280x900x24"
_STEP = 0.1  # seconds between two looks


class NotSeen(AssertionError):
    """What was waited for did not come."""


class Display:
    """`name`: for the environment variable DISPLAY."""

    def __enter__(self) -> Display:
        read, write = os.pipe()
        command = [*DIES_WITH_US, "Xvfb", "-displayfd", str(write), "-screen", "0", _SIZE, "-nolisten", "tcp", "-noreset"]
        self._server = subprocess.Popen(command, pass_fds=[write], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as number:
            self.name = f":{number.readline().strip()}"
        assert self.name != ":", "Xvfb does not start"
        nothing = subprocess.DEVNULL
        self._manager = subprocess.Popen(
            [*DIES_WITH_US, "openbox", "--sm-disable"], env=self._environment, stdin=nothing, stdout=nothing, stderr=nothing
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for process in (self._manager, self._server):
            process.terminate()
            process.wait(10)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DISPLAY": self.name}

    def _xdotool(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self._environment, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip()

    def windows(self) -> dict[str, str]:
        """Titles by window number."""
        found = self._xdotool("search", "--onlyvisible", "--name", ".").split()
        return {number: self._xdotool("getwindowname", number) for number in found}

    def find_window(self, title: str) -> str | None:
        """The number of a window whose title the pattern (POSIX extended) is found in, None without."""
        found = self._xdotool("search", "--onlyvisible", "--name", title).split()
        return found[0] if found else None

    def wait_window(self, title: str, seconds: float = 20) -> str:
        """The number of the window whose title the pattern is found in."""
        limit = time.monotonic() + seconds
        while True:
            number = self.find_window(title)
            if number is not None:
                return number
            if time.monotonic() > limit:
                raise NotSeen(f"no window {title!r} among {sorted(self.windows().values())}")
            time.sleep(_STEP)

    def finds(self, title: str, seconds: float) -> bool:
        """Whether such a window comes."""
        try:
            self.wait_window(title, seconds)
        except NotSeen:
            return False
        return True

    def type(self, window: str, text: str) -> None:
        """Into a window, and Return."""
        self._xdotool("windowactivate", "--sync", window)
        time.sleep(0.3)  # the toolkit gives the focus to the field after the window has it
        if text:
            self._xdotool("type", "--delay", "20", text)
        self._xdotool("key", "Return")

    def wait_gone(self, window: str, seconds: float = 20) -> None:
        limit = time.monotonic() + seconds
        while window in self.windows():
            if time.monotonic() > limit:
                raise NotSeen(f"window {window} stays")
            time.sleep(_STEP)

    def screenshot(self, path: Path) -> None:
        subprocess.run(["import", "-window", "root", path], env=self._environment, check=True, timeout=20)
