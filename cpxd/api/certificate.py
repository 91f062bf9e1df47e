# SPDX-License-Identifier: Apache-2.0
"""The certificate of https://localhost: one self-signed leaf a user, CA:FALSE, that vouches for nothing else. No root CA exists.

Key and certificate lie in one file, 0600, so that both are replaced in one step. It is renewed before it expires; browsers then
have to be told again.
"""

from __future__ import annotations

import contextlib
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cpxd import errors
from cpxd.config import state_home
from cpxd.files import alone, read_private, reason, write_new

if TYPE_CHECKING:
    import ssl

    from cryptography import x509

DAYS = 397  # the longest that browsers take from a public authority; they ask the same of none, today
RENEWED = 30  # days before its end
NAMES = ("localhost", "127.0.0.1", "::1")
_LIMIT = 16384  # bytes of the file


def path() -> Path:
    return state_home() / "localhost.pem"


def ensure(now: datetime | None = None) -> Path:
    """The file, made anew when it is missing, near its end, not ours alone, or not what it should be. Raises BadFile."""
    moment = now or datetime.now(UTC)
    where = path()
    if not _good(where, moment):
        with alone(where.parent):  # the service and a command may both find none
            if not _good(where, moment):
                write_new(where, _made(moment), mode=0o600)
    return where


def forget() -> None:
    """The key with it; the service makes another one for who connects next. Raises BadFile."""
    try:
        path().unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other things are in it
            path().parent.rmdir()
    except OSError as error:
        raise errors.BadFile(file=path(), reason=reason(error)) from None


def leaf() -> bytes:
    """DER of the certificate, without its key, for a browser's list. Raises BadFile."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(ensure().read_bytes()).public_bytes(Encoding.DER)


def context(file: Path) -> ssl.SSLContext:
    """TLS 1.2 with forward secrecy and authenticated encryption, or 1.3."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    made.num_tickets = 0
    made.set_alpn_protocols(["http/1.1"])
    made.load_cert_chain(file)
    return made


def _good(where: Path, now: datetime) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        content = read_private(where, _LIMIT)
        certificate = x509.load_pem_x509_certificate(content)
        key = load_pem_private_key(content, None)
        return (
            key.public_key() == certificate.public_key()
            and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - timedelta(days=RENEWED)
            and not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            and _names(certificate) == set(NAMES)
        )
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False


def _names(certificate: x509.Certificate) -> set[str]:
    from cryptography import x509

    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def _made(now: datetime) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "localhost"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cpxd")]
    )
    alternatives = [x509.DNSName(NAMES[0]), *(x509.IPAddress(ipaddress.ip_address(address)) for address in NAMES[1:])]
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=DAYS))
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(alternatives), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
