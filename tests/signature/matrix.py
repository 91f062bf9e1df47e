# SPDX-License-Identifier: Apache-2.0
"""Every format, level and form with every card and padding, and who judges it: the table that test_matrix.py works through."""

from __future__ import annotations

from dataclasses import dataclass

from cpxd.signature.options import Form, Format, Level
from cpxd.signature.signer import Padding

CARDS: tuple[tuple[str, Padding], ...] = (("cps3", "pkcs1"), ("cps4", "pkcs1"), ("cps4", "pss"))  # a CPS3 computes no PSS
INS = "255069999999934"


@dataclass(frozen=True)
class Cell:
    """`judges`: methods of `Judged` in test_matrix.py."""

    format: Format
    level: Level
    form: Form
    judges: tuple[str, ...]
    pkcs1_only: tuple[str, ...] = ()  # these know no PSS in the versions of Debian 12
    pss_only: tuple[str, ...] = ()  # these stand in for them

    def judges_of(self, padding: Padding) -> tuple[str, ...]:
        return self.judges + (self.pkcs1_only if padding == "pkcs1" else self.pss_only)

    @property
    def name(self) -> str:
        return f"{self.format}-{self.level}-{self.form}"


_CMS: tuple[Form, ...] = ("detached", "enveloping")
_XML: tuple[Form, ...] = ("enveloped", "enveloping", "detached")
_SHORT: tuple[Level, ...] = ("b", "t")
_PDF: tuple[Level, ...] = ("b", "t", "lt")

CELLS = (
    *(
        Cell(format, level, form, ("openssl", "java", "gpgsm"))
        for format in ("cms", "cades")
        for level in _SHORT
        for form in _CMS
    ),
    # GnuPG of Debian 12 does not read a SignedData with OCSP responses in it
    *(Cell(format, "lt", form, ("openssl", "java")) for format in ("cms", "cades") for form in _CMS),
    *(Cell("pades", level, "enveloped", ("poppler", "openssl", "java"), ("mupdf",)) for level in _PDF),
    Cell("pades", "lta", "enveloped", ("poppler", "openssl", "java")),  # MuPDF takes the time stamp added last for a change
    *(
        Cell("xades", level, form, ("java", "xadesjs"), ("xmlsec1", "xmlsec_nss"), ("expat_openssl",))
        for level in _SHORT
        for form in _XML
    ),
    # NSS wants a certificate for mail, which that of the authentication key is not
    Cell("vihf", "b", "enveloped", ("java", "xadesjs"), ("xmlsec1",), ("expat_openssl",)),
    *(Cell("smime", level, "detached", ("openssl", "java", "gpgsm")) for level in _SHORT),
    Cell("jws", "b", "enveloping", ("openssl", "java", "jose")),
)
