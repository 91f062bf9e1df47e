# SPDX-License-Identifier: Apache-2.0
"""What a PDF shows, and what it hides: scripts, actions, enclosed files, layers, forms. Read with pypdf."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from cpxd.text import Text

_KIND = Text("document PDF", "PDF document")
_MOST_PAGES, _MOST_OBJECTS = 50, 200_000
_MOST_CONTENT, _MOST_OPERATORS = 4 << 20, 100_000  # bytes unpacked, and drawing operators, that are read for their text
_FORM = 100  # operators that drawing a form counts for: forms that draw forms are how little becomes endless
_LIMITS: dict[str, Any] = {  # of pypdf: its own are for machines that nobody waits for
    "zlib_maximum_output_length": 16 << 20,
    "lzw_maximum_output_length": 2 << 20,
    "run_length_maximum_output_length": 2 << 20,
    "stream_decoding_work_maximum_length": 32 << 20,
}
# annotations that draw on a page or open over it (ISO 32000-1 §12.5.6)
_MARKS = (
    *("/Text", "/FreeText", "/Line", "/Square", "/Circle", "/Polygon", "/PolyLine", "/Highlight", "/Underline", "/Squiggly"),
    *("/StrikeOut", "/Stamp", "/Caret", "/Ink", "/Redact", "/Watermark", "/3D", "/Screen"),
)
_SILENT = ("/Link", "/Popup")  # they draw nothing, or repeat what another says
_ACTIVE = {  # dictionary key or action type → what it means
    "/JavaScript": Text("JavaScript", "JavaScript"),
    "/JS": Text("JavaScript", "JavaScript"),
    "/Launch": Text("lancement d'un programme", "launches a program"),
    "/SubmitForm": Text("envoi de formulaire", "submits a form"),
    "/ImportData": Text("import de données", "imports data"),
    "/GoToR": Text("lien vers un autre fichier", "link to another file"),
    "/GoToE": Text("lien vers un fichier joint", "link to an enclosed file"),
    "/EmbeddedFile": Text("fichier joint", "enclosed file"),
    "/EmbeddedFiles": Text("fichiers joints", "enclosed files"),
    "/FileAttachment": Text("fichier joint", "enclosed file"),
    "/XFA": Text("formulaire XFA, dont le contenu peut changer", "XFA form, whose content can change"),
    "/RichMedia": Text("contenu multimédia", "rich media"),
    "/OpenAction": Text("action à l'ouverture", "action when opened"),  # an array is only the page it opens on
    **dict.fromkeys(("/Tx", "/Ch", "/Btn"), Text("champs de formulaire", "form fields")),
    **dict.fromkeys(_MARKS, Text("annotations", "annotations")),
    "/AA": Text("actions automatiques", "automatic actions"),
    "/OCProperties": Text("calques, qui peuvent être masqués", "layers, which can be hidden"),
    "/URI": Text("liens vers le web", "links to the web"),
    "/Sig": Text("contient déjà une signature", "holds a signature already"),
}


def read(content: bytes) -> tuple[Text, str, Sequence[str], tuple[Text, ...], bool]:
    """Kind, title, lines, warnings, readable. Never raises: what cannot be read is said."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    with pypdf.apply_configuration(**_LIMITS):
        return _read(content)


def _read(content: bytes) -> tuple[Text, str, Sequence[str], tuple[Text, ...], bool]:
    import pypdf

    try:
        reader = pypdf.PdfReader(BytesIO(content), strict=False)
        if reader.is_encrypted:
            return _KIND, "", (), (Text("PDF chiffré : contenu non lisible", "encrypted PDF: content not readable"),), False
        count = len(reader.pages)
        title = str(reader.metadata.title or "") if reader.metadata else ""
        warnings = _warnings(reader)
        shown, read = _text(reader, min(count, _MOST_PAGES))
        lines = [f"pages : {count}", *shown]
    except Exception:  # pypdf raises many kinds on broken files; all mean the same here
        return _KIND, "", (), (Text("PDF abîmé : contenu non lisible", "broken PDF: content not readable"),), False
    if read < min(count, _MOST_PAGES):
        warnings += (
            Text(f"trop chargé pour être montré à partir de la page {read + 1}", f"too much to show from page {read + 1} on"),
        )
    elif count > _MOST_PAGES:
        warnings += (Text(f"seules {_MOST_PAGES} pages sont montrées", f"only {_MOST_PAGES} pages are shown"),)
    elif len(lines) == 1:
        warnings += (Text("aucun texte : image seule ?", "no text: an image only?"),)
    return _KIND, title, lines, warnings, True


class _TooMuch(Exception):
    """A page takes too long to read: nobody is made to wait by a document."""


