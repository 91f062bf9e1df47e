# SPDX-License-Identifier: Apache-2.0
"""A browser as the tests drive it, whichever it is: addresses, scripts in the page, nothing of the browser's own windows."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from browser_display import NotSeen

MODULE = Path(__file__).parents[2] / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
_UNWANTED = ("DBUS_SESSION_BUS_ADDRESS", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


class PageGone(Exception):
    """The page changed while it was asked something."""


def in_own_mounts() -> list[str]:
    """Before a command: what it mounts, it alone sees."""
    return ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]


class Browser(ABC):
    """`environment`: of the card's lab. `ca`: whom the sandbox's servers are vouched for by. `display`: None runs it headless.
    `module`: the PKCS#11 module it loads.
    """

    name: str
    before: str = ""  # a shell script, run as root in mounts of its own before the browser is

    def __init__(self, environment: Mapping[str, str], ca: str, display: str | None = None, module: Path = MODULE) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"cpx-{self.name}-"))
        self.display, self.module = display, module
        kept = {name: value for name, value in {**os.environ, **environment}.items() if name not in _UNWANTED}
        self.environment = {**kept, "HOME": str(self.home), "LC_ALL": "C.UTF-8", "LANGUAGE": "", "NO_AT_BRIDGE": "1"}
        self.environment.pop("DISPLAY", None)
        self.environment.pop("WAYLAND_DISPLAY", None)
        if display is not None:
            self.environment["DISPLAY"] = display
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self._prepare(ca)
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def _prepare(self, ca: str) -> None:
        """The profile."""

    @abstractmethod
    def _start(self) -> None:
        """Run it and connect to it."""

    @abstractmethod
    def open(self, address: str) -> None:
        """Start to load an address; does not wait."""

    @abstractmethod
    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page. Raises PageGone."""

    # what the browser calls the window in which it asks for the PIN
    pin_window: str

    def nss_database(self, folder: Path, ca: str) -> None:
        database = f"sql:{folder}"
        folder.mkdir(parents=True, exist_ok=True)
        self._run("certutil", "-d", database, "-N", "--empty-password")
        self._run("certutil", "-d", database, "-A", "-n", "sandbox", "-t", "C,,", "-i", ca)
        self._run("modutil", "-dbdir", database, "-add", "cpxd", "-libfile", str(self.module), "-force")

    def _run(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=30)

    def log(self) -> str:
        path = self.home / "browser.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def restart(self) -> None:
        """With the same profile."""
        self._end()
        self._start()

    def close(self) -> None:
        """Idempotent. All that it started ends with it: they are one process group."""
        self._end()
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    # -- in the page -------------------------------------------------------------------------------------------

    def wait(self, script: str, seconds: float = 20) -> Any:
        """Until the value of the expression is true, which is returned."""
        limit = time.monotonic() + seconds
        while True:
            try:
                value = self.evaluate(script)
            except PageGone:
                value = None
            if value:
                return value
            if not self.alive:
                raise NotSeen(f"{self.name} has ended: {self.log()[-2000:]}")
            if time.monotonic() > limit:
                raise NotSeen(f"{script} in {self.where()}")
            time.sleep(0.05)

    def where(self) -> str:
        try:
            return str(self.evaluate("document.documentURI + ' ' + (document.body ? document.body.innerText : '')"))[:500]
        except PageGone:
            return "(no page)"

    def click(self, identifier: str) -> None:
        """An element of the page, once it is there."""
        self.wait(f"document.getElementById({json.dumps(identifier)}) !== null && document.readyState === 'complete'")
        with contextlib.suppress(PageGone):
            self.evaluate(f"document.getElementById({json.dumps(identifier)}).click()")
