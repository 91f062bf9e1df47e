# SPDX-License-Identifier: Apache-2.0
"""What is refused when a signed document is read: one changed bit anywhere, wrapped signatures, hostile structures."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime

import documents
import pytest
from authority import TSA_URL, Authority
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judges import Judges
from signers import SoftSigner

from cpxd.signature import cms, jws, pades, reading, smime, xades
from cpxd.signature.fetch import Network, offline
from cpxd.signature.judge import judge
from cpxd.signature.options import Format, Level, Options
from cpxd.signature.reading import NotSigned
from cpxd.signature.signer import RsaKey
from cpxd.signature.signing import Document, Signing
from cpxd.signature.trust import TrustStore
from simulator.pki import TestPki

TEXT = b"lettre de liaison\n" * 5
CASES: list[tuple[Format, Level, bytes, str]] = [
    ("cades", "b", TEXT, "text/plain"),
    ("cades", "t", TEXT, "text/plain"),
    ("cades", "lt", TEXT, "text/plain"),
    ("pades", "b", documents.pdf("x"), ""),
    ("pades", "lt", documents.pdf("x"), ""),
    ("xades", "b", documents.XML, "text/xml"),
    ("xades", "t", documents.XML, "text/xml"),
    ("smime", "b", documents.MAIL, ""),
    ("smime", "t", documents.MAIL, ""),
    ("jws", "b", TEXT, "text/plain"),
]


def signed(
    signer: SoftSigner, trust: TrustStore, network: Network, format: Format, level: Level, content: bytes, kind: str
) -> bytes:
    form = "enveloping" if format == "cades" else None
    prepared = Signing(signer, Options(format, level, form, tsa=TSA_URL), trust=trust, fetch=network, now=datetime.now(UTC))
    return prepared.sign(Document("x", cms.Content(hashlib.sha256(content).digest(), len(content)), content, kind))


def accepted(content: bytes, trust: TrustStore, fetch: Network) -> bool:
    """Whether anybody would take it for a valid signature."""
    try:
        found = reading.read(content, None)
    except NotSigned:
        return False
    return all(judge(one, trust, fetch, datetime.now(UTC)).verdict == "valid" for one in found)


@pytest.mark.parametrize(("format", "level", "content", "kind"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_one_flipped_bit(
    signer: SoftSigner, trust: TrustStore, network: Network, format: Format, level: Level, content: bytes, kind: str
) -> None:
    """A sample; `bench/signatures.py --flips` tries every bit."""
    document = signed(signer, trust, network, format, level, content, kind)
    assert accepted(document, trust, network), "the whole one is right"
    chosen = random.Random(f"{format}{level}{signer.padding}")  # noqa: S311 - a sample
    for position in chosen.sample(range(len(document) * 8), 40):
        changed = bytearray(document)
        changed[position // 8] ^= 1 << position % 8
        assert not accepted(bytes(changed), trust, network), (
            f"bit {position}: {document[position // 8 - 12 : position // 8 + 12]!r}"
        )


@pytest.mark.parametrize(("format", "content"), [("pades", documents.pdf("x")), ("xades", documents.XML), ("cades", TEXT)])
def test_cut_anywhere(plain: SoftSigner, trust: TrustStore, network: Network, format: Format, content: bytes) -> None:
    document = signed(plain, trust, network, format, "b", content, "text/plain")
    for length in range(0, len(document) - 1, max(1, len(document) // 40)):
        assert not accepted(document[:length], trust, network)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"%PDF-1.7\n", b"<a>", b"0\x82", b"-----BEGIN CMS-----\n", b"From: a\n\n", b"a.b."]),
)
def test_rubbish_is_no_signature(rubbish: bytes, start: bytes) -> None:
    try:
        found = reading.read(start + rubbish, None)
    except NotSigned:
        return
    assert all(one.broken for one in found)


# -- XML ----------------------------------------------------------------------------------------------------------


def _beside(document: bytes) -> bytes:
    """The signed element moved aside, another one in its place."""
    return b'<a xmlns="urn:x"><evil/><old>' + document + b"</old></a>"


def _second_id(document: bytes) -> bytes:
    identifier = document.split(b'Id="')[1].split(b'"')[0]
    return document.replace(b"</ds:Signature>", b'<ds:Object><x Id="' + identifier + b'-properties"/></ds:Object></ds:Signature>')


def _two_signatures(document: bytes) -> bytes:
    start, end = document.index(b"<ds:Signature"), document.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    return document[:end] + document[start:end] + document[end:]


def _moved(document: bytes) -> bytes:
    start, end = document.index(b"<ds:Signature"), document.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    return document[:start] + b"<wrapper>" + document[start:end] + b"</wrapper>" + document[end:]


@pytest.mark.parametrize("attack", [_beside, _second_id, _two_signatures, _moved], ids=lambda f: f.__name__)
def test_wrapped_xml_signatures(plain: SoftSigner, trust: TrustStore, network: Network, attack: Callable[[bytes], bytes]) -> None:
    document = xades.sign_enveloped(documents.XML, plain)
    assert accepted(document, trust, network)
    assert not accepted(attack(document), trust, network)


@pytest.mark.parametrize("bomb", [documents.BOMB, documents.EXTERNAL], ids=["bomb", "external entity"])
def test_xml_with_entities_is_not_read(bomb: bytes) -> None:
    with pytest.raises(NotSigned):
        reading.read(bomb, None)


# -- PDF ----------------------------------------------------------------------------------------------------------


def test_pdf_changed_by_an_update(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """An incremental update that replaces the content of a page."""
    document = pades.sign(documents.pdf("Paracetamol 1 g"), plain)
    start = document.rindex(b"startxref") + 9
    previous = int(document[start:].split()[0])
    text = b"BT /F1 12 Tf 50 780 Td (Morphine 100 g) Tj ET"
    place = len(document)
    update = b"6 0 obj\n<</Length %d>>stream\n" % len(text) + text + b"\nendstream\nendobj\n"
    table = b"xref\n6 1\n%010d 00000 n \ntrailer<</Size 20/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    changed = document + update + table % (place, previous, place + len(update))
    found = reading.read(changed, None)
    assert not accepted(changed, trust, network) and found[0].broken


def test_two_signers_of_one_pdf(plain: SoftSigner, pki: TestPki, trust: TrustStore, network: Network) -> None:
    other = SoftSigner(pki, "cps-infirmier")
    document = pades.sign(pades.sign(documents.pdf("x"), plain), other)
    reports = [judge(one, trust, network, datetime.now(UTC)) for one in reading.read(document, None)]
    assert [report.verdict for report in reports] == ["valid", "valid"]
    assert [report.profession for report in reports] == ["Médecin", "Infirmier"]


# -- others' signatures ----------------------------------------------------------------------------------------------


def test_signatures_by_others(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """What `cryptography` makes with the card's key is read too, and only lacks what CAdES binds."""
    certificate = x509.load_der_x509_certificate(plain.certificate)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(TEXT).add_signer(certificate, RsaKey(plain), SHA256())
    der = builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    report = judge(reading.read(der, None)[0], trust, network, datetime.now(UTC))
    assert (report.format, report.verdict) == ("CMS", "valid"), report.reasons


