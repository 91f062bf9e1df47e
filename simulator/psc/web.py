# SPDX-License-Identifier: Apache-2.0
"""What the three servers share: the name they answer to, headers, cookies, errors that show nothing of the inside."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from simulator.psc import pages
from simulator.psc.pages import Words

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MOST_BYTES = 64 * 1024
_MOST_PARAMETERS = 100


def log(line: str) -> None:
    print(f"cpx-sim psc: {line}", file=sys.stderr, flush=True)


def application(port: int, *, before: Callable[[], Awaitable[None]] | None = None, one_request: bool = False) -> web.Application:
    """before: awaited before each answer. one_request: a connection serves one."""
    host = f"localhost:{port}"

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "").lower() != host:  # another name that leads here: DNS rebinding
            response: web.StreamResponse = web.Response(status=421, text=f"https://{host}/\n")
        else:
            response = await _answered(request, handler, before)
        for name, value in pages.HEADERS.items():
            response.headers.setdefault(name, value)
        if one_request:
            response.force_close()
        return response

    return web.Application(middlewares=[guard], client_max_size=MOST_BYTES)


async def _answered(request: web.Request, handler: Handler, before: Callable[[], Awaitable[None]] | None) -> web.StreamResponse:
    words = Words(request)
    try:
        if before is not None:
            await before()
        return await handler(request)
    except web.HTTPRedirection as redirection:
        return web.Response(status=redirection.status, headers=redirection.headers)
    except web.HTTPException as error:
        body = pages.error(words, "Cette demande ne peut pas être servie.", "This request cannot be served.", str(error.status))
        return pages.page(words, f"{error.status}", body, status=error.status)
    except Exception as error:  # an error of ours: one line in the log, nothing of it on the page
        log(f"internal error on {request.path}: {type(error).__name__}: {error}")
        body = pages.error(words, "Erreur interne du banc d'essai.", "Internal error of the test bench.", "internal")
        return pages.page(words, "500", body, status=500)


async def form_pairs(request: web.Request) -> list[tuple[str, str]]:
    """The text fields of a form. Raises HTTPException."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    try:
        found = [(name, value) for name, value in (await request.post()).items() if isinstance(value, str)]
    except (ValueError, LookupError):  # not UTF-8, or an unknown charset
        raise web.HTTPBadRequest from None
    if len(found) > _MOST_PARAMETERS:
        raise web.HTTPBadRequest
    return found


def same_origin(request: web.Request, origin: str) -> bool:
    """Of a form: browsers always name the origin of a POST."""
    return request.headers.get("Origin", origin) == origin


def cookie_of(request: web.Request, name: str) -> str:
    return request.cookies.get(name, "")


def set_cookie(response: web.StreamResponse, name: str, value: str) -> None:
    response.set_cookie(name, value, path="/", secure=True, httponly=True, samesite="Lax")


def new_cookie_value() -> str:
    return secrets.token_urlsafe(32)


def same(one: str, other: str) -> bool:
    return bool(one) and secrets.compare_digest(one.encode(), other.encode())


def redirect(address: str, status: int = 303) -> web.Response:
    return web.Response(status=status, headers={"Location": address})


def json(status: int, body: Any, headers: list[tuple[str, str]] | None = None) -> web.Response:
    kept = {k: v for k, v in headers or [] if k.lower() not in ("content-type", "cache-control")}
    return web.json_response(body, status=status, headers=kept)
