# SPDX-License-Identifier: Apache-2.0
"""A hub with a notifier on it, in a process of its own inside a lab. Prints the kind of each event that would be shown,
and what its command is given."""

from __future__ import annotations

import asyncio
import sys

from cpxd import config
from cpxd.notify.desktop import Desktop
from cpxd.notify.events import Event
from cpxd.notify.notifier import Notifier
from cpxd.service.hub import Hub


class Printed(Desktop):
    async def tell(self, event: Event) -> bool:
        print(event.kind, *event.command[1:], flush=True)
        return True


async def _run() -> None:
    hub = Hub(config.load())
    await hub.start()
    notifier = Notifier(hub, config.load(), Printed())
    notifier.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    notifier.stop()
    await hub.stop()


asyncio.run(_run())
