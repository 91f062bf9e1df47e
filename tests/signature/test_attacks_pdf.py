# SPDX-License-Identifier: Apache-2.0
"""Signed PDFs under attack: what can be added by an incremental update (shadow attacks, Mainka et al., NDSS 2021) is never
taken for what was signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import documents
import pytest
from asn1crypto import x509
from authority import TSA_URL
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, StreamObject, TextStringObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, append_signature_field
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, PdfTimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from signers import SoftSigner

from cpxd import errors
from cpxd.signature import cms, pades, reading
from cpxd.signature.fetch import Network
from cpxd.signature.judge import judge
from cpxd.signature.options import Options
from cpxd.signature.signing import Document, Signing
from cpxd.signature.timestamp import client
from cpxd.signature.trust import TrustStore
from simulator.pki import TestPki

Change = Callable[[Any], None]
FORM = b"/AcroForm<</Fields[7 0 R]/DA(/Helv 0 Tf 0 g)>>"
FIELD = b"<</FT/Tx/T(dose)/V(1 g)/Type/Annot/Subtype/Widget/Rect[0 0 100 20]/P 5 0 R/F 4>>"


def verdicts(content: bytes, trust: TrustStore, fetch: Network) -> list[str]:
    return [judge(one, trust, fetch, datetime.now(UTC)).verdict for one in reading.read(content, None)]


def updated(document: bytes, change: Change) -> bytes:
    writer, output = IncrementalPdfFileWriter(BytesIO(document)), BytesIO()
    change(writer)
    writer.write(output)
    return output.getvalue()


def _numbers(*values: int) -> ArrayObject:
    return ArrayObject([NumberObject(value) for value in values])


def empty_field(writer: Any) -> None:
    append_signature_field(writer, SigFieldSpec("Evil", on_page=0, box=(0, 0, 595, 842)))


def overlay(writer: Any) -> None:
    """A signature field that nobody signed, whose appearance covers the page."""
    empty_field(writer)
    picture = StreamObject(stream_data=b"1 g 0 0 595 842 re f")
    picture[NameObject("/Type")], picture[NameObject("/Subtype")] = NameObject("/XObject"), NameObject("/Form")
    picture[NameObject("/BBox")] = _numbers(0, 0, 595, 842)
    (field,) = [f for f in writer.root["/AcroForm"]["/Fields"] if f.get_object()["/T"] == "Evil"]
    field.get_object()[NameObject("/AP")] = DictionaryObject({NameObject("/N"): writer.add_object(picture)})
    writer.mark_update(field)


def another_title(writer: Any) -> None:
    writer.set_info(writer.add_object(DictionaryObject({NameObject("/Title"): TextStringObject("Morphine")})))


def annotation(writer: Any) -> None:
    words = {"/Type": "/Annot", "/Subtype": "/FreeText"}
    note = DictionaryObject({NameObject(key): NameObject(value) for key, value in words.items()})
    note[NameObject("/Rect")], note[NameObject("/Contents")] = _numbers(0, 0, 500, 500), TextStringObject("Morphine")
    page = writer.root["/Pages"]["/Kids"].raw_get(0)
    page.get_object()[NameObject("/Annots")] = ArrayObject([writer.add_object(note)])
    writer.mark_update(page)


def another_page(writer: Any) -> None:
    page = writer.root["/Pages"]["/Kids"].raw_get(0)
    writer.root["/Pages"]["/Kids"].append(page)
    writer.root["/Pages"][NameObject("/Count")] = NumberObject(2)
    writer.mark_update(writer.root.raw_get("/Pages"))


def script(writer: Any) -> None:
    action = DictionaryObject({NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert(1)")})
    writer.root[NameObject("/OpenAction")] = writer.add_object(action)
    writer.update_root()


def filled(writer: Any) -> None:
    (field,) = [f for f in writer.root["/AcroForm"]["/Fields"] if f.get_object().get("/T") == "dose"]
    field.get_object()[NameObject("/V")] = generic.TextStringObject("9 g")
    writer.mark_update(field)


@pytest.fixture
def signed(plain: SoftSigner) -> bytes:
    form = documents.pdf("Paracetamol 1 g", catalog=FORM, more=(FIELD,))
    return pades.sign(form, plain, appearance=pades.Appearance(("Dr TEST",)))


CHANGES = [empty_field, overlay, another_title, annotation, another_page, script, filled]
WRITTEN_AFTER = [b"\n", b"%x\n", b"\x00" * 8, b"PK\x03\x04", b"\nstartxref\n9\n%%EOF\n"]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_updates_after_the_signature(
    plain: SoftSigner, signed: bytes, trust: TrustStore, network: Network, change: Change
) -> None:
    assert verdicts(signed, trust, network) == ["valid"]
    assert "valid" not in verdicts(updated(signed, change), trust, network)


@pytest.mark.parametrize("change", [overlay, filled, another_title], ids=lambda f: f.__name__)
def test_a_time_stamp_answers_for_nothing(
    signed: bytes, plain: SoftSigner, trust: TrustStore, network: Network, change: Change
) -> None:
    """Everybody gets one; it does not make somebody's of what was added."""
    output = PdfTimeStamper(client(TSA_URL, network)).timestamp_pdf(
        IncrementalPdfFileWriter(BytesIO(updated(signed, change))), "sha256"
    )
    assert "valid" not in verdicts(output.getvalue(), trust, network)


