# SPDX-License-Identifier: Apache-2.0
"""XML signatures (W3C XML-DSig 1.1): making one, and reading one strictly.

Always exclusive canonicalisation when we sign: the form does not depend on where the signature is put afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from lxml import etree

from cpxd.record.certificate import parse_certificate
from cpxd.record.errors import RecordError
from cpxd.signature.signeddata import MOST_CERTIFICATES, BadSignature, NoContent, NotJudged, unusual
from cpxd.signature.signer import Padding, Signer, verify_rsa
from cpxd.signature.xmlsafe import EXC_C14N, BadXml, Element, canonical, decode_base64

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
ENVELOPED: Final = DS + "enveloped-signature"
BASE64: Final = DS + "base64"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_PSS: Final = "http://www.w3.org/2007/05/xmldsig-more#"
_ENC: Final = "http://www.w3.org/2001/04/xmlenc#"
_DIGESTS: Final = {_ENC + "sha256": "sha256", _MORE + "sha384": "sha384", _ENC + "sha512": "sha512"}
_METHODS: Final[dict[str, tuple[Padding, str]]] = {
    _MORE + "rsa-sha256": ("pkcs1", "sha256"),
    _MORE + "rsa-sha384": ("pkcs1", "sha384"),
    _MORE + "rsa-sha512": ("pkcs1", "sha512"),
    _PSS + "sha256-rsa-MGF1": ("pss", "sha256"),  # RFC 9231 §2.3.10: MGF1 with the same hash, salt of its length
    _PSS + "sha384-rsa-MGF1": ("pss", "sha384"),
    _PSS + "sha512-rsa-MGF1": ("pss", "sha512"),
}
# what signatures are really made with: refused for what it is, not as if the document had been changed
_OTHERS: Final = {
    *(DS + name for name in ("sha1", "rsa-sha1", "dsa-sha1", "hmac-sha1")),
    *(_MORE + name for name in ("sha224", "rsa-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")),
    *(_MORE + f"ecdsa-{name}" for name in ("sha1", "sha224", "sha256", "sha384", "sha512")),
    "http://www.w3.org/TR/1999/REC-xpath-19991116",
    "http://www.w3.org/TR/1999/REC-xslt-19991116",
    "http://www.w3.org/2002/06/xmldsig-filter2",
}
_HINTS: Final = {"KeyInfo": ("KeyName", "KeyValue"), "X509Data": ("X509SubjectName", "X509IssuerSerial", "X509SKI")}
_METHOD_OF: Final[dict[Padding, str]] = {"pkcs1": _MORE + "rsa-sha256", "pss": _PSS + "sha256-rsa-MGF1"}
WHOLE: Final = "#xpointer(/)"  # the document with its comments, which "" leaves out (XML-DSig 1.1 §4.4.3.3)
DOCUMENTS: Final = ("", WHOLE)
_MOST_REFERENCES, _MOST_TRANSFORMS = 16, 4


def tag(name: str) -> str:
    return f"{{{DS}}}{name}"


def child(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    """A new ds: element."""
    element = etree.SubElement(parent, tag(name), attributes)
    element.text = text
    return element


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@dataclass(frozen=True)
class Reference:
    """What a signature covers: `digest` is SHA-256 over the content after `transforms`."""

    uri: str
    digest: bytes
    transforms: tuple[str, ...] = ()
    id: str = ""
    type: str = ""


def new_signature(identifier: str = "") -> Element:
    return etree.Element(tag("Signature"), {"Id": identifier} if identifier else {}, nsmap={"ds": DS})


def fill(signature: Element, references: list[Reference], signer: Signer) -> None:
    """Write SignedInfo, sign it, write the value and KeyInfo, in front of what the signature already holds (its objects)."""
    objects = list(signature)
    info = child(signature, "SignedInfo")
    child(info, "CanonicalizationMethod", Algorithm=EXC_C14N)
    child(info, "SignatureMethod", Algorithm=_METHOD_OF[signer.padding])
    for reference in references:
        named = {"Id": reference.id, "Type": reference.type, "URI": reference.uri}
        element = child(info, "Reference", **{k: v for k, v in named.items() if v or k == "URI"})
        if reference.transforms:
            transforms = child(element, "Transforms")
            for algorithm in reference.transforms:
                child(transforms, "Transform", Algorithm=algorithm)
        child(element, "DigestMethod", Algorithm=_ENC + "sha256")
        child(element, "DigestValue", b64(reference.digest))
    value = signer.sign(hashlib.sha256(canonical(info)).digest())
    child(signature, "SignatureValue", b64(value))
    data = child(child(signature, "KeyInfo"), "X509Data")
    child(data, "X509Certificate", b64(signer.certificate))
    for element in objects:  # the schema wants them last
        signature.append(element)


# --- reading --------------------------------------------------------------------------------------------------------

Outside = Callable[[str, str], bytes]  # (URI, hash name) → hash of a document that is not in this one


@dataclass(frozen=True)
class Covered:
    """A reference that is right, and the element it covers (None: a document outside), with its comments or without."""

    uri: str
    type: str
    element: Element | None
    enveloped: bool
    comments: bool = False

    @property
    def document(self) -> bool:
        """Whether what stands around the root is covered too."""
        return self.uri in DOCUMENTS


@dataclass(frozen=True)
class XmlPart:
    """An XML signature that is mathematically right."""

    certificate: bytes
    certificates: tuple[bytes, ...]
    padding: Padding
    hash_name: str
    covered: tuple[Covered, ...]
    hints: tuple[str, ...]  # what else KeyInfo says of the key, which the signature does not cover


def verify(signature: Element, outside: Outside | None = None) -> XmlPart:
    """Check the value of a signature and everything it refers to, in its own document. Raises BadSignature."""
    try:
        return _verify(signature, outside)
    except BadXml as error:
        raise BadSignature(str(error)) from None
    except RecordError:
        raise BadSignature("X509Certificate") from None


def _verify(signature: Element, outside: Outside | None) -> XmlPart:
    _only(signature, ("SignedInfo", "SignatureValue", "KeyInfo", "Object"), ("Id",))
    info = _one(signature, "SignedInfo")
    method = _one(info, "CanonicalizationMethod")
    signed = canonical(info, method.get("Algorithm", ""), _prefixes(method))
    padding, hash_name = _METHODS.get(_algorithm(_one(info, "SignatureMethod")), (None, ""))
    if padding is None:
        raise BadSignature("signature method")
    certificates, hints = _key_info(signature)
    value = decode_base64(_one(signature, "SignatureValue").text)
    digest = hashlib.new(hash_name, signed).digest()
    salt = hashlib.new(hash_name).digest_size
    if not verify_rsa(parse_certificate(certificates[0]).spki, padding, digest, value, hash_name=hash_name, salt=salt):
        raise BadSignature("signature value")
    references = info.findall(tag("Reference"))
    if not 1 <= len(references) <= _MOST_REFERENCES:
        raise BadSignature("references")
    covered = tuple(_check_reference(signature, reference, outside) for reference in references)
    return XmlPart(certificates[0], certificates, padding, hash_name, covered, hints)


def check_objects(signature: Element, part: XmlPart, known: str) -> None:
    """Every ds:Object is signed, or holds nothing but what is, and `known` elements, which somebody else checks."""
    signed = [c.element for c in part.covered if c.element is not None]
    for holder in signature.findall(tag("Object")):
        if holder not in signed:
            _only(holder, (), ("Id",), [child for child in holder if child in signed or child.tag == known])


def _key_info(signature: Element) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The certificates, the signer's first, and the names of what else is said of the key."""
    info = _one(signature, "KeyInfo")
    _only(info, ("X509Data", *_HINTS["KeyInfo"]), ("Id",))
    holders = info.findall(tag("X509Data"))
    for data in holders:
        _only(data, ("X509Certificate", *_HINTS["X509Data"]), ())
    found = tuple(decode_base64(e.text) for data in holders for e in data.findall(tag("X509Certificate")))
    if not found:
        raise NotJudged("le certificat du signataire n'est pas joint", "the signer's certificate is not enclosed")
    if len(found) > MOST_CERTIFICATES:
        raise BadSignature("KeyInfo")
    names = (etree.QName(e).localname for e in (*info, *(e for data in holders for e in data)))
    return found, tuple(dict.fromkeys(name for name in names if name in (*_HINTS["KeyInfo"], *_HINTS["X509Data"])))


