# SPDX-License-Identifier: Apache-2.0
"""The record of a card as FHIR R4 (4.0.1): a Bundle of Practitioner, PractitionerRole and Organization.

Systems are those of FR Core (https://hl7.fr/ig/fhir/core) and of the implementation guide of the Annuaire Santé (ANS); code
systems those under which ANS publishes its NOS. What the card does not say is left out: FHIR has no null. What is uncertain in
this mapping is told in docs/DATA.md.
"""

from __future__ import annotations

import uuid
from typing import Any

from cpxd.nomenclature import lookup, tables
from cpxd.record.identity import split_structure
from cpxd.record.model import CardRecord, Coded, Holder, Identifier, Situation

Json = dict[str, Any]

PERSON, STRUCTURE = "urn:oid:1.2.250.1.71.4.2.1", "urn:oid:1.2.250.1.71.4.2.2"  # PS_IdNat, Struct_IdNat
_TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
_NOS = "https://mos.esante.gouv.fr/NOS"
_TEST = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
_PERSONS = {"8": ("RPPS", "https://rpps.esante.gouv.fr"), "0": ("ADELI", "https://adeli.esante.gouv.fr")}  # by G08
# By G07. The card does not tell a FINESS of a legal entity from one of a place: no type of FR Core then.
_STRUCTURES = {
    "1": (None, "https://finess.esante.gouv.fr"),
    "2": ("SIREN", "https://sirene.fr"),
    "3": ("SIRET", "https://sirene.fr"),
    "4": (None, "https://rppsrang.esante.gouv.fr"),
}


def to_fhir(record: CardRecord) -> Json:
    """A Bundle (collection); the same card gives the same bundle. Without the PIN there are no roles but that of an employee."""
    practitioner = _url(record, "practitioner")
    entries = [(practitioner, _practitioner(record))]
    for place in record.situations if record.situations is not None else _employer(record):
        role, organization = _url(record, f"role/{place.number}"), _url(record, f"organization/{place.number}")
        has_organization = bool(place.organization_name or place.organization_identifier)
        entries.append((role, _role(record, place, practitioner, organization if has_organization else None)))
        if has_organization:
            entries.append((organization, _organization(place)))
    if record.card.category == "test":
        for _, resource in entries:
            resource["meta"] = {"security": [dict(_TEST)]}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


def _url(record: CardRecord, what: str) -> str:
    name = f"{record.card.number}/{record.card.serial}/{what}"
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}"


def _practitioner(record: CardRecord) -> Json:
    holder = record.holder
    qualifications = [
        _concept("G15", record.profession),
        _concept("G16", record.future_profession),
        _concept("R01", record.specialty),
    ]
    return _filled(
        {
            "resourceType": "Practitioner",
            "identifier": _person(holder.identifier),
            "name": _names(holder),
            "communication": [{"coding": [{"system": "urn:ietf:bcp:47", "code": c.code}]} for c in holder.languages],
            "qualification": [{"code": concept} for concept in qualifications if concept],
        }
    )


def _names(holder: Holder) -> list[Json]:
    title = lookup("G03", holder.title.code) if holder.title else None
    common = {
        "given": [holder.given_names] if holder.given_names else [],
        "prefix": [title.short_label or title.label] if title else [],
    }
    used = holder.professional_name or holder.family_name
    names = [_filled({"use": "usual", "family": used, **common})] if used or holder.given_names else []
    if holder.professional_name and holder.family_name and holder.professional_name != holder.family_name:
        names.append(_filled({"use": "official", "family": holder.family_name, **common}))
    if holder.pseudonym:
        names.append({"use": "anonymous", "text": holder.pseudonym})
    return names


def _role(record: CardRecord, place: Situation, practitioner: str, organization: str | None) -> Json:
    codes = [_concept("G15", record.profession), _concept("G16", record.future_profession), _concept("G17", place.practice_mode)]
    codes.append(_concept("G05", place.pharmacist_table or record.pharmacist_table))
    specialty = _concept("R01", record.specialty)
    return _filled(
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": practitioner},
            "organization": {"reference": organization} if organization else {},
            "code": [concept for concept in codes if concept],
            "specialty": [specialty] if specialty else [],
        }
    )


def _organization(place: Situation) -> Json:
    sector = _concept("R02", place.activity_sector)
    return _filled(
        {
            "resourceType": "Organization",
            "identifier": _structure(place.organization_identifier),
            "type": [sector] if sector else [],
            "name": place.organization_name,
        }
    )


def _employer(record: CardRecord) -> list[Situation]:
    """Where an employee works, as the certificate says it without the PIN."""
    for certificate in record.certificates:
        identifier = split_structure(certificate.subject.unit)
        if identifier is not None and identifier.key_ok is not False and certificate.subject.organization:
            return [Situation(0, None, None, None, None, certificate.subject.organization, identifier, (), False)]
    return []


def _person(identifier: Identifier | None) -> list[Json]:
    if identifier is None or identifier.type == "10":  # a mail address
        return []
    found = [_identifier("IDNPS", PERSON, identifier.type + identifier.number, "G08", identifier.type)]
    if identifier.type in _PERSONS:
        kind, system = _PERSONS[identifier.type]
        found.append(_identifier(kind, system, identifier.number))
    return found


def _structure(identifier: Identifier | None) -> list[Json]:
    if identifier is None:
        return []
    found = [_identifier("IDNST", STRUCTURE, identifier.type + identifier.number, "G07", identifier.type)]
    if identifier.type in _STRUCTURES:
        kind, system = _STRUCTURES[identifier.type]
        found.append(_identifier(kind, system, identifier.number, *(() if kind else ("G07", identifier.type))))
    return found


def _identifier(kind: str | None, system: str, value: str, table: str = "", code: str = "") -> Json:
    coding = [{"system": _TYPES, "code": kind}] if kind else []
    if table:
        coding.append({"system": _system(table), "code": code})
    return {"use": "official", "type": {"coding": coding}, "system": system, "value": value}


def _concept(table: str, value: Coded | None) -> Json | None:
    """A code whose label nobody knows stays a code."""
    if value is None:
        return None
    entry = lookup(table, value.code)
    holder = table if entry is None else entry.table
    return {
        "coding": [
            _filled({"system": _system(holder), "code": value.code if entry is None else entry.code, "display": value.label})
        ]
    }


def _system(table: str) -> str:
    official = tables()[table].official  # "TRE_G15_ProfessionSante"
    number, _, words = official.removeprefix("TRE_").partition("_")
    words = words.replace("_", "-")
    return f"{_NOS}/TRE_{number}-{words}/FHIR/TRE-{number}-{words}"


def _filled(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if value not in (None, "", [], {})}
