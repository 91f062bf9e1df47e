# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 for the connections that the listener let in: the gate, then the table of routes; one page, the person's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from cpxd import config, errors, log
from cpxd.api import certificate, gate, origins, page, problems, routes, schema
from cpxd.api.mycard import MyCard
from cpxd.api.operations import Call, Desk
from cpxd.browsers import registration
from cpxd.config import Settings
from cpxd.dialog import session
from cpxd.dialog.display import DisplayHints, program_name, terminal_of
from cpxd.service.hub import Hub

_HEAD = 5.0  # seconds for the head of a request, and between two of them
_BODY = 30.0  # seconds for its body
_ENDING = 0.5  # seconds for what is being answered when the daemon ends; then it is cancelled, and its dialog closed
_STREAMS = 8  # connections of one site that listen to events at once
_QUEUE = 64  # changes that a slow listener may be behind
_ENVIRONMENT = 1 << 20
_QUIET = logging.getLogger("cpxd.api.http")  # what a library would write could quote a request: nothing of it is kept
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _Connection(RequestHandler):
    """One connection. `port` None: by the unix socket, from process `pid`."""

    __slots__ = ("_ended", "pid", "port")

    def __init__(self, server: web.Server, port: int | None, pid: int, ended: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # None is how the library says "no access log"
            logger=_QUIET,
            keepalive_timeout=_HEAD,
            tcp_keepalive=False,
            lingering_time=0.0,
            auto_decompress=False,
            max_line_size=2048,
            max_field_size=8192,  # a browser adds the cookies that others have set for "localhost", whatever their port
            max_headers=48,
        )
        self.port, self.pid, self._ended = port, pid, ended

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        ended, self._ended = self._ended, _nothing
        ended()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What the library could not read, or a defect of ours: a constant answer."""
        if status < 500:
            return _closing(_refusal(problems.BadRequest(detail="HTTP"), None))
        log.write("defect", operation="api", error=type(exc).__name__)
        return _closing(_refusal(errors.Internal(detail=type(exc).__name__), None))


class Http:
    """The server of all connections. Made on the loop."""

    def __init__(self, hub: Hub, settings: Settings, *, open_to_browsers: bool) -> None:
        self._hub, self._desk, self._port = hub, Desk(hub, settings), settings.api_port
        self._desk.open_to_browsers = open_to_browsers
        self._page = page.Page(MyCard(self._desk), self._changes)
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._limiter = gate.Limiter()
        self._streams: Counter[str] = Counter()  # by site
        self._tls: tuple[tuple[int, int], ssl.SSLContext] | None = None

    def connection(self, port: int | None, pid: int, ended: Callable[[], None]) -> RequestHandler:
        return _Connection(self._server, port, pid, ended)

    def tls(self) -> ssl.SSLContext:
        """The context of the certificate as it is now; runs on a thread. Raises BadFile."""
        where = certificate.ensure()
        status = where.stat()
        if self._tls is None or self._tls[0] != (status.st_ino, status.st_mtime_ns):
            self._tls = ((status.st_ino, status.st_mtime_ns), certificate.context(where))
            if registration.follow(config.home(), certificate.leaf(), self._port):
                log.write("browsers-told", operation="certificate")  # those that run take it at their next start
        return self._tls[1]

    async def close(self) -> None:
        await self._server.shutdown(_ENDING)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)  # noqa: S101 - for the type checker
        origin: str | None = None
        head = gate.Head.of(request.method, request.raw_path, request.raw_headers, connection.port)
        try:
            if page.concerns(head):
                return await self._own(request, head)
            origin = gate.judge(head, origins.allowed)
            if head.preflight:
                return web.Response(status=204, headers={**gate.SECURITY, **gate.cors(origin, head)})
            self._limiter.take(origin or "", asyncio.get_running_loop().time())
            route = routes.find(head.method, head.target)
            if route.operation == "events":
                return await self._events(request, head, origin)
            if head.websocket:
                raise problems.UnknownResource()
            given = await _body(request, route)
            found = await (await self._call(route, origin, connection.pid)).run(route, given)
            return _json(200, found, gate.cors(origin))
        except errors.CpxError as error:
            answer = _refusal(error, origin)
            stranger = isinstance(error, (problems.OriginRefused, problems.WrongHost))
            if not stranger:  # those could fill the log
                log.write("api-refused", code=error.code)
            return _closing(answer) if stranger or head.websocket or not request.content.at_eof() else answer

    async def _own(self, request: web.BaseRequest, head: gate.Head) -> web.StreamResponse:
        """The page "Ma carte", and what it asks."""
        if head.target.partition("?")[0] == page.PATH:
            return self._page.visit(head)
        key = self._page.key(head)
        self._limiter.take(page.PATH, asyncio.get_running_loop().time())
        given = await _body(request, page.ASKED)
        if head.target == f"{page.PATH}/changes":
            return await self._streaming(page.PATH, lambda: self._page.follow(key, request))
        return _json(200, await self._page.ask(key, head.target, given), {})

    async def _call(self, route: routes.Route, origin: str | None, pid: int) -> Call:
        if route.method == "GET":  # asks nobody anything
            return Call(self._desk, origin, "", DisplayHints())
        if origin is not None:
            return Call(self._desk, origin, origin, DisplayHints.from_environ(await asyncio.to_thread(session.environment)))
        return Call(self._desk, None, program_name(pid), DisplayHints.from_environ(_environment(pid), pid))

    # --- events

    async def _events(self, request: web.BaseRequest, head: gate.Head, origin: str | None) -> web.StreamResponse:
        if head.websocket:
            return await self._streaming(origin or "", lambda: self._socket(request))
        return await self._streaming(origin or "", lambda: self._lines(request, origin))

    async def _streaming(self, who: str, tell: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if self._streams[who] >= _STREAMS:
            raise problems.TooMany()
        self._streams[who] += 1
        try:
            return await tell()
        finally:
            self._streams[who] -= 1

    async def _lines(self, request: web.BaseRequest, origin: str | None) -> web.StreamResponse:
        headers = {**gate.SECURITY, **gate.cors(origin), "Content-Type": "application/x-ndjson"}
        answer = web.StreamResponse(headers=headers)
        await answer.prepare(request)
        async for text in self._changes():
            await answer.write(text.encode() + b"\n")
        return answer

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.WebSocketResponse(protocols=(gate.PROTOCOL,), max_msg_size=1024, compress=False, autoping=True)
        answer.headers.update(gate.SECURITY)
        if not answer.can_prepare(request):  # the library would answer in words of its own
            raise problems.BadRequest(detail="WebSocket")
        await answer.prepare(request)

        async def tell() -> None:
            with contextlib.suppress(ConnectionError):
                async for text in self._changes():
                    await answer.send_str(text)
                await answer.close(code=1008)

        telling = asyncio.ensure_future(tell())
        try:
            await answer.receive()  # its end; a page has nothing to say here
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
        await answer.close()
        return answer

    async def _changes(self) -> AsyncIterator[str]:
        """The readers now, and at each change. Ends for a listener that does not keep up."""
        queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)

        def changed(slot: object = None) -> None:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(self._told())

        unsubscribe = self._hub.subscribe(changed)
        try:
            changed()
            while not queue.full():
                text = await queue.get()
                yield text
                if queue.empty():
                    await self._desk.look()
                    if queue.empty() and (now := self._told()) != text:
                        yield now
        finally:
            unsubscribe()

    def _told(self) -> str:
        return json.dumps(self._desk.readers(), ensure_ascii=False)


async def _body(request: web.BaseRequest, route: routes.Route) -> dict[str, Any]:
    """Raises TooLarge (when a length is given, before anything is read), TooSlow, BadRequest."""
    length = request.content_length
    if (length or 0) > route.limit:
        raise problems.TooLarge(limit=route.limit)
    if route.method == "GET":
        if request.can_read_body:
            raise problems.BadRequest(detail="GET")
        return {}
    content = bytearray()
    try:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # of the answer proper nothing is sent yet
        async with asyncio.timeout(_BODY):
            async for block in request.content.iter_any():
                content += block
                if len(content) > route.limit:
                    raise problems.TooLarge(limit=route.limit)
    except TimeoutError:
        raise problems.TooSlow() from None
    except web.RequestPayloadError:
        raise problems.BadRequest(detail="HTTP") from None
    return schema.read(content, route.takes)


def _json(status: int, found: Mapping[str, Any], more: Mapping[str, str]) -> web.Response:
    body = json.dumps(found, ensure_ascii=False).encode()
    headers = {**gate.SECURITY, **more, "Content-Type": "application/json"}
    return web.Response(status=status, body=body, headers=headers)


def _refusal(error: errors.CpxError, origin: str | None) -> web.Response:
    more = gate.cors(origin)
    if isinstance(error, (problems.TooMany, problems.Pending)):
        more["Retry-After"] = "1"
    if isinstance(error, problems.WrongMethod):
        more["Allow"] = str(error.details["allow"])
    return _json(problems.status(error), problems.as_json(error), more)


def _closing(answer: web.StreamResponse) -> web.StreamResponse:
    answer.force_close()
    return answer


def _environment(pid: int) -> dict[str, str]:
    """Of a program of this user: where its dialogs can be shown."""
    try:
        with Path(f"/proc/{pid}/environ").open("rb") as file:
            entries = file.read(_ENVIRONMENT).split(b"\x00")
    except OSError:
        return {}
    pairs = (entry.decode("utf-8", "replace").partition("=") for entry in entries)
    return {"GPG_TTY": terminal_of(pid), **{name: value for name, _, value in pairs if name}}


def _nothing() -> None:
    return None
