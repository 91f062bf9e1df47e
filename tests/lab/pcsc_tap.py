# SPDX-License-Identifier: Apache-2.0
"""A tap on the wire between programs and pcscd: all that libpcsclite sends and gets."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from simulator.lab import Lab


class Tap:
    """`env` leads programs through it. `seen` is every byte, both ways, in order of arrival."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.seen = bytearray()
        self._pcscd = lab.env["PCSCLITE_CSOCK_NAME"]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = folder / "tap"
        self._listener.bind(str(path))
        self._listener.listen(16)
        self.env = {"PCSCLITE_CSOCK_NAME": str(path)}
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Tap:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._open):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                program, _ = self._listener.accept()
            except OSError:
                return
            pcscd = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            pcscd.connect(self._pcscd)
            self._open += [program, pcscd]
            for source, target in ((program, pcscd), (pcscd, program)):
                thread = threading.Thread(target=self._carry, args=(source, target))
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
