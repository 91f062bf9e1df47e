# SPDX-License-Identifier: Apache-2.0
"""Browsers that open our own page: they trust its certificate, take pictures, press keys, and run the accessibility engine."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, ClassVar

from browser_chromium import Chromium
from browser_firefox import Firefox

_TAB = "\ue004"  # WebDriver, "Keyboard actions"
_RUN = "axe.run(document).then(found => JSON.stringify(found.violations.map(v => [v.id, v.nodes.map(n => n.html)])))"


class OwnChromium(Chromium):
    def nss_database(self, folder: Path, ca: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._run("certutil", "-d", f"sql:{folder}", "-N", "--empty-password")
        self._run("certutil", "-d", f"sql:{folder}", "-A", "-n", "cpxd", "-t", "P,,", "-i", ca)

    def picture(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        self._pipe.ask(
            "Emulation.setDeviceMetricsOverride", self._session, width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._pipe.ask("Emulation.setEmulatedMedia", self._session, features=scheme)
        taken = self._pipe.ask("Page.captureScreenshot", self._session, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def violations(self, axe: str) -> Any:
        self._pipe.ask("Runtime.evaluate", self._session, expression=axe)
        answer = self._pipe.ask("Runtime.evaluate", self._session, expression=_RUN, awaitPromise=True, returnByValue=True)
        return json.loads(answer["result"]["value"])

    def tab(self) -> None:
        for kind in ("keyDown", "keyUp"):
            self._pipe.ask("Input.dispatchKeyEvent", self._session, type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)


class OwnFirefox(Firefox):
    """No policy of the machine is changed for it: it is told to take the certificate."""

    capabilities: ClassVar[dict[str, Any]] = {**Firefox.capabilities, "acceptInsecureCerts": True}

    def nss_database(self, folder: Path, ca: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def picture(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        self._wire.ask("WebDriver:SetWindowRect", width=width, height=900)
        taken = self._wire.ask("WebDriver:TakeScreenshot", full=True)
        path.write_bytes(base64.b64decode(taken["value"]))

    def violations(self, axe: str) -> Any:
        script = f"{axe};\nreturn {_RUN};"
        return json.loads(self._wire.ask("WebDriver:ExecuteScript", script=script, args=[])["value"])

    def tab(self) -> None:
        keys = [{"type": "keyDown", "value": _TAB}, {"type": "keyUp", "value": _TAB}]
        self._wire.ask("WebDriver:PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])
