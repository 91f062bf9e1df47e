# SPDX-License-Identifier: Apache-2.0
"""Time stamps and long-term levels, with local authorities: what is embedded is checked by OpenSSL, piece by piece."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from datetime import UTC, datetime, timedelta

import documents
import pytest
from asn1crypto import cms as asn1_cms
from authority import OCSP_URL, SITE, TSA_URL, Authority
from judges import Judges
from signers import SoftSigner

from cpxd import errors
from cpxd.signature import cms, judge, reading, signeddata, signing, smime, xades, xmlsafe
from cpxd.signature.cms import Content
from cpxd.signature.fetch import Fetch, FetchError, Network, offline
from cpxd.signature.options import Form, Format, Level, Options
from cpxd.signature.report import Report
from cpxd.signature.signing import Document, Signing
from cpxd.signature.trust import TrustStore, parsed
from simulator.pki import TestPki

TEXT = b"compte rendu\n" * 50


def now() -> datetime:
    return datetime.now(UTC)


def document(content: bytes, kind: str = "text/plain") -> Document:
    return Document("d.txt", Content(hashlib.sha256(content).digest(), len(content)), content, kind)


def sign(
    content: bytes, signer: SoftSigner, trust: TrustStore, fetch: Fetch, format: Format, level: Level, form: Form | None = None
) -> bytes:
    prepared = Signing(signer, Options(format, level, form, tsa=TSA_URL), trust=trust, fetch=fetch, now=now())
    return prepared.sign(document(content))


def verify(
    content: bytes, trust: TrustStore, fetch: Fetch = offline, beside: bytes | None = None, at: datetime | None = None
) -> Report:
    found = reading.read(content, None if beside is None else lambda name: hashlib.new(name, beside).digest())
    assert len(found) == 1
    return judge.judge(found[0], trust, fetch, at or now())


@pytest.mark.parametrize("form", ["detached", "enveloping"])
@pytest.mark.parametrize("level", ["t", "lt"])
def test_cades(judges: Judges, signer: SoftSigner, trust: TrustStore, network: Network, level: Level, form: Form) -> None:
    signature = sign(TEXT, signer, trust, network, "cades", level, form)
    beside = TEXT if form == "detached" else None
    assert judges.openssl_cms(signature, beside, "-cades")
    # GnuPG of Debian 12 does not read a SignedData with OCSP responses in it
    assert judges.gpgsm(signature, beside) if level == "t" else judges.pyhanko(signature, TEXT)
    part = signeddata.verify_signed_data(signature, None if beside is None else lambda name: hashlib.new(name, TEXT).digest())
    assert judges.openssl_ts(part.tokens[0], part.value)
    assert not judges.openssl_ts(part.tokens[0], part.value + b"x")
    report = verify(signature, trust, offline if level == "lt" else network, beside)
    assert (report.level, report.verdict) == (level.upper(), "valid"), report.reasons
    assert report.stamped_time is not None and abs((report.stamped_time - now()).total_seconds()) < 60
    if level == "lt":
        _check_evidence(judges, signature, report)


def _check_evidence(judges: Judges, signature: bytes, report: Report) -> None:
    signed = asn1_cms.ContentInfo.load(signature)["content"]
    crls = [c.chosen.dump() for c in signed["crls"] if c.name != "other"]
    ocsps = [c.chosen["other_rev_info"].dump() for c in signed["crls"] if c.name == "other"]
    assert crls and ocsps, "lists of the roots, answers on the signer and the time-stamping certificate"
    assert all(judges.openssl_crl(der) for der in crls)
    certificate, issuer = report.certificates[0], report.certificates[1]
    assert any(judges.openssl_ocsp(der, certificate, issuer) for der in ocsps)


@pytest.mark.parametrize("level", ["t", "lt", "lta"])
def test_pades(judges: Judges, signer: SoftSigner, trust: TrustStore, network: Network, level: Level) -> None:
    signed = sign(documents.pdf("Ordonnance"), signer, trust, network, "pades", level)
    assert judges.pdfsig(signed).count("Signature is Valid") == 1, judges.pdfsig(signed)  # it does not judge time stamps
    assert judges.openssl_pdf(signed)
    found = reading.read(signed, None)
    assert len(found) == 1 and found[0].stamp is not None
    report = judge.judge(found[0], trust, network if level == "t" else offline, now())
    assert (report.level, report.verdict) == (level.upper(), "valid"), report.reasons
    assert judges.openssl_ts(found[0].stamp.token, _value_of(signed))
    if level != "t":
        assert found[0].evidence.crls and all(judges.openssl_crl(der) for der in found[0].evidence.crls)
        certificate, issuer = report.certificates[0], report.certificates[1]
        assert any(judges.openssl_ocsp(der, certificate, issuer) for der in found[0].evidence.ocsps)


def _value_of(document: bytes) -> bytes:
    """What the time stamp in the first signature of a PDF is over."""
    length, again = (int(n) for n in re.findall(rb"/ByteRange\s*\[\s*0 (\d+) (\d+) ", document)[0])
    return cms.signature_value(bytes.fromhex(document[length + 1 : again - 1].decode()))


def test_xades_t(judges: Judges, signer: SoftSigner, trust: TrustStore, network: Network) -> None:
    signed = sign(documents.XML, signer, trust, network, "xades", "t")
    assert judges.expat_openssl(signed)
    assert judges.xmlsec1(signed) if signer.padding == "pkcs1" else True
    report = verify(signed, trust, network)
    assert (report.level, report.verdict) == ("T", "valid"), report.reasons
    token = xades._unsigned(next(xmlsafe.parse(signed).iter(xades._tag("QualifyingProperties"))))[0]
    assert token is not None and judges.openssl_ts(token, xades.stamped_content(signed))


def test_smime_t(judges: Judges, signer: SoftSigner, trust: TrustStore, network: Network) -> None:
    signed = sign(documents.MAIL, signer, trust, network, "smime", "t")
    done = judges.run("openssl", "cms", "-verify", "-in", judges.put("a.eml", signed), "-CAfile", judges.ca)
    assert done.returncode == 0, done.stderr
    parts = smime.split_signed(signed)
    assert judges.gpgsm(parts.signature, parts.signed)
    assert (verify(signed, trust, network).level, verify(signed, trust, network).verdict) == ("T", "valid")


# -- what goes wrong ----------------------------------------------------------------------------------------------


def test_no_authority_configured(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    with pytest.raises(errors.StampFailed):
        Signing(plain, Options("cades", "t"), trust=trust, fetch=network, now=now())
    assert plain.calls == 0, "known before the card is asked"


@pytest.mark.parametrize("spoil", [lambda a: b"", lambda a: a[:-9], lambda a: b"<html>", lambda a: a[:-40] + b"\x00" * 40])
def test_bad_time_stamps_are_refused(
    plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network, spoil: object
) -> None:
    authority.spoil = spoil  # type: ignore[assignment]
    with pytest.raises(errors.StampFailed):
        sign(TEXT, plain, trust, network, "cades", "t")
    assert plain.calls == 0


@pytest.mark.parametrize("hours", [-1, 26])
def test_wrong_clock(plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network, hours: int) -> None:
    authority.shift = timedelta(hours=hours)
    with pytest.raises(errors.WrongClock):
        sign(TEXT, plain, trust, network, "cades", "t")
    assert plain.calls == 0


def test_authority_whose_certificate_has_expired(
    plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network
) -> None:
    authority.shift = timedelta(days=500)
    with pytest.raises(errors.StampFailed, match="expir"):
        sign(TEXT, plain, trust, network, "cades", "t")
    assert plain.calls == 0


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["its head", "its body"])
def test_an_answer_that_never_ends(head: bytes) -> None:
    """A byte now and then, for ever."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            with listening.accept()[0] as channel, contextlib.suppress(OSError):
                channel.sendall(head)
                while not over.wait(0.02):
                    channel.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(FetchError):
                Network(0.2, "none")(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        finally:
            over.set()
            thread.join()


def test_servers_that_are_down(plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network) -> None:
    authority.down = {OCSP_URL}
    report = verify(sign(TEXT, plain, trust, network, "cades", "b", "enveloping"), trust, network)
    assert (report.verdict, report.revocation) == ("valid", "good"), "the list stands in"
    authority.down = {OCSP_URL, SITE}
    with pytest.raises(errors.RevocationUnavailable):
        sign(TEXT, plain, trust, network, "cades", "lt")
    report = verify(sign(TEXT, plain, trust, network, "cades", "b", "enveloping"), trust, network)
    assert (report.verdict, report.revocation) == ("indeterminate", "unknown")
    authority.down = {TSA_URL}
    with pytest.raises(errors.StampFailed):
        sign(TEXT, plain, trust, network, "pades", "t")


def test_stale_data_is_never_good(plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network) -> None:
    signature = sign(TEXT, plain, trust, network, "cades", "b", "enveloping")
    authority.stale = True
    report = verify(signature, trust, network)
    assert (report.verdict, report.revocation) == ("indeterminate", "unknown")
    with pytest.raises(errors.RevocationUnavailable):
        sign(TEXT, plain, trust, network, "cades", "lt")


def test_revoked_signer(plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network) -> None:
    before = sign(TEXT, plain, trust, network, "cades", "b", "enveloping")
    stamped = sign(TEXT, plain, trust, network, "cades", "t", "enveloping")
    serial = parsed(plain.certificate).serial
    calls = plain.calls
    authority.revoked = {serial: now() - timedelta(days=1)}
    with pytest.raises(errors.SignerRevoked):
        sign(TEXT, plain, trust, network, "pades", "lt")
    assert plain.calls == calls
    report = verify(before, trust, network)
    assert (report.verdict, report.revocation) == ("invalid", "revoked") and report.revoked_since is not None
    authority.revoked = {serial: now() + timedelta(seconds=30)}
    assert verify(stamped, trust, network, at=now() + timedelta(minutes=1)).verdict == "valid", "stamped before"
    assert verify(before, trust, network, at=now() + timedelta(minutes=1)).verdict == "indeterminate", "no proof of before"


def test_expired_signer(pki: TestPki, trust: TrustStore, network: Network) -> None:
    expired = SoftSigner(pki, "cps-expiree")
    with pytest.raises(errors.SignerNotValid):
        Signing(expired, Options("cades"), trust=None, fetch=None, now=now())
    assert expired.calls == 0
    plain = SoftSigner(pki)
    with pytest.raises(errors.SignerNotValid):
        Signing(plain, Options("cms"), trust=None, fetch=None, now=now() - timedelta(days=9999))


def test_years_later(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """The certificate is long expired: with a time stamp and the data of then the signature counts; without, nobody knows."""
    later = now() + timedelta(days=365 * 3)
    bare = sign(TEXT, plain, trust, network, "cades", "b", "enveloping")
    durable = sign(TEXT, plain, trust, network, "cades", "lt", "enveloping")
    pdf = sign(documents.pdf("x"), plain, trust, network, "pades", "lta")
    assert verify(bare, trust, at=later).verdict == "indeterminate"
    assert verify(durable, trust, at=later).verdict == "valid"
    assert verify(pdf, trust, at=later).verdict == "valid"


def test_unknown_authorities(plain: SoftSigner, network: Network) -> None:
    from cpxd.signature import trust

    real = trust.load()
    assert len(real.anchors) == 3 and len(real.others) == 6
    with pytest.raises(errors.UntrustedSigner):
        sign(TEXT, plain, real, network, "cades", "lt")
    signed = sign(TEXT, plain, real, network, "cades", "b", "enveloping")
    assert verify(signed, real, network).verdict == "indeterminate", "a test card is never a real one"


def test_nothing_is_signed_with_a_level_that_a_format_has_not() -> None:
    for format, level in (("xades", "lt"), ("jws", "t"), ("vihf", "t"), ("smime", "lt"), ("cades", "lta")):
        with pytest.raises(errors.Usage):
            Options(format, level)  # type: ignore[arg-type]
    assert signing.MAX_DOCUMENT


def test_authority_lost_between_the_probe_and_the_document(
    plain: SoftSigner, trust: TrustStore, authority: Authority, network: Network
) -> None:
    """It is the network's fault then, not the document's."""
    for format, content in (("pades", documents.pdf("x")), ("cades", TEXT), ("xades", documents.XML)):
        authority.down = set()
        prepared = Signing(plain, Options(format, "t", tsa=TSA_URL), trust=trust, fetch=network, now=now())  # type: ignore[arg-type]
        authority.down = {TSA_URL}
        with pytest.raises(errors.StampFailed):
            prepared.sign(document(content))


def test_a_signer_that_fails_is_not_the_document_s_fault(plain: SoftSigner) -> None:
    def lost(digest: bytes) -> bytes:
        raise errors.CardRemoved()

    plain.sign = lost  # type: ignore[method-assign]
    for format, content in (("pades", documents.pdf("x")), ("cades", TEXT), ("xades", documents.XML), ("smime", documents.MAIL)):
        with pytest.raises(errors.CardRemoved):
            Signing(plain, Options(format), trust=None, fetch=None, now=now()).sign(document(content))  # type: ignore[arg-type]