def test_what_a_report_says(plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network) -> None:
    report = judge(reading.read(xades.sign_enveloped(documents.XML, plain), None)[0], trust, network, datetime.now(UTC))
    assert report.signer is not None and report.signer.subject.surname == "VALLEFICTIVE-MERCOEUR"
    assert report.profession == "Médecin" and report.revocation == "good"
    assert report.chain == ("TEST AC IGC-SANTE FORT PERSONNES", "TEST AC RACINE IGC-SANTE FORT")
    assert report.signing_time is not None and str(report.covers)
    assert authority.asked, "the servers that the certificates name"
    away = judge(reading.read(jws.sign(b"{}", plain), None)[0], trust, offline, datetime.now(UTC))
    assert (away.verdict, away.revocation) == ("indeterminate", "unknown")


def test_mail_whose_subject_was_changed(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    mail = smime.sign(documents.MAIL, plain)
    assert accepted(mail, trust, network)
    assert accepted(b"Received: from relay\r\nDKIM-Signature: v=1\r\n" + mail, trust, network), "what carriers add"
    assert not accepted(mail.replace(b"Subject: ", b"Subject: Re: ", 1), trust, network)
    assert not accepted(mail.replace(b"To: confrere", b"To: eve", 1), trust, network)


def test_mails_signed_by_others(plain: SoftSigner, judges: Judges, trust: TrustStore, network: Network) -> None:
    """By OpenSSL, clear and opaque: intact; what their form leaves uncovered is named."""
    key = plain.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own = x509.load_der_x509_certificate(plain.certificate).public_bytes(Encoding.PEM)
    line = [
        "openssl",
        "cms",
        "-sign",
        "-md",
        "sha256",
        "-signer",
        judges.put("own.pem", own),
        "-inkey",
        judges.put("own.key", key),
    ]
    line += ["-in", judges.put("m.eml", b"Content-Type: text/plain\r\n\r\nbonjour\r\n"), "-subject", "essai", "-from", "a@b.fr"]
    for more in ([], ["-nodetach"]):
        assert judges.run(*line, *more, "-out", "signed.eml").returncode == 0
        mail = (judges.folder / "signed.eml").read_bytes()
        (found,) = reading.read(mail, None)
        assert not found.broken and found.format == "S/MIME"
        report = judge(found, trust, network, datetime.now(UTC))
        assert report.verdict == "indeterminate" and "from, subject" in report.reasons[0].en
        middle = mail.rindex(b"\n", 0, len(mail) // 2) + 9
        spoilt = mail[:middle] + (b"A" if mail[middle : middle + 1] != b"A" else b"B") + mail[middle + 1 :]
        assert not accepted(spoilt, trust, network)
        assert not accepted(mail.replace(b"Content-Type:", b"Content-Type: text/plain\nContent-Type:", 1), trust, network)


def test_lengths_that_reach_into_the_padding_of_a_pdf(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """The CMS in a PDF is followed by zeros, which no outer length may take in."""
    document = pades.sign(documents.pdf("x"), plain)
    start = document.index(b"/Contents <") + len(b"/Contents <")
    for position in range(start * 8, (start + 120) * 8):
        changed = bytearray(document)
        changed[position // 8] ^= 1 << position % 8
        try:
            found = reading.read(bytes(changed), None)
        except NotSigned:
            continue
        assert all(one.broken or one.unjudged for one in found), position - start * 8
