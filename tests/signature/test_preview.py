# SPDX-License-Identifier: Apache-2.0
"""What is shown before a signature is what is signed, and what it hides is named."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from pathlib import Path

import documents
import pytest
from asn1crypto import cms as asn1_cms
from hypothesis import given, settings
from hypothesis import strategies as st
from signers import SoftSigner

from cpxd import errors
from cpxd.service.signing import Source, read_source
from cpxd.signature import cms, preview
from cpxd.signature.options import Options
from cpxd.text import choose_language


def shown(content: bytes) -> str:
    return "\n".join(preview.text(preview.of_bytes(content)))


def _document(chosen: random.Random) -> bytes:
    word = "".join(chosen.choices("abcdefghij éèà<>&\u202e\x1b", k=chosen.randrange(1, 40)))
    number = chosen.randrange(10**6)
    makers = (
        lambda: documents.pdf(f"Ordonnance {number}", f"ligne {number % 97}", title=f"Titre {number}", pages=1 + number % 3),
        lambda: documents.XML.replace(b"t&#233;xte", f"valeur {number}".encode()),
        lambda: documents.CDA.replace("Synthèse</title>".encode(), f"Synthèse {number}</title>".encode()),
        lambda: documents.MAIL.replace(b"Cher", f"{number} {word} Cher".encode()),
        f'{{"patient": {number}}}'.encode,
        f"{word} {number}".encode,
        lambda: chosen.randbytes(60),
    )
    return chosen.choice(makers)()


def test_page_says_a_and_sends_b(plain: SoftSigner, tmp_path: Path) -> None:
    """500 pairs: whatever a caller says, the consent is what a new reading of the signed bytes says."""
    chosen, path = random.Random(5), tmp_path / "d"  # noqa: S311 - a sample
    for _ in range(500):
        said, sent = _document(chosen), _document(chosen)
        path.write_bytes(sent)
        source = read_source(path, Options("cades", form="enveloping"), shown=True)
        assert source.preview is not None
        consent = "\n".join(preview.text(source.preview))
        document = source.open(Options("cades", form="enveloping"))
        assert document.content is not None
        signature = cms.sign_enclosed(document.content, plain)
        signed = bytes(asn1_cms.ContentInfo.load(signature)["content"]["encap_content_info"]["content"])
        assert consent == shown(signed)
        assert said == sent or consent != shown(said)


def test_a_file_that_changes_after_it_was_shown_is_not_signed(tmp_path: Path) -> None:
    path = tmp_path / "d.xml"
    path.write_bytes(documents.XML)
    source = read_source(path, Options("xades"), shown=True)
    path.write_bytes(documents.XML.replace(b'z="1"', b'z="9"'))
    with pytest.raises(errors.BadFile):
        source.open(Options("xades"))
    assert isinstance(source, Source)


_FORM = b"<</Type/XObject/Subtype/Form/BBox[0 0 200 20]/Resources<</Font<</F1 4 0 R>>>>/Length %d>>stream\n%s\nendstream"


def annotated(*entries: bytes, look: bytes = b"BT /F1 12 Tf 2 5 Td (MORPHINE 100 mg) Tj ET") -> bytes:
    """A page with annotations on it; object 7 is what they may look like."""
    page = documents.pdf("Ordonnance", more=(_FORM % (len(look), look), *(b"<</Type/Annot" + e + b">>" for e in entries)))
    listed = b"/Annots[" + b" ".join(b"%d 0 R" % (8 + n) for n in range(len(entries))) + b"]"
    return page.replace(b"/Resources<</Font", listed + b"/Resources<</Font", 1)


@pytest.mark.parametrize(
    ("entry", "line", "warning"),
    [
        (b"/Subtype/FreeText/Rect[9 9 99 99]/AP<</N 7 0 R>>", "annotation : MORPHINE 100 mg", "annotations"),
        (b"/Subtype/FreeText/Rect[9 9 99 99]/AP<</N 7 0 R>>/Contents(eau)", "annotation : eau", "annotations"),
        (b"/Subtype/Text/Rect[9 9 99 99]/Contents(deux fois par jour)", "annotation : deux fois par jour", "annotations"),
        (b"/Subtype/Widget/FT/Tx/T(dose)/V(3 g)/Rect[9 9 99 99]", "champ « dose » : 3 g", "champs de formulaire"),
        (b"/Subtype/Widget/FT/Tx/T(dose)/V(3 g)/AP<</N 7 0 R>>", "champ « dose » : MORPHINE 100 mg", "champs de formulaire"),
        (b"/Subtype/Widget/FT/Btn/T(c)/AS/Oui/V/Oui/AP<</N<</Oui 7 0 R>>>>", "champ « c » : /Oui", "champs de formulaire"),
    ],
)
def test_what_is_drawn_over_a_page_is_shown(entry: bytes, line: str, warning: str) -> None:
    seen = preview.of_bytes(annotated(entry))
    assert seen.readable and line in seen.lines and warning in [str(w) for w in seen.warnings], seen


def test_annotations_that_say_nothing_or_nonsense() -> None:
    seen = preview.of_bytes(
        annotated(b"/Subtype/Link", b"/Subtype/Popup/Contents(x)", b"/Subtype/Stamp/AP null", b"/AP<</N 99 0 R>>")
    )
    assert seen.readable and seen.lines == ("pages : 1", "Ordonnance")


@pytest.mark.parametrize("listed", [b"null", b"3", b"99 0 R", b"<<>>"])
def test_a_page_without_annotations_is_read(listed: bytes) -> None:
    page = documents.pdf("Ordonnance").replace(b"/Resources<</Font", b"/Annots " + listed + b"/Resources<</Font", 1)
    seen = preview.of_bytes(page)
    assert seen.readable and seen.lines == ("pages : 1", "Ordonnance"), seen


def test_more_annotations_than_anybody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpxd.signature.preview_pdf._MOST_OPERATORS", 5000)
    look = b"BT /F1 12 Tf " + b"(x) Tj " * 900 + b"ET"
    many = annotated(*[b"/Subtype/FreeText/AP<</N 7 0 R>>"] * 300, look=look)
    assert "too much to show from page 1 on" in [w.en for w in preview.of_bytes(many).warnings]
    seen = preview.of_bytes(annotated(*[b"/Subtype/Text/Contents(x)"] * 300))
    assert "too much to show from page 1 on" in [w.en for w in seen.warnings] and len(seen.lines) < 100, seen


def test_the_page_that_a_document_opens_on_is_no_action() -> None:
    seen = preview.of_bytes(documents.pdf("x", catalog=b"/OpenAction[5 0 R/XYZ null null 0]"))
    assert seen.readable and not seen.warnings


ACTIVE = [
    (documents.pdf("x", catalog=b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>"), "JavaScript"),
    (
        documents.pdf("x", catalog=b"/Names<</EmbeddedFiles<</Names[(a)7 0 R]>>>>", more=(b"<</Type/Filespec/EF<<>>>>",)),
        "enclosed file",
    ),
    (documents.pdf("x", catalog=b"/AcroForm<</XFA(x)>>"), "XFA"),
    (documents.pdf("x", catalog=b"/OCProperties<<>>"), "layers"),
    (documents.pdf("x", catalog=b"/AA<</WC<</S/Launch/F(cmd.exe)>>>>"), "launches a program"),
    (documents.pdf("x")[:-80], "broken PDF"),
    (documents.pdf(), "no text"),
    (documents.EXTERNAL, "DTD or entity"),
    (documents.BOMB, "dangerous XML"),
    (b"<html><script>x</script></html>", "active content"),
    (b"<a><!-- hidden --></a>", "comments"),
    (b'{"a": 1, "a": 2}', "a name twice"),
    ("dose \u202e 001".encode(), "invisible"),
    (bytes(range(200, 256)), "not readable"),
    (documents.MAIL.replace(b"text/plain", b'application/zip; name="x.exe"'), "attachment"),
]


@pytest.mark.parametrize(("content", "warning"), ACTIVE, ids=[w for _, w in ACTIVE])
def test_what_is_hidden_is_named(content: bytes, warning: str) -> None:
    choose_language("en")
    try:
        assert any(warning in str(w) for w in preview.of_bytes(content).warnings), shown(content)
    finally:
        choose_language(None)


def test_a_plain_document_has_no_warning() -> None:
    for content in (documents.pdf("Ordonnance"), documents.XML, documents.CDA, documents.MAIL, b"texte", b'{"a": 1}'):
        assert preview.of_bytes(content).warnings == (), shown(content)


def test_what_is_shown() -> None:
    seen = preview.of_bytes(documents.pdf("Ordonnance du 3 mai", "Paracétamol 1 g", pages=2))
    assert seen.title == "Ordonnance" and "pages : 2" in seen.lines and "Paracétamol 1 g" in seen.lines
    seen = preview.of_bytes(documents.CDA)
    assert seen.title == "Synthèse" and "patient: ANNE ESSAI" in seen.lines and "author: Dr DURAND" in seen.lines
    seen = preview.of_bytes(documents.MAIL)
    assert seen.title == "Résultats" and "To: confrere@hopital.mssante.fr" in seen.lines


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"%PDF-1.4\n", b"<a>", b"{", b"From: x\n"]))
def test_nothing_can_spoil_the_consent(content: bytes, start: bytes) -> None:
    for line in preview.text(preview.of_bytes(start + content)):
        assert line.isprintable() and len(line) < 400


# -- documents that unpack to much more than they are ---------------------------------------------------------------


def _packed(times: int, layers: int = 1, text: bytes = b"(x) Tj ") -> bytes:
    """Drawing operators without end, in a few kilobytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(text * 100_000) for _ in range(times)) + packer.flush()
    for _ in range(layers - 1):
        packed = zlib.compress(packed, 9)
    return packed


