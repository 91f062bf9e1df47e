# SPDX-License-Identifier: Apache-2.0
"""What else happens when a card leaves that somebody was logged in to (setting `login.on_removal`)."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from pathlib import Path

from cpxd import log
from cpxd.config import Settings


async def on_removal(settings: Settings) -> None:
    """The logins have ended already. Lock the session, or run the program of the person's choice."""
    if settings.login_on_removal == "lock":
        await _run("loginctl", "lock-session")
    elif settings.login_on_removal == "hook" and Path(settings.login_hook).is_absolute():
        await _run(settings.login_hook)


async def _run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except OSError as error:
        log.write("removal-action", error=type(error).__name__)
        return
    status = await process.wait()
    if status:
        log.write("removal-action", status=status)
