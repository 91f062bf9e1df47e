# SPDX-License-Identifier: Apache-2.0
"""Many cpxd commands, each in a process of its own, without paying the start of Python and its imports each time.

A server process imports the entry point of the console script, then forks one child a command: arguments, environment and
descriptors are those the command would get from a shell. Request: JSON and the descriptors (0, 1, 2 and that of the codes).
Answers: the child's process id, then its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_WIRE = 1 << 16


class ForkServer:
    """Of one thread: one command at a time."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno(), env=environment)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], codes: int | None, timeout: float
    ) -> tuple[int, str, str]:
        """Exit code, what went to stdout, what went to stderr. codes: a descriptor, which keeps its number in the child."""
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment), "codes": codes})
        null, out, err = os.open(os.devnull, os.O_RDONLY), os.memfd_create("out"), os.memfd_create("err")
        try:
            socket.send_fds(self._socket, [request.encode()], [null, out, err, *([] if codes is None else [codes])])
            child = int(self._socket.recv(_WIRE))
            self._socket.settimeout(timeout)
            try:
                status = int(self._socket.recv(_WIRE))
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._socket.settimeout(5)
                self._socket.recv(_WIRE)
                raise AssertionError(f"does not end: {list(arguments)}") from None
            finally:
                self._socket.settimeout(None)
            return os.waitstatus_to_exitcode(status), _read(out), _read(err)
        finally:
            for descriptor in (null, out, err):
                os.close(descriptor)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


def _read(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="surrogateescape")


_local = threading.local()
_all: list[ForkServer] = []


def of_this_thread() -> ForkServer:
    if not hasattr(_local, "server"):
        _local.server = ForkServer()
        _all.append(_local.server)
    server: ForkServer = _local.server
    return server


def close_all() -> None:
    while _all:
        _all.pop().close()
    _local.__dict__.clear()


def _serve() -> None:
    import cpxd.cli
    from cpxd.cli.main import main

    for module in pkgutil.iter_modules(cpxd.cli.__path__, "cpxd.cli."):
        importlib.import_module(module.name)
    gc.freeze()
    link = socket.socket(fileno=os.dup(0))
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, _WIRE, 4)
        if not request:
            return
        child = os.fork()
        if child == 0:
            link.close()
            _become(json.loads(request), descriptors, main)
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(str(child).encode())
        link.send(str(os.waitpid(child, 0)[1]).encode())


def _become(request: dict[str, Any], descriptors: list[int], main: Callable[[], object]) -> NoReturn:
    os.setsid()
    wanted = [0, 1, 2, *([] if request["codes"] is None else [request["codes"]])]
    high = [os.dup2(descriptor, 200 + n, inheritable=False) for n, descriptor in enumerate(descriptors)]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(high, wanted, strict=True):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [str(Path(sys.executable).with_name("cpxd")), *request["arguments"]]
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve()
