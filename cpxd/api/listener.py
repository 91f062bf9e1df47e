# SPDX-License-Identifier: Apache-2.0
"""The sockets of this door: TLS on 127.0.0.1 and ::1, and the user's own unix socket. Who connects is known before they speak.

The HTTP library is loaded at the first connection that may speak; until then the daemon stays as small as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cpxd import errors, log
from cpxd.api import peer
from cpxd.config import Settings, run_home
from cpxd.files import reason
from cpxd.service.hub import Hub

if TYPE_CHECKING:
    from cpxd.api.http import Http

SOCKET_NAME = "api.sock"
_BACKLOG = 512
_M_MMAP_THRESHOLD, _LARGE = -3, 128 << 10  # bytes
_CONNECTIONS = 64  # at once, on each address and on the unix socket, which no page can fill
_AT_ONCE = 32  # connections accepted before the loop has its turn
_REST = 1.0  # seconds that nobody is accepted when the system has nothing left for it
_HANDSHAKE = 5.0  # seconds
_QUIET = 60.0  # seconds between two lines in the log about connections that were refused
_AT_ONCE_CLOSED = struct.pack("ii", 1, 0)  # SO_LINGER: a reset, nothing is sent


def api_socket() -> Path:
    return run_home() / SOCKET_NAME


class Door:
    """Made and used on the loop. A port that is taken is logged and no reason for the daemon to fail."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub, self._settings = hub, settings
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._unix: Path | None = None
        self._open: Counter[int] = Counter()  # by address family
        self._quiet_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._http: Http | None = None
        self._browsers = False  # whether "localhost" leads to us and to nobody else

    def start(self) -> None:
        """Raises BadFile when the unix socket cannot be made."""
        self._listen(unix_socket(api_socket()))
        self._unix = api_socket()
        if not self._settings.api_enabled:
            return
        taken = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                self._listen(_tcp_socket(family, address, self._settings.api_port))
            except OSError as error:
                log.write("api-port", operation=address, error=errno_name(error))
                taken.append(family == socket.AF_INET or error.errno == errno.EADDRINUSE)
        self._browsers = not any(taken)

    async def stop(self) -> None:
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        if self._unix is not None:
            self._unix.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        if self._http is not None:
            await self._http.close()

    def _listen(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self._listening.append(listening)
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left, or no memory: who waits is still there, and would wake the loop at once
                self._log_refusal("api-full")
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(_REST, self._again, listening)
                return
            who = _same_user(connection)
            if who is None or self._open[connection.family] >= _CONNECTIONS:
                self._log_refusal("api-foreign-user" if who is None else "api-full")
                _refuse(connection)
                continue
            self._open[connection.family] += 1
            task = self._loop.create_task(self._admit(connection, who))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _again(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:  # not stopped meanwhile
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    async def _admit(self, connection: socket.socket, pid: int) -> None:
        counted = [connection.family]

        def gone() -> None:
            """Once, whoever says it first: the protocol or what failed here."""
            if counted:
                self._open[counted.pop()] -= 1

        try:
            connection.setblocking(False)
            async with self._loading:
                if self._http is None:
                    await asyncio.to_thread(_load)
                    from cpxd.api.http import Http

                    self._http = Http(self._hub, self._settings, open_to_browsers=self._browsers)
            port = None if connection.family == socket.AF_UNIX else self._settings.api_port
            protocol = self._http.connection(port, pid, gone)
            tls = None if port is None else await asyncio.to_thread(self._http.tls)
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE if tls else None,
                ssl_shutdown_timeout=1.0 if tls else None,
            )
        except (OSError, errors.CpxError) as error:
            gone()
            connection.close()
            if isinstance(error, errors.CpxError):
                log.write("error", code=error.code)
            _forget(error)
        except BaseException:
            gone()
            connection.close()
            raise

    def _log_refusal(self, event: str) -> None:
        """Now and then: a flood must not push everything else out of the log."""
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            log.write(event)


def _forget(error: BaseException | None) -> None:
    """A handshake that failed leaves a circle: the error, the frames that it went through, a buffer of 256 KiB."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _load() -> None:
    """Also: what is large (a document, the buffer of a TLS connection) goes back to the system once it is free. By itself glibc
    raises that limit to the size of what it has seen (mallopt(3)), and a flood of connections would stay for good."""
    import ctypes

    import cpxd.api.http  # noqa: F401 - the HTTP library takes a moment, which the loop need not wait for

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _same_user(connection: socket.socket) -> int | None:
    """The process (0 by TCP) when it is this user's; None: refuse."""
    if connection.family == socket.AF_UNIX:
        with contextlib.suppress(OSError, struct.error):
            pid, uid = peer.unix_peer(connection)
            return pid if uid == os.getuid() else None
        return None
    return 0 if peer.tcp_uid(connection) == os.getuid() else None


def _refuse(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_CLOSED)
    connection.close()


def _tcp_socket(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


def unix_socket(path: Path) -> socket.socket:
    """For this user alone; it does not listen yet. Raises BadFile."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)  # left by a daemon that was killed: ours holds the lock
        mask = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(mask)
    except OSError as error:
        made.close()
        raise errors.BadFile(file=path, reason=reason(error)) from None
    return made


def errno_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")