def _algorithm(element: Element) -> str:
    """Raises NotJudged for one that is known, and not taken."""
    found = element.get("Algorithm", "")
    if found in _OTHERS:
        raise unusual(re.split("[/#]", found)[-1])
    return found


def _check_reference(signature: Element, reference: Element, outside: Outside | None) -> Covered:
    uri = reference.get("URI")
    hash_name = _DIGESTS.get(_algorithm(_one(reference, "DigestMethod")))
    expected = decode_base64(_one(reference, "DigestValue").text)
    if uri is None or hash_name is None:
        raise BadSignature("reference")
    transforms = [t for holder in reference.findall(tag("Transforms")) for t in holder]
    kind = reference.get("Type", "")
    if uri and not uri.startswith("#"):
        if transforms:
            raise BadSignature(f"document {uri}")
        if outside is None:
            raise NoContent
        covered, digest = Covered(uri, kind, None, False), outside(uri, hash_name)
    else:
        content, covered = _transformed(Covered(uri, kind, _target(signature, uri), False), transforms, signature)
        digest = hashlib.new(hash_name, content).digest()
    if digest != expected:
        raise BadSignature(f"digest of {uri or 'the document'}")
    return covered


def _target(signature: Element, uri: str) -> Element:
    root = signature.getroottree().getroot()
    if uri in DOCUMENTS:
        return root
    # an identifier that two elements have is how signatures are wrapped: it must be that of one
    found = [e for e in root.iter() if isinstance(e.tag, str) and uri[1:] in (e.get("Id"), e.get("ID"), e.get("id"))]
    if len(found) != 1:
        raise BadSignature(f"{uri}: {len(found)} elements")
    if found[0].tag.startswith(f"{{{DS}}}") and found[0].get("Id") != uri[1:]:  # the name that its schema gives it
        raise BadSignature(f"{uri}: Id")
    return found[0]


