# SPDX-License-Identifier: Apache-2.0
"""Certificates of the shapes decoded from public TEST certificates of IGC-Santé, made for the tests (with small EC keys)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

_OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "title": NameOID.TITLE,
    "GN": NameOID.GIVEN_NAME,
    "SN": NameOID.SURNAME,
    "CN": NameOID.COMMON_NAME,
    "pseudonym": NameOID.PSEUDONYM,
}
LDAP = (
    "ldap://annuaire-igc.esante.gouv.fr/cn=TEST AC,ou=IGC-SANTE TEST,o=ASIP-SANTE,c=FR"
    "?certificaterevocationlist;binary?base?objectClass=pkiCA"
)


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Shape:
    """What varies. `subject`: one element each, except the last names, which share one."""

    subject: list[tuple[str, str]]
    names: list[tuple[str, str]] = field(default_factory=list)
    signature: bool = False
    category: bytes | None = b"\x04\x01\x80"
    card_type: bytes | None = b"\x02\x01\x00"
    card_id: str | None = "8025000001/2800262487"
    profession: bytes | None = None
    future_profession: bytes | None = None
    upn: str | None = None
    issuer: str = "TEST AC IGC-SANTE FORT PERSONNES"


NURSE = Shape(
    [("C", "FR"), ("title", "Infirmier")],
    [("GN", "ÉLODIE"), ("CN", "00B6077602"), ("SN", "TESTINFIRMIÈRE")],
    signature=True,
    profession=b"\x02\x01\x3c",
)
EMPLOYEE = Shape(
    [("C", "FR"), ("ST", "Paris (75)"), ("O", "CENTRE TEST"), ("OU", "10B0057881"), ("title", "Personnel santé ou social")],
    [("GN", "JEAN"), ("CN", "30B0057881/CPET0002"), ("SN", "TESTEMPLOYE")],
    card_type=b"\x02\x01\x02",
    card_id="8025000001/2600301752",
    upn="30B0057881/CPET0002@carte-cps.fr",
    issuer="TEST AC IGC-SANTE STANDARD PERSONNES",
)


def build(shape: Shape) -> bytes:
    """The certificate, DER."""

    def name(text: str, kind: str) -> x509.NameAttribute[Any]:
        return x509.NameAttribute(_OIDS[kind], text)

    rdns = [x509.RelativeDistinguishedName([name(text, kind)]) for kind, text in shape.subject]
    if shape.names:
        rdns.append(x509.RelativeDistinguishedName([name(text, kind) for kind, text in shape.names]))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(rdns))
        .issuer_name(x509.Name([name("FR", "C"), name("ASIP-SANTE", "O"), name(shape.issuer, "CN")]))
        .public_key(_key().public_key())
        .serial_number(0x0102030405060708090A0B0C0D0E0F10)
        .not_valid_before(datetime(2020, 3, 4, 10, 20, 30, tzinfo=UTC))
        .not_valid_after(datetime(2023, 3, 4, 10, 20, 30, tzinfo=UTC))
    )
    for extension, critical in _extensions(shape):
        builder = builder.add_extension(extension, critical)
    return builder.sign(_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _extensions(shape: Shape) -> list[tuple[x509.ExtensionType, bool]]:
    usage = {"digital_signature": not shape.signature, "content_commitment": shape.signature}
    others = (
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    purposes = (
        [ExtendedKeyUsageOID.EMAIL_PROTECTION]
        if shape.signature
        else [ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")]
    )

    def points(*urls: str) -> list[x509.DistributionPoint]:
        return [x509.DistributionPoint([x509.UniformResourceIdentifier(url) for url in urls], None, None, None)]

    access = [
        (AuthorityInformationAccessOID.OCSP, "http://ocsp.esante.gouv.fr"),
        (AuthorityInformationAccessOID.CA_ISSUERS, "http://igc-sante.esante.gouv.fr/AC%20TEST/ACI-FO-PP-TEST.cer"),
    ]
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), False),
        (x509.KeyUsage(**usage, **dict.fromkeys(others, False)), True),
        (
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier("1.2.250.1.213.1.7.2.1.1.1.1"), ["http://x/PC"])]
            ),
            False,
        ),
        (x509.ExtendedKeyUsage(purposes), False),
        (x509.CRLDistributionPoints(points("http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP-TEST.crl", LDAP)), False),
        (x509.FreshestCRL(points(LDAP.replace("certificate", "delta"))), False),
        (
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(kind, x509.UniformResourceIdentifier(url)) for kind, url in access]
            ),
            False,
        ),
    ]
    if shape.upn:
        value = shape.upn.encode()
        upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c" + bytes([len(value)]) + value)
        found.append((x509.SubjectAlternativeName([upn]), False))
    card_id = None if shape.card_id is None else b"\x13" + bytes([len(shape.card_id)]) + shape.card_id.encode()
    private = {5: shape.category, 2: shape.card_type, 3: card_id, 7: shape.profession, 8: shape.future_profession}
    for arc, content in private.items():
        if content is not None:
            oid = x509.ObjectIdentifier(f"1.2.250.1.71.1.2.{arc}")
            found.append((x509.UnrecognizedExtension(oid, content), False))
    return found
