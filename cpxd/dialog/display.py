# SPDX-License-Identifier: Apache-2.0
"""Where a dialog can be shown, as the program that asks tells it, and which program that is. All of it is untrusted."""

from __future__ import annotations

import contextlib
import os
import re
import termios
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cpxd._apdu_ffi import lib
from cpxd.text import Language, language, tr

_LONGEST = 255  # bytes of a value that is passed on; longer ones are no display, no terminal and no locale
_TERMINAL = re.compile(r"/dev/(pts/[0-9]{1,9}|tty[0-9A-Za-z]{1,16})")
_CONSOLE = re.compile(r"/dev/tty[0-9]+")
_LOCALE = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_FROM_OURS = ("HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # where a desktop's dialog finds that desktop


@dataclass(frozen=True)
class DisplayHints:
    """The display, terminal and locale of the program that asks. A value that cannot be one is taken as not given."""

    display: str = ""
    wayland_display: str = ""
    xauthority: str = ""
    tty: str = ""
    tty_type: str = ""
    lc_ctype: str = ""
    lc_messages: str = ""
    pid: int = 0  # of the program, 0 when unknown

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name != "pid"):
            value = getattr(self, name)
            if not value.isprintable() or len(value.encode()) > _LONGEST:
                object.__setattr__(self, name, "")
        if not _TERMINAL.fullmatch(self.tty):
            object.__setattr__(self, "tty", "")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], pid: int = 0) -> DisplayHints:
        """Out of the environment of the program that asks: DISPLAY, WAYLAND_DISPLAY, XAUTHORITY, GPG_TTY, TERM, LC_*, LANG."""

        def first(*names: str) -> str:
            return next((environ[name] for name in names if environ.get(name)), "")

        return cls(
            display=first("DISPLAY"),
            wayland_display=first("WAYLAND_DISPLAY"),
            xauthority=first("XAUTHORITY"),
            tty=first("GPG_TTY"),
            tty_type=first("TERM"),
            lc_ctype=first("LC_ALL", "LC_CTYPE", "LANG"),
            lc_messages=first("LC_ALL", "LC_MESSAGES", "LANG"),
            pid=pid,
        )

    @property
    def graphical(self) -> bool:
        return bool(self.display or self.wayland_display)

    def has_terminal(self) -> bool:
        """Whether the named terminal is one, and ours to use."""
        if not self.tty:
            return False
        try:
            fd = os.open(self.tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return os.isatty(fd)
        finally:
            os.close(fd)

    @property
    def language(self) -> Language:
        """Of the program that asks, else ours."""
        if not self.lc_messages:
            return language()
        return "en" if self.lc_messages.lower().startswith("en") else "fr"

    def options(self) -> list[tuple[str, str]]:
        """As the OPTION commands of a pinentry (pinentry manual, "Protocol")."""
        found = [("lc-ctype", self._ctype())]
        if _LOCALE.fullmatch(self.lc_messages):
            found.append(("lc-messages", self.lc_messages))
        if self.tty:
            found += [("ttyname", self.tty), ("ttytype", self._tty_type())]
        if self.pid > 0:
            found.append(("owner", f"{self.pid}/{os.getuid()} {os.uname().nodename}"))
        return found

    def environment(self) -> dict[str, str]:
        """The whole environment of a pinentry: toolkits read theirs there, not from options."""
        wanted = {
            "PATH": "/usr/bin:/bin",
            "LC_CTYPE": self._ctype(),
            "LC_MESSAGES": self.lc_messages if _LOCALE.fullmatch(self.lc_messages) else "",
            "DISPLAY": self.display,
            "WAYLAND_DISPLAY": self.wayland_display,
            "XAUTHORITY": self.xauthority,
            "TERM": self._tty_type() if self.tty else "",
            **{name: os.environ.get(name, "") for name in _FROM_OURS},
        }
        return {name: value for name, value in wanted.items() if value}

    def _ctype(self) -> str:
        """Our texts are UTF-8: a text-mode pinentry fails on them in a locale of another character set, or a missing one."""
        name = self.lc_ctype
        return name if _LOCALE.fullmatch(name) and lib.assuan_locale_is_utf8(name.encode()) else "C.UTF-8"

    @contextlib.contextmanager
    def terminal_kept(self) -> Iterator[None]:
        """Give the terminal back as it was, if there is one: ended at a bad moment pinentry-tty leaves it raw."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError, termios.error):
                fd = os.open(self.tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                stack.callback(_give_back, fd, termios.tcgetattr(fd))
            yield

    def _tty_type(self) -> str:
        if re.fullmatch(r"[A-Za-z0-9_.+-]{1,64}", self.tty_type) and self.tty_type != "dumb":
            return self.tty_type
        return "linux" if _CONSOLE.fullmatch(self.tty) else "xterm"


def terminal_of(pid: int) -> str:
    """The controlling terminal of a process, "" without one (proc(5), tty_nr)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        number = int(fields[4])
        device = os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
        for name in (f"/dev/pts/{os.minor(device)}", f"/dev/tty{os.minor(device)}"):
            if os.path.exists(name) and os.stat(name).st_rdev == device:
                return name
    except (OSError, ValueError, IndexError):
        pass
    return ""


def _give_back(fd: int, before: list[Any]) -> None:
    with contextlib.suppress(OSError, termios.error):
        if termios.tcgetattr(fd) != before:  # who is in the background would be stopped for it
            termios.tcsetattr(fd, termios.TCSANOW, before)


def program_name(pid: int) -> str:
    """What runs as this process: the name of its executable, which it cannot choose, else the name it gives itself."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")).name
    except OSError:
        pass
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        name = ""
    return name or tr("un programme inconnu", "an unknown program")
