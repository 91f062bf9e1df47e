# SPDX-License-Identifier: Apache-2.0
"""Documents that cannot be signed, and what is never signed: clear errors, the signer not asked."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import documents
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import NameOID
from judges import Judges
from signers import SoftSigner

from cpxd import errors
from cpxd.signature.cms import Content
from cpxd.signature.options import Format, Options
from cpxd.signature.signer import RsaKey
from cpxd.signature.signing import Document, Signing


def sign(content: bytes, signer: SoftSigner, format: Format) -> bytes:
    prepared = Signing(signer, Options(format), trust=None, fetch=None, now=datetime.now(UTC))
    return prepared.sign(Document("d", Content(hashlib.sha256(content).digest(), len(content)), content, "text/xml"))


def encrypted(judges: Judges, document: bytes) -> bytes:
    judges.run("qpdf", "--encrypt", "secret", "owner", "256", "--", judges.put("in.pdf", document), "out.pdf")
    return (judges.folder / "out.pdf").read_bytes()


def test_encrypted_pdf(judges: Judges, plain: SoftSigner) -> None:
    with pytest.raises(errors.BadDocument) as caught:
        sign(encrypted(judges, documents.pdf("x")), plain, "pades")
    assert "chiffré" in str(caught.value) and plain.calls == 0


GOOD = documents.pdf("x")
BROKEN = [
    b"",
    b"%PDF-1.7\n",
    GOOD[: len(GOOD) // 2],
    GOOD.replace(b"startxref", b"startxxxx"),
    GOOD.replace(b"/Root 1 0 R", b"/Root 9 0 R"),
    GOOD.replace(b"0000000015 00000 n", b"0000009999 00000 n"),
    GOOD.replace(b"/Count 1", b"/Count 0"),
    GOOD.replace(b"/Pages 2 0 R", b"/Pages 1 0 R"),
    b"not a pdf at all",
]


@pytest.mark.parametrize("document", BROKEN, ids=range(len(BROKEN)))
def test_broken_pdf(plain: SoftSigner, document: bytes) -> None:
    with pytest.raises(errors.BadDocument):
        sign(document, plain, "pades")


@pytest.mark.parametrize("document", [documents.BOMB, documents.EXTERNAL, b"<a>", b"", b"text", b"<a>" * 5000, b"\xff\xfe<a/>"])
def test_bad_xml(plain: SoftSigner, document: bytes) -> None:
    with pytest.raises(errors.BadDocument):
        sign(document, plain, "xades")
    assert plain.calls == 0


@pytest.mark.parametrize("mail", [b"", b"no header here", b"\x00" * 40, b"From x\n\nbody"])
def test_bad_mail(plain: SoftSigner, mail: bytes) -> None:
    with pytest.raises(errors.BadDocument):
        sign(mail, plain, "smime")


# -- the key in the shape of cryptography --------------------------------------------------------------------------


def test_the_key_makes_a_request(plain: SoftSigner, judges: Judges) -> None:
    """A certificate request, by a library that takes the card for any other key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(RsaKey(plain), SHA256())
    path = judges.put("a.csr", request.public_bytes(serialization.Encoding.PEM))
    assert judges.run("openssl", "req", "-verify", "-noout", "-in", path).returncode == 0


def test_the_key_is_honest(plain: SoftSigner) -> None:
    key = RsaKey(plain)
    for form, algorithm in (
        (padding.PSS(padding.MGF1(SHA256()), 32), SHA256()),
        (padding.PKCS1v15(), SHA1()),
    ):
        with pytest.raises(errors.MechanismUnavailable):
            key.sign(b"x", form, algorithm)
    with pytest.raises(TypeError):
        key.private_numbers()
    assert plain.calls == 0