def _bomb(packed: bytes, layers: int, pages: int) -> bytes:
    number = 5 + 2 * pages
    stream = b"<</Length %d/Filter[%s]>>stream\n" % (len(packed), b"/FlateDecode" * layers) + packed + b"\nendstream"
    document = documents.pdf("x", pages=pages, more=(stream,))
    for page in range(pages):
        document = document.replace(b"/Contents %d 0 R" % (6 + 2 * page), b"/Contents %d 0 R" % number)
    return document


def _forms(depth: int) -> bytes:
    """Forms that draw the next one twice, as deep as that."""
    forms = []
    for number in range(7, 7 + depth):
        last = number == 6 + depth
        words = b"BT /F1 9 Tf (boom) Tj ET" if last else b"/X Do /X Do"
        named = b"" if last else b"/Resources<</XObject<</X %d 0 R>>>>" % (number + 1)
        forms.append(b"<</Subtype/Form/BBox[0 0 9 9]%s/Length %d>>stream\n%s\nendstream" % (named, len(words), words))
    document = documents.pdf("x", more=tuple(forms)).replace(
        b"<</Font<</F1 4 0 R>>>>", b"<</Font<</F1 4 0 R>>/XObject<</X 7 0 R>>>>"
    )
    return document.replace(b"BT /F1 12 Tf 50 780 Td 14", b"/X Do BT /F1 12 Tf 50 1 Td")


