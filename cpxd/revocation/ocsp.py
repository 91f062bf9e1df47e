# SPDX-License-Identifier: Apache-2.0
"""OCSP (RFC 6960): the question about one certificate, and what an answer is worth."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cpxd.revocation import DAMAGED, SKEW, Answer, unknown

MEDIA_TYPE = "application/ocsp-request"
MAX_ANSWER = 1 << 16
_NO_NEXT = timedelta(hours=1)  # without nextUpdate, newer is always available (RFC 6960, 4.2.2.1)
_WEAK = ("md5", "sha1")


def request(certificate: bytes, issuer: bytes, nonce: bytes | None = None) -> bytes:
    """The question about a certificate of an authority (DER), with a nonce (32 random bytes when none is given)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(_load(certificate), _load(issuer), SHA1())  # an identifier only
    extension = x509.OCSPNonce(nonce if nonce is not None else secrets.token_bytes(32))
    return builder.add_extension(extension, critical=False).build().public_bytes(Encoding.DER)


def answer(der: bytes, certificate: bytes, issuer: bytes, now: datetime, nonce: bytes | None = None) -> Answer:
    """What an OCSP response says of a certificate at this moment. `nonce`: that of the question; an answer may leave it out
    (many responders give out answers made beforehand), it may not have another one.
    """
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            name = response.response_status.name.lower()
            return unknown(f"le serveur OCSP refuse ({name})", f"the OCSP server refuses ({name})")
        unused_bits = der[der.find(response.signature) - 1]  # which the signature does not cover
        if unused_bits or not _genuine(response, _load(issuer)):
            return unknown("réponse OCSP non authentique", "OCSP answer not genuine")
        if nonce is not None and _nonce(response) not in (None, nonce):
            return unknown("réponse OCSP à une autre question", "OCSP answer to another question")
        single = next((item for item in response.responses if _about(item, certificate, issuer)), None)
    except DAMAGED:
        return unknown("réponse OCSP illisible", "unreadable OCSP answer")
    if single is None:
        return unknown("la réponse OCSP parle d'un autre certificat", "the OCSP answer is about another certificate")
    return _judged(single, now)


def _judged(single: ocsp.OCSPSingleResponse, now: datetime) -> Answer:
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        reason = single.revocation_reason
        return Answer(
            "revoked",
            since=single.revocation_time_utc,
            reason=reason.value if reason else "unspecified",
            source="OCSP",
            told=single.this_update_utc,
        )
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        return unknown("le serveur OCSP ne connaît pas ce certificat", "the OCSP server does not know this certificate")
    until = single.next_update_utc or single.this_update_utc + _NO_NEXT
    if single.this_update_utc > now + SKEW:
        return unknown(
            "la réponse OCSP est datée de demain : vérifiez l'horloge", "the OCSP answer is of tomorrow: check the clock"
        )
    if now >= until:
        return unknown("la réponse OCSP est périmée", "the OCSP answer is stale")
    return Answer("good", until=until, source="OCSP", told=single.this_update_utc)


def _about(single: ocsp.OCSPSingleResponse, certificate: bytes, issuer: bytes) -> bool:
    subject = _load(certificate)
    if single.serial_number != subject.serial_number:
        return False
    ours = ocsp.OCSPRequestBuilder().add_certificate(subject, _load(issuer), single.hash_algorithm).build()
    return (single.issuer_key_hash, single.issuer_name_hash) == (ours.issuer_key_hash, ours.issuer_name_hash)


def _nonce(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _genuine(response: ocsp.OCSPResponse, authority: x509.Certificate) -> bool:
    """Signed by the authority, or by a responder that it appointed (RFC 6960, 4.2.2.2)."""
    return any(_signed(response, signer) for signer in (authority, *_responders(response, authority)))


def _responders(response: ocsp.OCSPResponse, authority: x509.Certificate) -> list[x509.Certificate]:
    found = []
    for certificate in response.certificates:
        try:
            certificate.verify_directly_issued_by(authority)
            usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (*DAMAGED, InvalidSignature, x509.ExtensionNotFound):
            continue
        alive = certificate.not_valid_before_utc <= response.produced_at_utc <= certificate.not_valid_after_utc
        if alive and ExtendedKeyUsageOID.OCSP_SIGNING in usages:
            found.append(certificate)
    return found


def _signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    if algorithm is None or algorithm.name in _WEAK:
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)
