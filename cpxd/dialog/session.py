# SPDX-License-Identifier: Apache-2.0
"""Where the person sits, for who cannot say it: a page comes through the daemon, which may be older than the desktop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SYSTEMCTL = Path("/usr/bin/systemctl")
_WANTED = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_PATIENCE = 2.0  # seconds


def environment() -> Mapping[str, str]:
    """Our own environment; without a display in it, the one that the desktop told the service manager of this user
    (systemctl --user import-environment). Blocks for a moment."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return os.environ
    manager = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", "systemd", "private")
    return {**os.environ, **(_imported() if manager.exists() else {})}


def _imported() -> dict[str, str]:
    try:
        done = subprocess.run(
            [str(SYSTEMCTL), "--user", "show-environment"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in pairs if name in _WANTED}