BOMBS = {
    "forms in forms": _forms(30),
    "operators": _bomb(_packed(7), 1, 1),
    "a gigabyte": _bomb(_packed(1500), 1, 1),
    "twice packed": _bomb(_packed(1500, 2), 2, 1),
    "many pages": _bomb(_packed(7), 1, 40),
}


@pytest.mark.parametrize("document", BOMBS.values(), ids=list(BOMBS))
def test_bombs(document: bytes) -> None:
    """Nobody waits for them, and no memory is lost to them: what could not be read is said."""
    program = "import sys; from cpxd.signature import preview; print(preview.text(preview.of_bytes(sys.stdin.buffer.read())))"
    line = ["prlimit", f"--as={1 << 30}", "--cpu=15", sys.executable, "-c", program]
    done = subprocess.run(line, input=document, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    assert "trop chargé" in said or "abîmé" in said, said


def test_a_large_page_is_read() -> None:
    """What people really sign is far from the limits."""
    seen = preview.of_bytes(documents.pdf(*(f"ligne {n}" for n in range(2_000)), pages=3))
    assert seen.readable and not any("trop" in w.fr for w in seen.warnings), seen.warnings


MAILS = {
    "Latin-1": (b"Content-Type: text/plain; charset=iso-8859-1\n\n\xe9t\xe9\n", "été"),
    "an unknown charset": (b"Content-Type: text/plain; charset=x-none\n\n\xc3\xa9t\xc3\xa9\n", "été"),
    "raw UTF-8": ("From: Zoé <z@x>\n\na\n".encode(), "From: Zoé <z@x>"),
    "encoded words": (b"From: =?utf-8?q?Zo=C3=A9?= <z@x>\n\na\n", "From: Zoé <z@x>"),
    "a charset that is no word": ("From: =?ütf-8?q?Zo=C3=A9?= <z@x>\n\na\n".encode(), "From: =?ütf-8?q?Zo=C3=A9?= <z@x>"),
    "twice": (b"From: a@x\nfrom: b@x\n\na\n", "From: a@x, b@x"),
    "answers elsewhere": (b"Reply-To: evil@x\n\na\n", "Reply-To: evil@x"),
}


@pytest.mark.parametrize(("rest", "line"), MAILS.values(), ids=MAILS)
def test_mails_are_shown_as_they_are_read(rest: bytes, line: str) -> None:
    seen = preview.of_bytes(b"Subject: s\n" + rest)
    assert line in seen.lines and not seen.warnings


def test_a_mail_in_html_says_so() -> None:
    seen = preview.of_bytes(b"Subject: s\nContent-Type: text/html\n\n<b>x</b>\n")
    assert [w.en for w in seen.warnings] == ["a part in HTML, which is not shown here"]
