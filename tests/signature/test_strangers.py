# SPDX-License-Identifier: Apache-2.0
"""What other programs sign: the verdict is true, and so are its words. Nothing is called changed that was not."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import documents
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from judges import Judges
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from signers import SoftSigner

from cpxd import errors
from cpxd.config import Settings
from cpxd.service import verifying
from cpxd.signature import ber, pades, preview, xades
from cpxd.signature import cms as ours
from cpxd.signature.reading import NotSigned, read
from cpxd.signature.report import Report
from cpxd.signature.xmlsafe import BadXml
from simulator.pki import TestPki

TEXT = b"Compte rendu\r\nTout va bien\r\n"


@pytest.fixture(scope="module")
def folder(pki: TestPki, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two keys and their certificates, a document."""
    folder = tmp_path_factory.mktemp("strangers")
    for number, persona in enumerate(("cps-medecin", "cps-infirmier")):
        one = SoftSigner(pki, persona)
        key = one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"k{number}.pem").write_bytes(key)
        certificate = x509.load_der_x509_certificate(one.certificate)
        (folder / f"c{number}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "d.txt").write_bytes(TEXT)
    return folder


def openssl(folder: Path, line: str, name: str) -> Path:
    sign = "openssl cms -sign -signer c0.pem -inkey k0.pem -in d.txt -binary -outform DER"
    subprocess.run([*sign.split(), *line.split(), "-out", name], cwd=folder, check=True, capture_output=True)
    return folder / name


def verify(path: Path, exported: Path, content: Path | None = None) -> Report:
    settings = Settings(sign_trust=str(exported / "ca.pem"), revocation_folder=str(exported))
    (report,) = verifying.verify(path, settings, content=content, offline=True, now=datetime.now(UTC))
    return report


RIGHT = [
    *("", "-stream", "-keyid", "-cades", "-nosmimecap", "-md sha384", "-md sha512", "-md sha512 -stream"),
    *("-keyopt rsa_padding_mode:pss", "-md sha512 -keyopt rsa_padding_mode:pss"),
    *("-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-1", "-receipt_request_all -receipt_request_to a@b.example"),
]


@pytest.mark.parametrize("line", RIGHT)
@pytest.mark.parametrize("form", ["", "-nodetach"])
def test_right_ones_of_openssl(folder: Path, exported: Path, line: str, form: str) -> None:
    path = openssl(folder, f"{line} {form}", "a.p7s")
    beside = None if form else folder / "d.txt"
    assert verify(path, exported, beside).verdict == "valid"
    changed = bytearray(path.read_bytes())
    changed[-9] ^= 1
    path.write_bytes(changed)
    assert verify(path, exported, beside).verdict == "invalid"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-md sha1", "sha1"),
        ("-md sha224", "sha224"),
        ("-md sha3-256", "sha3_256"),
        ("-keyopt rsa_padding_mode:pss -keyopt rsa_mgf1_md:sha1", "sha1"),
        ("-noattr", "no signed attributes"),
        ("-nocerts", "the signer's certificate is not enclosed"),
        ("-signer c1.pem -inkey k1.pem", "several signers"),
        ("-econtent_type 1.2.3.4", "1.2.3.4"),
    ],
)
def test_what_is_not_judged_is_said(folder: Path, exported: Path, line: str, words: str) -> None:
    report = verify(openssl(folder, f"{line} -nodetach", "b.p7m"), exported)
    assert report.verdict == "indeterminate" and words in report.reasons[0].en


def test_the_document_is_not_there(folder: Path, exported: Path) -> None:
    path = openssl(folder, "", "alone.p7s")
    report = verify(path, exported)
    assert report.verdict == "indeterminate" and "--content" in report.reasons[0].fr


