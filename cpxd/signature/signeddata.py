# SPDX-License-Identifier: Apache-2.0
"""Reading a SignedData (RFC 5652 §5) strictly: a CMS or CAdES signature, the one inside a PDF, a time-stamp token.

Strict means that whatever is not covered by the signature must be what it has to be: a bit that can change without a word is
a bit somebody can use. Whose certificate it is, and what it is worth, is judged elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, core, tsp
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cpxd.errors import CpxError
from cpxd.record.certificate import parse_certificate
from cpxd.record.errors import RecordError
from cpxd.signature import ber
from cpxd.signature.evidence import Evidence
from cpxd.signature.signer import Padding, rsa_bits, verify_rsa
from cpxd.text import Text

HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
DigestOf = Callable[[str], bytes]  # hash name → hash of the content
MOST_CERTIFICATES, _MOST_LISTS = 32, 64  # a path has four or five; more would only make somebody wait


LEAST_RSA = 2048  # bits
# what signatures are really made with, or were: refused for what it is, not as if the document had been changed
_OTHER_HASHES = {"md5", "sha1", "sha224", "sha512_224", "sha512_256", "sha3_224", "sha3_256", "sha3_384", "sha3_512"}
_OTHER_KEYS = {"ed25519", "ed448", "dsa", "sha1_dsa", "sha224_dsa", "sha256_dsa"}


class BadSignature(Exception):
    """The signature is wrong, or its structure is not one of ours. `str()` is a short technical reason."""


class NotJudged(BadSignature):
    """A signature that cannot be checked here: nothing says that it is wrong. `reason` is for a person."""

    def __init__(self, fr: str, en: str) -> None:
        super().__init__(en)
        self.reason = Text(fr, en)


class NoContent(NotJudged):
    """The document of a detached signature is not at hand."""

    def __init__(self) -> None:
        super().__init__(
            "le document signé n'est pas dans la signature, ni à côté : --content le donne",
            "the signed document is neither in the signature nor beside it: --content gives it",
        )


class NoSigner(BadSignature):
    """A CMS that nobody signed: certificates alone, or something encrypted. `reason` is for a person."""

    def __init__(self, fr: str, en: str) -> None:
        super().__init__(en)
        self.reason = Text(fr, en)


def unusual(name: str) -> NotJudged:
    """An algorithm, or a key, that is too weak to prove anything, or unknown here."""
    return NotJudged(f"{name} : trop faible, ou non pris en charge ici", f"{name}: too weak, or not known here")


@dataclass(frozen=True)
class SignedPart:
    """A signature that is mathematically right."""

    content: bytes | None  # None: detached
    certificate: bytes  # of the signer, DER
    certificates: tuple[bytes, ...]  # all that were inside
    evidence: Evidence
    signing_time: datetime | None  # as the signer claims
    bound: bool  # the certificate is named in the signed attributes (ESS): a CAdES signature
    padding: Padding | None  # None: not RSA
    hash_name: str
    value: bytes
    tokens: tuple[bytes, ...]  # time stamps over `value`
    strange: tuple[str, ...]  # unsigned attributes that nobody vouches for


def verify_signed_data(der: bytes, digest_of: DigestOf | None, *, content_type: str = "data") -> SignedPart:
    """Check a ContentInfo with one signer. `digest_of`: of the detached content; None when it is inside.

    Raises BadSignature, and what `digest_of` does of a document that cannot be read.
    """
    try:
        return _verify(der, digest_of, content_type)
    except (BadSignature, CpxError):
        raise
    except Exception as error:  # asn1crypto raises half a dozen kinds on hostile bytes; all mean the same here
        raise BadSignature(f"structure: {type(error).__name__}") from None


def _verify(der: bytes, digest_of: DigestOf | None, content_type: str) -> SignedPart:
    signed, signer = _only_signer(ber.definite(der))
    attributes = _attributes(signer)
    kind = signed["encap_content_info"]["content_type"].native
    _must(_single(attributes, "content_type").native == kind, "content type attribute")
    if kind != content_type:
        raise NotJudged(f"contenu d'une autre sorte ({kind})", f"content of another kind ({kind})")
    content = _content(signed)
    _must(content is None or digest_of is None, "content both inside and beside")
    kinds = [algorithm["algorithm"].native for algorithm in signed["digest_algorithms"]]
    _must(signer["digest_algorithm"]["algorithm"].native in kinds, "digest algorithms")
    hash_name = _hash(signer["digest_algorithm"])
    _must(hash_name in [_hash(a) for a in signed["digest_algorithms"]], "digest algorithms")
    evidence, certificates = _evidence(signed), _certificates(signed)
    certificate = _chosen(signer, certificates)
    _check_versions(signed, signer, content_type)
    if content is not None:
        digest = hashlib.new(hash_name, content).digest()
    elif digest_of is not None:
        digest = digest_of(hash_name)
    else:
        raise NoContent
    _must(_single(attributes, "message_digest").native == digest, "message digest")
    bound = _bound(attributes, certificate)
    value = signer["signature"].native
    signed_digest = hashlib.new(hash_name, signer["signed_attrs"].untag().dump()).digest()
    padding = _check_value(signer["signature_algorithm"], hash_name, certificate, signed_digest, value)
    unsigned = _unsigned(signer)
    time = attributes.get("signing_time")
    return SignedPart(
        content=content,
        certificate=certificate,
        certificates=certificates,
        evidence=evidence,
        signing_time=None if time is None else _single(attributes, "signing_time").native,
        bound=bound,
        padding=padding,
        hash_name=hash_name,
        value=value,
        tokens=tuple(t.dump() for t in unsigned.pop("signature_time_stamp_token", ())),
        strange=tuple(unsigned),
    )


def _only_signer(der: bytes) -> tuple[cms.SignedData, cms.SignerInfo]:
    info = cms.ContentInfo.load(der, strict=True)
    if info["content_type"].native != "signed_data":
        raise NoSigner("rien n'y est signé (chiffré ?)", "nothing in it is signed (encrypted?)")
    signed = info["content"]
    if len(signed["signer_infos"]) == 0:
        raise NoSigner("des certificats sans signature", "certificates without a signature")
    if len(signed["signer_infos"]) > 1:
        raise NotJudged(
            "plusieurs signataires dans un même CMS : non pris en charge", "several signers in one CMS: not supported"
        )
    signer = signed["signer_infos"][0]
    for part in (info, signed, signer, signed["encap_content_info"]):
        _must(_nothing_more(part), "bytes that belong to nothing")
    return signed, signer


def _must(condition: bool, reason: str) -> None:
    if not condition:
        raise BadSignature(reason)


def _nothing_more(part: core.Sequence) -> bool:
    """Whether the fields of a sequence are all that is in it."""
    return sum(len(part[name].dump()) for name in part) == len(part.contents)


def _absent(value: core.Asn1Value) -> bool:
    return isinstance(value, core.Void)


def _content(signed: cms.SignedData) -> bytes | None:
    content = signed["encap_content_info"]["content"]
    return None if _absent(content) else bytes(content)


def _hash(algorithm: algos.DigestAlgorithm) -> str:
    name = algorithm["algorithm"].native
    if name in _OTHER_HASHES:
        raise unusual(name)
    _must(name in HASHES, f"hash {name}")
    _must(_absent(algorithm["parameters"]) or isinstance(algorithm["parameters"], core.Null), "hash parameters")
    return str(name)


def _certificates(signed: cms.SignedData) -> tuple[bytes, ...]:
    if _absent(signed["certificates"]):
        return ()
    _must(len(signed["certificates"]) <= MOST_CERTIFICATES, "certificates")
    found = []
    for choice in signed["certificates"]:
        _must(choice.name == "certificate", "a certificate of an unknown kind")
        found.append(choice.chosen.dump())
    return tuple(found)


def _chosen(signer: cms.SignerInfo, certificates: tuple[bytes, ...]) -> bytes:
    from cpxd.signature.trust import asn1

    sid = signer["sid"]
    if not certificates:
        raise NotJudged("le certificat du signataire n'est pas joint", "the signer's certificate is not enclosed")
    for der in certificates:
        certificate = asn1(der)
        if sid.name == "issuer_and_serial_number":
            issuer, number = sid.chosen["issuer"].dump(), sid.chosen["serial_number"].native
            match = certificate.issuer.dump() == issuer and certificate.serial_number == number
        else:
            match = certificate.key_identifier == sid.chosen.native
        if match:
            return der
    raise BadSignature("the signer's certificate is missing")


def _check_versions(signed: cms.SignedData, signer: cms.SignerInfo, content_type: str) -> None:
    """RFC 5652 §5.1 and §5.3 give one number each."""
    of_signer = "v1" if signer["sid"].name == "issuer_and_serial_number" else "v3"
    others = not _absent(signed["crls"]) and any(choice.name == "other" for choice in signed["crls"])
    expected = "v5" if others else "v3" if content_type != "data" or of_signer == "v3" else "v1"
    _must(signer["version"].native == of_signer, "SignerInfo version")
    _must(signed["version"].native == expected, "SignedData version")


def _attributes(signer: cms.SignerInfo) -> dict[str, Any]:
    if _absent(signer["signed_attrs"]):  # what is signed then may be the attributes of another signature
        raise NotJudged("signature sans attributs signés : non prise en charge", "no signed attributes: not supported")
    found: dict[str, Any] = {}
    for attribute in signer["signed_attrs"]:
        name = attribute["type"].native
        _must(name not in found, f"{name} twice")
        found[name] = attribute["values"]
    return found


def _single(attributes: dict[str, Any], name: str) -> Any:
    values = attributes.get(name, ())
    _must(len(values) == 1, f"{name}: not exactly one")
    return values[0]


def _bound(attributes: dict[str, Any], certificate: bytes) -> bool:
    """RFC 5035 §5: the first identifier must be that of the certificate that verifies."""
    for name, default in (("signing_certificate_v2", "sha256"), ("signing_certificate", "sha1")):
        if name in attributes:
            first = _single(attributes, name)["certs"][0]
            _must(isinstance(first, tsp.ESSCertID | tsp.ESSCertIDv2), name)
            kind = _hash(first["hash_algorithm"]) if name.endswith("v2") else default
            _must(first["cert_hash"].native == hashlib.new(kind, certificate).digest(), "signed by another certificate")
            return True
    return False


def _check_value(
    algorithm: algos.SignedDigestAlgorithm, hash_name: str, certificate: bytes, digest: bytes, value: bytes
) -> Padding | None:
    name = algorithm["algorithm"].native
    try:
        spki = parse_certificate(certificate).spki
    except RecordError:
        raise BadSignature("the signer's certificate") from None
    if name in _OTHER_KEYS or 0 < rsa_bits(spki) < LEAST_RSA:
        raise unusual(name if name in _OTHER_KEYS else f"RSA {rsa_bits(spki)}")
    if name == "rsassa_pss":
        salt = _pss_salt(algorithm["parameters"], hash_name)
        _must(verify_rsa(spki, "pss", digest, value, hash_name=hash_name, salt=salt), "signature value")
        return "pss"
    _must(_absent(algorithm["parameters"]) or isinstance(algorithm["parameters"], core.Null), "signature parameters")
    if name in ("rsassa_pkcs1v15", f"{hash_name}_rsa"):
        _must(verify_rsa(spki, "pkcs1", digest, value, hash_name=hash_name), "signature value")
        return "pkcs1"
    _must(name == f"{hash_name}_ecdsa", f"signature algorithm {name}")
    _check_ecdsa(spki, hash_name, digest, value)
    return None


def _pss_salt(parameters: Any, hash_name: str) -> int:
    mask = parameters["mask_gen_algorithm"]
    _must(parameters["hash_algorithm"]["algorithm"].native == hash_name == _hash(parameters["hash_algorithm"]), "PSS hash")
    _must(mask["algorithm"].native == "mgf1" and _hash(mask["parameters"]) == hash_name, "PSS mask")
    _must(parameters["trailer_field"].native in (1, "trailer_field_bc"), "PSS trailer")
    return int(parameters["salt_length"].native)


def _check_ecdsa(spki: bytes, hash_name: str, digest: bytes, value: bytes) -> None:
    try:
        key = serialization.load_der_public_key(spki)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadSignature("key kind")
        key.verify(value, digest, ec.ECDSA(Prehashed(HASHES[hash_name])))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise BadSignature("signature value") from None


def _unsigned(signer: cms.SignerInfo) -> dict[str, list[Any]]:
    """All the values of each: an attribute that comes twice hides nothing."""
    found: dict[str, list[Any]] = {}
    for attribute in () if _absent(signer["unsigned_attrs"]) else signer["unsigned_attrs"]:
        found.setdefault(attribute["type"].native, []).extend(attribute["values"])
    return found


def _evidence(signed: cms.SignedData) -> Evidence:
    if _absent(signed["crls"]):
        return Evidence()
    _must(len(signed["crls"]) <= _MOST_LISTS, "revocation data")
    crls, ocsps = [], []
    for choice in signed["crls"]:
        if choice.name == "other":
            _must(choice.chosen["other_rev_info_format"].native == "ocsp_response", "revocation data of an unknown kind")
            ocsps.append(choice.chosen["other_rev_info"].dump())
        else:
            crls.append(choice.chosen.dump())
    return Evidence(tuple(crls), tuple(ocsps))
