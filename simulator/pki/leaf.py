# SPDX-License-Identifier: Apache-2.0
"""The certificates of a card, extension by extension as decoded from the TEST cards that are public."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time
from typing import Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from ..personas import Persona
from ..personas.tables import CARD_ISSUER, CARD_TYPES, CATEGORIES, FUTURE_PROFESSIONS, PROFESSIONS
from ..profile.tlv import integer, octets, sequence, tlv, utf8
from . import authorities
from .authorities import AUTHORITIES, AuthorityName

Usage = Literal["authentication", "signature", "technical"]

KEY_SIZE = 2048

_POLICY = x509.ObjectIdentifier("1.2.250.1.213.1.7.2.1.1.1.1")
_SMARTCARD_LOGON = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")
_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_PRIVATE = "1.2.250.1.71.1.2"  # number of a table of the GIP-CPS under it: 5 is G01, 2 is G02, 7 is G15
_TITLES = {"CPE": "Personnel santé ou social", "CDE": "Responsable santé ou social"}
_SERVICE_TITLE = "Carte de service santé ou social"


def issuer_of(persona: Persona) -> str:
    """Seen: a CPS under FORT PERSONNES, a CPE under STANDARD PERSONNES. The other kinds follow the nearest of the two."""
    return "FORT PERSONNES" if persona.kind in ("CPS", "CPF") else "STANDARD PERSONNES"


def common_name(persona: Persona) -> str:
    return persona.holder.identifier


def subject(persona: Persona) -> x509.Name:
    """Of the shape seen for the kind of card.

    The last element holds given name, common name and surname together; DER orders them by their encodings.
    """
    holder, employer = persona.holder, persona.organization
    single: list[tuple[x509.ObjectIdentifier, str | None]] = [(NameOID.COUNTRY_NAME, "FR")]
    if employer is not None and persona.kind in ("CPE", "CDE"):
        title = _SERVICE_TITLE if persona.anonymous else _TITLES[persona.kind]
        single += [
            (NameOID.STATE_OR_PROVINCE_NAME, employer.department),
            (NameOID.ORGANIZATION_NAME, employer.name),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, employer.identifier),
            (NameOID.TITLE, title),
        ]
    elif employer is not None:
        single += [
            (NameOID.ORGANIZATION_NAME, employer.name),
            (NameOID.LOCALITY_NAME, employer.department),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, employer.identifier),
        ]
    elif persona.kind == "CPF":
        single.append((NameOID.TITLE, FUTURE_PROFESSIONS.get(holder.future_profession or "")))
    else:
        single.append((NameOID.TITLE, PROFESSIONS.get(holder.profession or "")))
    names: list[tuple[x509.ObjectIdentifier, str | None]] = [
        (NameOID.GIVEN_NAME, holder.given_names),
        (NameOID.COMMON_NAME, common_name(persona)),
        (NameOID.SURNAME, holder.family_name),
    ]
    if persona.anonymous:
        single += [(NameOID.PSEUDONYM, holder.pseudonym)]
    elements = [[pair] for pair in single] + [names]
    return x509.Name(
        x509.RelativeDistinguishedName(x509.NameAttribute(oid, text) for oid, text in element if text)
        for element in elements
        if any(text for _, text in element)
    )


def validity(persona: Persona, today: date) -> tuple[datetime, datetime]:
    """Three years. The hour is late so that the last day counts whole, and the same day in Paris and in UTC."""
    moment = time(21, 59, 59, tzinfo=UTC)
    return (
        datetime.combine(persona.card.valid_from(today), moment),
        datetime.combine(persona.card.valid_until(today), moment),
    )


def _directory_entry(name: AuthorityName) -> str:
    return (
        f"{authorities.DIRECTORY}/cn={quote(name.common_name)},ou={quote(name.root.common_name)}"
        ",ou=IGC-SANTE%20TEST,ou=0002%20187512751,o=ASIP-SANTE,c=FR"
    )


def where_to_look(name: AuthorityName) -> list[x509.ExtensionType]:
    """CRL, delta CRL, OCSP and the issuer's certificate, at the addresses of the TEST environment."""
    entry, end = _directory_entry(name), ";binary?base?objectClass=pkiCA"
    site = authorities.SITE
    locations = [
        (AuthorityInformationAccessOID.OCSP, "http://ocsp.esante.gouv.fr"),
        (AuthorityInformationAccessOID.CA_ISSUERS, f"{site}/AC%20TEST/{name.stem}.cer"),
    ]
    return [
        x509.CRLDistributionPoints(authorities.points(f"{site}/CRL/{name.stem}.crl", f"{entry}?certificaterevocationlist{end}")),
        x509.FreshestCRL(authorities.points(f"{entry}?deltarevocationlist{end}")),
        x509.AuthorityInformationAccess(
            [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in locations]
        ),
    ]


