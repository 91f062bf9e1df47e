# SPDX-License-Identifier: Apache-2.0
"""CMS and time stamps under attack: each is what a right signature would be with one thing wrong in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from authority import TSA_URL, Authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from ours import verdict
from signers import SoftSigner

from cpxd.signature import cms as ours
from cpxd.signature import reading
from cpxd.signature.fetch import Network
from cpxd.signature.judge import judge
from cpxd.signature.options import Options
from cpxd.signature.signing import Document, Signing
from cpxd.signature.trust import TrustStore
from simulator.pki import TestPki

TEXT = b"Ordonnance\r\n"


# -- signed anew with something wrong in it --------------------------------------------------------------------------


class Forge:
    """An enveloping signature, taken apart; `sign` puts it together and signs it again, with the holder's own key."""

    def __init__(self, signer: SoftSigner) -> None:
        self.signer = signer
        self.info = cms.ContentInfo.load(ours.sign_enclosed(TEXT, signer))
        self.signed = self.info["content"]
        self.one = self.signed["signer_infos"][0]
        self.hash: hashes.HashAlgorithm = hashes.SHA256()
        self.form: padding.AsymmetricPadding = padding.PKCS1v15()

    def attribute(self, name: str) -> Any:
        return next(a for a in self.one["signed_attrs"] if a["type"].native == name)

    def without(self, name: str) -> None:
        self.one["signed_attrs"] = cms.CMSAttributes([a for a in self.one["signed_attrs"] if a["type"].native != name])

    def sign(self) -> bytes:
        attributes = cms.CMSAttributes(sorted(self.one["signed_attrs"], key=lambda a: bytes(a.dump(force=True))))
        self.one["signed_attrs"] = attributes
        self.one["signature"] = self.signer.key.sign(attributes.dump(force=True), self.form, self.hash)
        return bytes(self.info.dump(force=True))

    def digest_with(self, name: str, algorithm: hashes.HashAlgorithm) -> None:
        self.hash = algorithm
        self.one["digest_algorithm"] = algos.DigestAlgorithm({"algorithm": name})
        self.signed["digest_algorithms"] = cms.DigestAlgorithms([algos.DigestAlgorithm({"algorithm": name})])
        self.one["signature_algorithm"] = algos.SignedDigestAlgorithm({"algorithm": f"{name}_rsa"})
        self.attribute("message_digest")["values"] = [hashlib.new(name, TEXT).digest()]

    def pss(
        self, *, mask: str = "sha256", salt: int = 32, said: int | None = None, hash: str = "sha256", trailer: int = 1
    ) -> None:
        known: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
        self.form = padding.PSS(padding.MGF1(known[mask]), salt)
        parameters = algos.RSASSAPSSParams(
            {
                "hash_algorithm": {"algorithm": hash},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": mask}},
                "salt_length": salt if said is None else said,
                "trailer_field": trailer,
            }
        )
        self.one["signature_algorithm"] = algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})


def nothing(forge: Forge) -> None:
    """Signed anew, and right."""


def pss_right(forge: Forge) -> None:
    forge.pss()


def other_content_type(forge: Forge) -> None:
    forge.attribute("content_type")["values"] = ["signed_data"]


def no_content_type(forge: Forge) -> None:
    forge.without("content_type")


def no_message_digest(forge: Forge) -> None:
    forge.without("message_digest")


def two_message_digests(forge: Forge) -> None:
    forge.attribute("message_digest")["values"] = [hashlib.sha256(TEXT).digest(), hashlib.sha256(b"x").digest()]


def message_digest_twice(forge: Forge) -> None:
    one = forge.attribute("message_digest")
    forge.one["signed_attrs"] = cms.CMSAttributes([*forge.one["signed_attrs"], one.copy()])


def other_message_digest(forge: Forge) -> None:
    forge.attribute("message_digest")["values"] = [hashlib.sha256(b"x").digest()]


def md5(forge: Forge) -> None:
    forge.digest_with("md5", hashes.MD5())


def sha1(forge: Forge) -> None:
    forge.digest_with("sha1", hashes.SHA1())


def sha1_beside_sha256(forge: Forge) -> None:
    """The document by SHA-256, its attributes by SHA-1."""
    forge.hash = hashes.SHA1()
    forge.one["signature_algorithm"] = algos.SignedDigestAlgorithm({"algorithm": "sha1_rsa"})


def bound_to_another(forge: Forge) -> None:
    other = SoftSigner(TestPki(), "cps-infirmier").certificate
    forge.attribute("signing_certificate_v2")["values"] = [tsp.SigningCertificateV2.load(ours.signing_certificate(other))]


