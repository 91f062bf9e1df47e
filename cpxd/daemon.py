# SPDX-License-Identifier: Apache-2.0
"""The daemon: one a user. It owns the readers and serves the PKCS#11 socket and the API, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cpxd import errors, log
from cpxd.api.listener import Door, unix_socket
from cpxd.config import PKCS11_SOCKET, SOCKET_PATH_LIMIT, Settings, run_home
from cpxd.files import reason
from cpxd.pkcs11.server import Server
from cpxd.service.hub import Hub
from cpxd.service.lockwatch import LockWatch
from cpxd.text import tr

if TYPE_CHECKING:
    from cpxd.notify.notifier import Notifier

_UNFINISHED = "pkcs11.new"  # the socket until it listens; a name no longer than the one it gets
_FIRST_PASSED = 3  # sd_listen_fds(3)
_BACKLOG = 128
_ENDING = (signal.SIGTERM, signal.SIGINT)


def pkcs11_socket() -> Path:
    """Where programs find the daemon. Raises BadFile when no socket can have that name."""
    path = run_home() / PKCS11_SOCKET
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        too_long = tr(f"chemin de plus de {SOCKET_PATH_LIMIT} octets", f"a path of more than {SOCKET_PATH_LIMIT} bytes")
        raise errors.BadFile(file=path, reason=too_long)
    return path


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AlreadyServing, BadFile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # our socket is found before the loop hears signals
    try:
        folder = _folder()
        with _only_one(folder):
            listening, ours = _listening(folder)
            try:
                asyncio.run(_serve(settings, listening))
            finally:
                listening.close()
                if ours:
                    pkcs11_socket().unlink(missing_ok=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _serve(settings: Settings, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in _ENDING:
        loop.add_signal_handler(number, ended.set)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # what whoever started us held back, too
    hub = Hub(settings)
    await hub.start()  # first: who knows a slot's number from before must find it; connections wait in the backlog
    door = Server(hub, settings, os.getuid())
    accepting = await loop.create_unix_server(door.connection, sock=listening)
    api = Door(hub, settings)
    api.start()
    notifier = _notifier(hub, settings)
    watch = LockWatch(hub.lock)
    await watch.start()
    log.write("serve", operation="start")
    _tell_systemd("READY=1")
    try:
        await ended.wait()
    finally:
        _tell_systemd("STOPPING=1")
        accepting.close()
        watch.stop()
        if notifier is not None:
            notifier.stop()
        await api.stop()
        await door.close()
        await hub.stop()
        log.write("serve", operation="end")


def _notifier(hub: Hub, settings: Settings) -> Notifier | None:
    """Tells the person of what happens to a card, where there is a desktop to tell it."""
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return None
    from cpxd.notify.notifier import Notifier

    notifier = Notifier(hub, settings)
    notifier.start()
    return notifier


def _folder() -> Path:
    """The private folder of the sockets: ours, 0700, no link."""
    folder = run_home()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise errors.BadFile(file=folder, reason=tr("ce n'est pas un dossier à vous", "not a folder of yours"))
        folder.chmod(0o700)
    except OSError as error:
        raise errors.BadFile(file=folder, reason=reason(error)) from None
    return folder


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """The lock goes with the process, however it ends."""
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise errors.AlreadyServing() from None
        yield
    finally:
        os.close(fd)


def _listening(folder: Path) -> tuple[socket.socket, bool]:
    """The socket that systemd passed on, or our own; and whether it is our own."""
    passed = _passed_on()
    if passed is not None:
        return passed, False
    path, new = pkcs11_socket(), folder / _UNFINISHED
    listening = unix_socket(new)
    try:
        listening.listen(_BACKLOG)
        new.replace(path)  # who finds it can connect
    except OSError as error:
        listening.close()
        raise errors.BadFile(file=path, reason=reason(error)) from None
    return listening, True


def _passed_on() -> socket.socket | None:
    """sd_listen_fds(3): the descriptor named "pkcs11", or the only one."""
    try:
        meant, count = int(os.environ.get("LISTEN_PID", "0")), int(os.environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return None
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if meant != os.getpid() or not 0 < count <= 16:
        return None
    for number in range(_FIRST_PASSED, _FIRST_PASSED + count):
        os.set_inheritable(number, False)
    wanted = names.index("pkcs11") if "pkcs11" in names[:count] else 0
    listening = socket.socket(fileno=_FIRST_PASSED + wanted)
    if listening.family != socket.AF_UNIX or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listening.close()
        return None
    return listening


def _tell_systemd(state: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())
