# SPDX-License-Identifier: Apache-2.0
"""Web sites of made-up names (*.test, all on 127.0.0.1 and one port) that serve empty pages, and what a test puts there."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

ALLOWED, FOREIGN, REBOUND = "lgc.test", "mechant.test", "rebond.test"
NAMES = (ALLOWED, FOREIGN, REBOUND, f"sous.{ALLOWED}", f"{ALLOWED}.{FOREIGN}")
_BLANK = b'<!doctype html><meta charset="utf-8"><title>site</title><link rel="icon" href="data:,"><body></body>'


@dataclass
class Sites:
    """`pages`: by path, beside the empty one. `folder`: for the authority's file, `ca`. `elsewhere`: where /vers?… redirects.
    `issuer`: a file with the key and certificate that vouch for these sites instead.
    """

    folder: Path
    pages: dict[str, bytes] = field(default_factory=dict)
    elsewhere: str = ""
    issuer: Path | None = None

    def __enter__(self) -> Sites:
        sites = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                body = sites.pages.get(path, _BLANK)
                self.send_response(307 if path == "/vers" else 200)
                if path == "/vers":
                    self.send_header("Location", sites.elsewhere + query)
                self.send_header("Content-Type", "text/javascript" if path.endswith(".js") else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # browsers open connections that they do not use

            def finish_request(self, request: object, client_address: object) -> None:
                tls = context.wrap_socket(request, server_side=True)  # type: ignore[arg-type] # here, in the thread of the client
                with tls:
                    super().finish_request(tls, client_address)  # type: ignore[arg-type]

        context = self._identity()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def origin(self, name: str) -> str:
        return f"https://{name}:{self.port}"

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def _identity(self) -> ssl.SSLContext:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("tests", ALLOWED)]
        if self.issuer is not None:
            content = self.issuer.read_bytes()
            stolen = load_pem_private_key(content, None)
            assert isinstance(stolen, ec.EllipticCurvePrivateKey)
            keys[0], names[0] = stolen, x509.load_pem_x509_certificate(content).subject
        start, made = datetime.now(UTC) - timedelta(hours=1), []
        for number, name in enumerate(names):
            builder = x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(keys[number].public_key())
            builder = builder.serial_number(x509.random_serial_number())
            builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=2))
            builder = builder.add_extension(x509.BasicConstraints(number == 0, None), True)
            if number:
                builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in NAMES]), False)
            made.append(builder.sign(keys[0], hashes.SHA256()))
        (self.folder / "ca.pem").write_bytes(made[0].public_bytes(Encoding.PEM))
        server = self.folder / "server.pem"
        key = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"" if self.issuer is None else self.issuer.read_bytes()[self.issuer.read_bytes().index(b"-----BEGIN CERT") :]
        server.write_bytes(key + made[1].public_bytes(Encoding.PEM) + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        return context
