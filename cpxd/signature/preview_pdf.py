# SPDX-License-Identifier: Apache-2.0
"""What a PDF shows, and what it hides: scripts, actions, enclosed files, layers, forms. Read with pypdf."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from cpxd.text import Text

_KIND = Text("document PDF", "PDF document")
_MOST_PAGES, _MOST_OBJECTS = 50, 200_000
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
    "/OpenAction": Text("action à l'ouverture", "action when opened"),
    "/AA": Text("actions automatiques", "automatic actions"),
    "/OCProperties": Text("calques, qui peuvent être masqués", "layers, which can be hidden"),
    "/URI": Text("liens vers le web", "links to the web"),
    "/Sig": Text("contient déjà une signature", "holds a signature already"),
}


def read(content: bytes) -> tuple[Text, str, Sequence[str], tuple[Text, ...], bool]:
    """Kind, title, lines, warnings, readable. Never raises: what cannot be read is said."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    try:
        reader = pypdf.PdfReader(BytesIO(content), strict=False)
        if reader.is_encrypted:
            return _KIND, "", (), (Text("PDF chiffré : contenu non lisible", "encrypted PDF: content not readable"),), False
        count = len(reader.pages)
        title = str(reader.metadata.title or "") if reader.metadata else ""
        lines = [f"pages : {count}", *_text(reader, min(count, _MOST_PAGES))]
        warnings = _warnings(reader)
    except Exception:  # pypdf raises many kinds on broken files; all mean the same here
        return _KIND, "", (), (Text("PDF abîmé : contenu non lisible", "broken PDF: content not readable"),), False
    if count > _MOST_PAGES:
        warnings += (Text(f"seules {_MOST_PAGES} pages sont montrées", f"only {_MOST_PAGES} pages are shown"),)
    if len(lines) == 1:
        warnings += (Text("aucun texte : image seule ?", "no text: an image only?"),)
    return _KIND, title, lines, warnings, True


def _text(reader: Any, count: int) -> list[str]:
    found: list[str] = []
    for number in range(count):
        found += [line for line in reader.pages[number].extract_text().splitlines() if line.strip()]
    return found


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
    if key in _ACTIVE:
        found[_ACTIVE[key]] = None
    if key in ("/S", "/Type", "/Subtype", "/FT") and str(value) in _ACTIVE:
        found[_ACTIVE[str(value)]] = None
