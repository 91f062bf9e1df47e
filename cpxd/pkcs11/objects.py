# SPDX-License-Identifier: Apache-2.0
"""The objects of a token, in the order and with the attributes that the official library shows (docs/PKCS11.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from asn1crypto import x509
from asn1crypto.core import Integer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from cpxd.card.application import Usage
from cpxd.pkcs11.ck import CKA, CKO, UNAVAILABLE
from cpxd.pkcs11.wire import Attribute, from_native, native
from cpxd.record.certificate import CardCertificate
from cpxd.record.pkcs15 import CertificateObject, DataObject, PrivateKeyObject
from cpxd.service.token import Token

_YES, _NO = b"\x01", b"\x00"
_CKC_X_509, _CKK_RSA = native(0), native(0)
_TOKEN_USER, _AUTHORITY = native(1), native(2)  # CKA_CERTIFICATE_CATEGORY
_CKP_PUBLIC_CERTIFICATES_TOKEN = native(4)
_OBJECT_ID = b"\xff\xff\xff\xff" + bytes(60)  # what the official library gives for want of an OID in the DODF
_PUBLIC_KEY_LABEL = "Cle publique - "
_SECRET = (
    CKA.PRIVATE_EXPONENT,
    CKA.PRIME_1,
    CKA.PRIME_2,
    CKA.EXPONENT_1,
    CKA.EXPONENT_2,
    CKA.COEFFICIENT,
)
Attributes = dict[int, bytes]


@dataclass(frozen=True, eq=False)
class Object:
    """`attributes` holds all values but a data object's CKA_VALUE, which is on the card (`data`)."""

    attributes: Attributes = field(repr=False)
    private: bool = False
    data: DataObject | None = None
    usage: Usage | None = None  # of a private or public key
    public_key: RSAPublicKey | None = None

    @property
    def kind(self) -> int:
        return from_native(self.attributes[CKA.CLASS])

    def sensitive(self, attribute: int) -> bool:
        return self.kind == CKO.PRIVATE_KEY and attribute in _SECRET

    def matches(self, template: Sequence[Attribute], value: bytes | None) -> bool:
        """Whether all attributes of a search are ours; `value` is a data object's CKA_VALUE, when it is known."""
        for kind, wanted in template:
            own = value if kind == CKA.VALUE and self.data is not None else self.attributes.get(kind)
            if own is None or wanted is None:
                return False
            # serial numbers are shown bare; who searches may write them in DER, as the standard has it
            if own != wanted and not (kind == CKA.SERIAL_NUMBER and wanted[2:] == own and wanted[:1] == b"\x02"):
                return False
        return True


@dataclass(frozen=True)
class Catalog:
    """All objects of one inserted card; the first one has the handle `base`."""

    base: int
    objects: tuple[Object, ...]

    def get(self, handle: int) -> Object | None:
        index = handle - self.base
        return self.objects[index] if 0 <= index < len(self.objects) else None

    def visible(self, *, private: bool) -> Iterator[tuple[int, Object]]:
        for index, item in enumerate(self.objects):
            if private or not item.private:
                yield self.base + index, item


def build(token: Token, base: int, authorities: Iterable[CardCertificate], *, private_keys: bool = True) -> Catalog:
    """`private_keys` False: private keys are seen without login (the mode in which our own dialog asks)."""
    found: list[Object] = []
    pairs = list(zip(token.tree.certificates, token.certificates, strict=True))
    for key in token.tree.keys:
        certificate = token.certificate_of(key)
        public = _rsa(certificate)
        if certificate is None or public is None:
            continue
        usage = token.usage(key)
        found.append(_private_key(key, usage, public, private=private_keys and not token.contactless))
        for (entry, _), parsed in pairs:
            if entry.id == key.id and parsed is not None and (own := _rsa(parsed)) is not None:
                found += (_certificate(entry, parsed), _public_key(entry, parsed, usage, own))
    for (entry, _), parsed in pairs:
        if parsed is not None and not any(entry.id == key.id for key in token.tree.keys):
            found.append(_certificate(entry, parsed))
    found += [_data(entry) for entry in token.data if entry.private]
    found += [_data(entry) for entry in token.data if not entry.private]
    found.append(_profile())
    found += [_authority(certificate) for certificate in authorities]
    return Catalog(base, tuple(found))


def _rsa(certificate: CardCertificate | None) -> RSAPublicKey | None:
    if certificate is None:
        return None
    try:
        key = load_der_public_key(certificate.spki)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _storage(kind: CKO, label: str, *, private: bool = False, modifiable: bool = False) -> Attributes:
    return {
        CKA.CLASS: native(kind),
        CKA.TOKEN: _YES,
        CKA.PRIVATE: _flag(private),
        CKA.LABEL: label.encode(),
        CKA.MODIFIABLE: _flag(modifiable),
        CKA.COPYABLE: _NO,
        CKA.DESTROYABLE: _NO,
    }


def _flag(value: bool) -> bytes:
    return _YES if value else _NO


