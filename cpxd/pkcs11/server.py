# SPDX-License-Identifier: Apache-2.0
"""The PKCS#11 socket: one connection is one application. A bad frame ends its connection and nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from cpxd import errors, log
from cpxd.card.application import FileMissing, NotAllowed
from cpxd.config import Settings
from cpxd.pkcs11 import dispatch
from cpxd.pkcs11.application import Application, Catalogs
from cpxd.pkcs11.asking import Person
from cpxd.pkcs11.calls import VERSION
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.frames import Frame, Frames
from cpxd.pkcs11.rv import Failure
from cpxd.pkcs11.wire import WireError
from cpxd.secret import SecretError
from cpxd.service.hub import Hub, Slot

_MARK = b"cpx1;"  # how our own module begins its options, and we ours to it
_OUTSTANDING = 256  # requests of one connection being worked on; more are refused
_WAITERS = 16  # of them C_WaitForSlotEvent, which has no end of its own
_CONNECTIONS = 256
_OF_ONE = 64  # connections of one process
_WAIT = 65  # C_WaitForSlotEvent
_TOLD = frozenset({"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "TERM", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANG"})
_EXPECTED = (Failure, errors.CpxError, NotAllowed, FileMissing, SecretError)


class Server:
    """All connections of the PKCS#11 door."""

    def __init__(self, hub: Hub, settings: Settings, uid: int) -> None:
        self.hub = hub
        self.settings = settings
        self.uid = uid
        self.catalogs = Catalogs(settings)
        self.connections: set[Connection] = set()
        hub.subscribe(self._slot_changed)

    def _slot_changed(self, slot: Slot) -> None:
        for connection in tuple(self.connections):
            connection.slot_changed(slot)

    def connection(self) -> Connection:
        return Connection(self)

    async def close(self) -> None:
        for connection in tuple(self.connections):
            connection.end()
        await asyncio.gather(*(connection.gone for connection in tuple(self.connections)), return_exceptions=True)


class Connection(asyncio.BufferedProtocol):
    """One application at the other end of a socket."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._frames: Frames | None = None
        self._offered: int | None = None
        self._options = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()  # those that wait for a slot event: no end of their own
        self._paused = self._full = False
        self._pid = 0
        self._app: Application | None = None
        self._leaving: asyncio.Task[None] | None = None

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        pid, uid = _peer(transport.get_extra_info("socket"))
        self._pid = pid
        others = [other for other in self._server.connections if other._pid == pid]
        if uid != self._server.uid or len(self._server.connections) >= _CONNECTIONS or len(others) >= _OF_ONE:
            log.write("connection-refused", operation="uid" if uid != self._server.uid else "too many")
            transport.abort()
            return
        try:
            self._frames = Frames()
        except SecretError:
            log.write("connection-refused", operation="locked memory")
            transport.abort()
            return
        server = self._server
        self._app = Application(server.hub, server.settings, server.catalogs, Person(server.settings, pid))
        server.connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._frames.room() if self._frames is not None else memoryview(bytearray(1))

    def buffer_updated(self, nbytes: int) -> None:
        if self._frames is None or self._transport is None or self._transport.is_closing():
            return
        try:
            if self._offered is None:
                self._offered = self._frames.first_byte(nbytes)
                if self._offered is None:
                    return
                self._send(bytes([min(self._offered, VERSION)]))
                nbytes = 0
            for frame in self._frames.feed(nbytes):
                self._serve(frame)
        except WireError as error:
            log.write("bad-frame", error=str(error))
            self.end()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._frames is not None:
            self._frames.close()
        if self._app is not None:
            self._app.initialized = False
            self._app.asker.stop()
        for task in tuple(self._waiting):
            task.cancel()
        self._leaving = self._loop.create_task(self._leave())

    async def _leave(self) -> None:
        """Its logins end with it, once what runs on a card has ended: nothing on a card is stopped half-way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        if self._app is not None:
            self._app.sessions.clear()
            await self._server.hub.drop(self._app)
        self._server.connections.discard(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._full = True
        self._flow()

    def resume_writing(self) -> None:
        self._full = False
        self._flow()

    def _flow(self) -> None:
        """A client that does not read its answers is not read from. (Never for another reason: its end would pass unseen.)"""
        pause = self._full
        if pause != self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- requests

    def _serve(self, frame: Frame) -> None:
        app = self._app
        if app is None:
            return
        if not self._options and frame.options.startswith(_MARK):
            self._options = _MARK
            if isinstance(app.asker, Person):
                app.asker.environment = _told(frame.options)
        pending = None
        try:
            self._check(frame)
            found = dispatch.start(app, frame, new_dialect=(self._offered or 0) >= VERSION)
            if dispatch.is_pending(found):
                pending = found
            else:
                self._send(dispatch.answer(frame, found, self._options))  # type: ignore[arg-type]
        except WireError:
            raise
        except Exception as error:
            self._refuse(frame, error)
        finally:
            if pending is None:
                _wipe(frame)
        if pending is not None:
            task = self._loop.create_task(self._later(frame, pending))  # type: ignore[arg-type]
            self._tasks.add(task)
            if frame.call == _WAIT:
                self._waiting.add(task)
            task.add_done_callback(self._done)

    def _check(self, frame: Frame) -> None:
        if frame.refused is not None:
            raise Failure(frame.refused)
        if frame.call == _WAIT and len(self._waiting) >= _WAITERS:
            raise Failure(CKR.DEVICE_MEMORY)
        if len(self._tasks) >= _OUTSTANDING + _WAITERS:
            raise Failure(CKR.DEVICE_MEMORY)

    def slot_changed(self, slot: Slot) -> None:
        """A dialog about a card that has left ends at once, and so does one behind a locked screen."""
        if self._app is not None:
            self._app.asker.close(slot, dead_only=True)

    async def _later(self, frame: Frame, pending: Coroutine[Any, Any, tuple[Any, ...]]) -> None:
        try:
            self._send(dispatch.answer(frame, await pending, self._options))
        except Exception as error:
            self._refuse(frame, error)
        finally:
            _wipe(frame)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._waiting.discard(task)

    def _refuse(self, frame: Frame, error: Exception) -> None:
        if not isinstance(error, _EXPECTED):
            log.write("defect", operation=str(frame.call), error=type(error).__name__)
        self._send(dispatch.refusal(frame, error, self._options))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _wipe(frame: Frame) -> None:
    for pin in frame.pins:
        pin.wipe()


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def _told(options: bytes) -> dict[str, str]:
    """`cpx1;NAME=value;…` of our module: where a dialog can be shown. Names that are not listed are not looked at."""
    found = {}
    for part in options[len(_MARK) :].split(b";"):
        name, equals, value = part.partition(b"=")
        if equals and (known := name.decode("ascii", "replace")) in _TOLD:
            found[known] = unquote_to_bytes(value).decode("utf-8", "replace")
    return found