def test_who_signs_last_answers_for_the_form(signed: bytes, pki: TestPki, trust: TrustStore, network: Network) -> None:
    """What a second signer fills in and signs is theirs; the first signature stands for the document as it was."""
    second = pades.sign(updated(signed, filled), SoftSigner(pki, "cps-infirmier"))
    assert verdicts(second, trust, network) == ["valid", "valid"]
    first, _ = reading.read(second, None)
    assert "alors" in str(first.covers) or "then" in str(first.covers)
    assert verdicts(updated(second, overlay), trust, network)[1] != "valid", "nobody signed that"


@pytest.mark.parametrize("more", WRITTEN_AFTER, ids=range(len(WRITTEN_AFTER)))
def test_bytes_after_the_end(signed: bytes, trust: TrustStore, network: Network, more: bytes) -> None:
    assert "valid" not in verdicts(signed + more, trust, network)


def test_validation_data_added_by_others(signed: bytes, plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """What others add for the long term is no change."""
    output = BytesIO(signed)
    DocumentSecurityStore.add_dss(output, sig_contents=None, certs=[x509.Certificate.load(plain.certificate)])
    assert verdicts(output.getvalue(), trust, network) == ["valid"]


def test_archive_time_stamp_is_no_change(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    content = documents.pdf("x")
    prepared = Signing(plain, Options("pades", "lta", tsa=TSA_URL), trust=trust, fetch=network, now=datetime.now(UTC))
    whole = prepared.sign(Document("x", cms.read_content(BytesIO(content)), content))
    assert verdicts(whole, trust, network) == ["valid"]
    assert "valid" not in verdicts(updated(whole, overlay), trust, network)


def test_signature_that_forbids_changes(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """DocMDP (ISO 32000-1 §12.8.2.2): a certification that allows nothing."""
    metadata = PdfSignatureMetadata(
        field_name="S",
        md_algorithm="sha256",
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
        signer_key_usage={"non_repudiation"},
    )
    output = BytesIO()
    writer = IncrementalPdfFileWriter(BytesIO(documents.pdf("x")))
    asyncio.run(PdfSigner(metadata, pades.adapter(plain)).async_sign_pdf(writer, output=output))
    certified = output.getvalue()
    assert verdicts(certified, trust, network) == ["valid"]
    with pytest.raises(errors.BadDocument):
        pades.sign(certified, plain)
    assert verdicts(updated(certified, empty_field), trust, network) == ["invalid"]
