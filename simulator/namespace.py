# SPDX-License-Identifier: Apache-2.0
"""The keeper of one private pcscd. Run as a script by `pcscd.py`, inside the namespaces that `unshare` made; stdlib only.

It prepares the namespace (what it hides, the loopback interface), then obeys on its control socket (SOCK_SEQPACKET, descriptor
0): `start`, `kill`, `connect PORT`; it answers `ok PID`, `ok` (with a connected socket for `connect`) or `error TEXT`. When the
other end closes, however its owner died, it ends pcscd, removes the lab's folder and leaves.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time

_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_TERM_SECONDS = 1.5

libc = ctypes.CDLL(None, use_errno=True)


def hide(path: str) -> None:
    """Puts an empty file system over a folder, in this namespace only."""
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"mode=0755,size=1m") != 0:
        raise OSError(ctypes.get_errno(), f"mount tmpfs {path}")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        flags: int = struct.unpack("16sH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def listen(path: str) -> socket.socket:
    """Bound anew for each pcscd: while none runs, a client must be refused, not left waiting."""
    if os.path.lexists(path):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o600)
    server.listen(64)
    return server


class Keeper:
    def __init__(self, orders: dict[str, str], arguments: list[str], environment: dict[str, str]) -> None:
        self.orders, self.arguments, self.environment = orders, arguments, environment
        self.pid = 0

    def start(self) -> str:
        self.kill()
        with listen(self.orders["socket"]) as server:
            self.pid = os.fork()
            if self.pid == 0:
                self._become_pcscd(server.fileno())
        return f"ok {self.pid}"

    def _become_pcscd(self, listener: int) -> None:
        try:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            log = os.open(self.orders["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            if listener == 3:
                os.set_inheritable(3, True)
            else:
                os.dup2(listener, 3)
            # systemd's socket activation (sd_listen_fds): descriptor 3 is the listening socket
            environment = {**self.environment, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
            os.execve(self.arguments[0], self.arguments, environment)  # noqa: S606 - no shell is the point
        except OSError as error:
            os.write(2, f"{self.arguments[0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> str:
        if os.path.lexists(self.orders["socket"]):
            os.unlink(self.orders["socket"])
        if self.pid:
            os.kill(self.pid, how)  # our child, not yet waited for: the number is still its own
            deadline = time.monotonic() + _TERM_SECONDS
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    break
                time.sleep(0.002)
            self.pid = 0
        return "ok"

    def alive(self) -> str:
        if self.pid and os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            self.pid = 0
        return f"ok {self.pid}"

    def obey(self, control: socket.socket, order: str) -> None:
        files: list[int] = []
        word, _, value = order.partition(" ")
        try:
            if word == "connect":
                with socket.create_connection(("127.0.0.1", int(value)), timeout=5) as link:
                    link.settimeout(None)
                    files.append(os.dup(link.fileno()))
                answer = "ok"
            else:
                answer = {"start": self.start, "kill": self.kill, "alive": self.alive}[word]()
        except (OSError, KeyError, ValueError) as error:
            answer = f"error {error}"
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        control.sendmsg([answer.encode()], ancillary)
        for descriptor in files:
            os.close(descriptor)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    setup = json.loads(sys.argv[1])
    control = socket.socket(fileno=0)
    keeper = Keeper(setup["orders"], setup["arguments"], setup["environment"])
    try:
        for path in setup["hide"]:
            hide(path)
        for path in setup["make"]:
            os.makedirs(path, mode=0o755, exist_ok=True)
        for source, place in setup.get("copy", []):
            shutil.copytree(source, place)
        if setup["loopback"]:
            loopback_up()
    except OSError as error:
        control.send(f"error {error}".encode())
        sys.exit(1)
    control.send(b"ok")
    try:
        while order := control.recv(256):
            keeper.obey(control, order.decode())
    except OSError:
        pass
    finally:
        keeper.kill(signal.SIGTERM)
        shutil.rmtree(setup["orders"]["folder"], ignore_errors=True)


if __name__ == "__main__":
    main()
