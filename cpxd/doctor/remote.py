# SPDX-License-Identifier: Apache-2.0
"""A teleservice as this workstation meets it, without a card: name, connection, TLS, request of a certificate, answer, clock.

One address is asked, the one that was given, directly: proxies are not followed. Nothing of the person or the card is sent.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

Step = Literal["name", "connection", "tls", "server certificate", "answer", "done"]
SECONDS = 4.0  # for each step
_HEAD = 65536  # bytes of an answer that are looked at
_CERTIFICATE_REQUEST = 13  # RFC 8446, 4: HandshakeType


@dataclass(frozen=True)
class Seen:
    """`step`: where it ended; "done": there was an answer. `why`: of the library, an errno or an alert, in upper case.
    `asks`: whether the server asked for a certificate; None: not known."""

    host: str
    port: int
    step: Step
    why: str = ""
    tls: str = ""  # "TLSv1.3"
    asks: bool | None = None
    status: int | None = None
    date: datetime | None = None  # of the server, in its answer


def target(address: str) -> tuple[str, int, str]:
    """Host, port and path of an https address. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or not address.isprintable() or " " in address or "@" in parts.netloc:
        raise ValueError(address)
    path = parts.path or "/"
    if not path.isascii():
        raise ValueError(address)
    return parts.hostname, parts.port or 443, path


def probe(address: str) -> Seen:
    """Raises ValueError for what is no https address."""
    host, port, path = target(address)
    seen = Seen(host, port, "name")
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return replace(seen, why=_name(error.errno))
    except (UnicodeError, OSError):
        return replace(seen, why="EAI_NONAME")
    plain, why = _connected(places)
    if plain is None:
        return replace(seen, step="connection", why=why)
    with plain:
        return _spoken(replace(seen, step="tls"), plain, path)


def _connected(places: list[Any]) -> tuple[socket.socket | None, str]:
    import errno

    why, limit = "", time.monotonic() + SECONDS
    for family, kind, protocol, _, place in places[:4]:
        left = limit - time.monotonic()
        if left <= 0:
            break
        plain = socket.socket(family, kind, protocol)
        plain.settimeout(left)
        try:
            plain.connect(place)
        except TimeoutError:
            why = "ETIMEDOUT"
        except OSError as error:
            why = errno.errorcode.get(error.errno or 0, "EIO")
        else:
            plain.settimeout(SECONDS)
            return plain, ""
        plain.close()
    return None, why or "ETIMEDOUT"


def _spoken(seen: Seen, plain: socket.socket, path: str) -> Seen:
    context, heard = ssl.create_default_context(), [False]

    def hear(*message: Any) -> None:
        heard[0] = heard[0] or (message[1] == "read" and message[4] == _CERTIFICATE_REQUEST)

    # the only place where the ssl module tells of a CertificateRequest that is not answered
    known = hasattr(context, "_msg_callback")
    if known:
        context._msg_callback = hear  # type: ignore[attr-defined]
    asks = (lambda: heard[0]) if known else (lambda: None)
    try:
        link = context.wrap_socket(plain, server_hostname=seen.host)
    except ssl.SSLCertVerificationError as error:
        return replace(seen, step="server certificate", why=str(error.verify_code))
    except TimeoutError:
        return replace(seen, why="ETIMEDOUT", asks=asks())
    except ssl.SSLError as error:
        return replace(seen, why=_alert(error), asks=asks())
    except OSError:
        return replace(seen, why="ECONNRESET", asks=asks())
    with link:
        seen = replace(seen, step="answer", tls=link.version() or "")
        return replace(_answered(seen, link, path), asks=asks())


def _answered(seen: Seen, link: ssl.SSLSocket, path: str) -> Seen:
    host = f"[{seen.host}]" if ":" in seen.host else seen.host
    name = host if seen.port == 443 else f"{host}:{seen.port}"
    try:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\nUser-Agent: cpxd-doctor\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD and (block := link.recv(4096)):
            head += block
        answer = http.client.HTTPResponse(_Bytes(head), method="GET")  # type: ignore[arg-type] # what it needs of a socket
        answer.begin()
    except TimeoutError:
        return replace(seen, why="ETIMEDOUT")
    except ssl.SSLError as error:
        return replace(seen, why=_alert(error))
    except (OSError, http.client.HTTPException, ValueError):
        return replace(seen, why="HTTP")
    date = None
    with contextlib.suppress(ValueError, TypeError):
        found = parsedate_to_datetime(answer.headers.get("Date", ""))
        date = found if found.tzinfo else found.replace(tzinfo=UTC)
    return replace(seen, step="done", status=answer.status, date=date)


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _alert(error: ssl.SSLError) -> str:
    """The reason, also one that this Python has no name for: "[SSL] tlsv13 alert certificate required (_ssl.c:2580)"."""
    if error.reason and error.reason != "None":
        return error.reason
    return error.args[-1].partition("] ")[2].partition(" (")[0].upper().replace(" ", "_") or "SSL"


def _name(number: int | None) -> str:
    names = {socket.EAI_AGAIN: "EAI_AGAIN", socket.EAI_NONAME: "EAI_NONAME", socket.EAI_NODATA: "EAI_NONAME"}
    return names.get(number or 0, "EAI_FAIL")
