# SPDX-License-Identifier: Apache-2.0
"""What a person is shown before they sign: read from exactly the bytes that are signed, never from what a caller says of them.

Nothing here decides: it names what the document is, what it says, and what in it cannot be seen or can change.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cpxd.signature import smime, vihf, xmlsafe
from cpxd.signature.cms import Content
from cpxd.signature.xmlsafe import BadXml, Element, loose_nodes, parse
from cpxd.text import Text

MAX_READ = 64 << 20  # bytes: a larger document is not read for its content
MOST_LINES, _WIDTH = 40, 120
_BLOCK = 1 << 20
_CDA = "urn:hl7-org:v3"
_KINDS = {
    ".xml": "text/xml",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".txt": "text/plain",
    ".eml": "message/rfc822",
}


@dataclass(frozen=True)
class Preview:
    """`title` and `lines` come from the document; `warnings` name what a reader would not see."""

    kind: Text
    title: str
    lines: tuple[str, ...]
    size: int  # bytes
    sha256: bytes
    warnings: tuple[Text, ...]
    readable: bool  # False: nobody can tell from this what is signed


def of_bytes(content: bytes, most: int = MOST_LINES) -> Preview:
    """The preview of a document, in at most so many lines."""
    kind, title, lines, warnings, readable = _read(content)
    shown, left, invisible = _fitting(lines, most)
    extra = (
        [Text(f"{left} lignes de plus", f"{left} more lines") if left > 1 else Text("1 ligne de plus", "1 more line")]
        if left
        else []
    )
    hidden = [_HIDDEN] if invisible or any(map(_invisible, title)) else []
    return Preview(
        kind, clean(title), shown, len(content), hashlib.sha256(content).digest(), (*warnings, *hidden, *extra), readable
    )


def _fitting(lines: Sequence[str], most: int) -> tuple[tuple[str, ...], int, bool]:
    """Lines as they are shown, long ones folded; how many are not shown, or not whole; whether those shown hide characters."""
    shown: list[str] = []
    invisible = False
    for number, line in enumerate(lines):
        part = line[: (most - len(shown)) * _WIDTH]
        invisible = invisible or any(map(_invisible, part))
        words = _flat(part)
        shown += [words[at : at + _WIDTH] for at in range(0, len(words), _WIDTH)]
        if len(part) < len(line):
            return tuple(shown), len(lines) - number, invisible
    return tuple(shown), 0, invisible


def of_stream(source: BinaryIO) -> tuple[Preview, Content]:
    """The preview of a document that may be too large to read: then only its size and digest are shown."""
    head = source.read(MAX_READ + 1)
    if len(head) <= MAX_READ:
        preview = of_bytes(head)
        return preview, Content(preview.sha256, preview.size)
    digest, size = hashlib.sha256(head), len(head)
    del head
    while block := source.read(_BLOCK):
        digest.update(block)
        size += len(block)
    large = Text("trop gros pour être affiché : contenu non vérifié", "too large to be shown: content not seen")
    return Preview(_BINARY, "", (), size, digest.digest(), (large,), False), Content(digest.digest(), size)


def of_hash(digest: bytes) -> Preview:
    """A bare hash: nothing can be shown."""
    warning = Text("contenu non lisible : seule une empreinte est présentée", "content not readable: only a hash is given")
    return Preview(Text("empreinte", "hash"), "", (), len(digest), digest, (warning,), False)


def text(preview: Preview, name: str = "") -> list[str]:
    """The lines of the consent, in the person's language."""
    head = f"{name} : " if name else ""
    title = f" « {preview.title} »" if preview.title else ""
    unit = Text("octets", "bytes")
    found = [f"{head}{preview.kind}{title}, {preview.size} {unit}", f"  SHA-256 {preview.sha256.hex()}"]
    found += [f"  | {line}" for line in preview.lines]
    return found + [f"  ! {warning}" for warning in preview.warnings]


def media_type(content: bytes, path: Path) -> str:
    """The media type of a document, by its content first."""
    if content[:5] == b"%PDF-":
        return "application/pdf"
    if xmlsafe.looks_like(content):
        return "text/xml"
    return _KINDS.get(path.suffix.lower(), "application/octet-stream")


def clean(line: str) -> str:
    """One line that a terminal or a dialog shows as it is: no control, no invisible character, no end of line."""
    return _flat(line)[:_WIDTH]


def _flat(line: str) -> str:
    spaced = "".join(" " if c.isspace() else c for c in line)
    shown = "".join("\ufffd" if _invisible(c) else c for c in spaced)
    return " ".join(shown.split())


def _invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Cn") and char not in "\t\r\n\x0c\xad"


_HIDDEN = Text("caractères invisibles ou de contrôle dans le texte", "invisible or control characters in the text")
_BINARY = Text("contenu binaire", "binary content")
_Parts = tuple[Text, str, Sequence[str], tuple[Text, ...], bool]


def _read(content: bytes) -> _Parts:
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    readers: tuple[tuple[bool, Callable[[bytes], _Parts | None]], ...] = (
        (b"%PDF-" in content[:1024], _pdf),
        (xmlsafe.looks_like(content), _xml),
        (start[:1] in (b"{", b"["), _json),
        (b":" in start.split(b"\n")[0], _mail),
        (True, _plain),
    )
    for matches, reader in readers:
        found = reader(content) if matches else None
        if found is not None:
            return found
    warning = Text("contenu non lisible", "content not readable")
    return _BINARY, "", (), (warning,), False


