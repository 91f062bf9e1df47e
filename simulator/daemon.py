# SPDX-License-Identifier: Apache-2.0
"""The product's daemon beside a lab: `cpxd serve`, run as any program is, with a scripted PIN dialog.

The simulator knows the product here by its command and its documented settings and socket only.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from simulator.errors import LabError
from simulator.leftovers import Watcher

_START_SECONDS = 20.0


def free_port() -> int:
    """A TCP port that nothing listens on, on 127.0.0.1 and ::1, at this moment."""
    while True:
        with socket.socket() as one, socket.socket(socket.AF_INET6) as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            other.bind(("::1", port))
            return port


def settings(
    folder: Path, tags: Path | None, pki: Path | None, dialog_pin: str | None, api: Mapping[str, float] | None = None
) -> str:
    """The text of cpxd's config.toml for a lab: the invented tag dictionary, the test authorities, the scripted dialog,
    and what is said of the local API."""
    sections: dict[str, Mapping[str, str | float]] = {"api": dict(api)} if api else {}
    if tags is not None:
        sections["record"] = {"dictionary": str(tags)}
    if pki is not None:
        sections["pkcs11"] = {"chain": str(pki)}
        sections["sign"] = {"trust": str(pki)}
        sections["revocation"] = {"folder": str(pki)}
    if dialog_pin is not None:
        from simulator import pinentry

        script = pinentry.install(folder / "dialog", [f"* pin {dialog_pin}"])
        sections["dialog"] = {"pinentry": str(script), "consent": str(pinentry.reader(script))}
    lines = []
    for name, keys in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


class Daemon:
    """`cpxd serve` of the same environment as this Python; ready once its PKCS#11 socket answers. Raises LabError."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        command = Path(sys.executable).with_name("cpxd")
        if not command.exists():
            raise LabError(f"{command} : introuvable", f"{command}: not found")
        self.socket = Path(environment["XDG_RUNTIME_DIR"]) / "cpxd" / "pkcs11.sock"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(command), "serve"], env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._watcher = Watcher(log.parent, self.process.pid)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        limit = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > limit:
                said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-300:]
                raise LabError(f"cpxd serve ne démarre pas : {said}", f"cpxd serve does not start: {said}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def stop(self) -> None:
        """Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._watcher.close()
