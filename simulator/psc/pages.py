# SPDX-License-Identifier: Apache-2.0
"""The pages: plain HTML, no script, no outside resource, one style whose digest the policy names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from aiohttp import web

_STYLE = """
:root { color-scheme: light; font: 1.05rem/1.5 system-ui, sans-serif; color: #161616; background: #f4f5f9 }
body { margin: 0 auto; max-width: 42rem; padding: 1.5rem }
main { background: #fff; border: 1px solid #8a8fb5; border-radius: .5rem; padding: 1rem 1.5rem 1.5rem }
h1 { font-size: 1.5rem; margin: .5rem 0 1rem }
footer { color: #3a3a3a; font-size: .9rem; margin-top: 1rem }
.choice, button { display: block; box-sizing: border-box; width: 100%; min-height: 3rem; margin: .75rem 0; padding: .7rem 1rem;
  border: 2px solid #000091; border-radius: .4rem; background: #000091; color: #fff; font: inherit; text-align: center;
  text-decoration: none; cursor: pointer }
.second { background: #fff; color: #000091 }
.choice:hover, button:hover { text-decoration: underline }
:focus-visible { outline: 3px solid #b34000; outline-offset: 3px }
label { display: block; font-weight: 600 }
input, textarea { box-sizing: border-box; width: 100%; min-height: 3rem; padding: .5rem; border: 2px solid #3a3a3a;
  border-radius: .4rem; font: inherit }
[hidden] { display: none }
#error { border-left: .4rem solid #c00000; background: #fff0f0; padding: .5rem 1rem; margin: 1rem 0 }
dt { font-weight: 600 } dd { margin: 0 0 .5rem; overflow-wrap: anywhere }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Words:
    """Picks the French or the English of a pair, escaped for HTML. French unless the browser asks for English first."""

    def __init__(self, request: web.Request) -> None:
        first = request.headers.get("Accept-Language", "").split(",")[0].strip().lower()
        self.language = "en" if first.startswith("en") else "fr"

    def __call__(self, french: str, english: str) -> str:
        return escape(english if self.language == "en" else french)


def page(
    words: Words,
    title: str,
    body: str,
    *,
    status: int = 200,
    targets: Sequence[str] = (),
    then: str | None = None,
    owner: str = "Pro Santé Connect",
) -> web.Response:
    """title, body: HTML. targets: addresses that a form of the page may end at, beside its own origin.
    then: address that the browser goes to by itself.
    """
    refresh = f'<meta http-equiv="refresh" content="0; url={escape(then)}">' if then is not None else ""
    note = words(
        "Banc d'essai local du simulateur cpx-sim : ni le vrai service, ni de vraies personnes.",
        "Local test bench of the cpx-sim simulator: neither the real service nor real people.",
    )
    html = (
        f'<!doctype html>\n<html lang="{words.language}"><head><meta charset="utf-8"><title>{title} - {owner}'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"{refresh}<style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1>\n{body}\n</main>"
        f'<footer lang="{words.language}"><p>{note}</p></footer></body></html>\n'
    )
    forms = " ".join(["'self'", *dict.fromkeys(_source(target) for target in targets)])
    policy = (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; form-action {forms}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return web.Response(text=html, content_type="text/html", status=status, headers={"Content-Security-Policy": policy})


def error(words: Words, french: str, english: str, code: str = "") -> str:
    return f'<div id="error" role="alert" data-code="{escape(code)}"><p>{words(french, english)}</p></div>'


def link(identifier: str, address: str, label: str, second: bool = False) -> str:
    """label: already escaped."""
    kind = "choice second" if second else "choice"
    return f'<p><a id="{identifier}" class="{kind}" href="{escape(address)}">{label}</a></p>'


def button(identifier: str, label: str, name: str = "", value: str = "", second: bool = False) -> str:
    kind = ' class="second"' if second else ""
    sent = f' name="{escape(name)}" value="{escape(value)}"' if name else ""
    return f'<button id="{identifier}" type="submit"{kind}{sent}>{label}</button>'


def form(identifier: str, address: str, inside: str, **hidden: str) -> str:
    fields = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in hidden.items())
    return f'<form id="{identifier}" method="post" action="{escape(address)}">{fields}{inside}</form>'


def _source(address: str) -> str:
    """The origin, as Content-Security-Policy names it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
