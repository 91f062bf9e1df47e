# SPDX-License-Identifier: Apache-2.0
"""XAdES baseline signatures (EN 319 132-1): B-B enveloped, enveloping and detached; B-T adds a time stamp over the value."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import quote

from lxml import etree

from cpxd.signature import xmldsig
from cpxd.signature.cms import Content
from cpxd.signature.signeddata import BadSignature
from cpxd.signature.signer import Signer
from cpxd.signature.xmldsig import BASE64, DS, ENVELOPED, Reference, XmlPart
from cpxd.signature.xmlsafe import EXC_C14N, BadXml, Element, canonical, decode_base64, has_comments, loose_nodes, parse, write
from cpxd.text import tr

XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
SIGNED_PROPERTIES: Final = "http://uri.etsi.org/01903#SignedProperties"
QUALIFYING: Final = f"{{{XADES}}}QualifyingProperties"
Form = Literal["enveloped", "enveloping", "detached"]


def _tag(name: str) -> str:
    return f"{{{XADES}}}{name}"


def _child(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    element = etree.SubElement(parent, _tag(name), attributes)
    element.text = text
    return element


def sign_enveloped(document: bytes, signer: Signer, *, at: datetime | None = None) -> bytes:
    """The XML document with the signature as the last child of its root. Raises BadXml."""
    root = parse(document)
    if _signed(root):  # who checks the first signature would find the second in what it signs
        raise BadXml(tr("déjà signé : un seul signataire par document XML", "signed already: one signer a document"))
    uri, form = (xmldsig.WHOLE, EXC_C14N + "WithComments") if has_comments(root) else ("", EXC_C14N)
    content = canonical(root, form, document=True)
    signature, identifier = _skeleton()
    reference = Reference(uri, hashlib.sha256(content).digest(), (ENVELOPED, form), f"{identifier}-document")
    root.append(signature)
    _complete(signature, identifier, reference, kind="text/xml", signer=signer, at=at)
    return write(root)


def sign_enveloping(document: bytes, kind: str, signer: Signer, *, at: datetime | None = None) -> bytes:
    """A signature that holds the document: as XML when it is XML that can stand inside another, else in base64. `kind`: its
    media type. Raises BadXml.
    """
    signature, identifier = _skeleton()
    holder = xmldsig.child(signature, "Object", Id=f"{identifier}-object")
    reference_id = f"{identifier}-document"
    root = parse(document) if kind.endswith("xml") else None
    if root is not None and _fits_inside(root):
        holder.append(root)
        reference = Reference(f"#{identifier}-object", hashlib.sha256(canonical(holder)).digest(), (EXC_C14N,), reference_id)
    else:
        holder.text = xmldsig.b64(document)
        reference = Reference(f"#{identifier}-object", hashlib.sha256(document).digest(), (BASE64,), reference_id)
    _complete(signature, identifier, reference, kind=kind, signer=signer, at=at)
    return write(signature)


def _fits_inside(root: Element) -> bool:
    """Else comments, and whatever is around the root, would get lost or stay unsigned, or a second signature stand there."""
    around = any(node.getparent() is None for node in loose_nodes(root))
    return not (around or has_comments(root) or _signed(root))


def _signed(root: Element) -> bool:
    return next(root.iter(xmldsig.tag("Signature")), None) is not None


def sign_detached(name: str, content: Content, kind: str, signer: Signer, *, at: datetime | None = None) -> bytes:
    """A signature of the document called `name`, which stays where it is."""
    signature, identifier = _skeleton()
    uri = quote(name, errors="surrogateescape")  # the bytes of the name, which need not be UTF-8
    reference = Reference(uri, content.digest, (), f"{identifier}-document")
    _complete(signature, identifier, reference, kind=kind, signer=signer, at=at)
    return write(signature)


def _skeleton() -> tuple[Element, str]:
    identifier = f"s-{uuid.uuid4()}"
    return xmldsig.new_signature(identifier), identifier


def _complete(
    signature: Element, identifier: str, document: Reference, *, kind: str, signer: Signer, at: datetime | None
) -> None:
    holder = xmldsig.child(signature, "Object")
    qualifying = etree.SubElement(
        holder, _tag("QualifyingProperties"), {"Target": f"#{identifier}"}, nsmap={"xades": XADES, "ds": DS}
    )
    properties = _child(qualifying, "SignedProperties", Id=f"{identifier}-properties")
    moment = (at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    about_signature = _child(properties, "SignedSignatureProperties")
    _child(about_signature, "SigningTime", f"{moment.isoformat()}Z")
    digest = _child(_child(_child(about_signature, "SigningCertificateV2"), "Cert"), "CertDigest")
    xmldsig.child(digest, "DigestMethod", Algorithm="http://www.w3.org/2001/04/xmlenc#sha256")
    xmldsig.child(digest, "DigestValue", xmldsig.b64(hashlib.sha256(signer.certificate).digest()))
    about_document = _child(
        _child(properties, "SignedDataObjectProperties"), "DataObjectFormat", ObjectReference=f"#{document.id}"
    )
    _child(about_document, "MimeType", kind)
    own = Reference(
        f"#{identifier}-properties", hashlib.sha256(canonical(properties)).digest(), (EXC_C14N,), "", SIGNED_PROPERTIES
    )
    xmldsig.fill(signature, [document, own], signer)


# --- time stamp -----------------------------------------------------------------------------------------------------


def stamped_content(signature: bytes) -> bytes:
    """What the time stamp of B-T is taken over: the canonical SignatureValue (EN 319 132-1 §5.3)."""
    return canonical(_value(find(parse(signature))))


def add_timestamp(signature: bytes, token: bytes) -> bytes:
    """The document or signature with a SignatureTimeStamp (B-T)."""
    root = parse(signature)
    qualifying = find(root).find(f".//{_tag('QualifyingProperties')}")
    if qualifying is None:
        raise BadXml("QualifyingProperties")
    stamp = _child(_child(_child(qualifying, "UnsignedProperties"), "UnsignedSignatureProperties"), "SignatureTimeStamp")
    xmldsig.child(stamp, "CanonicalizationMethod", Algorithm=EXC_C14N)
    _child(stamp, "EncapsulatedTimeStamp", xmldsig.b64(token))
    return write(root)


def _value(signature: Element) -> Element:
    return xmldsig._one(signature, "SignatureValue")


def find(root: Element) -> Element:
    """The only signature of a document. Raises BadXml."""
    found = list(root.iter(xmldsig.tag("Signature")))
    if len(found) != 1:
        raise BadXml(f"ds:Signature: {len(found)}")
    return found[0]


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Properties:
    """What a signature says of itself. `token`: a time stamp over `stamped`."""

    signing_time: datetime | None
    token: bytes | None
    stamped: bytes
    strange: tuple[str, ...]


def properties(signature: Element, part: XmlPart) -> Properties | None:
    """The XAdES properties of a right signature; None for a plain XML-DSig. Raises BadSignature, BadXml."""
    found = [e for o in signature.findall(xmldsig.tag("Object")) for e in o.findall(_tag("QualifyingProperties"))]
    if not found:
        return None
    if len(found) != 1 or found[0].get("Target") != f"#{signature.get('Id')}":
        raise BadSignature("QualifyingProperties")
    signed = found[0].find(_tag("SignedProperties"))
    named = [c for c in part.covered if c.type == SIGNED_PROPERTIES]
    if signed is None or len(named) != 1 or named[0].element is not signed:
        raise BadSignature("SignedProperties")
    _check_certificate(signed, part.certificate)
    time = signed.findtext(f".//{_tag('SigningTime')}")
    token, strange = _unsigned(found[0])
    return Properties(_moment(time), token, canonical(_value(signature)), strange)


def _check_certificate(signed: Element, certificate: bytes) -> None:
    digest = signed.find(f".//{_tag('CertDigest')}")
    if digest is None:
        raise BadSignature("SigningCertificate")
    method = xmldsig._one(digest, "DigestMethod").get("Algorithm", "")
    name = xmldsig._DIGESTS.get(method)
    value = decode_base64(xmldsig._one(digest, "DigestValue").text)
    if name is None or hashlib.new(name, certificate).digest() != value:
        raise BadSignature("signed by another certificate")


def _unsigned(qualifying: Element) -> tuple[bytes | None, tuple[str, ...]]:
    expected = [_tag("SignedProperties"), _tag("UnsignedProperties")]
    if [c.tag for c in qualifying] not in (expected[:1], expected) or set(qualifying.attrib) != {"Target"}:
        raise BadSignature("QualifyingProperties")
    if len(qualifying) == 1:
        return None, ()
    held = list(qualifying[1])
    strange = [str(c.tag) for c in held if c.tag != _tag("UnsignedSignatureProperties")]
    held = [c for properties in held for c in properties]
    strange += [str(c.tag) for c in held if c.tag != _tag("SignatureTimeStamp")]
    stamps = [c for c in held if c.tag == _tag("SignatureTimeStamp")]
    if len(stamps) != 1:
        return None, (*strange, f"SignatureTimeStamp: {len(stamps)}")
    method = xmldsig._one(stamps[0], "CanonicalizationMethod").get("Algorithm")
    encapsulated = stamps[0].findall(_tag("EncapsulatedTimeStamp"))
    if method != EXC_C14N or len(encapsulated) != 1:
        raise BadSignature("SignatureTimeStamp")
    return decode_base64(encapsulated[0].text), tuple(strange)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