def test_another_document_is_beside_it(folder: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_bytes(TEXT + b"!")
    for line in ("", "-nodetach", "-nodetach -stream"):
        path = openssl(folder, line, "c.p7m")
        assert verify(path, exported, folder / "d.txt").verdict == "valid"
        other = verify(path, exported, tmp_path / "other.txt")
        assert other.verdict == "invalid"
        assert line == "" or re.search(r"celui qui est signé|the one signed", str(other.reasons[0]))


@pytest.mark.parametrize("name", ["none.txt", ".", "/dev/zero"])
def test_a_document_that_cannot_be_read_says_nothing_of_its_signature(folder: Path, exported: Path, name: str) -> None:
    for line in ("", "-nodetach"):
        with pytest.raises(errors.BadFile):
            verify(openssl(folder, line, "u.p7s"), exported, folder / name)


def test_certificates_alone_are_no_signature(folder: Path) -> None:
    line = "openssl crl2pkcs7 -nocrl -certfile c0.pem -outform DER -out certs.p7b"
    subprocess.run(line.split(), cwd=folder, check=True)
    with pytest.raises(NotSigned, match=r"certificats sans signature|certificates without"):
        read((folder / "certs.p7b").read_bytes(), None)


def test_a_stream_rewritten_is_still_one(folder: Path, exported: Path, judges: Judges) -> None:
    """OpenSSL and Bouncy Castle take what we rewrote for what it was."""
    path = openssl(folder, "-nodetach -stream", "s.p7m")
    endless = path.read_bytes()
    assert endless[1] == 0x80
    rewritten = ber.definite(endless)
    assert rewritten[1] == 0x82 and ber.definite(rewritten) == rewritten
    for one in (endless, rewritten):
        assert judges.openssl_cms(one, None)
        assert judges.java("cms", one, None), judges.said


def test_an_encrypted_mail_is_no_false_signature(folder: Path) -> None:
    line = "openssl cms -encrypt -aes256 -in d.txt -outform DER -out e.p7m c0.pem"
    subprocess.run(line.split(), cwd=folder, check=True)
    head = b"From: a@b.example\nMIME-Version: 1.0\nContent-Type: application/pkcs7-mime; name=smime.p7m\n"
    mail = head + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes((folder / "e.p7m").read_bytes())
    with pytest.raises(NotSigned, match=r"chiffré|encrypted"):
        read(mail, None)


@pytest.mark.parametrize(
    "wrong",
    [
        *(b"0\x80", b"0\x80\x00", b"0\x80\x04\x80\x00\x00\x00\x00", b"0\x80" * 40 + b"\x00\x00" * 40, b"0\x80\x04\x05a\x00\x00"),
        *(b"0\x80\x00\x00x", b"0\x80$\x80\x02\x01\x01\x00\x00\x00\x00", b"0\x80\x1f\x81\x01\x00\x00\x00", b"0\x80\x04\xff"),
    ],
)
def test_endless_lengths_end(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ber.definite(wrong)


def test_a_long_stream_is_rewritten_at_once() -> None:
    """Some 100,000 pieces, as a scanner might send."""
    pieces: Any = b"\x04\x04abcd" * 100_000
    found = ber.definite(b"\x24\x80" + pieces + b"\x00\x00")
    assert found == b"\x04\x83" + (400_000).to_bytes(3, "big") + b"abcd" * 100_000


def test_an_empty_jws(plain: SoftSigner) -> None:
    from cpxd.signature import jws

    (found,) = read(jws.sign(b"", plain), None)
    assert not found.broken and found.format == "JWS"


# -- XML -------------------------------------------------------------------------------------------------------------

_CDA = '<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Synthèse</title></ClinicalDocument>'
ENCODINGS = {
    "byte order mark": b"\xef\xbb\xbf" + _CDA.encode(),
    "UTF-16": f'<?xml version="1.0" encoding="UTF-16"?>{_CDA}'.encode("utf-16"),
    "UTF-16 big-endian": f"\ufeff{_CDA}".encode("utf-16-be"),
    "Latin-1": f'<?xml version="1.0" encoding="ISO-8859-1"?>\r\n{_CDA}'.encode("latin-1"),
    "CDATA": _CDA.replace("Synthèse", "<![CDATA[Synthèse]]>").encode(),
    "character references": _CDA.replace("è", "&#xe8;").encode(),
}


@pytest.mark.parametrize("document", ENCODINGS.values(), ids=ENCODINGS)
def test_encodings_of_xml(plain: SoftSigner, judges: Judges, document: bytes) -> None:
    """Each is shown as what it is, and what is signed is right for others."""
    seen = preview.of_bytes(document)
    assert seen.readable and seen.title == "Synthèse" and seen.kind.fr == "document CDA"
    assert preview.media_type(document, Path("x")) == "text/xml"
    for signed in (xades.sign_enveloped(document, plain), xades.sign_enveloping(document, "text/xml", plain)):
        (found,) = read(signed, None)
        assert not found.broken and judges.java("xml", signed), judges.said


def test_an_xml_document_is_signed_once(plain: SoftSigner, judges: Judges) -> None:
    """A second signature in it would break the first: it is refused, or put around all of it."""
    once = xades.sign_enveloped(_CDA.encode(), plain)
    calls = plain.calls
    with pytest.raises(BadXml, match=r"déjà signé|signed already"):
        xades.sign_enveloped(once, plain)
    assert plain.calls == calls
    around = xades.sign_enveloping(once, "text/xml", plain)
    (found,) = read(around, None)
    assert not found.broken and judges.java("xml", around), judges.said


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("compte rendu.txt", b"compte%20rendu.txt"),
        ("é\n#?.txt", b"%C3%A9%0A%23%3F.txt"),
        ("bad\udcff", b"bad%FF"),
    ],
)
def test_names_of_detached_documents(plain: SoftSigner, name: str, uri: bytes) -> None:
    signed = xades.sign_detached(name, ours.read_content(BytesIO(b"a")), "text/plain", plain)
    assert b'URI="' + uri + b'"' in signed
    assert not read(signed, lambda kind: hashlib.new(kind, b"a").digest())[0].broken


