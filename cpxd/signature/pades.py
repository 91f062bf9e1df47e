# SPDX-License-Identifier: Apache-2.0
"""PAdES signatures (EN 319 142-1) with pyHanko: B-B, B-T, B-LT and B-LTA, with a visible appearance or without."""

from __future__ import annotations

import asyncio
import contextlib
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
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.signers import PdfSigner
    from pyhanko.sign.signers import Signer as PyHankoSigner
    from pyhanko.sign.timestamps import TimeStamper
    from pyhanko.stamp import TextStampStyle

FORMAT = "PAdES"
MAX_PDF = 64 << 20  # bytes
_MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}  # against a turn of the page
_FIRST_OF_MUPDF, _FIRST_FREE = b"0000000000 65536 f", b"0000000000 65535 f"  # ISO 32000-1 §7.5.4
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


def reader_of(document: bytes, *, strict: bool = True) -> PdfFileReader:
    """A reader. MuPDF gives the first free object, which nothing refers to, a generation too high: that is let pass."""
    from pyhanko.pdf_utils.reader import PdfFileReader

    reader = PdfFileReader(BytesIO(document.replace(_FIRST_OF_MUPDF, _FIRST_FREE)), strict=strict)
    reader.stream = BytesIO(document)  # the tables are read; what is signed, or checked, is the document as it is
    return reader


def _open(document: bytes) -> IncrementalPdfFileWriter:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    if len(document) > MAX_PDF:
        raise errors.DocumentTooLarge(format=FORMAT, size=len(document), limit=MAX_PDF)
    reader = reader_of(document)
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

    name, page = _free_name(writer), None
    _check_certified(writer, visible=appearance is not None)
    if appearance is not None:
        page = writer.find_page_for_modification(int(writer.root["/Pages"]["/Count"]) - 1)[0].get_object()  # type: ignore[no-untyped-call]  # pyHanko has no type for it
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
        stamp_style=_style(appearance, _turn(page)) if appearance else None,
        new_field_spec=_field(writer, name, page),
    )


def _check_certified(writer: IncrementalPdfFileWriter, *, visible: bool) -> None:
    """What is drawn on a page of a document that its author certified ends that signature (ISO 32000-1 §12.8.2.2)."""
    from pyhanko.sign.fields import MDPPerm
    from pyhanko.sign.validation import read_certification_data

    certified = read_certification_data(writer.prev)
    if certified is None:
        return
    if certified.permission == MDPPerm.NO_CHANGES:
        reason = tr("certifié par son auteur, qui interdit tout changement", "certified by its author, who forbids all changes")
    elif visible:
        reason = tr(
            "certifié par son auteur (DocMDP) : seule une signature invisible (--invisible) n'abîme pas la sienne",
            "certified by its author (DocMDP): only an invisible signature (--invisible) leaves theirs whole",
        )
    else:
        return
    raise errors.BadDocument(format=FORMAT, reason=reason)


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


def _field(writer: IncrementalPdfFileWriter, name: str, page: Any) -> Any:
    """`page`: the last one, where the signature is shown; None: nowhere."""
    from pyhanko.sign.fields import SigFieldSpec

    if page is None:
        return SigFieldSpec(name)
    return SigFieldSpec(name, on_page=int(writer.root["/Pages"]["/Count"]) - 1, box=_box(page))


def _box(page: Any) -> tuple[int, int, int, int]:
    """Where the signature stands: bottom right as the page is seen, which may be turned."""
    sides = _page_box(page)
    turn = _turn(page)
    across, up = (_WIDTH, _HEIGHT) if turn % 180 == 0 else (_HEIGHT, _WIDTH)
    right, top = turn in (0, 90), turn in (90, 180)
    left, low = _placed(sides[0], sides[2], across, at_end=right), _placed(sides[1], sides[3], up, at_end=top)
    return int(left), int(low), int(min(sides[2], left + across)), int(min(sides[3], low + up))


def _placed(start: float, end: float, size: float, *, at_end: bool) -> float:
    return max(start, end - _MARGIN - size) if at_end else start + _MARGIN


def _page_box(page: Any) -> tuple[float, float, float, float]:
    """The visible part of a page."""
    for key in ("/CropBox", "/MediaBox"):
        found = _inherited(page, key)
        if found is not None:
            values = [float(value) for value in found]
            return min(values[0], values[2]), min(values[1], values[3]), max(values[0], values[2]), max(values[1], values[3])
    return 0.0, 0.0, 595.0, 842.0


def _turn(page: Any) -> int:
    """By how much a page is turned when it is shown, in degrees clockwise: 0, 90, 180 or 270."""
    return int(_inherited(page, "/Rotate") or 0) % 360 // 90 * 90


def _inherited(page: Any, key: str) -> Any:
    """An attribute of a page, which may come from the page tree (ISO 32000-1 §7.7.3.4)."""
    node = page
    for _ in range(64):
        with contextlib.suppress(KeyError):  # null is none
            return node[key]
        if "/Parent" not in node:
            break
        node = node["/Parent"]
    return None


def _style(appearance: Appearance, turn: int) -> TextStampStyle:
    """Turned against the page, so that it is read upright."""
    from pyhanko.pdf_utils.generic import ArrayObject, NameObject, NumberObject
    from pyhanko.pdf_utils.layout import BoxConstraints
    from pyhanko.pdf_utils.text import TextBoxStyle
    from pyhanko.stamp import TextStamp, TextStampStyle

    class Turned(TextStamp):
        def as_form_xobject(self) -> Any:
            form = super().as_form_xobject()
            form[NameObject("/Matrix")] = ArrayObject(map(NumberObject, (*_MATRICES[turn], 0, 0)))
            return form

    class Style(TextStampStyle):
        def create_stamp(self, writer: Any, box: Any, text_params: Any) -> TextStamp:
            if turn % 180:
                box = BoxConstraints(width=box.height, height=box.width)
            return Turned(writer=writer, style=self, box=box, text_params=text_params)

    text = "\n".join(appearance.lines).replace("%", "%%")
    return Style(stamp_text=text, border_width=1, background=None, text_box_style=TextBoxStyle(font_size=_LINE))
