# SPDX-License-Identifier: Apache-2.0
"""Firefox ESR, driven through Marionette (no geckodriver)."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

from browser_display import DIES_WITH_US, NotSeen
from browser_page import Browser, PageGone, in_own_mounts

_PREFERENCES = {
    "security.default_personal_cert": "Select Automatically",
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "extensions.update.enabled": False,
    "network.proxy.type": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "intl.accept_languages": "fr",
    "marionette.port": 0,
}
_GONE = (
    "unexpected alert open",
    "no such window",
    "unknown error",
    "javascript error",
    "stale element reference",
    "no such frame",
)


class Firefox(Browser):
    name = "firefox"
    pin_window = "Password Required|Primary Password"
    capabilities: ClassVar[dict[str, Any]] = {"pageLoadStrategy": "none", "unhandledPromptBehavior": "ignore"}

    def _prepare(self, ca: str) -> None:
        self._profile = self.home / "profile"
        self.nss_database(self._profile, ca)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items()]
        (self._profile / "user.js").write_text("".join(lines))

    def _start(self) -> None:
        command = [*DIES_WITH_US, "firefox-esr", "--marionette", "--no-remote", "--profile", str(self._profile)]
        if self.display is None:
            command.append("--headless")
        if self.before:
            command = [*DIES_WITH_US, *in_own_mounts(), "sh", "-c", f'{self.before}\nexec "$@"', "sh", *command]
        with (self.home / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wire = _Marionette(self._port())
        self._wire.ask("WebDriver:NewSession", **self.capabilities)

    def _port(self) -> int:
        active: Path = self._profile / "MarionetteActivePort"
        limit = time.monotonic() + 40
        while not (active.exists() and active.read_text().strip()):
            if not self.alive or time.monotonic() > limit:
                raise NotSeen(f"Firefox does not start: {self.log()[-2000:]}")
            time.sleep(0.05)
        return int(active.read_text())

    def open(self, address: str) -> None:
        self._wire.ask("WebDriver:Navigate", url=address)

    def evaluate(self, script: str) -> Any:
        return self._wire.ask("WebDriver:ExecuteScript", script=f"return {script};", args=[])["value"]

    def _end(self) -> None:
        if hasattr(self, "_wire"):
            self._wire.close()
        super()._end()
        (self.home / "profile" / "MarionetteActivePort").unlink(missing_ok=True)


class _Marionette:
    """Frames `LENGTH:[0, number, command, parameters]`, answers `LENGTH:[1, number, error, result]`."""

    def __init__(self, port: int) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._received = b""
        self._number = 0
        self._frame()  # what it is

    def ask(self, command: str, **parameters: Any) -> Any:
        self._number += 1
        body = json.dumps([0, self._number, command, parameters]).encode()
        try:
            self._stream.sendall(b"%d:%s" % (len(body), body))
            _, number, error, result = self._frame()
        except OSError as problem:
            raise NotSeen(f"Firefox does not answer {command}: {problem}") from None
        assert number == self._number
        if error is not None:
            if error["error"] in _GONE:
                raise PageGone(error["message"])
            raise NotSeen(f"{command}: {error['error']}: {error['message']}")
        return result

    def _frame(self) -> Any:
        while b":" not in self._received:
            self._more()
        length, _, self._received = self._received.partition(b":")
        while len(self._received) < int(length):
            self._more()
        frame, self._received = self._received[: int(length)], self._received[int(length) :]
        return json.loads(frame)

    def _more(self) -> None:
        received = self._stream.recv(65536)
        if not received:
            raise ConnectionResetError("closed")
        self._received += received

    def close(self) -> None:
        self._stream.close()
