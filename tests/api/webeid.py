# SPDX-License-Identifier: Apache-2.0
"""A validator of Web eID authentication tokens, written from the public specification alone ("Web eID: Authentication token
format", version web-eid:1.0). It shares no code with the product."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class InvalidToken(Exception):
    """The token is not to be believed."""


def validate(token: Any, origin: str, nonce: str, issuers: list[x509.Certificate]) -> x509.Certificate:
    """The certificate of who logs in. `origin` and `nonce` are the server's own, never the token's."""
    if not isinstance(token, dict) or not str(token.get("format", "")).startswith("web-eid:1"):
        raise InvalidToken("format")
    certificate = _certificate(token.get("unverifiedCertificate"))
    _check_certificate(certificate, issuers)
    algorithm = token.get("algorithm")
    if not isinstance(algorithm, str) or algorithm[:2] not in ("RS", "PS") or algorithm[2:] not in _HASHES:
        raise InvalidToken("algorithm")
    name = f"sha{algorithm[2:]}"
    signed = hashlib.new(name, origin.encode()).digest() + hashlib.new(name, nonce.encode()).digest()
    key, hash_ = certificate.public_key(), _HASHES[algorithm[2:]]
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidToken("key")
    pad = padding.PKCS1v15() if algorithm[:2] == "RS" else padding.PSS(padding.MGF1(hash_), hash_.digest_size)
    try:
        key.verify(_base64(token.get("signature")), signed, pad, hash_)
    except InvalidSignature:
        raise InvalidToken("signature") from None
    return certificate


def _check_certificate(certificate: x509.Certificate, issuers: list[x509.Certificate]) -> None:
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise InvalidToken("validity")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise InvalidToken("key usage") from None
    if not usage.digital_signature or usage.content_commitment:
        raise InvalidToken("not an authentication certificate")
    for issuer in issuers:
        try:
            certificate.verify_directly_issued_by(issuer)
            return
        except (ValueError, TypeError, InvalidSignature):
            continue
    raise InvalidToken("issuer")


def _certificate(value: Any) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(_base64(value))
    except ValueError:
        raise InvalidToken("certificate") from None


def _base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidToken("base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("base64") from None
