# SPDX-License-Identifier: Apache-2.0
"""XML from strangers: no DTD, no entity, no network, bounded depth and size. And its canonical form (RFC 3741, W3C exc-c14n)."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from typing import Final

from lxml import etree

from cpxd.text import tr

MAX_XML = 32 << 20  # bytes
EXC_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_C14N: Final = {  # algorithm → (exclusive, with comments)
    EXC_C14N: (True, False),
    EXC_C14N + "WithComments": (True, True),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
    "http://www.w3.org/2006/12/xml-c14n11": (False, False),
    "http://www.w3.org/2006/12/xml-c14n11#WithComments": (False, True),
}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
Element = etree._Element


class BadXml(Exception):
    """Not XML, or XML that is refused. `str()` is the reason in the person's language."""


def looks_like(content: bytes) -> bool:
    """Whether it begins as XML does, in UTF-8 or UTF-16 (XML 1.0 appendix F)."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        content = content[2:256].replace(b"\x00", b"")
    return content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"


def parse(content: bytes) -> Element:
    """The root of a document. Raises BadXml."""
    if len(content) > MAX_XML:
        raise BadXml(tr("XML trop gros", "XML too large"))
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, remove_blank_text=False
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        why = _short(error)
        raise BadXml(tr(f"XML mal formé ou démesuré ({why})", f"XML malformed or out of bounds ({why})")) from None
    information = root.getroottree().docinfo
    if information.internalDTD is not None or information.externalDTD is not None:
        raise BadXml(tr("déclaration DTD ou entités : refusé", "DTD or entity declaration: refused"))
    return root


def canonical(
    element: Element,
    algorithm: str = EXC_C14N,
    prefixes: list[str] | None = None,
    *,
    comments: bool = True,
    document: bool = False,
) -> bytes:
    """Canonical form of a subtree, the text after it left out. `comments` False: none, whatever the algorithm says. `document`:
    with the processing instructions (and comments) before and after the root, which `element` is.

    Raises BadXml for an unknown algorithm.
    """
    if algorithm not in _C14N:
        raise BadXml(f"canonicalisation {algorithm}")
    exclusive, with_comments = _C14N[algorithm]
    if not exclusive and element.getparent() is not None:
        # the namespaces in scope are part of the inclusive form; writing the element out declares them on it
        element = etree.fromstring(etree.tostring(element, with_tail=False), etree.XMLParser(resolve_entities=False))
    try:
        return etree.tostring(
            element.getroottree() if document else element,
            method="c14n",
            exclusive=exclusive,
            with_comments=with_comments and comments,
            inclusive_ns_prefixes=prefixes or None,
            with_tail=False,
        )
    except (etree.LxmlError, ValueError) as error:  # a relative namespace, for one
        raise BadXml(f"canonicalisation: {_short(error)}") from None


def loose_nodes(root: Element) -> list[Element]:
    """Comments and processing instructions, those around the root too."""
    around = [*root.itersiblings(preceding=True), *root.itersiblings()]  # comments and instructions alone can stand there
    return [*around, *(node for node in root.iter() if not isinstance(node.tag, str))]


def has_comments(root: Element) -> bool:
    return any(isinstance(node, etree._Comment) for node in loose_nodes(root))


def decode_base64(text: str | None) -> bytes:
    """Strict: one text for one value, blanks aside. Raises BadXml."""
    compact = re.sub(r"[ \t\r\n]+", "", text or "")
    try:
        value = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise BadXml("base64") from None
    if not _BASE64.match(compact) or base64.b64encode(value).decode() != compact:
        raise BadXml("base64")
    return value


def write(root: Element) -> bytes:
    """UTF-8 bytes of a document with what stands around its root; without a declaration, which nothing would protect."""
    return etree.tostring(root.getroottree(), encoding="UTF-8", xml_declaration=False)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