def _text(reader: Any, count: int) -> tuple[list[str], int]:
    """The text, and how many pages it is of: fewer than `count` when they say too much."""
    operators = 0

    def visit(operator: bytes, *arguments: Any) -> None:
        nonlocal operators
        operators += _FORM if operator == b"Do" else 1
        if operators > _MOST_OPERATORS:
            raise _TooMuch

    found: list[str] = []
    left = _MOST_CONTENT
    for number in range(count):
        page = reader.pages[number]
        left -= _unpacked(page, left)
        if left < 0:
            return found, number
        text = ""
        with contextlib.suppress(_TooMuch):
            text = page.extract_text(visitor_operand_before=visit)
        if operators > _MOST_OPERATORS:
            return found, number
        found += [line for line in text.splitlines() if line.strip()]
        for name, look, words in _annotations(page):
            operators += _FORM
            if operators > _MOST_OPERATORS:
                return found, number
            with contextlib.suppress(_TooMuch):
                drawn = "" if look is None else page.extract_xform_text(look, visitor_operand_before=visit)
                said = dict.fromkeys(" ".join(part.split()) for part in (drawn, *words))
                found += [f"{name} : {part}" for part in said if part]
        if operators > _MOST_OPERATORS:  # pypdf swallows what is raised inside a form
            return found, number
    return found, count


def _annotations(page: Any) -> Iterator[tuple[str, Any, list[str]]]:
    """What is drawn over a page: its name, the form that shows it (None: the viewer makes one), and the words it is made of."""
    from pypdf.generic import ArrayObject, DictionaryObject, StreamObject

    listed = _entry(page, "/Annots")
    for reference in listed if isinstance(listed, ArrayObject) else ():  # null is none too
        item = reference.get_object()
        if not isinstance(item, DictionaryObject) or item.get("/Subtype") in _SILENT:
            continue
        name = str(Text("champ", "field") if item.get("/Subtype") == "/Widget" else Text("annotation", "annotation"))
        look = _entry(_entry(item, "/AP"), "/N")
        if not isinstance(look, StreamObject):  # one a state
            look = _entry(look, str(item.get("/AS", "")))
        words = [str(item[key]) for key in ("/Contents", "/V") if key in item and isinstance(item[key], str)]
        title = f"{name} « {item['/T']} »" if "/T" in item else name
        yield title, look if isinstance(look, StreamObject) else None, [word for word in words if word != "/Off"]


def _entry(holder: Any, key: str) -> Any:
    from pypdf.generic import DictionaryObject

    return holder[key] if isinstance(holder, DictionaryObject) and key in holder else None


def _unpacked(page: Any, most: int) -> int:
    """Bytes that describe a page, with the forms it draws; counted as far as `most`."""
    from pypdf.generic import DictionaryObject, StreamObject

    contents = page.get_contents()
    size = 0 if contents is None else len(contents.get_data())
    looks = [look for _, look, _ in _annotations(page) if look is not None]
    todo, seen = [page, *looks], set()
    while looks and size <= most:
        size += len(looks.pop().get_data())
    while todo and size <= most:
        resources = todo.pop().get("/Resources")
        forms = resources.get_object().get("/XObject") if resources is not None else None
        for form in forms.get_object().values() if forms is not None else ():
            item = form.get_object()
            if isinstance(item, StreamObject) and item.get("/Subtype") == "/Form" and id(item) not in seen:
                seen.add(id(item))
                size += len(item.get_data())
                todo.append(DictionaryObject(item))
            if size > most:
                break
    return size


def _warnings(reader: Any) -> tuple[Text, ...]:
    """Every object that the document reaches is looked at, whatever is hidden in it."""
    from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

    found: dict[Text, None] = {}
    todo: list[Any] = [reader.trailer]
    seen: set[int] = set()
    while todo and len(seen) < _MOST_OBJECTS:
        item = todo.pop()
        if isinstance(item, IndirectObject):
            if item.idnum in seen:
                continue
            seen.add(item.idnum)
            item = item.get_object()
        if isinstance(item, DictionaryObject):
            for key, value in item.items():
                _note(found, str(key), value)
            todo += [value for key, value in item.items() if key != "/Parent"]
        elif isinstance(item, ArrayObject):
            todo += list(item)
    if todo:
        found[Text("document trop complexe pour être entièrement examiné", "document too complex to be looked at in full")] = None
    return tuple(found)


def _note(found: dict[Text, None], key: str, value: Any) -> None:
    if key in _ACTIVE and not (key == "/OpenAction" and isinstance(value, list)):
        found[_ACTIVE[key]] = None
    if key in ("/S", "/Type", "/Subtype", "/FT") and str(value) in _ACTIVE:
        found[_ACTIVE[str(value)]] = None
