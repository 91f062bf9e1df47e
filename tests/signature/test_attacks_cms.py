# SPDX-License-Identifier: Apache-2.0
"""CMS, time stamps and JWS under attack: each is what a right signature would be with one thing wrong in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
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
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from signers import SoftSigner

from cpxd.signature import cms as ours
from cpxd.signature import jws, reading
from cpxd.signature.fetch import Network
from cpxd.signature.judge import judge
from cpxd.signature.options import Options
from cpxd.signature.report import Report
from cpxd.signature.signing import Document, Signing
from cpxd.signature.trust import TrustStore
from simulator.pki import TestPki

TEXT = b"Ordonnance\r\n"


def reports(content: bytes, trust: TrustStore, fetch: Network) -> list[Report]:
    return [judge(one, trust, fetch, datetime.now(UTC)) for one in reading.read(content, None)]


def verdict(content: bytes, trust: TrustStore, fetch: Network) -> str:
    (report,) = reports(content, trust, fetch)
    return report.verdict


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


@pytest.mark.parametrize("make", [nothing, pss_right], ids=lambda f: f.__name__)
def test_the_forge_makes_right_ones_too(
    plain: SoftSigner, trust: TrustStore, network: Network, make: Callable[[Forge], None]
) -> None:
    forge = Forge(plain)
    make(forge)
    assert verdict(forge.sign(), trust, network) == "valid"


@pytest.mark.parametrize("make", WRONG, ids=lambda f: f.__name__)
def test_signed_by_the_holder_and_wrong(
    plain: SoftSigner, trust: TrustStore, network: Network, make: Callable[[Forge], None]
) -> None:
    forge = Forge(plain)
    make(forge)
    assert verdict(forge.sign(), trust, network) == "invalid"


@pytest.mark.parametrize("make", [md5, sha1, pss_mask], ids=lambda f: f.__name__)
def test_signed_by_the_holder_and_weak(
    plain: SoftSigner, trust: TrustStore, network: Network, make: Callable[[Forge], None]
) -> None:
    """It proves nothing; that it was changed would not be true."""
    forge = Forge(plain)
    make(forge)
    assert verdict(forge.sign(), trust, network) == "indeterminate"


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


def test_certificates_that_libraries_read_differently(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """Whatever is in it, there is a verdict."""
    whole = plain.certificate
    chosen = random.Random("certificates").sample(range(320, len(whole) * 8), 300)  # noqa: S311 - a sample
    for position in [*range(320), *chosen]:  # the head, where lengths and kinds are, and some of the rest
        der = bytearray(whole)
        der[position // 8] ^= 1 << position % 8
        token = _token(plain, {"alg": "RS256", "x5c": [base64.b64encode(bytes(der)).decode()]})
        for one in reading.read(token, None):
            assert judge(one, trust, network, datetime.now(UTC)).verdict != "valid", position


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


# -- JWS -------------------------------------------------------------------------------------------------------------


def _encode(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _token(signer: SoftSigner, header: dict[str, Any] | bytes, payload: bytes = b"{}", value: bytes | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = _encode(head) + b"." + _encode(payload)
    if value is None:
        value = signer.sign(hashlib.sha256(signed).digest())
    return signed + b"." + _encode(value)


def _header(signer: SoftSigner, **more: Any) -> dict[str, Any]:
    return {"alg": "RS256", "x5c": [base64.b64encode(signer.certificate).decode()], **more}


def test_jws_headers(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    other = SoftSigner(TestPki(), "cps-infirmier")
    numbers = other.key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": _encode(numbers.n.to_bytes(256, "big")).decode(), "e": "AQAB"}
    right = _header(plain)
    assert verdict(_token(plain, right), trust, network) == "valid"
    text = json.dumps(right).encode()
    wrong: dict[str, bytes] = {
        "none": _token(plain, right | {"alg": "none"}, value=b""),
        "None": _token(plain, right | {"alg": "None"}),
        "no algorithm": _token(plain, {"x5c": right["x5c"]}),
        "RS1": _token(plain, right | {"alg": "RS1"}),
        "algorithm as a list": _token(plain, right | {"alg": ["RS256"]}),
        "PS256 for RS256": _token(plain, right | {"alg": "PS256"}),
        "critical": _token(plain, right | {"crit": ["exp"], "exp": 1}),
        "no critical": _token(plain, right | {"crit": []}),
        "detached": _token(plain, right | {"b64": False, "crit": ["b64"]}),
        "key in the header": _token(other, right | {"jwk": jwk}),
        "key in the header, and ours": _token(plain, right | {"jwk": jwk}),
        "address of keys": _token(plain, right | {"jku": "https://evil.example/keys"}),
        "address of certificates": _token(plain, right | {"x5u": "https://evil.example/x5u"}),
        "thumbprint of another": _token(
            plain, right | {"x5t#S256": _encode(hashlib.sha256(other.certificate).digest()).decode()}
        ),
        "old thumbprint": _token(plain, right | {"x5t": "AAAA"}),
        "algorithm twice": _token(plain, text[:-1] + b', "alg": "RS256"}'),
        "certificates twice": _token(plain, text[:-1] + b', "x5c": []}'),
        "another's certificate first": _token(
            plain, right | {"x5c": [base64.b64encode(other.certificate).decode(), *right["x5c"]]}
        ),
        "no certificate": _token(plain, right | {"x5c": []}),
        "certificate as text": _token(plain, right | {"x5c": right["x5c"][0]}),
        "blank in the certificate": _token(plain, right | {"x5c": [" " + right["x5c"][0]]}),
        "a list": _token(plain, b"[]"),
        "deep": _token(plain, b"[" * 100_000),
        "not UTF-8": _token(plain, b"\xff\xfe"),
        "padded": _token(plain, right) + b"=",
        "four parts": _token(plain, right) + b".AAAA",
        "other payload": jws.sign(b"{}", plain).replace(b"." + _encode(b"{}") + b".", b"." + _encode(b"[]") + b"."),
    }
    for name, token in wrong.items():
        try:
            found = reading.read(token, None)
        except reading.NotSigned:
            continue
        assert [judge(one, trust, network, datetime.now(UTC)).verdict for one in found] == ["invalid"], name


def test_jws_with_the_public_key_as_a_secret(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """HS256 over what everybody knows."""
    header = _header(plain) | {"alg": "HS256"}
    signed = _encode(json.dumps(header).encode()) + b"." + _encode(b"{}")
    public = plain.key.public_key()
    for secret in (
        plain.certificate,
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        token = signed + b"." + _encode(hmac.digest(secret, signed, "sha256"))
        assert verdict(token, trust, network) == "invalid"
