# SPDX-License-Identifier: Apache-2.0
"""CMS signatures (RFC 5652) and their CAdES profiles (EN 319 122-1): detached or enveloping, B-B, and what B-T and B-LT add.

The signer is whoever can sign a hash: one method, one certificate. Nothing here knows a card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import BinaryIO

from asn1crypto import algos, cms, core, crl, ocsp, x509

from cpxd.signature.evidence import Evidence
from cpxd.signature.signer import SALT, Padding, Signer
from cpxd.signature.trust import parsed
from cpxd.tlv import tlv

__all__ = ["Content", "Signer", "add_evidence", "add_timestamp", "read_content", "sign_detached", "sign_enclosed"]

_BLOCK = 1 << 20
_TIMESTAMP = "signature_time_stamp_token"
_UTC_TIME_ENDS = 2050  # RFC 5652 §11.3


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
    """DER of a ContentInfo with detached SignedData: SHA-256, one signer, its certificate inside. A CAdES B-B signature too.

    Signed attributes: content type, message digest, signing time (RFC 5652 §11), signing certificate v2 (RFC 5035 §3).
    """
    return _signed_data(content.digest, None, signer, at or datetime.now(UTC))


def sign_enclosed(document: bytes, signer: Signer, *, at: datetime | None = None) -> bytes:
    """As `sign_detached`, with the document inside (enveloping)."""
    return _signed_data(hashlib.sha256(document).digest(), document, signer, at or datetime.now(UTC))


def sign_pdf_range(digest: bytes, signer: Signer) -> bytes:
    """What goes into the Contents of a PDF: as `sign_detached`, without the signing time (EN 319 142-1 §6.3 forbids it)."""
    return _signed_data(digest, None, signer, None)


def _signed_data(digest: bytes, enclosed: bytes | None, signer: Signer, at: datetime | None) -> bytes:
    # Written out in DER here: the library needs twenty times as long for the same bytes
    certificate = parsed(signer.certificate)
    wanted = [
        _attribute("content_type", _oid(_DATA)),
        _attribute("message_digest", tlv(_OCTETS, digest)),
        _attribute("signing_certificate_v2", signing_certificate(signer.certificate)),
    ]
    if at is not None:
        wanted.append(_attribute("signing_time", _time(at)))
    attributes = b"".join(sorted(wanted))  # a SET OF, in the order of the encodings (X.690 §11.6)
    # RFC 5652 §5.4: what is signed is the DER of the attributes as a SET OF, not with their implicit tag
    signature = signer.sign(hashlib.sha256(tlv(_SET, attributes)).digest())
    info = _sequence(
        _INTEGER_1,
        _sequence(certificate.issuer.der, core.Integer(certificate.serial).dump()),
        _sha256(),
        tlv(0xA0, attributes),
        _algorithm(signer.padding),
        tlv(_OCTETS, signature),
    )
    content = b"" if enclosed is None else tlv(0xA0, tlv(_OCTETS, enclosed))
    signed = _sequence(
        _INTEGER_1,
        tlv(_SET, _sha256()),
        _sequence(_oid(_DATA), content),
        tlv(0xA0, signer.certificate),
        tlv(_SET, info),
    )
    return _sequence(_oid(_SIGNED_DATA), tlv(0xA0, signed))


_DATA, _SIGNED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2"
_ATTRIBUTES = {
    "content_type": "1.2.840.113549.1.9.3",
    "message_digest": "1.2.840.113549.1.9.4",
    "signing_time": "1.2.840.113549.1.9.5",
    "signing_certificate_v2": "1.2.840.113549.1.9.16.2.47",
}
_OCTETS, _SET, _SEQUENCE = 0x04, 0x31, 0x30
_INTEGER_1 = bytes((2, 1, 1))


def _sequence(*parts: bytes) -> bytes:
    return tlv(_SEQUENCE, b"".join(parts))


@lru_cache(16)
def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


@lru_cache(1)
def _sha256() -> bytes:
    return bytes(algos.DigestAlgorithm({"algorithm": "sha256"}).dump())


@lru_cache(2)
def _algorithm(padding: Padding) -> bytes:
    return bytes(signature_algorithm(padding).dump())


def signature_algorithm(padding: Padding) -> algos.SignedDigestAlgorithm:
    """sha256WithRSAEncryption, or RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 4056 §3)."""
    if padding == "pkcs1":
        return algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"})
    sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
    parameters = algos.RSASSAPSSParams(
        {
            "hash_algorithm": sha256,
            "mask_gen_algorithm": algos.MaskGenAlgorithm({"algorithm": "mgf1", "parameters": sha256}),
            "salt_length": SALT,
        }
    )
    return algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})


def signature_value(signature: bytes) -> bytes:
    """The signature of the only signer: what a time stamp is taken over (EN 319 122-1 §5.3)."""
    return bytes(_only_signer(cms.ContentInfo.load(signature))["signature"].native)


def add_timestamp(signature: bytes, token: bytes) -> bytes:
    """The signature with a time-stamp token over its value (B-T)."""
    info = cms.ContentInfo.load(signature)
    signer = _only_signer(info)
    stamp = cms.CMSAttribute({"type": _TIMESTAMP, "values": [cms.ContentInfo.load(token)]})
    signer["unsigned_attrs"] = cms.CMSAttributes([*_present(signer["unsigned_attrs"]), stamp])
    return bytes(info.dump())  # what was not touched stays as it was, to the byte


def add_evidence(signature: bytes, certificates: Iterable[bytes], evidence: Evidence) -> bytes:
    """The signature with the certificates and revocation data that validate it (B-LT, EN 319 122-1 §5.5 and §6.3)."""
    info = cms.ContentInfo.load(signature)
    signed = info["content"]
    held = {choice.dump() for choice in signed["certificates"]}
    signed["certificates"] = cms.CertificateSet(
        [
            *signed["certificates"],
            *(cms.CertificateChoices("certificate", x509.Certificate.load(c)) for c in certificates if c not in held),
        ]
    )
    lists = [cms.RevocationInfoChoice("crl", crl.CertificateList.load(der)) for der in evidence.crls]
    for der in evidence.ocsps:
        other = cms.OtherRevocationInfoFormat(
            {"other_rev_info_format": "ocsp_response", "other_rev_info": ocsp.OCSPResponse.load(der)}
        )
        lists.append(cms.RevocationInfoChoice("other", other))
    if lists:
        signed["crls"] = cms.RevocationInfoChoices([*_present(signed["crls"]), *lists])
    if evidence.ocsps:
        signed["version"] = "v5"  # RFC 5652 §5.1: for revocation data of another kind
    return bytes(info.dump())  # what was not touched stays as it was, to the byte


def _present(values: core.Asn1Value) -> list[core.Asn1Value]:
    return [] if isinstance(values, core.Void) else list(values)


def _only_signer(info: cms.ContentInfo) -> cms.SignerInfo:
    (signer,) = info["content"]["signer_infos"]
    return signer


def _attribute(kind: str, value: bytes) -> bytes:
    return _sequence(_oid(_ATTRIBUTES[kind]), tlv(_SET, value))


def _time(at: datetime) -> bytes:
    moment = at.astimezone(UTC).replace(microsecond=0)
    return bytes(cms.Time({"utc_time" if moment.year < _UTC_TIME_ENDS else "general_time": moment}).dump())


def signing_certificate(der: bytes) -> bytes:
    """RFC 5035 §3: the hash (SHA-256, the default) that ties the signature to one certificate."""
    return _sequence(_sequence(_sequence(tlv(_OCTETS, hashlib.sha256(der).digest()))))