def pss_mask(forge: Forge) -> None:
    forge.pss(mask="sha1")


def pss_hash(forge: Forge) -> None:
    forge.pss(hash="sha1")


def pss_other_salt(forge: Forge) -> None:
    forge.pss(salt=20, said=32)


def pss_no_salt_said(forge: Forge) -> None:
    forge.pss(said=0)


def pss_endless_salt(forge: Forge) -> None:
    forge.pss(said=1 << 40)


def pss_negative_salt(forge: Forge) -> None:
    forge.pss(said=-1)


def pss_trailer(forge: Forge) -> None:
    forge.pss(trailer=2)


WRONG = [
    *(other_content_type, no_content_type, no_message_digest, two_message_digests, message_digest_twice, other_message_digest),
    *(sha1_beside_sha256, bound_to_another),
    *(pss_hash, pss_other_salt, pss_no_salt_said, pss_endless_salt, pss_negative_salt, pss_trailer),
]


FORGED = [
    *((make, "valid") for make in (nothing, pss_right)),
    *((make, "invalid") for make in WRONG),
    *((make, "indeterminate") for make in (md5, sha1, pss_mask)),  # it proves nothing; that it was changed would not be true
]


@pytest.mark.parametrize("make, wanted", FORGED, ids=[make.__name__ for make, _ in FORGED])
def test_signed_by_the_holder(
    plain: SoftSigner, trust: TrustStore, network: Network, make: Callable[[Forge], None], wanted: str
) -> None:
    forge = Forge(plain)
    make(forge)
    assert verdict(forge.sign(), trust, network) == wanted


# -- changed by somebody else ----------------------------------------------------------------------------------------


def no_attributes(forge: Forge) -> None:
    """A right signature over the document itself: what attributes say could pass for a document (RFC 5652 §11)."""
    forge.one["signed_attrs"] = None
    forge.one["signature"] = forge.signer.key.sign(TEXT, padding.PKCS1v15(), hashes.SHA256())


def attributes_as_document(forge: Forge) -> None:
    forge.signed["encap_content_info"]["content"] = forge.one["signed_attrs"].untag().dump()
    forge.one["signed_attrs"] = None


def two_signers(forge: Forge) -> None:
    forge.signed["signer_infos"] = cms.SignerInfos([forge.one.copy(), forge.one.copy()])


def another_content(forge: Forge) -> None:
    forge.signed["encap_content_info"]["content"] = b"another"


def other_kind_of_content(forge: Forge) -> None:
    forge.signed["encap_content_info"]["content_type"] = "tst_info"


def unsigned_attribute(forge: Forge) -> None:
    forge.one["unsigned_attrs"] = cms.CMSAttributes([cms.CMSAttribute({"type": "1.2.3.4", "values": [core.Null()]})])


def strange_certificate(forge: Forge) -> None:
    other = _own_certificate(forge.signer, forge.signer.certificate)
    forge.signed["certificates"] = cms.CertificateSet([*forge.signed["certificates"], _choice(other)])


def certificate_of_the_same_name(forge: Forge) -> None:
    """Another one of the same issuer and number, first."""
    other = _own_certificate(SoftSigner(TestPki(), "cps-infirmier"), forge.signer.certificate)
    forge.signed["certificates"] = cms.CertificateSet([_choice(other), *forge.signed["certificates"]])


CHANGED = [
    *(no_attributes, attributes_as_document, two_signers, another_content, other_kind_of_content),
    *(unsigned_attribute, strange_certificate, certificate_of_the_same_name),
]


def _choice(der: bytes) -> Any:
    return cms.CertificateChoices("certificate", asn1_x509.Certificate.load(der))


def _own_certificate(signer: SoftSigner, like: bytes, usage: x509.KeyUsage | None = None, *purposes: Any) -> bytes:
    """A certificate with the name, issuer and number of another, signed by whoever has this key."""
    return _issued(signer.key, signer.key, like, usage, *purposes)


