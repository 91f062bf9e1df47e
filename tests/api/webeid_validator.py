# SPDX-License-Identifier: Apache-2.0
"""A validator of Web eID authentication tokens, written from the public specification alone: "Web eID authentication token format
specification" (web-eid-system-architecture-doc, docs/web-eid-auth-token-v2-format-spec.md), RFC 7518 sections 3.3 to 3.5 for the
algorithms, RFC 5280 for the certificate. It shares no code with the product."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES = {"256": "secp256r1", "384": "secp384r1", "512": "secp521r1"}
_ALGORITHM = re.compile(r"(ES|PS|RS)(256|384|512)", re.ASCII)
_FORMAT = re.compile(r"web-eid:1\.[0-9]{1,9}", re.ASCII)  # "minor version changes are backwards-compatible"
_BAD_CERTIFICATE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
_FIELDS = ("unverifiedCertificate", "algorithm", "signature", "format")


class InvalidToken(Exception):
    """The token is not to be believed."""


class Validator:
    """Of one site. What was found out about a certificate is kept by its exact bytes."""

    def __init__(self, origin: str, issuers: Iterable[x509.Certificate]) -> None:
        self._origin = origin
        self._issuers: dict[bytes, list[x509.Certificate]] = {}
        for issuer in issuers:
            self._issuers.setdefault(issuer.subject.public_bytes(), []).append(issuer)
        self._trusted: dict[bytes, x509.Certificate] = {}

    def validate(self, token: Any, nonce: str) -> x509.Certificate:
        """The certificate of who logs in. `nonce` is the server's own, as the origin is: the token has neither."""
        if not isinstance(token, dict) or any(not isinstance(token.get(name), str) for name in _FIELDS):
            raise InvalidToken("fields")
        if not _FORMAT.fullmatch(token["format"]):
            raise InvalidToken("format")
        algorithm = _ALGORITHM.fullmatch(token["algorithm"])
        if algorithm is None:
            raise InvalidToken("algorithm")
        certificate = self._certificate(_base64(token["unverifiedCertificate"]))
        name = f"sha{algorithm[2]}"
        signed = hashlib.new(name, self._origin.encode()).digest() + hashlib.new(name, nonce.encode()).digest()
        _verify(certificate.public_key(), algorithm[1], algorithm[2], _base64(token["signature"]), signed)
        return certificate

    def _certificate(self, der: bytes) -> x509.Certificate:
        if der not in self._trusted:
            try:
                found = x509.load_der_x509_certificate(der)
                self._check(found)
            except _BAD_CERTIFICATE as error:
                raise InvalidToken(f"certificate: {error}") from None
            self._trusted[der] = found
        return self._trusted[der]

    def _check(self, found: x509.Certificate) -> None:
        issuers = [c for c in self._issuers.get(found.issuer.public_bytes(), ()) if _now_valid(c)]
        if not _now_valid(found) or not any(_issued(found, issuer) for issuer in issuers):
            raise InvalidToken("no trusted authority")
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.digital_signature or usage.content_commitment:
            raise InvalidToken("not an authentication certificate")
        purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if x509.ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise InvalidToken("not for client authentication")


def validate(token: Any, origin: str, nonce: str, issuers: Iterable[x509.Certificate]) -> x509.Certificate:
    """One token of one site."""
    return Validator(origin, issuers).validate(token, nonce)


def _verify(key: object, family: str, bits: str, signature: bytes, signed: bytes) -> None:
    hash_ = _HASHES[bits]
    try:
        if family == "ES" and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == _CURVES[bits]:
            half = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * half:
                raise InvalidToken("signature")
            numbers = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            key.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hash_))
        elif family == "PS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PSS(padding.MGF1(hash_), hash_.digest_size), hash_)
        elif family == "RS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hash_)
        else:
            raise InvalidToken("algorithm of another key")
    except InvalidSignature:
        raise InvalidToken("signature") from None


def _issued(found: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        found.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _now_valid(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc


def _base64(text: str) -> bytes:
    """RFC 4648 section 4, and written in the one way that section 3.5 calls canonical."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("base64") from None
    if base64.b64encode(found).decode() != text:
        raise InvalidToken("base64")
    return found