def _pdf(content: bytes) -> _Parts:
    from cpxd.signature.preview_pdf import read

    return read(content)


def _plain(content: bytes) -> _Parts | None:
    try:
        words = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\x00" in words:
        return None
    return Text("texte", "text"), "", words.splitlines(), (), True


def _json(content: bytes) -> _Parts | None:
    twice: list[Text] = []

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(found)) != len(found):
            twice[:] = [Text("un même nom deux fois : lequel compte n'est pas dit", "a name twice: which one counts is not said")]
        return dict(found)

    try:
        pretty = json.dumps(json.loads(content, object_pairs_hook=pairs), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return None
    return Text("données JSON", "JSON data"), "", pretty.splitlines(), tuple(twice), True


def _mail(content: bytes) -> _Parts | None:
    from cpxd.errors import CpxError

    try:
        message = smime.parse_mail(content)
    except CpxError:
        return None
    headers = [f"{name}: {smime.header(message, name)}" for name in ("From", "Reply-To", "To", "Cc", "Date") if name in message]
    body, attachments = smime.body_and_attachments(message)
    html = Text("une partie en HTML, qui n'est pas montrée ici", "a part in HTML, which is not shown here")
    warnings = [
        html if name == smime.HTML else Text(f"pièce jointe : {clean(name)}", f"attachment: {clean(name)}")
        for name in attachments
    ]
    return (
        Text("message", "mail message"),
        smime.header(message, "Subject"),
        [*headers, *body.splitlines()],
        tuple(warnings),
        True,
    )


# --- XML ------------------------------------------------------------------------------------------------------------


def _xml(content: bytes) -> _Parts | None:
    try:
        root = parse(content)
    except BadXml as error:
        reason = Text(f"XML illisible ou dangereux : {error}", f"unreadable or dangerous XML: {error}")
        return Text("XML", "XML"), "", (), (reason,), False
    warnings = _xml_warnings(root)
    if root.tag == f"{{{vihf.SAML}}}Assertion":
        return Text("jeton VIHF", "VIHF assertion"), "", vihf_lines(root), warnings, True
    if root.tag == f"{{{_CDA}}}ClinicalDocument":
        title = root.findtext(f"{{{_CDA}}}title") or ""
        return Text("document CDA", "CDA document"), title, _cda_lines(root), warnings, True
    lines = [part for part in (t.strip() for t in root.itertext() if isinstance(t, str)) if part]
    return Text("document XML", "XML document"), str(root.tag), lines, warnings, True


def _xml_warnings(root: Element) -> tuple[Text, ...]:
    found = []
    nodes = list(root.iter())
    if loose_nodes(root):
        found.append(
            Text(
                "commentaires ou instructions (feuille de style…), qui ne sont pas montrés ici",
                "comments or instructions (style sheet…), which are not shown here",
            )
        )
    names = {str(node.tag).rpartition("}")[2].lower() for node in nodes if isinstance(node.tag, str)}
    if "script" in names or any(str(a).lower().startswith("on") for n in nodes for a in n.attrib):
        found.append(Text("contenu actif (script)", "active content (script)"))
    if any(str(node.tag).endswith("}Signature") for node in nodes if isinstance(node.tag, str)):
        found.append(Text("contient déjà une signature", "holds a signature already"))
    if "observationmedia" in names or "nonxmlbody" in names:
        found.append(Text("contient un document ou une image incorporés", "holds an embedded document or image"))
    return tuple(found)


def vihf_lines(root: Element) -> list[str]:
    """The fields of an assertion, one a line; of the patient, only the end of the number."""
    saml = f"{{{vihf.SAML}}}"
    found = [f"Issuer: {root.findtext(f'{saml}Issuer') or ''}", f"NameID: {root.findtext(f'{saml}Subject/{saml}NameID') or ''}"]
    for attribute in root.iter(f"{saml}Attribute"):
        name = attribute.get("Name", "")
        for value in attribute.findall(f"{saml}AttributeValue"):
            words = value.text or " ".join(f"{c.get('code')} {c.get('displayName')}" for c in value)
            if name == vihf.RESOURCE_ID:
                number, _, rest = words.partition("^")
                words = "•" * max(0, len(number) - 4) + number[-4:] + ("^" + rest if rest else "")
            found.append(f"{name.rpartition(':')[2]}: {words}")
    return found


def _cda_lines(root: Element) -> list[str]:
    """The header of a clinical document: what, when, of whom, by whom."""

    def at(path: str) -> str:
        element = root.find("/".join(f"{{{_CDA}}}{step}" for step in path.split("/")))
        if element is None:
            return ""
        return (
            " ".join("".join(t for t in element.itertext() if isinstance(t, str)).split())
            or element.get("value", "")
            or element.get("displayName", "")
        )

    fields = (
        ("code", "code"),
        ("effectiveTime", "effectiveTime"),
        ("patient", "recordTarget/patientRole/patient/name"),
        ("birthTime", "recordTarget/patientRole/patient/birthTime"),
        ("author", "author/assignedAuthor/assignedPerson/name"),
        ("custodian", "custodian/assignedCustodian/representedCustodianOrganization/name"),
    )
    return [f"{name}: {value}" for name, path in fields if (value := at(path))]
