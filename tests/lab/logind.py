# SPDX-License-Identifier: Apache-2.0
"""Screen lock and sleep as logind tells them: real messages over a real bus, only logind is played."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><policy context="default"><allow send_destination="*"/>
<allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>"""
LOGIND = """
import asyncio, sys
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

ours, theirs = "/org/freedesktop/login1/session/c1", "/org/freedesktop/login1/session/c2"

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    def answer(message):
        if message.member == "Get":
            uid = int(sys.argv[1]) if message.path == ours else 65000
            return Message.new_method_return(message, "v", [Variant("(uo)", [uid, "/org/freedesktop/login1/user/_1"])])
    bus.add_message_handler(answer)
    await bus.request_name("org.freedesktop.login1")
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while word := (await lines.readline()).decode().strip():
        path, interface, signature, body = {
            "lock": (ours, "Session", "", []),
            "lock-theirs": (theirs, "Session", "", []),
            "sleep": ("/org/freedesktop/login1", "Manager", "b", [True]),
            "wake": ("/org/freedesktop/login1", "Manager", "b", [False]),
            "hint": (ours, "", "sa{sv}as", ["org.freedesktop.login1.Session", {"LockedHint": Variant("b", True)}, []]),
        }[word]
        member = {"lock": "Lock", "lock-theirs": "Lock", "hint": "PropertiesChanged"}.get(word, "PrepareForSleep")
        name = f"org.freedesktop.login1.{interface}" if interface else "org.freedesktop.DBus.Properties"
        await bus.send(Message(path=path, interface=name, member=member, signature=signature, body=body,
                               message_type=MessageType.SIGNAL))
        print("sent", flush=True)
asyncio.run(main())
"""


class Logind:
    def __init__(self, folder: Path) -> None:
        (folder / "bus.conf").write_text(BUS.format(socket=folder / "bus"))
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder / 'bus'}"}
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork"])
        limit = time.monotonic() + 20
        while not (folder / "bus").exists() and time.monotonic() < limit:
            time.sleep(0.01)
        words = [sys.executable, "-c", LOGIND, str(os.getuid())]
        self.process = subprocess.Popen(
            words, env={**os.environ, **self.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.reads("ready")

    def reads(self, word: str) -> None:
        assert self.process.stdout and self.process.stdout.readline() == f"{word}\n"

    def says(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n")
        self.reads("sent")

    def close(self) -> None:
        for process in (self.process, self.bus):
            process.kill()
            process.communicate()
