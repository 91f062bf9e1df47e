# SPDX-License-Identifier: Apache-2.0
"""The nine authorities of IGC-Santé TEST: three roots, and under each one for organisations and one for persons.

Names, dates, extensions and their order are those of the certificates the real authorities publish; the keys are ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

SITE = "http://igc-sante.esante.gouv.fr"
DIRECTORY = "ldap://annuaire-igc.esante.gouv.fr"
KEY_SIZE = 4096
_ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
_LEVELS = {"ELEMENTAIRE": "EL", "STANDARD": "ST", "FORT": "FO"}
_SIDES = {"ORGANISATIONS": "ORG", "PERSONNES": "PP"}


@dataclass(frozen=True)
class AuthorityName:
    """ "FORT" is a root, "FORT PERSONNES" the authority under it for persons."""

    level: str
    side: str | None = None

    @property
    def common_name(self) -> str:
        if self.side is None:
            return f"TEST AC RACINE IGC-SANTE {self.level}"
        return f"TEST AC IGC-SANTE {self.level} {self.side}"

    @property
    def stem(self) -> str:
        """Of its files on the site: "ACR-FO-TEST", "ACI-FO-PP-TEST"."""
        if self.side is None:
            return f"ACR-{_LEVELS[self.level]}-TEST"
        return f"ACI-{_LEVELS[self.level]}-{_SIDES[self.side]}-TEST"

    @property
    def root(self) -> AuthorityName:
        return AuthorityName(self.level)


AUTHORITIES = {
    name: authority
    for level in _LEVELS
    for name, authority in [
        (level, AuthorityName(level)),
        *((f"{level} {side}", AuthorityName(level, side)) for side in _SIDES),
    ]
}


@dataclass(frozen=True)
class Authority:
    name: AuthorityName
    certificate: x509.Certificate
    key: RSAPrivateKey


def utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def distinguished_name(authority: AuthorityName) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ASIP-SANTE"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 187512751"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE TEST"),
            x509.NameAttribute(NameOID.COMMON_NAME, authority.common_name),
        ]
    )


def policies(policy: x509.ObjectIdentifier) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(policy, [f"{SITE}/PC%20TEST"])])


def points(*addresses: str) -> list[x509.DistributionPoint]:
    return [x509.DistributionPoint([x509.UniformResourceIdentifier(a)], None, None, None) for a in addresses]


def key_usage(**used: bool) -> x509.KeyUsage:
    bits = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: used.get(bit, False) for bit in bits})


def identifier(key: RSAPrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def authority_identifier(key: RSAPrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier(key))


def _root_crl_points(root: AuthorityName) -> x509.CRLDistributionPoints:
    entry = f"CN={quote(root.common_name)},OU=IGC-SANTE%20TEST,OU=0002%20187512751,O=ASIP-SANTE,C=FR"
    query = "?certificaterevocationlist;binary?base?objectclass=pkiCa"
    return x509.CRLDistributionPoints(points(f"{SITE}/CRL/{root.stem}.crl", f"{DIRECTORY}/{entry}{query}"))


def authority_certificate(name: AuthorityName, key: RSAPrivateKey, issuer_key: RSAPrivateKey) -> x509.Certificate:
    """The certificate of an authority, the same whenever it is made from the same keys: number and dates are fixed."""
    number = hashlib.sha256(identifier(key).digest + identifier(issuer_key).digest).digest()[:16]
    builder = (
        x509.CertificateBuilder()
        .serial_number(int.from_bytes(b"\x11\x20" + number, "big"))  # 18 bytes that start so, as the real ones
        .subject_name(distinguished_name(name))
        .issuer_name(distinguished_name(name.root))
        .not_valid_before(utc(2013, 6, 25))
        .not_valid_after(utc(2033, 6, 25) if name.side is None else utc(2033, 6, 24))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(True, None if name.side is None else 0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(policies(_ANY_POLICY), critical=False)
    )
    if name.side is not None:
        builder = builder.add_extension(_root_crl_points(name.root), critical=False)
    return (
        builder.add_extension(identifier(key), critical=False)
        .add_extension(authority_identifier(issuer_key), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