def _issued(key: Any, issuer_key: Any, like: bytes, usage: x509.KeyUsage | None = None, *purposes: Any) -> bytes:
    original = x509.load_der_x509_certificate(like)
    builder = x509.CertificateBuilder().subject_name(original.subject).issuer_name(original.issuer)
    builder = builder.serial_number(original.serial_number).public_key(key.public_key())
    builder = builder.not_valid_before(original.not_valid_before_utc).not_valid_after(original.not_valid_after_utc)
    for extension in original.extensions:
        replaced = (x509.KeyUsage, x509.ExtendedKeyUsage)
        if not isinstance(extension.value, replaced):
            builder = builder.add_extension(extension.value, extension.critical)
    if usage is not None:
        builder = builder.add_extension(usage, True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("change", CHANGED, ids=lambda f: f.__name__)
def test_changed(plain: SoftSigner, trust: TrustStore, network: Network, change: Callable[[Forge], None]) -> None:
    forge = Forge(plain)
    change(forge)
    assert verdict(bytes(forge.info.dump(force=True)), trust, network) != "valid"


def test_bytes_that_belong_to_nothing(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    whole = ours.sign_enclosed(TEXT, plain)
    assert verdict(whole, trust, network) == "valid"
    for wrong in (whole + b"\x00", whole[:-1], b"\x30\x80" + cms.ContentInfo.load(whole).contents + b"\x00\x00\x00"):
        assert verdict(wrong, trust, network) == "invalid"


# -- certificates ----------------------------------------------------------------------------------------------------

_SIGNS = x509.KeyUsage(False, True, False, False, False, False, False, False, False)
_ENCRYPTS = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
_CERTIFIES = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
CERTIFICATES = {
    "signs": (_SIGNS, (ExtendedKeyUsageOID.EMAIL_PROTECTION,), "valid"),
    "no purpose": (_SIGNS, (), "valid"),
    "encrypts": (_ENCRYPTS, (), "invalid"),
    "certifies": (_CERTIFIES, (), "invalid"),
    "no usage": (None, (), "invalid"),
    "a server": (_SIGNS, (ExtendedKeyUsageOID.SERVER_AUTH,), "invalid"),
    "a time-stamping authority": (_SIGNS, (ExtendedKeyUsageOID.TIME_STAMPING,), "invalid"),
    "a responder": (_SIGNS, (ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH), "invalid"),
}


@pytest.mark.parametrize("usage, purposes, wanted", CERTIFICATES.values(), ids=list(CERTIFICATES))
def test_what_certificates_are_for(
    plain: SoftSigner, pki: TestPki, trust: TrustStore, network: Network, usage: Any, purposes: Any, wanted: str
) -> None:
    """Issued by the same authority, for another purpose."""
    plain.certificate = _issued(plain.key, pki.authority("FORT PERSONNES").key, plain.certificate, usage, *purposes)
    assert verdict(ours.sign_enclosed(TEXT, plain), trust, network) == wanted


def test_servers_of_a_forged_certificate_are_not_asked(
    plain: SoftSigner, trust: TrustStore, network: Network, authority: Authority
) -> None:
    """It bears the name of a known authority, not its signature: what it names is not of that authority."""
    plain.certificate = _own_certificate(plain, plain.certificate, _SIGNS)
    assert verdict(ours.sign_enclosed(TEXT, plain), trust, network) == "invalid"
    assert authority.asked == []


# -- time stamps -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stamped(plain: SoftSigner, trust: TrustStore, network: Network) -> bytes:
    prepared = Signing(plain, Options("cades", "t", "enveloping", tsa=TSA_URL), trust=trust, fetch=network, now=datetime.now(UTC))
    return prepared.sign(Document("x", ours.Content(hashlib.sha256(TEXT).digest(), len(TEXT)), TEXT))


def test_two_time_stamps(plain: SoftSigner, stamped: bytes, trust: TrustStore, network: Network) -> None:
    """In one attribute or two, the first does not hide behind the second."""
    assert verdict(stamped, trust, network) == "valid"
    info = cms.ContentInfo.load(stamped)
    token = info["content"]["signer_infos"][0]["unsigned_attrs"][0]["values"][0].dump()
    assert verdict(ours.add_timestamp(stamped, token), trust, network) == "indeterminate"


def test_time_stamp_of_another_signature(plain: SoftSigner, stamped: bytes, trust: TrustStore, network: Network) -> None:
    token = cms.ContentInfo.load(stamped)["content"]["signer_infos"][0]["unsigned_attrs"][0]["values"][0].dump()
    other = ours.add_timestamp(ours.sign_enclosed(b"another", plain), token)
    assert verdict(other, trust, network) == "invalid"


@pytest.mark.parametrize("when", [-1, 1], ids=["before", "after"])
def test_revoked_time_stamping_authority(
    stamped: bytes, trust: TrustStore, network: Network, authority: Authority, when: int
) -> None:
    """Even after the stamp: with a stolen key, stamps of the past can be made."""
    authority.revoked = {authority.tsa_certificate.serial_number: datetime.now(UTC) + when * timedelta(hours=1)}
    later = datetime.now(UTC) + timedelta(hours=2)
    (found,) = reading.read(stamped, None)
    report = judge(found, trust, network, later)
    assert report.verdict == "indeterminate" and any("time-stamping authority" in r.en for r in report.reasons)
