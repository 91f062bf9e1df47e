# SPDX-License-Identifier: Apache-2.0
"""PAdES signatures (EN 319 142-1) with pyHanko: B-B, B-T, B-LT and B-LTA, with a visible appearance or without."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from asn1crypto import cms as asn1_cms
from asn1crypto import x509

from cpxd import errors
from cpxd.signature import cms
from cpxd.signature.evidence import Evidence
from cpxd.signature.signer import RsaKey, Signer
from cpxd.text import tr

if TYPE_CHECKING:  # slow to import
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign.signers import PdfSigner
    from pyhanko.sign.signers import Signer as PyHankoSigner
    from pyhanko.sign.timestamps import TimeStamper
    from pyhanko.stamp import TextStampStyle

FORMAT = "PAdES"
MAX_PDF = 64 << 20  # bytes
_WIDTH, _HEIGHT, _MARGIN, _LINE = 240, 54, 24, 12  # points


@dataclass(frozen=True)
class Appearance:
    """What the page shows, a line each: name, profession, date. On the last page, bottom right."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class LongTerm:
    """What B-LT and B-LTA put in the document. `archive`: a document time stamp over it all (LTA)."""

    roots: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    evidence: Evidence
    archive: bool


def sign(
    document: bytes,
    signer: Signer,
    *,
    appearance: Appearance | None = None,
    timestamper: TimeStamper | None = None,
    long_term: LongTerm | None = None,
    at: datetime | None = None,
) -> bytes:
    """The PDF with one more signature, an incremental update. Raises BadDocument, and what `signer` and the authority raise."""
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.sign.general import SigningError

    watched = _Watched(signer)
    try:
        writer = _open(document)
        signing = _pdf_signer(writer, watched, appearance=appearance, timestamper=timestamper, long_term=long_term, at=at)
        output = BytesIO()
        asyncio.run(signing.async_sign_pdf(writer, output=output))
        return output.getvalue()
    except errors.CpxError:
        raise
    except (PdfError, SigningError) as error:
        raise bad_pdf(error) from None
    except Exception as error:  # a broken PDF makes pyHanko stumble in a dozen ways
        if watched.failed:
            raise  # not the document's fault
        raise bad_pdf(f"{type(error).__name__}") from None


