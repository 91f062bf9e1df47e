# SPDX-License-Identifier: Apache-2.0
"""Documents to sign, small and right, or wrong in one way."""

from __future__ import annotations

XML = b'<?xml version="1.0"?>\n<a xmlns="urn:x" xmlns:p="urn:p">\n <p:b z="1" a="2">t&#233;xte</p:b>\n</a>\n'
CDA = """<ClinicalDocument xmlns="urn:hl7-org:v3"><code code="60591-5" displayName="Synthèse médicale"/>
<title>Synthèse</title><effectiveTime value="20261130"/><recordTarget><patientRole><patient><name><given>ANNE</given>
<family>ESSAI</family></name><birthTime value="19700101"/></patient></patientRole></recordTarget><author><assignedAuthor>
<assignedPerson><name>Dr DURAND</name></assignedPerson></assignedAuthor></author></ClinicalDocument>""".encode()
MAIL = (
    "From: medecin@cabinet.mssante.fr\nTo: confrere@hopital.mssante.fr\nSubject: =?utf-8?q?R=C3=A9sultats?=\n"
    "Date: Mon, 30 Nov 2026 09:00:00 +0100\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    "Cher confrère,\nvoici les résultats.\n"
).encode()
BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
    + b"]><a>&m;</a>"
)
EXTERNAL = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


def pdf(
    *lines: str, pages: int = 1, title: str = "Ordonnance", catalog: bytes = b"", more: tuple[bytes, ...] = (), pad: int = 0
) -> bytes:
    """A PDF 1.7 with these lines on every page. catalog: entries of the catalogue; more: objects, from number 5 + 2 * pages."""
    kids = b" ".join(b"%d 0 R" % (5 + 2 * i) for i in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        b"<</Type/Pages/Kids[" + kids + b"]/Count %d/MediaBox[0 0 595 842]>>" % pages,
        b"<</Title(" + title.encode("latin-1") + b")>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for i in range(pages):
        shown = b" ".join(b"(" + _escaped(line) + b") Tj T*" for line in lines)
        text = b"BT /F1 12 Tf 50 780 Td 14 TL " + shown + b" ET" + b"\n%" + b"x" * pad
        objects.append(b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 4 0 R>>>>/Contents %d 0 R>>" % (6 + 2 * i))
        objects.append(b"<</Length %d>>stream\n" % len(text) + text + b"\nendstream")
    objects += more
    out, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start, size = len(out), len(objects) + 1
    trailer = b"trailer<</Size %d/Root 1 0 R/Info 3 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer


def _escaped(line: str) -> bytes:
    return line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
