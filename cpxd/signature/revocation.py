# SPDX-License-Identifier: Apache-2.0
"""Whether a certificate was revoked, from CRLs (RFC 5280 §5) and OCSP responses (RFC 6960). What is stale says nothing.

A piece of evidence counts for a moment when it is genuine, about this certificate, and not superseded before that moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from cpxd.signature.evidence import Evidence
from cpxd.signature.fetch import Fetch, FetchError
from cpxd.signature.trust import parsed

State = Literal["good", "revoked", "unknown"]
SKEW = timedelta(minutes=5)
_NO_NEXT = timedelta(hours=1)  # an OCSP answer without nextUpdate says that newer is always available
_UNUSABLE = (ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT)  # a part of a list is no list


@dataclass(frozen=True)
class Revocation:
    """`since`: when it was revoked, aware. `evidence`: the CRL or OCSP response, DER, that says so; b"" when unknown."""

    state: State
    since: datetime | None = None
    evidence: bytes = b""
    kind: Literal["crl", "ocsp", ""] = ""
    reason: str = ""  # why unknown


def check(certificate: bytes, issuer: bytes, evidence: Evidence, at: datetime, now: datetime) -> Revocation:
    """What the evidence says of a certificate at a moment. A revocation wins over anything that says good."""
    found = [_by_ocsp(certificate, issuer, der, at, now) for der in evidence.ocsps]
    found += [_by_crl(certificate, issuer, der, at, now) for der in evidence.crls]
    for state in ("revoked", "good"):
        for result in found:
            if result.state == state:
                return result
    return Revocation("unknown", reason="; ".join(dict.fromkeys(r.reason for r in found if r.reason)))


def collect(certificate: bytes, issuer: bytes, fetch: Fetch, now: datetime) -> Revocation:
    """Ask the servers the certificate names, OCSP first; the first fresh answer."""
    reasons: list[str] = []
    card = parsed(certificate)
    for url in card.ocsp_urls:
        try:
            answer = fetch(url, ocsp_request(certificate, issuer), "application/ocsp-request")
        except FetchError as error:
            reasons.append(str(error))
            continue
        result = _by_ocsp(certificate, issuer, answer, now, now)
        if result.state != "unknown":
            return result
        reasons.append(f"{url} : {result.reason}")
    for url in card.crl_urls:
        if not url.startswith(("http://", "https://")):
            continue
        try:
            answer = fetch(url, None, "")
        except FetchError as error:
            reasons.append(str(error))
            continue
        result = _by_crl(certificate, issuer, answer, now, now)
        if result.state != "unknown":
            return result
        reasons.append(f"{url} : {result.reason}")
    return Revocation("unknown", reason="; ".join(reasons) or "aucune adresse / no address")


def ocsp_request(certificate: bytes, issuer: bytes) -> bytes:
    """RFC 6960 §4.1, with a nonce."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(_load(certificate), _load(issuer), SHA1())
    return builder.add_extension(x509.OCSPNonce(secrets.token_bytes(16)), critical=False).build().public_bytes(Encoding.DER)


# --- CRL ------------------------------------------------------------------------------------------------------------


def _by_crl(certificate: bytes, issuer: bytes, der: bytes, at: datetime, now: datetime) -> Revocation:
    crl = _crl(der)
    if crl is None:
        return Revocation("unknown", reason="CRL illisible / unreadable")
    subject, authority = _load(certificate), _load(issuer)
    if crl.issuer != authority.subject:
        return Revocation("unknown")
    if not genuine_crl(der, issuer):
        return Revocation("unknown", reason="CRL non authentique / not genuine")
    if any(e.oid in _UNUSABLE or e.critical for e in crl.extensions):
        return Revocation("unknown", reason="CRL partielle / partial")
    entry = crl.get_revoked_certificate_by_serial_number(subject.serial_number)
    fresh = _fresh(crl.last_update_utc, crl.next_update_utc, at, now)
    if entry is not None and _reason(entry) is not x509.ReasonFlags.remove_from_crl:
        return Revocation("revoked", entry.revocation_date_utc, der, "crl")
    if not fresh:
        return Revocation("unknown", reason=f"CRL périmée / stale ({crl.next_update_utc})")
    return Revocation("good", None, der, "crl")


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return None


