# SPDX-License-Identifier: Apache-2.0
"""Chromium, driven through its DevTools pipe.

The policy that picks the certificate must stand in /etc/chromium: the browser runs in a mount namespace of its own, where
that folder is another one. Nothing of the system is touched.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from browser_display import DIES_WITH_US, NotSeen
from browser_page import Browser, PageGone, in_own_mounts

# fd 3: what it reads; fd 4: what it writes. The policy is only for browsers that nobody can answer for.
_START = """
set -eu
exec 3<&"$1" 4>&"$2"
policy=$3
shift 3
if [ -n "$policy" ]; then
  mount -t tmpfs none /etc/chromium
  mkdir -p /etc/chromium/policies/managed
  cp "$policy" /etc/chromium/policies/managed/test.json
fi
if [ -n "${CPX_TEST_BEFORE:-}" ]; then sh -c "$CPX_TEST_BEFORE"; fi
exec "$@"
"""
_HIGH = 64
_ANY = {"AutoSelectCertificateForUrls": ['{"pattern":"https://localhost","filter":{}}']}
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--no-proxy-server",
    "--lang=fr",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]


class Chromium(Browser):
    name = "chromium"
    options: tuple[str, ...] = ()
    _policy: Path | None = None
    pin_window = "Unlock Security Device|Sign In|Sign in|Déverrouiller|Connexion au jeton"

    def _prepare(self, ca: str) -> None:
        self.nss_database(self.home / ".pki" / "nssdb", ca)
        self._policy = self.home / "policy.json"
        self._policy.write_text(json.dumps(_ANY))

    def _start(self) -> None:
        to_read, to_write = _high(os.pipe()), _high(os.pipe())
        command = [
            *DIES_WITH_US,
            *in_own_mounts(),
            "bash",
            "-c",
            _START,
            "chromium",
            str(to_read[0]),
            str(to_write[1]),
        ]
        command += [str(self._policy or ""), "chromium", *_OPTIONS, *self.options, f"--user-data-dir={self.home / 'profile'}"]
        command += ["--headless=new"] if self.display is None else ["--window-size=1200,800"]
        environment = {**self.environment, "CPX_TEST_BEFORE": self.before}
        with (self.home / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "about:blank"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=[to_read[0], to_write[1]],
            )  # fmt: skip
        os.close(to_read[0])
        os.close(to_write[1])
        self._pipe = _DevTools(to_write[0], to_read[1])
        limit = time.monotonic() + 40
        while True:
            targets = self._pipe.ask("Target.getTargets")["targetInfos"]
            pages = [target["targetId"] for target in targets if target["type"] == "page"]
            if pages:
                break
            if time.monotonic() > limit:
                raise NotSeen("Chromium shows no page")
            time.sleep(0.05)
        self._session = self._pipe.ask("Target.attachToTarget", targetId=pages[0], flatten=True)["sessionId"]

    def open(self, address: str) -> None:
        self._pipe.tell("Page.navigate", self._session, url=address)

    def evaluate(self, script: str) -> Any:
        answer = self._pipe.ask("Runtime.evaluate", self._session, expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageGone(str(answer["exceptionDetails"].get("text")))
        return answer["result"].get("value")

    def _end(self) -> None:
        if hasattr(self, "_pipe"):
            self._pipe.close()
            del self._pipe
        super()._end()


def _high(ends: tuple[int, int]) -> list[int]:
    """Both ends elsewhere: 3 and 4 are to become the browser's."""
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH) for end in ends]
    for end in ends:
        os.close(end)
    return moved


class _DevTools:
    """JSON objects that end with a NUL. What it says by itself is not listened to."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._received = b""
        self._number = 0

    def tell(self, method: str, session: str | None = None, **parameters: Any) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        try:
            os.write(self._writing, json.dumps(message).encode() + b"\0")
        except OSError as error:
            raise NotSeen(f"Chromium does not listen: {error}") from None
        return self._number

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = self.tell(method, session, **parameters)
        while True:
            answer = self._next(method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageGone(answer["error"]["message"])
                return answer["result"]

    def _next(self, method: str) -> Any:
        while b"\0" not in self._received:
            if not select.select([self._reading], [], [], 60)[0]:
                raise NotSeen(f"Chromium does not answer {method}")
            received = os.read(self._reading, 65536)
            if not received:
                raise NotSeen("Chromium has ended")
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        os.close(self._writing)
        os.close(self._reading)
