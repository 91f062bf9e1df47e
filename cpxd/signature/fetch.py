# SPDX-License-Identifier: Apache-2.0
"""What signatures need of the network: one bounded request to a CRL, OCSP or time-stamp server, through the system's proxy."""

from __future__ import annotations

import errno
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from typing import IO
from urllib.parse import SplitResult, urlsplit

from cpxd.text import Text, printable, tr

MAX_ANSWER = 32 << 20  # bytes: the CRL of a large authority
_CHUNK = 1 << 16
_TRICKLE = 6
_REASONS = {
    errno.ECONNREFUSED: Text("connexion refusée", "connection refused"),
    errno.ECONNRESET: Text("connexion coupée", "connection cut"),
    errno.ENETUNREACH: Text("pas de réseau", "no network"),
    errno.EHOSTUNREACH: Text("serveur injoignable", "server out of reach"),
    errno.ETIMEDOUT: Text("pas de réponse à temps", "no answer in time"),
}


class FetchError(Exception):
    """No answer that can be used. `str()` is a short reason in the person's language, on one line whatever the server said."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


class _NoOtherScheme(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - urllib's
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


Fetch = Callable[[str, bytes | None, str], bytes]


class Network:
    """Asks servers. `wait`: seconds without a byte before it gives up; an answer that trickles has six times that.

    `proxy`: its address, "none", or "" for the system's.
    """

    def __init__(self, wait: float, proxy: str = "") -> None:
        self._wait = wait
        named = urllib.request.ProxyHandler({} if proxy == "none" else {"http": proxy, "https": proxy})
        self._opener = urllib.request.build_opener(_NoOtherScheme, *([named] if proxy else []))

    def __call__(self, url: str, body: bytes | None = None, kind: str = "") -> bytes:
        """The answer to a GET, or to a POST of `body` whose media type is `kind`. Raises FetchError."""
        _check(url)
        found: list[bytes | Exception] = []

        def ask() -> None:
            try:
                found.append(self._ask(url, body, kind))
            except Exception as error:  # raised again by who waits
                found.append(error)

        # a server can send a byte now and then for ever, in the head of its answer too: nobody waits for that
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_TRICKLE * self._wait)
        if not found:
            raise FetchError(tr(f"{url} : réponse trop lente", f"{url}: answer too slow"))
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _ask(self, url: str, body: bytes | None, kind: str) -> bytes:
        request = urllib.request.Request(url, data=body, headers={"Content-Type": kind} if body else {})  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=self._wait) as answer:
                content = bytearray()
                while block := answer.read(_CHUNK):
                    content += block
                    if len(content) > MAX_ANSWER:
                        raise FetchError(tr(f"{url} : réponse trop longue", f"{url}: answer too long"))
                return bytes(content)
        except urllib.error.HTTPError as error:
            with error:
                raise FetchError(f"{url} : HTTP {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchError(f"{url} : {_why(getattr(error, 'reason', None) or error)}") from None


def _why(error: object) -> object:
    if isinstance(error, socket.gaierror):
        return tr("nom de serveur introuvable, ou pas de réseau", "name of the server not found, or no network")
    if isinstance(error, TimeoutError):
        return tr(*_REASONS[errno.ETIMEDOUT])
    found = _REASONS.get(error.errno or 0) if isinstance(error, OSError) else None
    return error if found is None else tr(*found)


def offline(url: str, body: bytes | None = None, kind: str = "") -> bytes:
    """A network that is not there."""
    raise FetchError(tr("hors ligne", "offline"))


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(tr(f"adresse refusée : {url}", f"refused address: {url}"))