def _transformed(covered: Covered, transforms: list[Element], signature: Element) -> tuple[bytes, Covered]:
    """The bytes that are hashed, and what they cover."""
    if len(transforms) > _MOST_TRANSFORMS or covered.element is None:
        raise BadSignature("transforms")
    enveloped, form, prefixes = False, "", None
    for transform in transforms:
        algorithm = _algorithm(transform)
        if algorithm == ENVELOPED and not enveloped and not form:
            enveloped = True
        elif algorithm == BASE64 and not form and not enveloped and len(covered.element) == 0:
            return decode_base64(covered.element.text), covered
        elif not form:
            form, prefixes = algorithm, _prefixes(transform)
        else:
            raise BadSignature("transforms")
    # XML-DSig 1.1 §4.4.3.2: without a form, Canonical XML 1.0 is meant
    form = form or "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
    # §4.4.3.3: only an XPointer selects comments
    with_comments = covered.uri == WHOLE and form.endswith("WithComments")
    found = replace(covered, enveloped=enveloped, comments=with_comments)
    with _taken_out(signature, found):
        return canonical(covered.element, form, prefixes, comments=with_comments, document=found.document), found


@contextmanager
def _taken_out(signature: Element, covered: Covered) -> Iterator[None]:
    """While it lasts, an enveloped signature is not in the document; the text after it belongs to the document."""
    if not covered.enveloped:
        yield
        return
    parent = signature.getparent()
    if parent is None or covered.element not in (parent, *parent.iterancestors()):
        raise BadSignature("enveloped signature outside what it signs")
    place, tail, before = parent.index(signature), signature.tail or "", signature.getprevious()
    parent.remove(signature)
    _lengthen(parent, before, tail)
    try:
        yield
    finally:
        _lengthen(parent, before, tail, back=True)
        parent.insert(place, signature)
        signature.tail = tail or None


def _lengthen(parent: Element, before: Element | None, tail: str, *, back: bool = False) -> None:
    """Put text after `before` (None: at the start of the parent), or take it away again."""
    if not tail:
        return
    owner, name = (parent, "text") if before is None else (before, "tail")
    text = getattr(owner, name) or ""
    setattr(owner, name, text[: -len(tail)] or None if back else text + tail)


def _one(parent: Element, name: str) -> Element:
    found = parent.findall(tag(name))
    if len(found) != 1:
        raise BadSignature(f"{name}: {len(found)}")
    return found[0]


def _only(element: Element, names: tuple[str, ...], attributes: tuple[str, ...], children: Sequence[Element] = ()) -> None:
    """Nothing stands here that the signature does not cover and that somebody could read."""
    allowed = {tag(name) for name in names}
    strange = [str(c.tag) for c in element if c.tag not in allowed and c not in children]
    strange += [str(a) for a in element.attrib if a not in attributes]
    stray = [text for text in (element.text, *(c.tail for c in element)) if text and text.strip(" \t\r\n")]
    if strange or stray:
        raise BadSignature(f"{etree.QName(element).localname}: {(strange or stray)[0]}")


def _prefixes(element: Element) -> list[str] | None:
    found = element.find(f"{{{EXC_C14N}}}InclusiveNamespaces")
    return None if found is None else found.get("PrefixList", "").split()
