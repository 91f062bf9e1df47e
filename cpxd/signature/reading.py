# SPDX-License-Identifier: Apache-2.0
"""What signatures stand in a document: CMS and CAdES, PDF, XML, VIHF, S/MIME, JWS, told apart by their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

from asn1crypto import pem
from lxml import etree

from cpxd.signature import jws, smime, timestamp, vihf, xades, xmldsig, xmlsafe
from cpxd.signature.report import Found
from cpxd.signature.signeddata import BadSignature, DigestOf, NoContent, NoSigner, NotJudged, SignedPart, verify_signed_data
from cpxd.signature.timestamp import Stamp
from cpxd.signature.xmlsafe import BadXml, Element, loose_nodes, parse
from cpxd.text import Text, tr

MAX_SIGNED = 64 << 20  # bytes
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[ \t]")
_LOOSE = Text(
    "commentaires ou instructions que la signature ne couvre pas", "comments or instructions that the signature does not cover"
)
_SECOND_STAMP = Text("plusieurs horodatages", "several time stamps")


class NotSigned(Exception):
    """No signature that we know of. `str()` is the reason in the person's language."""


def read(content: bytes, beside: DigestOf | None) -> tuple[Found, ...]:
    """All the signatures in a document, right or wrong. `beside`: of the detached document. Raises NotSigned."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    kinds: tuple[tuple[bool, Callable[[], tuple[Found, ...]]], ...] = (
        (b"%PDF-" in content[:1024], lambda: _read_pdf(content)),
        (xmlsafe.looks_like(content), lambda: _read_xml(content, beside)),
        (start[:5] == b"-----" or content[:1] == b"\x30", lambda: (_read_cms(content, beside),)),
        (jws.looks_like(content), lambda: (_read_jws(content, beside),)),
        (bool(_HEADER.match(start)), lambda: (_read_mail(content),)),
    )
    for matches, reader in kinds:
        if matches:
            return reader()
    raise NotSigned(tr("format inconnu", "unknown format"))


def _read_pdf(content: bytes) -> tuple[Found, ...]:
    from cpxd.signature.pdfreading import read_pdf

    found = read_pdf(content)
    if not found:
        raise NotSigned(tr("PDF non signé, ou illisible", "PDF not signed, or unreadable"))
    return found


def _read_cms(content: bytes, beside: DigestOf | None) -> Found:
    try:
        der = pem.unarmor(content)[2] if pem.detect(content) else content
    except ValueError:
        raise NotSigned("PEM") from None
    try:
        part = _verify_either(der, beside)
        stamp, doubts = stamp_of(part)
    except NoSigner as error:
        raise NotSigned(str(error.reason)) from None
    except BadSignature as error:
        return failed("CMS", error)
    form = (
        Text("le document joint", "the document beside it")
        if part.content is None
        else Text("le document inclus", "the document inside")
    )
    return replace(of_part("CAdES" if part.bound else "CMS", part), stamp=stamp, doubts=doubts, covers=form)


def _verify_either(der: bytes, beside: DigestOf | None) -> SignedPart:
    """The content may be inside; a document that is beside it as well must be the same."""
    try:
        part = verify_signed_data(der, None)
    except NoContent:
        if beside is None:
            raise
        return verify_signed_data(der, beside)
    _check_same(part.content or b"", beside, part.hash_name)
    return part


def _check_same(inside: bytes, beside: DigestOf | None, hash_name: str) -> None:
    """Raises BadSignature when another document is beside a signature than in it."""
    if beside is not None and beside(hash_name) != hashlib.new(hash_name, inside).digest():
        raise BadSignature(
            tr("le document d'à côté n'est pas celui qui est signé", "the document beside it is not the one signed")
        )


def failed(name: str, error: Exception) -> Found:
    """A signature that is wrong, or that nobody can tell about here."""
    return Found(name, unjudged=error.reason) if isinstance(error, NotJudged) else Found(name, str(error))


def of_part(name: str, part: SignedPart) -> Found:
    """What a right SignedData says, without its time stamp."""
    return Found(
        format=name,
        certificate=part.certificate,
        certificates=part.certificates,
        evidence=part.evidence,
        signing_time=part.signing_time,
        padding=part.padding,
    )


def stamp_of(part: SignedPart) -> tuple[Stamp | None, tuple[Text, ...]]:
    """The time stamp of a signature, and what else it carries that nobody vouches for. Raises BadSignature."""
    doubts = tuple(Text(f"attribut non signé : {name}", f"unsigned attribute: {name}") for name in part.strange)
    if not part.tokens:
        return None, doubts
    if len(part.tokens) > 1:
        return None, (*doubts, _SECOND_STAMP)
    try:
        return timestamp.verify_over(part.tokens[0], part.value), doubts
    except NotJudged as error:
        return None, (*doubts, _unjudged_stamp(error))


def _unjudged_stamp(error: NotJudged) -> Text:
    return Text(f"horodatage : {error.reason.fr}", f"time stamp: {error.reason.en}")


def _read_jws(content: bytes, beside: DigestOf | None) -> Found:
    try:
        part = jws.verify(content)
        _check_same(part.payload, beside, "sha256")
    except BadSignature as error:
        return failed("JWS", error)
    return Found(
        "JWS",
        covers=Text("le contenu du JWS", "the content of the JWS"),
        certificate=part.certificate,
        certificates=part.certificates,
        padding=part.padding,
    )


def _read_mail(content: bytes) -> Found:
    from cpxd.errors import CpxError

    try:
        part, changed = _signed_mail(content)
        stamp, doubts = stamp_of(part)
    except CpxError:
        raise NotSigned(tr("message illisible", "unreadable message")) from None
    except NoSigner as error:
        raise NotSigned(str(error.reason)) from None
    except BadSignature as error:
        if str(error) == "multipart/signed":
            raise NotSigned(tr("message non signé", "the message is not signed")) from None
        return failed("S/MIME", error)
    if changed:
        names = ", ".join(changed)
        doubts += (Text(f"en-têtes que la signature ne couvre pas : {names}", f"headers not covered by the signature: {names}"),)
    covers = Text("le message et ses en-têtes", "the message and its headers")
    return replace(of_part("S/MIME", part), stamp=stamp, doubts=doubts, covers=covers)


def _signed_mail(content: bytes) -> tuple[SignedPart, tuple[str, ...]]:
    """The signature of a mail, clear or opaque, and the headers that it does not cover. Raises BadSignature, BadDocument."""
    der = smime.opaque_signed(content)
    if der is not None:
        part = verify_signed_data(der, None)
        return part, smime.changed_headers(content, part.content or b"")
    parts = smime.split_signed(content)
    return verify_signed_data(parts.signature, lambda name: hashlib.new(name, parts.signed).digest()), parts.changed


def _read_xml(content: bytes, beside: DigestOf | None) -> tuple[Found, ...]:
    try:
        root = parse(content)
    except BadXml as error:
        raise NotSigned(str(error)) from None
    signatures = list(root.iter(xmldsig.tag("Signature")))
    if not signatures:
        raise NotSigned(tr("XML non signé", "XML not signed"))
    name = "VIHF" if root.tag == f"{{{vihf.SAML}}}Assertion" else "XAdES"
    if name == "XAdES" and next(root.iter(xades.QUALIFYING), None) is None:
        name = "XML-DSig"
    if len(signatures) > 1:
        why = Text(
            "plusieurs signatures dans un document XML : non pris en charge",
            "several signatures in an XML document: not supported",
        )
        return (Found(name, unjudged=why),)
    try:
        return (_read_signature(signatures[0], name, beside),)
    except (BadSignature, BadXml) as error:
        return (failed(name, error),)


def _read_signature(signature: Element, name: str, beside: DigestOf | None) -> Found:
    part = xmldsig.verify(signature, None if beside is None else lambda _, hash_name: beside(hash_name))
    xmldsig.check_objects(signature, part, xades.QUALIFYING)
    properties = xades.properties(signature, part)
    covers, doubts = _covered(signature, part)
    conditions = _check_assertion(signature, doubts) if name == "VIHF" else None
    doubts += _hints(signature, part)
    found = Found(
        name,
        covers=covers,
        certificate=part.certificate,
        certificates=part.certificates,
        padding=part.padding,
        doubts=doubts,
        conditions=conditions,
    )
    if properties is None:
        return found
    doubts += tuple(Text(f"propriété non signée : {s}", f"unsigned property: {s}") for s in properties.strange)
    stamp = None
    if properties.token is not None:
        try:
            stamp = timestamp.verify_over(properties.token, properties.stamped)
        except NotJudged as error:
            doubts += (_unjudged_stamp(error),)
    return replace(found, signing_time=properties.signing_time, stamp=stamp, doubts=doubts)


def _check_assertion(signature: Element, loose: tuple[Text, ...]) -> vihf.Conditions:
    """Raises BadSignature."""
    root = signature.getroottree().getroot()
    if loose:  # who reads a value that a comment divides does not read what was signed
        raise BadSignature("comment")
    if signature.getparent() is not root:
        raise BadSignature("ds:Signature")
    try:
        return vihf.conditions(root)
    except ValueError:
        raise BadSignature("Conditions") from None


def _hints(signature: Element, part: xmldsig.XmlPart) -> tuple[Text, ...]:
    """What KeyInfo says of the key beside the certificate, unless it is signed."""
    about_key = signature.find(xmldsig.tag("KeyInfo"))
    if any(c.element is about_key for c in part.covered if c.element is not None):
        return ()
    return tuple(Text(f"indication non signée sur la clé : {h}", f"unsigned hint about the key: {h}") for h in part.hints)


def _covered(signature: Element, part: xmldsig.XmlPart) -> tuple[Text, tuple[Text, ...]]:
    """What is signed: the whole document, what the signature holds, or a document beside it; and what of it is not.

    Raises BadSignature for less.
    """
    about_key = signature.find(xmldsig.tag("KeyInfo"))
    others = [c for c in part.covered if c.type != xades.SIGNED_PROPERTIES]
    documents = [c for c in others if c.element is None or c.element is not about_key]
    root = signature.getroottree().getroot()
    if len(documents) != 1:
        raise BadSignature("references")
    covered = documents[0]
    loose = any(not _reaches(covered, signature, node) for node in loose_nodes(root))
    doubts = (_LOOSE,) if loose else ()
    if covered.element is None:
        return Text("le document joint", "the document beside it"), doubts
    if covered.element is root and covered.enveloped:
        return Text("le document entier", "the whole document"), doubts
    if signature is root and covered.element in signature.findall(xmldsig.tag("Object")):
        return Text("le document inclus", "the document inside"), doubts
    raise BadSignature("the signature does not cover the whole document")


def _reaches(covered: xmldsig.Covered, signature: Element, node: Element) -> bool:
    """Whether a comment or processing instruction is among what a reference covers."""
    above = list(node.iterancestors())
    if covered.element is None or (isinstance(node, etree._Comment) and not covered.comments):
        return False
    if covered.enveloped and signature in above:
        return False
    return covered.element in above or (not above and covered.document)
