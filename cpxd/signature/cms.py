# SPDX-License-Identifier: Apache-2.0
"""Detached CMS signatures (RFC 5652) with the attributes that bind the signer's certificate (RFC 5035).

The signer is whoever can sign a hash: one method, one certificate. Nothing here knows a card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Protocol

from asn1crypto import algos, cms, tsp, x509

_BLOCK = 1 << 20


class Signer(Protocol):
    """A key that signs, and the certificate that says whose it is."""

    @property
    def certificate(self) -> bytes:
        """DER of the X.509 certificate."""

    def sign(self, digest: bytes) -> bytes:
        """RSA PKCS#1 v1.5 signature of a SHA-256 hash (32 bytes)."""


@dataclass(frozen=True)
class Content:
    """What is signed, by its hash: the document itself does not have to fit in memory."""

    digest: bytes  # SHA-256
    size: int  # bytes


def read_content(source: BinaryIO) -> Content:
    """Hash a document to its end."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return Content(digest.digest(), size)


def sign_detached(content: Content, signer: Signer, *, at: datetime | None = None) -> bytes:
    """DER of a ContentInfo with detached SignedData: SHA-256, RSA PKCS#1 v1.5, one signer, its certificate inside.

    Signed attributes: content type, message digest, signing time (RFC 5652 §11), signing certificate v2 (RFC 5035 §3).
    """
    certificate = x509.Certificate.load(signer.certificate)
    attributes = cms.CMSAttributes(
        [
            _attribute("content_type", "data"),
            _attribute("signing_time", cms.Time({"utc_time": (at or datetime.now(UTC)).replace(microsecond=0)})),
            _attribute("message_digest", content.digest),
            _attribute("signing_certificate_v2", _signing_certificate(signer.certificate)),
        ]
    )
    # RFC 5652 §5.4: what is signed is the DER of the attributes as a SET OF, not with their implicit tag
    signature = signer.sign(hashlib.sha256(attributes.dump()).digest())
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                name="issuer_and_serial_number",
                value=cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number}),
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
            "signature": signature,
        }
    )
    return _content_info([certificate], info)


def _content_info(certificates: Iterable[x509.Certificate], info: cms.SignerInfo) -> bytes:
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
            "encap_content_info": {"content_type": "data"},
            "certificates": [cms.CertificateChoices("certificate", c) for c in certificates],
            "signer_infos": [info],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def _attribute(kind: str, value: object) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": [value]})


def _signing_certificate(der: bytes) -> tsp.SigningCertificateV2:
    return tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(der).digest()})]})
