# SPDX-License-Identifier: Apache-2.0
"""The workstation as the doctor looks at it. Everything outside the card is found below `root`: a test gives a made-up one."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cpxd import config, version
from cpxd.files import unwaited

MODULE = Path(version.__file__).parent / "pkcs11" / "module" / "libcpxd-pkcs11.so"
_SMALL = 1 << 20


def _now() -> datetime:
    return datetime.now(UTC)


def _built() -> datetime:
    """When this cpxd was made: a packaged file keeps its date, and no clock that is right is before it."""
    return datetime.fromtimestamp(int(Path(version.__file__).stat().st_mtime), UTC)


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    uid: int


@dataclass(frozen=True)
class Machine:
    """`root`: where /sys, /proc, /run, /etc and /usr are looked for."""

    root: Path = Path("/")
    home: Path = field(default_factory=config.home)
    now: Callable[[], datetime] = _now
    built: Callable[[], datetime] = _built

    def at(self, path: str) -> Path:
        """An absolute path of the machine, below `root`."""
        return self.root / path.lstrip("/")

    def text(self, path: Path | str) -> str:
        """A small file, stripped; empty when it cannot be read."""
        try:
            with open(self.at(path) if isinstance(path, str) else path, "rb", opener=unwaited) as file:
                return file.read(_SMALL).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    @property
    def systemd(self) -> bool:
        """sd_booted(3)."""
        return self.at("/run/systemd/system").is_dir()

    def has(self, program: str) -> bool:
        """Whether the machine has a program, in the folders of the system."""
        folders = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
        return any(self.at(f"{folder}/{program}").exists() for folder in folders)

    def install(self, debian: str, fedora: str, arch: str) -> str:
        """The command that installs a package here."""
        if self.has("dnf"):
            return f"sudo dnf install {fedora}"
        if self.has("pacman"):
            return f"sudo pacman -S {arch}"
        return f"sudo apt install {debian}"

    def start(self, unit: str, plain: str) -> str:
        """The command that starts a service here, now and at each boot where systemd runs."""
        return f"sudo systemctl enable --now {unit}" if self.systemd else f"sudo service {plain} start"

    def restart(self, unit: str) -> str:
        return f"sudo systemctl restart {unit}" if self.systemd else f"sudo service {unit} restart"

    def restart_ours(self, pid: int) -> str:
        """The command that starts the service of cpxd anew; `pid`: its process, which systemd or a person started."""
        if "/cpxd.service" in self.text(f"/proc/{pid}/cgroup"):
            return "systemctl --user restart cpxd.service"
        return f"kill {pid} ; cpxd serve"

    def processes(self) -> Iterator[Process]:
        """What runs, by /proc."""
        try:
            entries = [entry for entry in self.at("/proc").iterdir() if entry.name.isdigit()]
        except OSError:
            return
        for entry in entries:
            name = self.text(entry / "comm")
            if name:
                try:
                    yield Process(int(entry.name), name, entry.stat().st_uid)
                except OSError:
                    continue

    def running(self, *names: str) -> Process | None:
        return next((process for process in self.processes() if process.name in names), None)


def tool(name: str) -> str | None:
    """The path of a program of the system that the doctor itself may run."""
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")


def quoted(*words: str | Path) -> str:
    """A command line to paste into a shell."""
    return shlex.join(str(word) for word in words)


def user() -> int:
    return os.getuid()
