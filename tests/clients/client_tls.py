# SPDX-License-Identifier: Apache-2.0
"""A server on 127.0.0.1 that wants the card's certificate and says whose it was. Python's `ssl`, one thread a connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.x509.oid import NameOID

from simulator.psc import servercert

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass
class MutualTls:
    """`version`: the only one spoken. `seen`: (name, version) of who came in; `refused`: why others did not."""

    version: str
    authorities: Path  # whose certificates are admitted
    folder: Path
    seen: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __enter__(self) -> MutualTls:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        identity = servercert.make()
        self.trust = self.folder / f"server-{self.port}.ca.pem"
        self.trust.write_bytes(identity.authority_pem)
        own = self.folder / f"server-{self.port}.pem"
        own.write_bytes(identity.key_and_certificate_pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = self._context.maximum_version = VERSIONS[self.version]
        self._context.load_cert_chain(own)
        self._context.load_verify_locations(self.authorities)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._thread = threading.Thread(target=self._accept, name=f"tls-{self.version}")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}/"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(40)
        try:
            with connection, self._context.wrap_socket(connection, server_side=True) as stream:
                self._answer(stream)
        except OSError as error:
            self.refused.append(getattr(error, "reason", None) or str(error))

    def _answer(self, stream: ssl.SSLSocket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            received = stream.recv(4096)
            if not received:
                raise OSError("no request")
            asked += received
        certificate = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True) or b"")
        name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        self.seen.append((name, str(stream.version())))
        body = f"bonjour {name}, {stream.version()}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + body)
        with contextlib.suppress(OSError):
            stream.unwrap()