_RSA, _HASH = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"
_DS = "http://www.w3.org/2000/09/xmldsig#"
_CERTIFICATE = "<X509Data><X509Certificate/></X509Data>"
TEMPLATES = {
    "usual": (_RSA, _HASH, _CERTIFICATE, "", "valid", ""),
    "hints": (_RSA, _HASH, f"<KeyName/><KeyValue/>{_CERTIFICATE}", "", "indeterminate", "KeyName"),
    "names": (
        _RSA,
        _HASH,
        "<X509Data><X509SubjectName/><X509IssuerSerial/><X509Certificate/></X509Data>",
        "",
        "indeterminate",
        "X509SubjectName",
    ),
    "no certificate": (_RSA, _HASH, "<KeyValue/>", "", "indeterminate", "not enclosed"),
    "SHA-1": (_RSA, f"{_DS}sha1", _CERTIFICATE, "", "indeterminate", "sha1"),
    "signed by SHA-1": (f"{_DS}rsa-sha1", _HASH, _CERTIFICATE, "", "indeterminate", "rsa-sha1"),
    "XPath": (
        _RSA,
        _HASH,
        _CERTIFICATE,
        '<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><XPath>true()</XPath></Transform>',
        "indeterminate",
        "xpath",
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_of_xmlsec1(folder: Path, exported: Path, name: str) -> None:
    """What programs built on xmlsec1 write."""
    method, digest, key, transform, expected, words = TEMPLATES[name]
    (folder / "t.xml").write_text(
        f'<a xmlns="urn:x"><b>t</b><Signature xmlns="{_DS}"><SignedInfo>'
        '<CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>'
        f'<SignatureMethod Algorithm="{method}"/><Reference URI=""><Transforms>'
        f'<Transform Algorithm="{_DS}enveloped-signature"/>{transform}</Transforms><DigestMethod Algorithm="{digest}"/>'
        f"<DigestValue/></Reference></SignedInfo><SignatureValue/><KeyInfo>{key}</KeyInfo></Signature></a>"
    )
    line = "xmlsec1 --sign --privkey-pem k0.pem,c0.pem --output signed.xml t.xml"
    subprocess.run(line.split(), cwd=folder, check=True, capture_output=True)
    report = verify(folder / "signed.xml", exported)
    assert (report.verdict, report.format) == (expected, "XML-DSig")
    assert not words or words in report.reasons[0].en
    if expected == "valid":
        changed = (folder / "signed.xml").read_bytes().replace(b"<b>t</b>", b"<b>u</b>")
        (folder / "signed.xml").write_bytes(changed)
        assert verify(folder / "signed.xml", exported).verdict == "invalid"


# -- PDF -------------------------------------------------------------------------------------------------------------

_LOOK = pades.Appearance(("ANNE ESSAI", "Médecin, 899700090014", "Signé le 30/11/2026"))


def _made(tmp_path: Path, *line: str) -> bytes:
    """A document as another program writes it again."""
    (tmp_path / "in.pdf").write_bytes(documents.pdf("Ordonnance", pages=2))
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    return (tmp_path / "out.pdf").read_bytes()


WRITERS = {
    "linearized": "qpdf --linearize in.pdf out.pdf",
    "object streams": "qpdf --object-streams=generate in.pdf out.pdf",
    "PDF 2.0": "qpdf --force-version=2.0 --object-streams=generate in.pdf out.pdf",
    "MuPDF": "mutool clean in.pdf out.pdf",
    "MuPDF, cleaned": "mutool clean -gggg -z in.pdf out.pdf",
}


@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_pdf_of_other_writers(plain: SoftSigner, judges: Judges, exported: Path, tmp_path: Path, line: str) -> None:
    made = _made(tmp_path, *line.split())
    signed = pades.sign(made, plain, appearance=_LOOK)
    assert signed.startswith(made), "an incremental update"
    assert judges.poppler(signed) and judges.mupdf(signed)
    (tmp_path / "signed.pdf").write_bytes(signed)
    assert verify(tmp_path / "signed.pdf", exported).verdict == "valid"
    twice = pades.sign(signed, plain, appearance=_LOOK)
    assert [found.broken for found in read(twice, None)] == ["", ""]


@pytest.mark.parametrize("line", ["", "--rotate=+90", "--rotate=+180", "--rotate=+270"])
def test_the_signature_is_seen_upright_bottom_right(plain: SoftSigner, judges: Judges, tmp_path: Path, line: str) -> None:
    signed = pades.sign(_made(tmp_path, "qpdf", *line.split(), "in.pdf", "out.pdf"), plain, appearance=_LOOK)
    boxes = judges.run("pdftotext", "-bbox", "-f", "2", judges.put("t.pdf", signed), "-").stdout
    width, height = (842, 595) if "90" in line or "270" in line else (595, 842)
    left, top, right, bottom = (
        float(n) for n in re.findall(r'xMin="(\S+)" yMin="(\S+)" xMax="(\S+)" yMax="(\S+)">ESSAI', boxes)[0]
    )
    assert left > width / 2 and right < width and top > height * 0.8 and bottom < height
    assert right - left > bottom - top, "read from left to right"


def test_a_page_that_says_null_is_turned_by_nothing(plain: SoftSigner) -> None:
    place = b"/Resources<</Font<</F1 4 0 R>>>>"  # what follows stays where it is
    page = documents.pdf("Ordonnance").replace(place, b"/Rotate null/CropBox null".ljust(len(place)))
    assert [found.broken for found in read(pades.sign(page, plain, appearance=_LOOK), None)] == [""]


def test_pdf_signed_by_poppler(folder: Path, exported: Path, judges: Judges, tmp_path: Path) -> None:
    """What Okular signs: right, in a file whose tables are not quite."""
    (tmp_path / "in.pdf").write_bytes(documents.pdf("Ordonnance"))
    export = "openssl pkcs12 -export -inkey k0.pem -in c0.pem -name me -passout pass:x -out"
    subprocess.run([*export.split(), tmp_path / "k.p12"], cwd=folder, check=True)
    assert judges.run("pk12util", "-i", tmp_path / "k.p12", "-d", judges.nss, "-W", "x").returncode == 0
    judges.run("pdfsig", "-nssdir", judges.nss, "-add-signature", "-nick", "me", tmp_path / "in.pdf", tmp_path / "out.pdf")
    report = verify(tmp_path / "out.pdf", exported)
    assert report.verdict == "indeterminate" and report.signer is not None
    assert [reason.en[:36] for reason in report.reasons] == ["the structure of the PDF does not co"]
    changed = (tmp_path / "out.pdf").read_bytes().replace(b"(Ordonnance) Tj", b"(Ordonnances)Tj")
    (tmp_path / "out.pdf").write_bytes(changed)
    assert verify(tmp_path / "out.pdf", exported).verdict == "invalid"


@pytest.mark.parametrize("kind", [b"/adbe.pkcs7.sha1", b"/adbe.x509.rsa_sha1"])
def test_pdf_signatures_of_old_kinds_are_not_passed_over(plain: SoftSigner, kind: bytes) -> None:
    signed = pades.sign(pades.sign(documents.pdf("Ordonnance"), plain), plain)
    place = signed.rindex(b"/ETSI.CAdES.detached")
    old = signed[:place] + kind.ljust(20) + signed[place + 20 :]
    *_, found = read(old, None)
    assert found.unjudged is not None and kind[1:].decode() in found.unjudged.fr


def certified(signer: SoftSigner, allowed: MDPPerm) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(documents.pdf("Ordonnance")))
    metadata = PdfSignatureMetadata("Author", certify=True, docmdp_permissions=allowed, signer_key_usage=set())
    made: bytes = PdfSigner(metadata, pades.adapter(signer)).sign_pdf(writer).getvalue()
    return made


def test_a_certified_document_is_signed_without_a_trace_on_it(plain: SoftSigner) -> None:
    """A mark on a page would end the author's signature; some forbid all changes."""
    document = certified(plain, MDPPerm.FILL_FORMS)
    with pytest.raises(errors.BadDocument, match="--invisible"):
        pades.sign(document, plain, appearance=_LOOK)
    assert [found.broken for found in read(pades.sign(document, plain), None)] == ["", ""]
    with pytest.raises(errors.BadDocument, match=r"interdit|forbids"):
        pades.sign(certified(plain, MDPPerm.NO_CHANGES), plain)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"typ": "JOSE", "sigT": "2026-11-30T00:00:00Z"}, "valid"),
        ({"alg": "ES256"}, "indeterminate"),
        ({"x5c": None, "kid": "1"}, "indeterminate"),
        ({"alg": "HS256", "x5c": None}, "indeterminate"),
        ({"alg": "HS256"}, "invalid"),
        ({"alg": "none"}, "invalid"),
        ({"alg": "none", "x5c": None}, "invalid"),
    ],
    ids=str,
)
def test_jws_of_other_libraries(plain: SoftSigner, exported: Path, tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    """Other names in the header are theirs (RFC 7515 §4.3); a line end comes with a text file."""
    header = {"alg": "RS256", "x5c": [base64.b64encode(plain.certificate).decode()], **more}
    head = json.dumps({name: value for name, value in header.items() if value is not None})
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head.encode(), b"bonjour"))
    value = base64.urlsafe_b64encode(plain.sign(hashlib.sha256(signed).digest())).rstrip(b"=")
    for end in (b"", b"\n", b"\r\n"):
        (tmp_path / "a.jws").write_bytes(signed + b"." + value + end)
        assert verify(tmp_path / "a.jws", exported).verdict == expected
