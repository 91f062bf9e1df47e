# SPDX-License-Identifier: Apache-2.0
"""The module built from its sources, and Debian's stock `p11-kit server` with SoftHSM2 behind it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[3] / "cpxd" / "pkcs11" / "module"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"
SO_PIN = "12345678"


def build(target: Path, *options: str) -> Path:
    command = ["gcc", "-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-pedantic"]
    command += ["-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,nodelete", "-Wl,-z,now"]
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    subprocess.run([*command, *options, *sources, "-o", str(target)], check=True)
    return target


@dataclass
class Stock:
    """Debian's `p11-kit server` with SoftHSM2 behind it: one process that listens, one for each connection."""

    folder: Path
    socket: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"), "CPXD_PKCS11_SOCKET": str(self.socket)}

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = ["p11-kit", "server", "-f", "--name", str(self.socket), "--provider", SOFTHSM, "pkcs11:"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self.listens():
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.01)

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as stream:
            return stream.connect_ex(str(self.socket)) == 0

    def family(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def kill(self) -> None:
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):  # a connection that ended meanwhile
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.kill()
