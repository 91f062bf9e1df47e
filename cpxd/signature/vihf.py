# SPDX-License-Identifier: Apache-2.0
"""VIHF, the SAML 2.0 assertion by which a practice software tells a service (DMP, TLSi) who acts, where and for whom.

Direct mode: the assertion is built from what the card says of its holder, and signed by the card. A caller says only what no card
knows: the patient, the purpose, the software. Fields: CI-SIS, "Volet transport synchrone pour client lourd"; codes: ANS tables.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from lxml import etree

from cpxd import errors
from cpxd.nomenclature import lookup
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.model import CardRecord, Coded, Situation
from cpxd.signature import xmldsig
from cpxd.signature.signer import Signer
from cpxd.signature.xmldsig import ENVELOPED, Reference
from cpxd.signature.xmlsafe import EXC_C14N, Element, canonical, write
from cpxd.text import tr

SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
HL7: Final = "urn:hl7-org:v3"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
SUBJECT_ID: Final = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
ROLE: Final = "urn:oasis:names:tc:xacml:2.0:subject:role"
RESOURCE_ID: Final = "urn:oasis:names:tc:xacml:2.0:resource:resource-id"
PURPOSE: Final = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"
_ISSUER_FORMAT: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"
_SMARTCARD: Final = "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"
_PURPOSES: Final = {  # TRE_R248
    "normal": "Accès normal",
    "bris_de_glace": "Accès en bris de glace",
    "centre_15": "Accès par un centre de régulation médicale",
}
_PURPOSE_SYSTEM: Final = "1.2.250.1.213.1.1.4.248"
_INS_OIDS: Final = {"real": "1.2.250.1.213.1.4.8", "test": "1.2.250.1.213.1.4.10"}  # INS-NIR, and its test twin
_INS = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{8}\Z")
_HL7_DEFAULT: Any = {None: HL7}
_LIFE = timedelta(hours=1)
Purpose = Literal["normal", "bris_de_glace", "centre_15"]


@dataclass(frozen=True)
class Software:
    """The practice software that asks (LPS)."""

    name: str = ""
    version: str = ""
    identifier: str = ""
    approval: str = ""  # LPS_ID_HOMOLOGATION_DMP


@dataclass(frozen=True)
class Request:
    """What the card cannot know. `ins`: matricule INS, 15 characters with its key; None: no patient."""

    ins: str | None
    purpose: Purpose = "normal"
    resource: str = "urn:dmp"
    situation: int | None = None  # number of the practice situation; None: the only one
    software: Software = Software()
    version: str = "3.0"


@dataclass(frozen=True)
class Conditions:
    """When, and before whom, an assertion counts (SAML 2.0 core §2.5.1). `strange`: conditions that we do not know."""

    not_before: datetime | None
    not_on_or_after: datetime | None
    audiences: tuple[str, ...]
    strange: tuple[str, ...]


def conditions(assertion: Element) -> Conditions:
    """Raises ValueError."""
    found = assertion.findall(f"{{{SAML}}}Conditions")
    if len(found) > 1:
        raise ValueError("Conditions")
    if not found:
        return Conditions(None, None, (), ())
    known = {f"{{{SAML}}}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")}
    audiences = [element.text or "" for element in found[0].iterfind(f"{{{SAML}}}AudienceRestriction/{{{SAML}}}Audience")]
    strange = [str(element.tag).rpartition("}")[2] for element in found[0] if element.tag not in known]
    return Conditions(_when(found[0], "NotBefore"), _when(found[0], "NotOnOrAfter"), tuple(audiences), tuple(strange))


def _when(element: Element, name: str) -> datetime | None:
    """UTC, said or not (SAML 2.0 core §1.3.3)."""
    text = element.get(name)
    if text is None:
        return None
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def bad_request(reason: str) -> errors.BadDocument:
    return errors.BadDocument(format="VIHF", reason=reason)


def sign(
    record: CardRecord,
    request: Request,
    signer: Signer,
    *,
    at: datetime | None = None,
    approve: Callable[[bytes], None] = lambda content: None,
) -> bytes:
    """The signed assertion. `approve` sees the bytes that get signed, before they are, and may raise.

    Raises BadDocument when the card does not say what the assertion needs.
    """
    moment = (at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    assertion = build(record, request, parse_certificate(signer.certificate), moment)
    identifier = assertion.get("ID", "")
    content = canonical(assertion)
    approve(content)
    reference = Reference(f"#{identifier}", hashlib.sha256(content).digest(), (ENVELOPED, EXC_C14N))
    signature = xmldsig.new_signature()
    assertion.insert(1, signature)  # SAML 2.0 core §2.3.3: right after the issuer
    xmldsig.fill(signature, [reference], signer)
    return write(assertion)


def build(record: CardRecord, request: Request, certificate: CardCertificate, moment: datetime) -> Element:
    """The assertion before it is signed."""
    situation = choose_situation(record, request.situation)
    holder = record.holder
    if holder.identifier is None:
        raise bad_request(tr("la carte ne donne pas l'identifiant national du porteur", "the card has no national identifier"))
    root = etree.Element(
        f"{{{SAML}}}Assertion",
        {"ID": f"_{uuid.uuid4()}", "Version": "2.0", "IssueInstant": _instant(moment)},
        nsmap={"saml2": SAML, "xsi": XSI},
    )
    _child(root, "Issuer", certificate.subject.text, Format=_ISSUER_FORMAT)
    _child(_child(root, "Subject"), "NameID", holder.identifier.type + holder.identifier.number)
    _child(root, "Conditions", NotBefore=_instant(moment), NotOnOrAfter=_instant(moment + _LIFE))
    authentication = _child(root, "AuthnStatement", AuthnInstant=_instant(moment))
    _child(_child(authentication, "AuthnContext"), "AuthnContextClassRef", _SMARTCARD)
    _attributes(_child(root, "AttributeStatement"), record, situation, request)
    return root


def choose_situation(record: CardRecord, number: int | None) -> Situation:
    """The practice situation meant. Raises BadDocument."""
    known = record.situations or ()
    chosen = [s for s in known if number is None or s.number == number]
    if len(chosen) == 1 and chosen[0].organization_identifier is not None and chosen[0].activity_sector is not None:
        return chosen[0]
    if len(chosen) == 1:
        raise bad_request(tr("la situation ne nomme pas sa structure ou son secteur", "the situation lacks structure or sector"))
    numbers = ", ".join(str(s.number) for s in known) or "-"
    raise bad_request(
        tr(f"situation d'exercice à choisir (de la carte : {numbers})", f"choose a practice situation (on the card: {numbers})")
    )


def _attributes(statement: Element, record: CardRecord, situation: Situation, request: Request) -> None:
    structure, sector, holder = situation.organization_identifier, situation.activity_sector, record.holder
    if structure is None or sector is None:
        raise bad_request("situation")
    _text(statement, "Identifiant_Structure", structure.type + structure.number)
    _text(statement, "Secteur_Activite", f"{sector.code}^{_oid('R02', sector.code)}")
    names = (holder.professional_name or holder.family_name, holder.given_names, situation.organization_name)
    _text(statement, SUBJECT_ID, " ".join(name for name in names if name))
    _coded(statement, ROLE, "Role", _roles(record, situation))
    _text(statement, "VIHF_Version", request.version)
    _text(statement, "Authentification_mode", "DIRECTE")
    if request.ins is not None:
        oid = _INS_OIDS["real" if record.card.category == "real" else "test"]
        _text(statement, RESOURCE_ID, f"{checked_ins(request.ins)}^^^&{oid}&ISO^NH")
    _text(statement, "Ressource_URN", request.resource)
    purpose = {"code": request.purpose, "displayName": _PURPOSES[request.purpose], "codeSystem": _PURPOSE_SYSTEM}
    _coded(statement, PURPOSE, "PurposeOfUse", [purpose | {"codeSystemName": "mode acces VIHF 2.0"}])
    software = request.software
    for name, value in (
        ("LPS_ID", software.identifier),
        ("LPS_Nom", software.name),
        ("LPS_Version", software.version),
        ("LPS_ID_HOMOLOGATION_DMP", software.approval),
    ):
        if value:
            _text(statement, name, value)


def _roles(record: CardRecord, situation: Situation) -> list[dict[str, str]]:
    """Profession first; then the specialty of a doctor, or the section of a pharmacist."""
    found = [("G15", record.profession), ("G16", record.future_profession)]
    found += [("R01", record.specialty), ("G05", situation.pharmacist_table or record.pharmacist_table)]
    roles = [_role(table, value) for table, value in found if value is not None]
    if not roles:
        raise bad_request(tr("la carte ne donne pas de profession", "the card names no profession"))
    return roles


def _role(table: str, value: Coded) -> dict[str, str]:
    return {"code": value.code, "codeSystem": _oid(table, value.code), "displayName": value.label or value.code}


def _oid(table: str, code: str) -> str:
    entry = lookup(table, code)
    return (entry.oid if entry is not None else None) or _OIDS[table]


_OIDS: Final = {
    "G05": "1.2.250.1.71.4.2.6",
    "G15": "1.2.250.1.71.1.2.7",
    "G16": "1.2.250.1.71.1.2.8",
    "R01": "1.2.250.1.71.4.2.5",
    "R02": "1.2.250.1.71.4.2.4",
}


def checked_ins(text: str) -> str:
    """A matricule INS with a right key (97 minus the number modulo 97; 2A and 2B count as 19 and 18). Raises BadDocument."""
    compact = text.replace(" ", "").upper()
    if _INS.match(compact) and 97 - int(_corsica(compact[:13])) % 97 == int(compact[13:]):
        return compact
    raise bad_request(
        tr("matricule INS incorrect (15 caractères, clé comprise)", "wrong INS number (15 characters with its key)")
    )


def _corsica(number: str) -> str:
    department = number[5:7]
    return number[:5] + {"2A": "19", "2B": "18"}.get(department, department) + number[7:]


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _child(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    element = etree.SubElement(parent, f"{{{SAML}}}{name}", attributes)
    element.text = text
    return element


def _text(statement: Element, name: str, value: str) -> None:
    _child(_child(statement, "Attribute", Name=name), "AttributeValue", value)


def _coded(statement: Element, name: str, kind: str, values: list[dict[str, str]]) -> None:
    """Values of the HL7 type CE: in the default namespace, which the type name without a prefix needs."""
    attribute = _child(statement, "Attribute", Name=name)
    for value in values:
        holder = _child(attribute, "AttributeValue")
        etree.SubElement(holder, f"{{{HL7}}}{kind}", {f"{{{XSI}}}type": "CE", **value}, nsmap=_HL7_DEFAULT)
