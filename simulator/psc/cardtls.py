# SPDX-License-Identifier: Apache-2.0
"""TLS that asks for the card's certificate, under an aiohttp server.

The `ssl` module cannot name authorities in its CertificateRequest, nor let a bad certificate through to be refused in words;
pyOpenSSL does both, on memory buffers. No session is ever resumed: each connection is a signature by the card that is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from OpenSSL import SSL

HANDSHAKE_SECONDS = 300.0  # a person types a code meanwhile
_CHUNK = 65536
_PEER = "card_peer"  # name of the extra information that holds the Peer


@dataclass(frozen=True)
class Peer:
    """What the handshake established. certificate: None when the client sent none."""

    certificate: x509.Certificate | None
    chain: tuple[x509.Certificate, ...]
    version: str  # "TLSv1.3"


def peer_of(transport: asyncio.BaseTransport | None) -> Peer | None:
    found = transport.get_extra_info(_PEER) if transport is not None else None
    return found if isinstance(found, Peer) else None


def make_context(
    certificate: x509.Certificate,
    key: EllipticCurvePrivateKey,
    authorities: Sequence[x509.Certificate],
    tls: Literal["1.2 and 1.3", "1.2", "1.3"],
    refuse: bool = False,
) -> SSL.Context:
    """refuse: end each handshake that brings a certificate with an alert."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION if tls == "1.3" else SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION if tls == "1.2" else SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"cpx-sim psc")
    context.use_certificate(certificate)
    context.use_privatekey(key)
    # Any certificate passes here; `admission` judges it, and can then say why not.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: not refuse)
    for authority in authorities:
        context.add_client_ca(authority)
    return context


class CardConnection(asyncio.Protocol):
    """One connection. `handler` makes the aiohttp protocol that reads what was decrypted; `report` gets one line a failure."""

    def __init__(self, context: SSL.Context, handler: Callable[[], asyncio.BaseProtocol], report: Callable[[str], None]) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._make_handler, self._report = handler, report
        self._handler: Any = None
        self._outer: asyncio.Transport | None = None
        self._over = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._outer = transport
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._fail, "timeout")

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._tls.bio_write(data)
        try:
            if self._handler is None:
                self._shake_hands()
            if self._handler is not None:
                self._read()
        except SSL.WantReadError:
            self._flush()
        except SSL.ZeroReturnError:
            self.close()
        except SSL.Error as error:
            self._flush()  # the alert that says why
            self._fail(_reason(error))

    def eof_received(self) -> bool:
        return False  # then the transport closes itself

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._handler is not None:
            self._handler.connection_lost(error)
        elif not self._over:
            self._report("connection closed by the client")
        self._over = True

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._flush()
        if self._deadline is not None:
            self._deadline.cancel()
        chain = self._tls.get_peer_cert_chain() or []
        leaf = self._tls.get_peer_certificate()
        peer = Peer(
            leaf.to_cryptography() if leaf is not None else None,
            tuple(other.to_cryptography() for other in chain),
            self._tls.get_protocol_version_name(),
        )
        self._handler = self._make_handler()
        self._handler.connection_made(_Inner(self, peer))

    def _read(self) -> None:
        while not self._over:
            self._handler.data_received(self._tls.recv(_CHUNK))
        self._flush()

    def _flush(self) -> None:
        while self._outer is not None:
            try:
                self._outer.write(self._tls.bio_read(_CHUNK))
            except SSL.WantReadError:
                return

    def _fail(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._report(why)
            if self._outer is not None:
                self._outer.close()

    def send(self, data: bytes) -> None:
        if not self._over and data:
            self._tls.sendall(data)
            self._flush()

    def close(self) -> None:
        if not self._over:
            self._over = True
            with contextlib.suppress(SSL.Error):
                self._tls.shutdown()
            self._flush()
            if self._outer is not None:
                self._outer.close()

    @property
    def over(self) -> bool:
        return self._over

    @property
    def outer(self) -> asyncio.Transport | None:
        return self._outer


class _Inner(asyncio.Transport):
    """The decrypted side, as the HTTP server sees it."""

    def __init__(self, connection: CardConnection, peer: Peer) -> None:
        super().__init__()
        self._connection, self._peer = connection, peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == _PEER:
            return self._peer
        if name == "sslcontext":
            return True  # what aiohttp looks at to know that this is https
        outer = self._connection.outer
        return outer.get_extra_info(name, default) if outer is not None else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.send(bytes(data))

    def is_closing(self) -> bool:
        return self._connection.over

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        self._connection.close()

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        if self._connection.outer is not None and self._connection.outer.is_reading():
            self._connection.outer.pause_reading()

    def resume_reading(self) -> None:
        if self._connection.outer is not None:
            self._connection.outer.resume_reading()

    def is_reading(self) -> bool:
        return self._connection.outer is not None and self._connection.outer.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._connection.outer.get_write_buffer_size() if self._connection.outer is not None else 0


def _reason(error: SSL.Error) -> str:
    """ "sslv3 alert handshake failure" out of what pyOpenSSL raises."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in queue if entry and entry[-1]]
    return ", ".join(reasons) or type(error).__name__
