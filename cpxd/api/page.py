# SPDX-License-Identifier: Apache-2.0
"""The page "Ma carte": the only HTML that is served, once a token, with everything in it; then what it asks, with its key.

No cookie, no address that works twice, nothing that can be framed, no resource of anywhere else. docs/SECURITY.md argues for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from cpxd import log
from cpxd.api import gate, problems, routes
from cpxd.api.mycard import TAKES, MyCard
from cpxd.api.words import WORDS
from cpxd.text import Language

PATH = "/card"
ASKED = routes.Route("POST", PATH, "", "", {}, TAKES)  # how its requests are read
_WEB = Path(__file__).parent / "web"
_USED = ("used", "used_what")  # words of the page for a token that is not good


def concerns(head: gate.Head) -> bool:
    return head.port is not None and (head.target.partition("?")[0] == PATH or head.target.startswith(f"{PATH}/"))


class Page:
    def __init__(self, card: MyCard, changes: Callable[[], AsyncIterator[str]]) -> None:
        self._card, self._changes = card, changes
        self._keys = card.desk.keys

    def visit(self, head: gate.Head) -> web.Response:
        """The page, for a token that was never used; a page that says what to do, for any other."""
        gate.judge_visit(head)
        key = self._keys.exchange(head.target.removeprefix(f"{PATH}?t="))
        language = self._keys.hints(key).language
        log.write("page", operation="refused" if key is None else "opened")
        if key is None:
            return _html(403, _filled("used.html", language, title=WORDS["used"].fr))
        return _html(200, _filled("card.html", language, key=key))

    def key(self, head: gate.Head) -> str:
        """The key of the page that asks. Raises OriginRefused."""
        key = gate.judge_own(head)
        if self._keys.left(key) <= 0:
            raise problems.OriginRefused()
        return key

    async def ask(self, key: str, target: str, given: dict[str, Any]) -> dict[str, Any]:
        """Raises UnknownResource, and what the operation raises."""
        return await self._card.run(target.removeprefix(f"{PATH}/"), given, key)

    async def follow(self, key: str, request: web.BaseRequest) -> web.StreamResponse:
        """A line at each change of the readers, and when the screen is locked, as long as the key is good. The page is open as
        long as this is."""
        answer = web.StreamResponse(headers={**gate.SECURITY, "Content-Type": "application/x-ndjson"})
        try:
            await answer.prepare(request)
            async with asyncio.timeout(self._keys.left(key)):
                async for text in self._changes():
                    lives = [slot.life for slot in self._card.desk.hub.slots]
                    await answer.write(json.dumps({**json.loads(text), "lives": lives}).encode() + b"\n")
        except TimeoutError:
            pass
        finally:
            self._keys.forget(key)
        return answer


@cache
def _part(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


@cache
def _policy() -> str:
    """Content-Security-Policy (W3C CSP 3): one script and one style, by their hashes; requests to this service alone."""
    script, style = _hash(_part("card.js")), _hash(_part("card.css"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _filled(name: str, language: Language, **values: str) -> str:
    """The template with its parts: {{name}}; words of the page in the language it opens in."""
    words = {word: [text.fr, text.en] for word, text in WORDS.items()}
    parts = {
        "style": _part("card.css"),
        "script": _part("card.js"),
        "words": json.dumps(words, ensure_ascii=False).replace("<", "\\u003c"),
        "language": language,
        **{f"fr_{word}": html.escape(WORDS[word].fr) for word in _USED},
        **{f"en_{word}": html.escape(WORDS[word].en) for word in _USED},
        **{key: html.escape(value) for key, value in values.items()},
    }
    text = _part(name)
    for part, value in parts.items():
        text = text.replace("{{%s}}" % part, value)  # noqa: UP031 - braces
    return text


def _html(status: int, text: str) -> web.Response:
    headers = {
        **gate.SECURITY,
        "Content-Security-Policy": _policy(),
        "Content-Type": "text/html; charset=utf-8",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    return web.Response(status=status, body=text.encode(), headers=headers)