def _modulus(public: RSAPublicKey) -> Attributes:
    numbers = public.public_numbers()
    return {
        CKA.MODULUS: numbers.n.to_bytes(public.key_size // 8, "big"),
        CKA.PUBLIC_EXPONENT: numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big"),
        CKA.MODULUS_BITS: native(public.key_size),
    }


def _private_key(key: PrivateKeyObject, usage: Usage | None, public: RSAPublicKey, *, private: bool) -> Object:
    able = usage is not None
    attributes = {
        **_storage(CKO.PRIVATE_KEY, key.label, private=private),
        CKA.KEY_TYPE: _CKK_RSA,
        CKA.ID: key.id,
        CKA.SUBJECT: b"",
        CKA.START_DATE: b"",
        CKA.END_DATE: b"",
        CKA.SENSITIVE: _YES,
        CKA.ALWAYS_SENSITIVE: _YES,
        CKA.EXTRACTABLE: _NO,
        CKA.NEVER_EXTRACTABLE: _YES,
        CKA.LOCAL: _YES,
        CKA.KEY_GEN_MECHANISM: native(UNAVAILABLE),
        CKA.SIGN: _flag(able),
        CKA.DECRYPT: _flag(usage == "authentication"),
        CKA.SIGN_RECOVER: _NO,
        CKA.UNWRAP: _NO,
        CKA.DERIVE: _NO,
        CKA.ENCRYPT: _NO,
        CKA.VERIFY: _NO,
        CKA.WRAP: _NO,
        CKA.WRAP_WITH_TRUSTED: _NO,
        CKA.ALWAYS_AUTHENTICATE: _NO,
        **_modulus(public),
        CKA.PUBLIC_KEY_INFO: public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }
    return Object(attributes, private=private, usage=usage, public_key=public)


def _certificate(entry: CertificateObject, certificate: CardCertificate) -> Object:
    return Object(_certificate_attributes(certificate, entry.label, entry.id, _TOKEN_USER))


def _authority(certificate: CardCertificate) -> Object:
    # PKCS#11 3.0 §4.6.3: the subject key identifier; without one, as RFC 5280 §4.2.1.2 makes it, method 1
    parsed = x509.Certificate.load(certificate.der)
    identifier = parsed.key_identifier or parsed.public_key.sha1
    label = certificate.subject.common_name or certificate.subject.text
    return Object(_certificate_attributes(certificate, label, identifier, _AUTHORITY))


def _certificate_attributes(certificate: CardCertificate, label: str, identifier: bytes, category: bytes) -> Attributes:
    return {
        **_storage(CKO.CERTIFICATE, label),
        CKA.CERTIFICATE_TYPE: _CKC_X_509,
        CKA.CERTIFICATE_CATEGORY: category,
        CKA.TRUSTED: _NO,
        CKA.ID: identifier,
        CKA.SUBJECT: certificate.subject.der,
        CKA.ISSUER: certificate.issuer.der,
        CKA.SERIAL_NUMBER: Integer(certificate.serial).contents,
        CKA.VALUE: certificate.der,
        CKA.CHECK_VALUE: hashlib.sha1(certificate.der, usedforsecurity=False).digest()[:3],
        CKA.START_DATE: f"{certificate.not_before:%Y%m%d}".encode(),
        CKA.END_DATE: f"{certificate.not_after:%Y%m%d}".encode(),
        CKA.PUBLIC_KEY_INFO: certificate.spki,
    }


def _public_key(entry: CertificateObject, certificate: CardCertificate, usage: Usage | None, public: RSAPublicKey) -> Object:
    attributes = {
        **_storage(CKO.PUBLIC_KEY, _PUBLIC_KEY_LABEL + entry.label),
        CKA.KEY_TYPE: _CKK_RSA,
        CKA.ID: entry.id,
        CKA.SUBJECT: certificate.subject.der,
        CKA.START_DATE: b"",
        CKA.END_DATE: b"",
        CKA.LOCAL: _NO,
        CKA.KEY_GEN_MECHANISM: native(UNAVAILABLE),
        CKA.ENCRYPT: _YES,
        CKA.VERIFY: _YES,
        CKA.VERIFY_RECOVER: _YES,
        CKA.WRAP: _NO,
        CKA.DERIVE: _NO,
        CKA.TRUSTED: _NO,
        **_modulus(public),
        CKA.VALUE: public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        CKA.PUBLIC_KEY_INFO: certificate.spki,
    }
    return Object(attributes, usage=usage, public_key=public)


def _data(entry: DataObject) -> Object:
    attributes = {
        **_storage(CKO.DATA, entry.label, private=entry.private, modifiable=entry.modifiable),
        CKA.APPLICATION: b"CPS",
        CKA.OBJECT_ID: _OBJECT_ID,
    }
    return Object(attributes, private=entry.private, data=entry)


def _profile() -> Object:
    # PROFILE_ID is unknown to the RPC's table of types: it travels as eight native bytes
    attributes = {**_storage(CKO.PROFILE, ""), CKA.PROFILE_ID: _CKP_PUBLIC_CERTIFICATES_TOKEN}
    return Object(attributes)
