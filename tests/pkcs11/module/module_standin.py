# SPDX-License-Identifier: Apache-2.0
"""A peer of the p11-kit RPC written from the protocol alone, to look at the bytes the module sends and to misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ERROR = 0


@dataclass(frozen=True)
class Request:
    serial: int
    options: bytes
    call: int
    signature: bytes
    values: bytes  # everything after the signature


def number(value: int) -> bytes:
    return struct.pack(">Q", value)


def string(data: bytes | None) -> bytes:
    return b"\xff" * 4 if data is None else struct.pack(">I", len(data)) + data


def body(call: int, signature: bytes, values: bytes = b"") -> bytes:
    return struct.pack(">I", call) + string(signature) + values


def refusal(rv: int) -> bytes:
    return body(ERROR, b"u", number(rv))


def frame(serial: int, content: bytes, options: bytes = b"") -> bytes:
    return struct.pack(">III", serial, len(options), len(content)) + options + content


class Link:
    """One accepted connection."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.stream.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def request(self) -> Request:
        serial, options, content = struct.unpack(">III", self.exactly(12))
        kept = self.exactly(options)
        rest = self.exactly(content)
        call, length = struct.unpack(">II", rest[:8])
        return Request(serial, kept, call, rest[8 : 8 + length], rest[8 + length :])

    def answer(self, request: Request, content: bytes, options: bytes = b"") -> None:
        self.stream.sendall(frame(request.serial, content, options))


Serve = Callable[[Link, Request], None]


class StandIn:
    """Listens at a path. Version byte and C_Initialize are answered here, every later request by `serve`."""

    def __init__(self, path: Path, serve: Serve, *, version: int = 2, options: bytes = b"") -> None:
        self.path = path
        self.serve = serve
        self.version = version
        self.options = options
        self.offers: list[int] = []
        self.requests: list[Request] = []
        self.links: list[Link] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.listener.close()
        self.path.unlink(missing_ok=True)
        for link in self.links:
            with contextlib.suppress(OSError):
                link.stream.shutdown(socket.SHUT_RDWR)
            link.stream.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            link = Link(stream)
            self.links.append(link)
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def handshake(self, link: Link) -> None:
        offered = link.exactly(1)[0]
        self.offers.append(offered)
        link.stream.sendall(bytes([min(offered, self.version)]))

    def _talk(self, link: Link) -> None:
        try:
            self.handshake(link)
            while True:
                request = link.request()
                self.requests.append(request)
                if request.call == 1:
                    link.answer(request, body(1, b""), self.options)
                else:
                    self.serve(link, request)
        except (EOFError, OSError):
            link.stream.close()


class Mute(StandIn):
    """Accepts and says nothing."""

    def handshake(self, link: Link) -> None:
        self.offers.append(link.exactly(1)[0])
        link.exactly(1)


class OldHand(StandIn):
    """Hangs up on any version byte but 0, as servers did before there was a version to agree on."""

    def handshake(self, link: Link) -> None:
        offered = link.exactly(1)[0]
        self.offers.append(offered)
        if offered != 0:
            raise EOFError
        link.stream.sendall(b"\0")


def simple_token(answers: dict[int, bytes]) -> Serve:
    """One slot (7), sessions numbered from 1, and the given bodies by call; CKR_FUNCTION_NOT_SUPPORTED otherwise."""
    opened = iter(range(1, 1000))

    def serve(link: Link, request: Request) -> None:
        if request.call in answers:
            link.answer(request, answers[request.call])
        elif request.call == 4:
            link.answer(request, body(4, b"au", b"\1" + struct.pack(">I", 1) + number(7)))
        elif request.call == 10:
            link.answer(request, body(10, b"u", number(next(opened))))
        elif request.call == 13:
            link.answer(request, body(13, b"uuuu", number(7) + number(0) + number(4) + number(0)))
        else:
            link.answer(request, refusal(0x54))

    return serve
