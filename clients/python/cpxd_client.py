# SPDX-License-Identifier: Apache-2.0
"""Ask cpxd for the card, from a program of the same user, by its unix socket. Standard library only.

with Cpxd() as cpxd:
    token = cpxd.authenticate(nonce, origin="https://example.org")
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DIALOG = 130.0  # seconds: a person answers a dialog in at most two minutes
_DIALOGS = 3  # beside one for each document: a consent, a warning before the last try, the PIN


class CpxdError(Exception):
    """An error of cpxd: a stable `code`, sentences `fr` and `en` that say what to do; `retry`: the same call may succeed."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        self.status, self.code, self.fault = status, str(error["code"]), str(error["fault"])
        self.retry, self.fr, self.en = bool(error["retry"]), str(error["fr"]), str(error["en"])
        super().__init__(f"{self.code} {self.en}")


class Cpxd(http.client.HTTPConnection):
    """Raises OSError when cpxd is not running, CpxdError for what it refuses."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__("localhost", timeout=_DIALOG)
        self._path = path or _usual()

    def __enter__(self) -> Cpxd:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise

    def info(self) -> dict[str, Any]:
        return self._ask("GET", "info")

    def readers(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "readers")["readers"])

    def identity(self, reader: int | None = None) -> dict[str, Any]:
        return self._ask("POST", "identity", reader=reader)

    def certificates(self, reader: int | None = None) -> list[dict[str, Any]]:
        return list(self._ask("POST", "certificates", reader=reader)["certificates"])

    def situations(self, reader: int | None = None) -> dict[str, Any]:
        return self._ask("POST", "situations", reader=reader)

    def authenticate(self, nonce: str, origin: str, reader: int | None = None) -> dict[str, Any]:
        """A web-eid:1.0 token for the site `origin`, whose server gave the nonce (44 to 128 characters)."""
        return self._ask("POST", "authenticate", nonce=nonce, origin=origin, reader=reader)

    def sign(self, documents: Mapping[str, bytes], reader: int | None = None, **options: Any) -> dict[str, bytes]:
        """Signatures by file name. `options`: format, form, level, visible, pss."""
        listed = [{"name": name, "content": base64.b64encode(content).decode()} for name, content in documents.items()]
        made = self._ask("POST", "sign", documents=listed, reader=reader, **options)["signatures"]
        return {item["name"]: base64.b64decode(item["content"]) for item in made}

    def _ask(self, method: str, name: str, **given: Any) -> dict[str, Any]:
        body = None
        if method == "POST":
            body = json.dumps({key: value for key, value in given.items() if value is not None})
        self.timeout = _DIALOG * (_DIALOGS + len(given.get("documents", ())))
        headers = {"X-Cpxd": "1", "Connection": "close"}  # a connection that is left idle would be cut
        if body:
            headers["Content-Type"] = "application/json"
        self.request(method, f"/v1/{name}", body, headers)
        answer = self.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise CpxdError(answer.status, found["error"])
        return found


def _usual() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime if runtime.startswith("/") else f"/run/user/{os.getuid()}")
    if folder.is_dir():
        return folder / "cpxd" / "api.sock"
    return Path.home() / ".cache" / "cpxd" / "run" / "api.sock"
