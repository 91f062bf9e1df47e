# SPDX-License-Identifier: Apache-2.0
"""XML signatures under attack: wrapping (XSW 1 to 8, Somorovsky et al., USENIX Security 2012), content added where no signature
reaches, comments that divide values. And comments and processing instructions that are signed, before other verifiers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import documents
import pytest
from judges import Judges
from lxml import etree
from ours import verdict
from signers import SoftSigner

from cpxd.signature import reading, vihf, xades, xmldsig
from cpxd.signature.fetch import Network
from cpxd.signature.judge import judge
from cpxd.signature.trust import TrustStore
from cpxd.signature.xmldsig import ENVELOPED, Reference
from cpxd.signature.xmlsafe import EXC_C14N, canonical

SAML, DS = f"{{{vihf.SAML}}}", f"{{{xmldsig.DS}}}"


# -- wrapping -------------------------------------------------------------------------------------------------------


def response(signer: SoftSigner, conditions: str = "") -> bytes:
    """A SAML message with a signed assertion in it, as our VIHF is built."""
    assertion = etree.fromstring(
        f'<saml:Assertion xmlns:saml="{vihf.SAML}" ID="_signed"><saml:Issuer>i</saml:Issuer><saml:Subject>'
        f"<saml:NameID>899700090014</saml:NameID></saml:Subject>{conditions}</saml:Assertion>"
    )
    signature = xmldsig.new_signature()
    reference = Reference("#_signed", hashlib.sha256(canonical(assertion)).digest(), (ENVELOPED, EXC_C14N))
    assertion.insert(1, signature)
    xmldsig.fill(signature, [reference], signer)
    return etree.tostring(assertion)


def _evil(signed: etree._Element) -> etree._Element:
    """Another assertion, unsigned, with another identifier and subject."""
    evil = etree.fromstring(etree.tostring(signed))
    evil.remove(evil.find(f"{DS}Signature"))  # type: ignore[arg-type]
    evil.set("ID", "_evil")
    next(evil.iter(f"{SAML}NameID")).text = "899700000000"
    return evil


def _taken_out(signed: etree._Element) -> etree._Element:
    signature = signed.find(f"{DS}Signature")
    assert signature is not None
    signed.remove(signature)
    return signature


def _envelope(*children: etree._Element) -> etree._Element:
    root = etree.Element("{urn:oasis:names:tc:SAML:2.0:protocol}Response", {"ID": "_r"})
    root.extend(children)
    return root


def xsw1(signed: etree._Element) -> etree._Element:
    """The evil root takes the signature, which holds the signed one."""
    evil, signature = _evil(signed), _taken_out(signed)
    signature.append(signed)
    evil.append(signature)
    return evil


def xsw2(signed: etree._Element) -> etree._Element:
    evil, signature = _evil(signed), _taken_out(signed)
    return _envelope(evil, signed, signature)


def xsw3(signed: etree._Element) -> etree._Element:
    return _envelope(_evil(signed), signed)


def xsw4(signed: etree._Element) -> etree._Element:
    evil = _evil(signed)
    evil.append(signed)
    return _envelope(evil)


def xsw5(signed: etree._Element) -> etree._Element:
    evil, signature = _evil(signed), _taken_out(signed)
    evil.insert(1, signature)
    return _envelope(evil, signed)


def xsw6(signed: etree._Element) -> etree._Element:
    evil, signature = _evil(signed), _taken_out(signed)
    signature.append(signed)
    evil.insert(1, signature)
    return _envelope(evil)


def xsw7(signed: etree._Element) -> etree._Element:
    extensions = etree.Element("{urn:oasis:names:tc:SAML:2.0:protocol}Extensions")
    extensions.append(_evil(signed))
    return _envelope(extensions, signed)


def xsw8(signed: etree._Element) -> etree._Element:
    evil, signature = _evil(signed), _taken_out(signed)
    holder = etree.SubElement(signature, f"{DS}Object")
    holder.append(signed)
    evil.insert(1, signature)
    return evil


def same_id(signed: etree._Element) -> etree._Element:
    root = xsw1(signed)
    root.set("ID", "_signed")
    return root


def inside_the_signed_one(signed: etree._Element) -> etree._Element:
    holder = etree.SubElement(signed.find(f"{DS}Signature"), f"{DS}Object")  # type: ignore[type-var]
    holder.append(_evil(signed))
    return signed


def comment_in_a_name(signed: etree._Element) -> etree._Element:
    name = next(signed.iter(f"{SAML}NameID"))
    name.text, comment = "8997", etree.Comment("x")
    comment.tail = "00090014"
    name.insert(0, comment)
    return signed


WRAPPED = [
    *(xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8),
    *(same_id, inside_the_signed_one, comment_in_a_name),
]


@pytest.mark.parametrize("attack", WRAPPED, ids=lambda f: f.__name__)
def test_wrapped_assertions(
    plain: SoftSigner, trust: TrustStore, network: Network, attack: Callable[[etree._Element], etree._Element]
) -> None:
    document = response(plain)
    assert verdict(document, trust, network) == "valid"
    assert verdict(etree.tostring(attack(etree.fromstring(document))), trust, network) == "invalid"


# -- what is added to XAdES -----------------------------------------------------------------------------------------

_OBJECT = b"<ds:Object><evil/></ds:Object>"
_LATE = b"<xades:UnsignedProperties><xades:UnsignedDataObjectProperties>x</xades:UnsignedDataObjectProperties>"
ADDED = {  # what is replaced, by what
    "another object": (b"</ds:Signature>", _OBJECT + b"</ds:Signature>"),
    "in the object of the properties": (b"</xades:QualifyingProperties>", b"</xades:QualifyingProperties><evil/>"),
    "text in an object": (b"</xades:QualifyingProperties>", b"</xades:QualifyingProperties>evil"),
    "attribute of an object": (b"<ds:Object>", b'<ds:Object Encoding="x">'),
    "properties of objects": (
        b"</xades:QualifyingProperties>",
        _LATE + b"</xades:UnsignedProperties></xades:QualifyingProperties>",
    ),
    "comment before": (b"<a xmlns", b"<!-- x --><a xmlns"),
    "instruction before": (b"<a xmlns", b'<?xml-stylesheet href="evil.xsl"?><a xmlns'),
    "comment after": (b"</a>", b"</a><!-- x -->"),
    "comment": (b"<p:b", b"<!-- x --><p:b"),
    "comment in a value": ("t\u00e9".encode(), "t<!-- x -->\u00e9".encode()),
    "comment in the key": (b"<ds:KeyInfo>", b"<ds:KeyInfo><!-- x -->"),
    "comment in what is signed": (b"<ds:SignedInfo>", b"<ds:SignedInfo><!-- x -->"),
    "instruction": (b"<p:b", b"<?x y?><p:b"),
}


@pytest.mark.parametrize("old, new", ADDED.values(), ids=list(ADDED))
@pytest.mark.parametrize("form", ["enveloped", "enveloping"])
def test_added_content(plain: SoftSigner, trust: TrustStore, network: Network, form: str, old: bytes, new: bytes) -> None:
    document = xades.sign_enveloped(documents.XML, plain)
    if form == "enveloping":
        document = xades.sign_enveloping(documents.XML, "text/xml", plain)
    assert verdict(document, trust, network) == "valid"
    changed = document.replace(old, new, 1)
    assert changed != document and verdict(changed, trust, network) != "valid"


def test_identifier_by_another_name(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """What holds a document in base64 is not signed itself: its attributes are what they have to be."""
    document = xades.sign_enveloping(b"text", "text/plain", plain)
    assert verdict(document, trust, network) == "valid"
    for name in (b"ID", b"id"):
        assert verdict(document.replace(b"<ds:Object Id=", b"<ds:Object " + name + b"="), trust, network) == "invalid"


# -- comments and instructions that are signed ----------------------------------------------------------------------

_XML = documents.XML.split(b"?>\n", 1)[1]
LOOSE = {
    "comment": _XML.replace(b"<p:b", b"<!-- Q g --><p:b"),
    "instruction before": b'<?xml-stylesheet href="Q.xsl"?>\n' + _XML,
    "everything": b"<?a Q?><!-- Q -->" + _XML.replace(b"<p:b", b"<!-- Q g --><?b Q?><p:b").strip() + b"<!-- Q --><?c Q?>",
}


@pytest.mark.parametrize("content", LOOSE.values(), ids=list(LOOSE))
@pytest.mark.parametrize("form", ["enveloped", "enveloping"])
def test_comments_and_instructions_are_signed(
    plain: SoftSigner, judges: Judges, trust: TrustStore, network: Network, form: str, content: bytes
) -> None:
    """Every one of them, as other verifiers see it too."""
    signed = xades.sign_enveloped(content, plain) if form == "enveloped" else xades.sign_enveloping(content, "text/xml", plain)
    assert judges.xmlsec1(signed) and judges.java("xml", signed), judges.said
    assert verdict(signed, trust, network) == "valid"
    if form == "enveloping":
        return  # in base64, to the byte
    pieces = content.split(b"Q")
    assert len(pieces) > 1
    for number in range(1, len(pieces)):
        changed = b"Q".join(pieces[:number]) + b"R" + b"Q".join(pieces[number:])
        start, end = signed.index(b"<ds:Signature "), signed.index(b"</ds:Signature>") + len(b"</ds:Signature>")
        document = etree.tostring(etree.fromstring(changed).getroottree())
        forged = document.replace(b"</a>", signed[start:end] + b"</a>")
        assert verdict(forged, trust, network) == "invalid", changed
    whole = etree.tostring(etree.fromstring(content).getroottree()).replace(b"</a>", signed[start:end] + b"</a>")
    assert verdict(whole, trust, network) == "valid", "the forging does no other harm"


# -- when and for whom an assertion counts (SAML 2.0 core §2.5.1) ------------------------------------------------------

_NOW = datetime.now(UTC).replace(microsecond=0)


def _in(minutes: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return (_NOW + timedelta(minutes=minutes)).strftime(form)


_LATE_CLOCK = f"{_in(64, '%Y-%m-%dT%H:%M:%S')}+01:00"  # 4 minutes from now
_AUDIENCE = "<saml:AudienceRestriction><saml:Audience>urn:dmp</saml:Audience></saml:AudienceRestriction>"
CONDITIONS = {
    "none": ("", "valid", ""),
    "empty": ("<saml:Conditions/>", "valid", ""),
    "now": (f'<saml:Conditions NotBefore="{_in(-60)}" NotOnOrAfter="{_in(1)[:-1]}.5Z"/>', "valid", ""),
    "our clock may be late": (f'<saml:Conditions NotBefore="{_LATE_CLOCK}"/>', "valid", ""),
    "and early": (f'<saml:Conditions NotOnOrAfter="{_in(-4)}"/>', "valid", ""),
    "not yet": (f'<saml:Conditions NotBefore="{_in(6)[:-1]}"/>', "invalid", "not valid before"),
    "no more": (f'<saml:Conditions NotOnOrAfter="{_in(-5)}"/>', "invalid", "expired on"),
    "no date": ('<saml:Conditions NotOnOrAfter="soon"/>', "invalid", "Conditions"),
    "twice": ("<saml:Conditions/><saml:Conditions/>", "invalid", "Conditions"),
    "an audience": (f"<saml:Conditions>{_AUDIENCE}</saml:Conditions>", "indeterminate", "urn:dmp"),
    "once": ("<saml:Conditions><saml:OneTimeUse/></saml:Conditions>", "valid", ""),
    "unknown": ("<saml:Conditions><saml:Condition/></saml:Conditions>", "indeterminate", "Condition"),
    "an instruction": ("<saml:Conditions><?x y?></saml:Conditions>", "indeterminate", "condition"),
}


@pytest.mark.parametrize(("conditions", "expected", "words"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions(plain: SoftSigner, trust: TrustStore, network: Network, conditions: str, expected: str, words: str) -> None:
    (found,) = reading.read(response(plain, conditions), None)
    report = judge(found, trust, network, _NOW)
    assert report.verdict == expected and all(words in reason.en for reason in report.reasons[:1]), report.reasons
    assert bool(report.reasons) == bool(words)
