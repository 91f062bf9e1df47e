# SPDX-License-Identifier: Apache-2.0
"""The signatures in a PDF (ISO 32000-1 §12.8, EN 319 142-1), read with pyHanko and checked strictly."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from asn1crypto import parser

from cpxd.signature import timestamp
from cpxd.signature.evidence import Evidence
from cpxd.signature.pades import MAX_PDF, reader_of
from cpxd.signature.reading import failed, of_part, stamp_of
from cpxd.signature.report import Found
from cpxd.signature.signeddata import BadSignature, unusual, verify_signed_data
from cpxd.signature.timestamp import Stamp
from cpxd.text import Text

if TYPE_CHECKING:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

NAME = "PAdES"
_END = re.compile(rb"startxref\s+\d+\s+%%EOF[\r\n]{0,2}\Z")  # ISO 32000-1 §7.5.5
_MOST_PROOFS = 256  # of each kind
_ADDED = Text(
    "contenu ajouté après la dernière signature (champ, apparence, titre…)",
    "content added after the last signature (field, appearance, title…)",
)
_HEX = re.compile(rb"[0-9a-f]*\Z|[0-9A-F]*\Z")


@dataclass(frozen=True)
class _Span:
    """The two signed ranges of a file and what is between them."""

    signed: bytes
    contents: bytes  # DER
    whole: bool  # up to the end of the file


def read_pdf(content: bytes) -> tuple[Found, ...]:
    """All the signatures of a PDF, in order. Empty for a PDF that cannot be read."""
    if len(content) > MAX_PDF:
        return ()
    try:
        reader, doubts = _reader(content)
        items = list(reader.embedded_signatures)
        last = max((n for n, item in enumerate(items) if not _is_stamp(item)), default=-1)
        found = [_read(content, item, is_last=number >= last) for number, item in enumerate(items)]
        told = tuple(replace(one, doubts=one.doubts + doubts) for one in _with_archive(reader, found))
        return told + _of_other_kinds(reader)
    except Exception as error:  # a broken PDF makes pyHanko stumble in a dozen ways
        if b"/ByteRange" not in content:
            return ()
        return (Found(NAME, f"{type(error).__name__}: {str(error)[:80]}"),)


def _of_other_kinds(reader: PdfFileReader) -> tuple[Found, ...]:
    """Signatures that pyHanko passes over: of kinds that PDF 2.0 has given up, with SHA-1 all of them."""
    from pyhanko.sign.fields import SigSeedSubFilter, enumerate_sig_fields

    known = {kind.value for kind in SigSeedSubFilter}
    fields = enumerate_sig_fields(reader, filled_status=True)
    kinds = [str(value.get_object().get("/SubFilter", "?")) for _, value, _ in fields]
    return tuple(failed("PDF", unusual(kind.lstrip("/"))) for kind in kinds if kind not in known)


def _reader(content: bytes) -> tuple[PdfFileReader, tuple[Text, ...]]:
    """A strict one if it can be; else what others may read differently is said."""
    from pyhanko.pdf_utils.misc import PdfStrictReadError

    try:
        return reader_of(content), ()
    except PdfStrictReadError as error:
        why = f"{error}"[:100]
        fr, en = f"structure du PDF non conforme ({why})", f"the structure of the PDF does not conform ({why})"
        return reader_of(content, strict=False), (Text(fr, en),)


@dataclass(frozen=True)
class _Read:
    found: Found
    document_stamp: Stamp | None = None  # of a /DocTimeStamp


def _is_stamp(item: EmbeddedPdfSignature) -> bool:
    return str(item.sig_object_type) == "/DocTimeStamp"


def _read(content: bytes, item: EmbeddedPdfSignature, *, is_last: bool) -> _Read:
    """`is_last`: no signature of a person follows, who would answer for what came in between."""
    try:
        span = _span(content, item)
        if _is_stamp(item):
            stamp = timestamp.verify_over(span.contents, span.signed)
            return _Read(Found("DocTimeStamp", "" if _unchanged(item) else "changed"), stamp)
        part = verify_signed_data(span.contents, lambda name: hashlib.new(name, span.signed).digest())
        stamp_, doubts = stamp_of(part)
        if not _unchanged(item):
            raise BadSignature("the document was changed after it was signed")
        covers = Text("tout le document", "the whole document")
        if not span.whole:
            covers = Text("le document tel qu'il était alors", "the document as it was then")
        if is_last and not span.whole and not _only_proofs_follow(content, item):
            doubts += (_ADDED,)
        claimed = item.self_reported_timestamp
        if claimed is not None and claimed.tzinfo is None:
            claimed = claimed.replace(tzinfo=UTC)
        name = NAME if part.bound else "PDF"
        return _Read(replace(of_part(name, part), stamp=stamp_, doubts=doubts, covers=covers, signing_time=claimed))
    except BadSignature as error:
        return _Read(failed(NAME, error))
    except Exception as error:  # pyHanko on hostile structures: many kinds, one meaning
        return _Read(Found(NAME, f"structure: {type(error).__name__}"))


def _span(content: bytes, item: EmbeddedPdfSignature) -> _Span:
    start, length, again, rest = (int(value) for value in item.byte_range)
    if start != 0 or length <= 0 or again <= length or rest <= 0 or again + rest > len(content):
        raise BadSignature("ByteRange")
    hole = content[length:again]
    if hole[:1] != b"<" or hole[-1:] != b">" or not _HEX.match(hole[1:-1]):
        raise BadSignature("Contents")
    value = bytes.fromhex(hole[1:-1].decode("ascii") + "0" * (len(hole) % 2))
    der = value[: _der_length(value)]
    if value[len(der) :].strip(b"\x00") or bytes(item.pkcs7_content)[: len(der)] != der:
        raise BadSignature("Contents")
    return _Span(content[:length] + content[again : again + rest], der, again + rest == len(content))


def _der_length(value: bytes) -> int:
    try:
        return int(parser.peek(value))
    except ValueError:
        raise BadSignature("Contents") from None


def _unchanged(item: EmbeddedPdfSignature) -> bool:
    """Whether what came after the signature is only what may come: other signatures, time stamps, validation data."""
    from pyhanko.sign.diff_analysis import ModificationLevel, SuspiciousModification

    item.compute_integrity_info()  # type: ignore[no-untyped-call]  # pyHanko has no type for it
    result: Any = item.diff_result
    if result is None or isinstance(result, SuspiciousModification):
        return False
    allowed = item.docmdp_level  # a signature can forbid what may come (ISO 32000-1 §12.8.2.2)
    if allowed is not None and result.modification_level.value > allowed.value:
        return False
    return bool(result.modification_level <= ModificationLevel.FORM_FILLING)


def _only_proofs_follow(content: bytes, item: EmbeddedPdfSignature) -> bool:
    """Whether what nobody signed holds validation data and time stamps alone. A time stamp vouches for a moment, not for what a
    page shows; and an empty signature field is one more thing that can cover a page.
    """
    from pyhanko.sign import diff_analysis

    reader, revision = item.reader, item.signed_revision
    if revision == reader.xrefs.total_revisions - 1 or not _END.search(content[-64:]):
        return False  # bytes that belong to no revision
    before, after = reader.get_historical_resolver(revision), reader.get_historical_resolver(reader.xrefs.total_revisions - 1)
    if _information(before) != _information(after):
        return False
    rules: Any = diff_analysis  # pyHanko has no types for them
    proofs = rules.ModificationLevel.LTA_UPDATES
    harmless = (rules.XrefStreamRule, rules.ObjectStreamRule, rules.DSSCompareRule, rules.DocInfoRule, rules.MetadataUpdateRule)
    policy = rules.StandardDiffPolicy(
        [rules.CatalogModificationRule(), *(rule().as_qualified(proofs) for rule in harmless)],
        rules.FormUpdatingRule([rules.SigFieldCreationRule(), rules.SigFieldModificationRule()]),
    )
    result = policy.review_file(reader, revision)
    return not isinstance(result, rules.SuspiciousModification) and bool(result.modification_level <= proofs)


def _information(document: Any) -> dict[str, str]:
    """What the document says of itself (title, author…), what every writer changes left out."""
    try:
        found = document.trailer_view["/Info"]
    except KeyError:
        return {}
    return {key: str(value) for key, value in found.items() if key not in ("/ModDate", "/Producer")}


def _with_archive(reader: PdfFileReader, read: list[_Read]) -> list[Found]:
    """Document time stamps belong to the signatures before them; the validation data of the document, to all."""
    evidence, certificates = _security_store(reader)
    found: list[Found] = []
    for item in read:
        if item.document_stamp is not None and not item.found.broken:
            found = [replace(f, archive=f.archive or item.document_stamp) if not f.broken else f for f in found]
        elif item.document_stamp is not None or item.found.format == "DocTimeStamp":
            found = [replace(f, broken="document time stamp") for f in found]
        else:
            found.append(item.found)
    return [
        replace(f, evidence=f.evidence + evidence, certificates=tuple(dict.fromkeys(f.certificates + certificates)))
        for f in found
    ]


def _security_store(reader: PdfFileReader) -> tuple[Evidence, tuple[bytes, ...]]:
    """What the DSS dictionary holds (EN 319 142-1 §5.4)."""
    from pyhanko.pdf_utils.misc import PdfError

    try:
        store = reader.root["/DSS"]
    except (KeyError, PdfError):
        return Evidence(), ()

    def streams(key: str) -> tuple[bytes, ...]:
        if key in store and len(store[key]) > _MOST_PROOFS:
            raise ValueError(key)
        return tuple(bytes(s.get_object().data) for s in store[key]) if key in store else ()

    try:
        return Evidence(streams("/CRLs"), streams("/OCSPs")), streams("/Certs")
    except (PdfError, KeyError, AttributeError, ValueError, TypeError):
        return Evidence((b"damaged",)), ()