def _private(number: int, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_PRIVATE}.{number}"), value)


def _what_the_card_is(persona: Persona) -> list[x509.ExtensionType]:
    """The private extensions, in the order seen: category, card type, card number, profession."""
    holder = persona.holder
    found: list[x509.ExtensionType] = [
        _private(5, octets(bytes([CATEGORIES[persona.category]]))),
        _private(2, integer(CARD_TYPES[persona.kind])),
        _private(3, tlv(0x13, f"{CARD_ISSUER}/{persona.card.number}".encode())),
    ]
    if holder.profession is not None:
        found.append(_private(7, integer(int(holder.profession))))
    if holder.future_profession is not None:
        found.append(_private(8, integer(int(holder.future_profession))))
    return found


def _usage(persona: Persona, usage: Usage, dates: tuple[datetime, datetime]) -> list[x509.ExtensionType]:
    if usage == "signature":
        first, last = (f"{moment:%Y%m%d%H%M%SZ}".encode() for moment in dates)
        period = sequence(tlv(0x80, first), tlv(0x81, last))
        return [
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.16"), period),  # privateKeyUsagePeriod
        ]
    principal = utf8(f"{common_name(persona)}@carte-cps.fr")
    return [
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, _SMARTCARD_LOGON]),
        x509.SubjectAlternativeName([x509.OtherName(_UPN, principal)]),
    ]


def serial_number(persona: Persona, usage: Usage, key: RSAPrivateKey, issuer_key: RSAPrivateKey, today: date) -> int:
    """16 bytes, the same for the same certificate, others as soon as anything in it changes: issuer and number name one."""
    keys = authorities.identifier(key).digest + authorities.identifier(issuer_key).digest
    content = repr((persona, usage, validity(persona, today))).encode() + b"encipherment" * persona.key_encipherment
    digest = bytearray(hashlib.sha256(content + keys).digest()[:16])
    digest[0] = digest[0] & 0x3F | 0x40
    return int.from_bytes(digest, "big")


def leaf_certificate(
    persona: Persona, usage: Usage, key: RSAPrivateKey, issuer_key: RSAPrivateKey, today: date
) -> x509.Certificate:
    issuer = AUTHORITIES[issuer_of(persona)]
    dates = validity(persona, today)
    signing = usage == "signature"
    builder = (
        x509.CertificateBuilder()
        .serial_number(serial_number(persona, usage, key, issuer_key, today))
        .subject_name(subject(persona))
        .issuer_name(authorities.distinguished_name(issuer))
        .not_valid_before(dates[0])
        .not_valid_after(dates[1])
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(False, None), critical=False)
        .add_extension(authorities.identifier(key), critical=False)
        .add_extension(authorities.authority_identifier(issuer_key), critical=False)
        .add_extension(
            authorities.key_usage(
                digital_signature=not signing,
                content_commitment=signing,
                key_encipherment=persona.key_encipherment and not signing,
            ),
            critical=True,
        )
        .add_extension(authorities.policies(_POLICY), critical=False)
    )
    for extension in _usage(persona, usage, dates) + where_to_look(issuer) + _what_the_card_is(persona):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def spoil_unused_bits(certificate: bytes) -> bytes:
    """The same certificate, its signature BIT STRING saying that 7 bits are unused, as some real cards have it."""
    at = len(certificate) - authorities.KEY_SIZE // 8 - 1
    return certificate[:at] + b"\x07" + certificate[at + 1 :]