class _Watched:
    """A signer, and whether it failed."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.certificate, self.padding, self.failed = signer.certificate, signer.padding, False

    def sign(self, digest: bytes) -> bytes:
        self.failed = True
        signature = self._signer.sign(digest)
        self.failed = False
        return signature


def bad_pdf(reason: object) -> errors.BadDocument:
    return errors.BadDocument(
        format=FORMAT, reason=tr(f"PDF abîmé ou non conforme ({reason})", f"broken or non-conforming PDF ({reason})")
    )


def _open(document: bytes) -> IncrementalPdfFileWriter:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.reader import PdfFileReader

    if len(document) > MAX_PDF:
        raise errors.DocumentTooLarge(format=FORMAT, size=len(document), limit=MAX_PDF)
    reader = PdfFileReader(BytesIO(document), strict=True)
    if reader.encrypted:
        raise errors.BadDocument(
            format=FORMAT, reason=tr("PDF chiffré ou protégé par mot de passe", "PDF encrypted or protected by a password")
        )
    if not reader.root["/Pages"]["/Count"]:
        raise errors.BadDocument(format=FORMAT, reason=tr("PDF sans page", "PDF without a page"))
    return IncrementalPdfFileWriter.from_reader(reader)


def _pdf_signer(
    writer: IncrementalPdfFileWriter,
    signer: Signer,
    *,
    appearance: Appearance | None,
    timestamper: TimeStamper | None,
    long_term: LongTerm | None,
    at: datetime | None,
) -> PdfSigner:
    from pyhanko.sign import fields
    from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
    from pyhanko.sign.signers.pdf_signer import DSSContentSettings, SigDSSPlacementPreference

    name = _free_name(writer)
    settings: dict[str, Any] = {}
    if long_term is not None:
        settings = {
            "embed_validation_info": True,
            "use_pades_lta": long_term.archive,
            "validation_context": _context(long_term, at),
            # inside what is signed, so that nothing of it can be changed afterwards
            "dss_settings": DSSContentSettings(include_vri=False, placement=SigDSSPlacementPreference.TOGETHER_WITH_SIGNATURE),
        }
    metadata = PdfSignatureMetadata(
        field_name=name,
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        signer_key_usage={"non_repudiation"},
        name=appearance.lines[0] if appearance else None,
        **settings,
    )
    return PdfSigner(
        metadata,
        adapter(signer, long_term.certificates if long_term else ()),
        timestamper=timestamper,
        stamp_style=_style(appearance) if appearance else None,
        new_field_spec=_field(writer, name, appearance is not None),
    )


def adapter(signer: Signer, certificates: Iterable[bytes] = ()) -> PyHankoSigner:
    """A signer in the shape pyHanko wants."""
    from pyhanko.sign.signers import Signer as PyHankoSigner
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    class Adapter(PyHankoSigner):
        async def async_sign(  # noqa: PLR0917 - pyHanko's
            self,
            data_digest: bytes,
            digest_algorithm: str,
            dry_run: bool = False,
            use_pades: bool = False,
            timestamper: TimeStamper | None = None,
            signed_attr_settings: Any = None,
            is_pdf_sig: bool = True,
            encap_content_info: Any = None,
        ) -> asn1_cms.ContentInfo:
            """The whole CMS at once, ours: PAdES wants no other attributes than it has."""
            if digest_algorithm != "sha256":
                raise errors.MechanismUnavailable(mechanism=f"RSA {digest_algorithm.upper()}")
            signature = cms.sign_pdf_range(data_digest, _Dry(signer) if dry_run else signer)
            if timestamper is not None:
                value = hashlib.sha256(cms.signature_value(signature)).digest()
                stamp = timestamper.async_dummy_response if dry_run else None
                token = await (stamp("sha256") if stamp else timestamper.async_timestamp(value, "sha256"))
                signature = cms.add_timestamp(signature, token.dump())
            return asn1_cms.ContentInfo.load(signature)

    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]  # pyHanko types its methods, not this one
    for der in certificates:
        store.register(x509.Certificate.load(der))
    return Adapter(
        signing_cert=x509.Certificate.load(signer.certificate),
        cert_registry=store,
        signature_mechanism=cms.signature_algorithm(signer.padding),
        prefer_pss=signer.padding == "pss",
    )


class _Dry:
    """A signer that does not sign, for whoever wants to know how long a signature will be."""

    def __init__(self, signer: Signer) -> None:
        self.certificate, self.padding = signer.certificate, signer.padding
        self._size = RsaKey(signer).key_size // 8

    def sign(self, digest: bytes) -> bytes:
        return bytes(self._size)


def _context(long_term: LongTerm, at: datetime | None) -> Any:
    from pyhanko_certvalidator.context import ValidationContext

    return ValidationContext(
        trust_roots=[x509.Certificate.load(der) for der in long_term.roots],
        other_certs=[x509.Certificate.load(der) for der in long_term.certificates],
        crls=list(long_term.evidence.crls),
        ocsps=list(long_term.evidence.ocsps),
        revocation_mode="hard-fail",
        moment=at,
        allow_fetching=False,
    )


def _free_name(writer: IncrementalPdfFileWriter) -> str:
    from pyhanko.sign.fields import enumerate_sig_fields

    taken = {name for name, _, _ in enumerate_sig_fields(writer.prev)}
    return next(name for i in range(1, len(taken) + 2) if (name := f"Signature{i}") not in taken)


def _field(writer: IncrementalPdfFileWriter, name: str, visible: bool) -> Any:
    from pyhanko.sign.fields import SigFieldSpec

    if not visible:
        return SigFieldSpec(name)
    last = int(writer.root["/Pages"]["/Count"]) - 1
    page_reference, _ = writer.find_page_for_modification(last)  # type: ignore[no-untyped-call]  # pyHanko has no type for it
    left, bottom, right, _ = _page_box(page_reference.get_object())
    start = max(left, right - _MARGIN - _WIDTH)
    low = bottom + _MARGIN
    box = (int(start), int(low), int(min(right, start + _WIDTH)), int(low + _HEIGHT))
    return SigFieldSpec(name, on_page=last, box=box)


def _page_box(page: Any) -> tuple[float, float, float, float]:
    """The visible part of a page, inherited from the page tree (ISO 32000-1 §7.7.3.4)."""
    for key in ("/CropBox", "/MediaBox"):
        node, depth = page, 0
        while depth < 64:
            if key in node:
                values = [float(value) for value in node[key]]
                return min(values[0], values[2]), min(values[1], values[3]), max(values[0], values[2]), max(values[1], values[3])
            if "/Parent" not in node:
                break
            node, depth = node["/Parent"], depth + 1
    return 0.0, 0.0, 595.0, 842.0


def _style(appearance: Appearance) -> TextStampStyle:
    from pyhanko.pdf_utils.text import TextBoxStyle
    from pyhanko.stamp import TextStampStyle

    text = "\n".join(appearance.lines).replace("%", "%%")
    return TextStampStyle(stamp_text=text, border_width=1, background=None, text_box_style=TextBoxStyle(font_size=_LINE))
