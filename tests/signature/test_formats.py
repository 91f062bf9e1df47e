# SPDX-License-Identifier: Apache-2.0
"""Each format at level B, PKCS#1 and PSS, before two verifiers that are not ours."""

from __future__ import annotations

import hashlib
from io import BytesIO

import documents
import pytest
from cryptography import x509
from judges import Judges
from signers import SoftSigner

from cpxd.signature import cms, jws, pades, smime, xades

TEXT = b"Ordonnance : paracetamol 1 g\r\n" * 40


@pytest.mark.parametrize("enclosed", [False, True], ids=["detached", "enveloping"])
def test_cades(judges: Judges, signer: SoftSigner, enclosed: bool) -> None:
    signature = cms.sign_enclosed(TEXT, signer) if enclosed else cms.sign_detached(cms.read_content(BytesIO(TEXT)), signer)
    content = None if enclosed else TEXT
    assert judges.openssl_cms(signature, content, "-cades")
    assert judges.gpgsm(signature, content)
    wrong = signature.replace(TEXT, TEXT[:-1] + b"X") if enclosed else signature
    other = None if enclosed else TEXT + b"X"
    assert not judges.openssl_cms(wrong, other, "-cades") and not judges.gpgsm(wrong, other), "the judges do judge"


def test_pades(judges: Judges, signer: SoftSigner) -> None:
    look = pades.Appearance(("Dr ALIÉNOR TEST", "Médecin, 899700090014", "Signé le 30/11/2026 à 09:00 (UTC+01:00)"))
    signed = pades.sign(documents.pdf("Ordonnance", "Paracétamol 1 g"), signer, appearance=look)
    assert judges.poppler(signed), judges.pdfsig(signed)
    assert "ETSI.CAdES.detached" in judges.pdfsig(signed) and "Total document signed" in judges.pdfsig(signed)
    # MuPDF of Debian 12 does not know PSS
    assert judges.mupdf(signed) if signer.padding == "pkcs1" else judges.openssl_pdf(signed)
    shown = judges.run("pdftotext", "-layout", judges.put("shown.pdf", signed), "-").stdout
    for line in look.lines:
        assert line in shown


def test_pades_signed_twice(judges: Judges, pki: object, signer: SoftSigner) -> None:
    once = pades.sign(documents.pdf("Certificat"), signer)
    twice = pades.sign(once, signer, appearance=pades.Appearance(("Dr SECOND",)))
    assert twice.startswith(once), "an incremental update"
    assert judges.pdfsig(twice).count("Signature is Valid") == 2


@pytest.mark.parametrize("form", ["enveloped", "enveloping", "enveloping-base64", "detached"])
def test_xades(judges: Judges, signer: SoftSigner, form: str) -> None:
    beside = None
    if form == "enveloped":
        signed = xades.sign_enveloped(documents.XML, signer)
    elif form == "enveloping":
        signed = xades.sign_enveloping(documents.XML, "text/xml", signer)
    elif form == "enveloping-base64":
        signed = xades.sign_enveloping(TEXT, "text/plain", signer)
    else:
        beside = ("d.txt", TEXT)
        content = cms.Content(hashlib.sha256(TEXT).digest(), len(TEXT))
        signed = xades.sign_detached("d.txt", content, "text/plain", signer)
    outside = beside[1] if beside else b""
    assert judges.expat_openssl(signed, outside)
    if signer.padding == "pkcs1":  # xmlsec1 of Debian 12 does not know PSS
        assert judges.xmlsec1(signed, beside)
    changed = signed.replace(b"MimeType>text", b"MimeType>tixt")
    assert changed != signed and not judges.expat_openssl(changed, outside)


def test_smime(judges: Judges, signer: SoftSigner) -> None:
    signed = smime.sign(documents.MAIL, signer)
    done = judges.run("openssl", "cms", "-verify", "-in", judges.put("a.eml", signed), "-CAfile", judges.ca)
    assert done.returncode == 0 and "voici les résultats" in done.stdout, done.stderr
    parts = smime.split_signed(signed)
    assert judges.gpgsm(parts.signature, parts.signed)
    assert signed.startswith(b"From: medecin@cabinet.mssante.fr\r\n"), "the mail keeps its headers"
    assert not parts.changed


def test_jws(judges: Judges, signer: SoftSigner) -> None:
    token = jws.sign(b'{"patient":"x"}', signer, kind="application/json")
    assert judges.openssl_jws(token)
    assert judges.jose(token, x509.load_der_x509_certificate(signer.certificate))
    at = len(token) - 100
    spoilt = token[:at] + (b"A" if token[at : at + 1] != b"A" else b"B") + token[at + 1 :]
    assert not judges.jose(spoilt, x509.load_der_x509_certificate(signer.certificate))
