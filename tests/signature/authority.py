# SPDX-License-Identifier: Apache-2.0
"""The servers signatures need, local: CRL and OCSP of the test PKI under their real addresses, and a time-stamping authority.

One HTTP proxy answers for them all, so that what is asked are the addresses in the certificates. Time stamps are made by
`openssl ts`.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from simulator.pki import AUTHORITIES, TestPki

TSA_URL = "http://tsa.test/"
SITE = "http://igc-sante.esante.gouv.fr"
OCSP_URL = "http://ocsp.esante.gouv.fr"
TSA_ISSUER = "FORT ORGANISATIONS"

_CONFIG = """[tsa]
default_tsa = ours
[ours]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/tsa.pem
signer_digest = sha256
default_policy = 1.2.250.1.999.1
digests = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """`down`: addresses that answer 503. `stale`: lists and answers of yesterday. `revoked`: serial number → since.
    `shift`: how wrong the clock of the time-stamping authority is. `asked`: every request, in order.
    """

    def __init__(self, pki: TestPki, folder: Path) -> None:
        self.pki, self.folder = pki, folder
        self.down: set[str] = set()
        self.stale = False
        self.revoked: dict[int, datetime] = {}
        self.shift: timedelta | None = None
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.asked: list[str] = []
        self._make_tsa()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.env = {"http_proxy": f"http://127.0.0.1:{self._server.server_port}", "no_proxy": ""}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self) -> None:
        self.down, self.stale, self.revoked, self.shift, self.asked = set(), False, {}, None, []
        self.spoil = lambda answer: answer

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, url: str, body: bytes) -> bytes | None:
        self.asked.append(url)
        if any(url.startswith(prefix) for prefix in self.down):
            return None
        if url == TSA_URL:
            return self.spoil(self.stamp(body))
        if url.rstrip("/") == OCSP_URL:
            return self._ocsp(body)
        if url.startswith(f"{SITE}/CRL/"):
            return self._crl(url.rpartition("/")[2].removesuffix(".crl"))
        return None

    def _times(self) -> tuple[datetime, datetime]:
        now = datetime.now(UTC).replace(microsecond=0)
        return (
            (now - timedelta(days=9), now - timedelta(days=2))
            if self.stale
            else (now - timedelta(hours=1), now + timedelta(days=1))
        )

    def _crl(self, stem: str) -> bytes | None:
        name = next((n for n, a in AUTHORITIES.items() if a.stem == stem), None)
        if name is None:
            return None
        authority, (this, following) = self.pki.authority(name), self._times()
        builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
        builder = builder.last_update(this).next_update(following).add_extension(x509.CRLNumber(7), critical=False)
        for serial, since in self.revoked.items():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
            )
        return builder.sign(authority.key, SHA256()).public_bytes(Encoding.DER)

    def _ocsp(self, body: bytes) -> bytes:
        request = ocsp.load_der_ocsp_request(body)
        for name in AUTHORITIES:
            authority = self.pki.authority(name)
            probe = ocsp.OCSPRequestBuilder().add_certificate(
                authority.certificate, authority.certificate, request.hash_algorithm
            )
            if probe.build().issuer_key_hash == request.issuer_key_hash:
                break
        else:
            return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(Encoding.DER)
        since, (this, following) = self.revoked.get(request.serial_number), self._times()
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            request.issuer_name_hash,
            request.issuer_key_hash,
            request.serial_number,
            request.hash_algorithm,
            ocsp.OCSPCertStatus.REVOKED if since else ocsp.OCSPCertStatus.GOOD,
            this,
            following,
            since,
            None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        return builder.sign(authority.key, SHA256()).public_bytes(Encoding.DER)

    def stamp(self, query: bytes) -> bytes:
        """By `openssl ts`, with a clock that may be wrong."""
        asked, answered = self.folder / "query.tsq", self.folder / "answer.tsr"
        asked.write_bytes(query)
        line = [
            "openssl",
            "ts",
            "-reply",
            "-config",
            str(self.folder / "tsa.cnf"),
            "-queryfile",
            str(asked),
            "-out",
            str(answered),
        ]
        if self.shift is not None:
            line = ["faketime", "-f", f"{self.shift.total_seconds():+.0f}s", *line]
        subprocess.run(line, check=True, capture_output=True)
        return answered.read_bytes()

    def _make_tsa(self) -> None:
        issuer, key = self.pki.authority(TSA_ISSUER), rsa.generate_private_key(65537, 2048)
        now = datetime.now(UTC)
        address = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(OCSP_URL))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST HORODATAGE")]))
            .issuer_name(issuer.certificate.subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=400))
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
            .add_extension(x509.AuthorityInformationAccess([address]), critical=False)
            .sign(issuer.key, SHA256())
        )
        self.tsa_certificate = certificate
        (self.folder / "tsa.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self.folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (self.folder / "serial").write_text("01\n", encoding="ascii")
        (self.folder / "tsa.cnf").write_text(_CONFIG.format(folder=self.folder), encoding="utf-8")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(b"")

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def _reply(self, body: bytes) -> None:
                answer = authority.answer(self.path, body)
                self.send_response(503 if answer is None else 200)
                self.send_header("Content-Length", str(len(answer or b"")))
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, *arguments: Any) -> None:
                return None

        return Handler