def genuine_crl(der: bytes, issuer: bytes) -> bool:
    """Whether a CRL is signed by this authority."""
    crl = _crl(der)
    if crl is None:
        return False
    try:
        key = _load(issuer).public_key()
        return isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


@lru_cache(16)  # lists are large
def _crl(der: bytes) -> x509.CertificateRevocationList | None:
    try:
        if asn1_crl.CertificateList.load(der, strict=True).dump(force=True) != der:
            return None
        return x509.load_der_x509_crl(der)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


# --- OCSP -----------------------------------------------------------------------------------------------------------


def _by_ocsp(certificate: bytes, issuer: bytes, der: bytes, at: datetime, now: datetime) -> Revocation:
    response = _ocsp(der)
    if response is None or response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return Revocation("unknown", reason="OCSP illisible ou refusé / unreadable or refused")
    try:
        single = next((s for s in response.responses if _about(s, certificate, issuer)), None)
    except (ValueError, UnsupportedAlgorithm):
        single = None
    if single is None:
        return Revocation("unknown")
    if not genuine_ocsp(der, issuer):
        return Revocation("unknown", reason="OCSP non authentique / not genuine")
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        return Revocation("revoked", single.revocation_time_utc, der, "ocsp")
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        return Revocation("unknown", reason="OCSP : unknown")
    if not _fresh(single.this_update_utc, single.next_update_utc or single.this_update_utc + _NO_NEXT, at, now):
        return Revocation("unknown", reason=f"OCSP périmé / stale ({single.next_update_utc})")
    return Revocation("good", None, der, "ocsp")


def _about(single: ocsp.OCSPSingleResponse, certificate: bytes, issuer: bytes) -> bool:
    subject, authority = _load(certificate), _load(issuer)
    if single.serial_number != subject.serial_number:
        return False
    request = ocsp.OCSPRequestBuilder().add_certificate(subject, authority, single.hash_algorithm).build()
    return (single.issuer_key_hash, single.issuer_name_hash) == (request.issuer_key_hash, request.issuer_name_hash)


def genuine_ocsp(der: bytes, issuer: bytes) -> bool:
    """Whether a response is signed by this authority, or by a responder it appointed (RFC 6960 §4.2.2.2)."""
    response = _ocsp(der)
    if response is None or response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return False
    authority = _load(issuer)
    return any(_signed(response, signer) for signer in (authority, *_responders(response, authority)))


def _responders(response: ocsp.OCSPResponse, authority: x509.Certificate) -> list[x509.Certificate]:
    found = []
    for certificate in response.certificates:
        try:
            certificate.verify_directly_issued_by(authority)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
            continue
        if (
            ExtendedKeyUsageOID.OCSP_SIGNING in usage
            and certificate.not_valid_before_utc <= response.produced_at_utc <= certificate.not_valid_after_utc
        ):
            found.append(certificate)
    return found


def _signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    try:
        if algorithm is None or algorithm.name in ("md5", "sha1"):
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(256)
def _ocsp(der: bytes) -> ocsp.OCSPResponse | None:
    try:
        if asn1_ocsp.OCSPResponse.load(der, strict=True).dump(force=True) != der:
            return None
        return ocsp.load_der_ocsp_response(der)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


# --------------------------------------------------------------------------------------------------------------------


def genuine(evidence: Evidence, authorities: Iterable[bytes]) -> bool:
    """Whether every piece of evidence is signed by one of these authorities: a damaged one is worse than none."""
    known = tuple(authorities)
    return all(any(genuine_crl(der, a) for a in known) for der in evidence.crls) and all(
        any(genuine_ocsp(der, a) for a in known) for der in evidence.ocsps
    )


def _fresh(this: datetime, following: datetime | None, at: datetime, now: datetime) -> bool:
    return following is not None and following >= at and this <= now + SKEW


@lru_cache(256)
def _load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def now_utc() -> datetime:
    return datetime.now(UTC)
