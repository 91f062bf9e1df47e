# SPDX-License-Identifier: Apache-2.0
"""What a card's certificate says of its holder, as Pro Santé Connect says it in claims. What it does not say has no claim.

Names and values of the claims: those seen in public from ANS; which are deduced here is told in docs/PSC-SANDBOX.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

SUBJECT_PREFIX = "f:550dc1c8-d97b-4b1e-ac8c-8eb4471cf9dd:"
_PROFESSION = x509.ObjectIdentifier("1.2.250.1.71.1.2.7")  # INTEGER, code of TRE_G15
_ROLES = "1.2.250.1.213.1.1.5.5"
_PSI_LOCALE = "1.2.250.1.213.1.3.1.1"
_UIT_VERSION = "1.0"
_PALIER_ECPS = "APPPRIP3^1.2.250.1.213.1.5.1.1.1"
# First digit of a Struct_IdNat (TRE_G07) → the claim that holds the rest.
_STRUCTURES = {"1": "numeroFinessSite", "2": "numeroSirenSite", "3": "numeroSiretSite"}

Means = Literal["card", "e-cps"]


class UnreadableCertificate(ValueError):
    """Not the subject of a card's certificate."""


@dataclass(frozen=True)
class Holder:
    identifier: str  # PS_IdNat, with its type digit
    given_name: str | None = None
    family_name: str | None = None
    profession: str | None = None  # G15
    organization: str | None = None
    organization_identifier: str | None = None  # Struct_IdNat, with its type digit

    @property
    def anonymous(self) -> bool:
        """A service card, which names nobody."""
        return self.family_name is None

    @property
    def subject(self) -> str:
        return SUBJECT_PREFIX + self.identifier


def read(certificate: x509.Certificate) -> Holder:
    """Raises UnreadableCertificate."""
    try:
        subject = certificate.subject
        profession = _profession(certificate)
    except ValueError as error:
        raise UnreadableCertificate(str(error)) from None

    def one(oid: x509.ObjectIdentifier) -> str | None:
        values = [str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)]
        return values[0] if values else None

    identifier = one(NameOID.COMMON_NAME)
    if identifier is None:
        raise UnreadableCertificate("no common name")
    return Holder(
        identifier=identifier,
        given_name=one(NameOID.GIVEN_NAME),
        family_name=one(NameOID.SURNAME),
        profession=profession,
        organization=one(NameOID.ORGANIZATION_NAME),
        organization_identifier=one(NameOID.ORGANIZATIONAL_UNIT_NAME),
    )


def _profession(certificate: x509.Certificate) -> str | None:
    for extension in certificate.extensions:
        if extension.oid == _PROFESSION and isinstance(extension.value, x509.UnrecognizedExtension):
            value = extension.value.value
            if len(value) == 3 and value[:2] == b"\x02\x01" and value[2] < 0x80:
                return f"{value[2]:02}"
    return None


def user_info(holder: Holder, means: Means) -> dict[str, Any]:
    """The claims of the userinfo endpoint."""
    claims: dict[str, Any] = {
        "sub": holder.subject,
        "preferred_username": holder.identifier,
        "SubjectNameID": holder.identifier,
        "given_name": holder.given_name,
        "family_name": holder.family_name,
        "SubjectRole": [f"{holder.profession}^{_ROLES}"] if holder.profession is not None else None,
        "SubjectOrganization": holder.organization,
        "SubjectOrganizationID": holder.organization_identifier,
        "PSI_Locale": _PSI_LOCALE,
        "UITVersion": _UIT_VERSION,
        "Palier_Authentification": _PALIER_ECPS if means == "e-cps" else None,
        "SubjectRefPro": _reference(holder),
    }
    return _present(claims)


def _reference(holder: Holder) -> dict[str, Any] | None:
    identifier = holder.organization_identifier or ""
    activity = _present({"raisonSocialeSite": holder.organization})
    if identifier[:1] in _STRUCTURES:
        activity[_STRUCTURES[identifier[0]]] = identifier[1:]
    practice = _present({"codeProfession": holder.profession, "activities": [activity] if activity else None})
    return {"exercices": [practice]} if practice else None


def _present(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}
