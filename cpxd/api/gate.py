# SPDX-License-Identifier: Apache-2.0
"""The gate: what the head of a request must say before anything else of it is looked at. Pure; nothing here knows a card.

Browsers come by TCP and name their page's origin, which no page can forge; native programs come by the user's own socket and
name none. Whatever is not exactly right is refused with answers that are the same whether or not a card is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cpxd.api import problems

MARK = "x-cpxd"  # a header that no form and no plain fetch can send: browsers ask first (CORS preflight)
PROTOCOL = "cpxd.v1"  # of the WebSocket, which cannot carry that header
KEY = "x-cpxd-key"  # what the page "Ma carte" shows with each request
_ONCE = (
    "host origin content-type content-length upgrade access-control-request-method access-control-request-headers "
    "sec-websocket-protocol sec-fetch-site sec-fetch-mode sec-fetch-dest " + KEY + " " + MARK
).split()
_NEVER = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")
_SITES, _MODES, _DESTS = ("cross-site", "same-site", "same-origin"), ("cors", "websocket"), ("empty", "websocket")
_JSON = re.compile(r"application/json(?:; ?charset=utf-8)?", re.IGNORECASE)
METHODS, HEADERS = ("GET", "POST"), (MARK, "content-type")


@dataclass(frozen=True)
class Head:
    """Names of headers in lower case. `port`: ours, None by the unix socket."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    port: int | None

    @classmethod
    def of(cls, method: str, target: str, raw: Iterable[tuple[bytes, bytes]], port: int | None) -> Head:
        pairs = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)
        return cls(method, target, pairs, port)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def websocket(self) -> bool:
        """Another protocol that is offered (h2c) is passed over, as RFC 9110 section 7.8 lets a server do; no page offers one."""
        return (self.get("upgrade") or "").lower() == "websocket"

    @property
    def preflight(self) -> bool:
        return self.port is not None and self.method == "OPTIONS"


def judge_visit(head: Head) -> None:
    """The page "Ma carte" is loaded: a navigation of a whole window, opened from outside every page. Raises as `judge`."""
    names = [name for name, _ in head.headers]
    _check_own(head, names)
    wanted = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "origin": None}
    fetched_ahead = "purpose" in names or "sec-purpose" in names
    if head.method != "GET" or head.websocket or fetched_ahead or any(head.get(name) != wanted[name] for name in wanted):
        raise problems.OriginRefused()


def judge_own(head: Head) -> str:
    """The page asks: same origin, by POST (which names the origin), with its key, which is returned. Raises as `judge`."""
    names = [name for name, _ in head.headers]
    _check_own(head, names)
    wanted = {"origin": f"https://localhost:{head.port}", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty", MARK: "1"}
    key = head.get(KEY)
    if head.method != "POST" or head.websocket or key is None or any(head.get(name) != wanted[name] for name in wanted):
        raise problems.OriginRefused()
    if "content-encoding" in names or not _JSON.fullmatch(head.get("content-type") or ""):
        raise problems.WrongMedia()
    return key


def _check_own(head: Head, names: list[str]) -> None:
    if head.port is None:
        raise problems.OriginRefused()
    _check_host(head, names)
    if head.get("host") != f"localhost:{head.port}":
        raise problems.WrongHost()
    _check_plain(head, names)


def _check_plain(head: Head, names: list[str]) -> None:
    if any(names.count(name) > 1 for name in _ONCE) or any(name in names for name in _NEVER) or head.target[:1] != "/":
        raise problems.OriginRefused()


def judge(head: Head, allowed: Callable[[str], bool]) -> str | None:
    """The origin that asks; None by the unix socket. Raises an ApiError: WrongHost and OriginRefused tell nothing."""
    names = [name for name, _ in head.headers]
    _check_host(head, names)
    _check_plain(head, names)
    origin = head.get("origin")
    if head.port is None:
        if origin is not None or "sec-fetch-site" in names:  # Node.js sends sec-fetch-mode, of these alone
            raise problems.OriginRefused()  # a browser, behind something that forwards to this socket
    else:
        if origin is None or not allowed(origin):
            raise problems.OriginRefused()
        _check_browser(head)
    if head.method == "POST" and ("content-encoding" in names or not _JSON.fullmatch(head.get("content-type") or "")):
        raise problems.WrongMedia()
    return origin


def _check_host(head: Head, names: list[str]) -> None:
    if head.port is None:
        return
    hosts = {f"{name}:{head.port}" for name in ("localhost", "127.0.0.1", "[::1]")}
    if names.count("host") != 1 or head.get("host") not in hosts:
        raise problems.WrongHost()


def _check_browser(head: Head) -> None:
    """Sec-Fetch (W3C Fetch Metadata), and what makes a browser ask before it sends."""
    found = [head.get(f"sec-fetch-{name}") for name in ("site", "mode", "dest")]
    for value, known in zip(found, (_SITES, _MODES, _DESTS), strict=True):
        if value is not None and value not in known:
            raise problems.OriginRefused()
    if head.preflight:
        wanted = [name.strip().lower() for name in (head.get("access-control-request-headers") or "").split(",")]
        if head.get("access-control-request-method") not in METHODS or any(name and name not in HEADERS for name in wanted):
            raise problems.OriginRefused()
    elif head.websocket:
        spoken = [word.strip() for word in (head.get("sec-websocket-protocol") or "").split(",")]
        if head.method != "GET" or PROTOCOL not in spoken:
            raise problems.OriginRefused()
    elif head.get(MARK) != "1" or found[0] is None or head.get("upgrade") is not None:
        raise problems.OriginRefused()


SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "cpxd",
    "Vary": "Origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def cors(origin: str | None, head: Head | None = None) -> dict[str, str]:
    """For an origin that passed; with the `head` of a preflight, its answer. Nothing else may ever get these."""
    if origin is None:
        return {}
    found = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
    if head is not None and head.preflight:
        found |= {
            "Access-Control-Allow-Methods": ", ".join(METHODS),
            "Access-Control-Allow-Headers": ", ".join(HEADERS),
            "Access-Control-Max-Age": "600",
        }
        if head.get("access-control-request-private-network") == "true":
            found["Access-Control-Allow-Private-Network"] = "true"
    return found


class Limiter:
    """A token bucket an origin: `burst` requests at once, then `rate` a second."""

    def __init__(self, rate: float = 10.0, burst: float = 60.0) -> None:
        self._rate, self._burst = rate, burst
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> None:
        """Raises TooMany. Keys are origins that are allowed: their number is that of the list."""
        left, at = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            raise problems.TooMany()
        self._left[key] = (left - 1, now)
