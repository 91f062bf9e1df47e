# SPDX-License-Identifier: Apache-2.0
"""A small authority of its own for tests of revocation: certificates, lists, OCSP answers, and a server that gives them out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SITE = "http://igc.exemple.invalid"


@functools.cache
def key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _bits(**used: bool) -> x509.KeyUsage:
    all_bits = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    return x509.KeyUsage(**{bit: used.get(bit, False) for bit in all_bits.split()}, encipher_only=False, decipher_only=False)


@functools.cache
def authority(subject: str = "CA", issuer: str | None = None, *, own_key: str | None = None, crl_sign: bool = True) -> bytes:
    issuer = issuer or subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .serial_number(len(subject) * 1000 + len(issuer))
        .not_valid_before(NOW - 1000 * DAY)
        .not_valid_after(NOW + 1000 * DAY)
        .public_key(key(own_key or subject).public_key())
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(_bits(key_cert_sign=True, crl_sign=crl_sign), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key(own_key or subject).public_key()), critical=False)
    )
    if issuer != subject:
        builder = builder.add_extension(_points(f"{SITE}/{issuer}.crl"), critical=False)
    return builder.sign(key(own_key or issuer if issuer == subject else issuer), hashes.SHA256()).public_bytes(Encoding.DER)


def _points(*urls: str) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(u)], None, None, None) for u in urls]
    )


@functools.cache
def leaf(serial: int, issuer: str = "CA", *, with_ocsp: bool = False, until: datetime = NOW + 500 * DAY) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(f"holder {serial}"))
        .issuer_name(name(issuer))
        .serial_number(serial)
        .not_valid_before(NOW - 500 * DAY)
        .not_valid_after(until)
        .public_key(key("leaf").public_key())
        .add_extension(_points(f"{SITE}/{issuer}.crl", "ldap://annuaire/x"), critical=False)
        .add_extension(_bits(digital_signature=True), critical=True)
    )
    if with_ocsp:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{SITE}/ocsp"))
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return builder.sign(key(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


Entry = tuple[int, datetime, x509.ReasonFlags | None]


def crl(
    entries: Iterable[Entry] = (),
    *,
    issuer: str = "CA",
    signer: str | None = None,
    start: datetime = NOW - DAY,
    end: datetime | None = NOW + 6 * DAY,
    number: int = 10,
    base: int | None = None,
    more: Iterable[tuple[x509.ExtensionType, bool]] = (),
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(name(issuer)).last_update(start)
    builder = builder.next_update(end or NOW + DAY).add_extension(x509.CRLNumber(number), critical=False)
    if base is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    for serial, since, reason in entries:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key(signer or issuer), algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def partition(
    *points: str,
    holders: bool = False,
    authorities: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    indirect: bool = False,
    attributes: bool = False,
    full: Sequence[x509.GeneralName] | None = None,
) -> tuple[x509.ExtensionType, bool]:
    """The extension that says what a list is about."""
    full = full or [x509.UniformResourceIdentifier(point) for point in points] or None
    return x509.IssuingDistributionPoint(full, None, holders, authorities, reasons, indirect, attributes), True


@functools.cache
def responder(issuer: str = "CA", *, appointed: bool = True) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("responder"))
        .issuer_name(name(issuer))
        .serial_number(77)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 100 * DAY)
        .public_key(key("responder").public_key())
    )
    if appointed:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    return builder.sign(key(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


def ocsp_answer(
    certificate: bytes,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    signer: str = "CA",
    start: datetime = NOW - DAY,
    end: datetime | None = NOW + DAY,
    nonce: bytes | None = None,
    delegate: bytes | None = None,
) -> bytes:
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    issuer = x509.load_der_x509_certificate(authority())
    builder = ocsp.OCSPResponseBuilder().add_response(
        x509.load_der_x509_certificate(certificate),
        issuer,
        hashes.SHA1(),  # as the question names the certificate
        status,
        start,
        end,
        NOW - 3 * DAY if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    own = issuer if signer == "CA" else x509.load_der_x509_certificate(authority(own_key=signer))
    signing = x509.load_der_x509_certificate(delegate) if delegate else own
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signing)
    if delegate:
        builder = builder.certificates([signing])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(key("responder" if delegate else signer), hashes.SHA256()).public_bytes(Encoding.DER)


class Proxy:
    """An HTTP proxy on loopback that answers by itself: paths to bytes, or to a function of the body."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self, body: bytes) -> None:
                outer.asked.append(self.path)
                found = answers.get(self.path)
                content = found(body) if callable(found) else found
                self.send_response(404 if content is None else 200)
                self.end_headers()
                self.wfile.write(content or b"")

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
