# SPDX-License-Identifier: Apache-2.0
"""The X.509 certificates of a card (RFC 5280) with the private extensions of IGC-Santé (1.2.250.1.71.1.2.*).

An extension that cannot be read is as if it were absent: what a card's issuer adds tomorrow must not hide its holder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from asn1crypto import core, x509

from cpxd.record import ber
from cpxd.record.errors import RecordError
from cpxd.tlv import tlv

R = TypeVar("R")
Usage = Literal["signature", "authentication", "technical"]

_NAMES = {  # attribute type → field of Subject, short name (RFC 4514, X.520)
    "2.5.4.6": ("country", "C"),
    "2.5.4.10": ("organization", "O"),
    "2.5.4.11": ("unit", "OU"),
    "2.5.4.7": ("locality", "L"),
    "2.5.4.8": ("state", "ST"),
    "2.5.4.12": ("title", "title"),
    "2.5.4.42": ("given_name", "GN"),
    "2.5.4.4": ("surname", "SN"),
    "2.5.4.3": ("common_name", "CN"),
    "2.5.4.65": ("pseudonym", "pseudonym"),
}
_KEY_USAGE = (
    "digitalSignature nonRepudiation keyEncipherment dataEncipherment keyAgreement keyCertSign cRLSign encipherOnly decipherOnly"
)
_UPN = "1.3.6.1.4.1.311.20.2.3"
_OCSP, _CA_ISSUERS = "1.3.6.1.5.5.7.48.1", "1.3.6.1.5.5.7.48.2"
_CATEGORY = "1.2.250.1.71.1.2.5"  # G01
_CARD_TYPE = "1.2.250.1.71.1.2.2"  # G02
_CARD_ID = "1.2.250.1.71.1.2.3"  # "issuer number/card number"
_PROFESSION = "1.2.250.1.71.1.2.7"  # G15
_FUTURE_PROFESSION = "1.2.250.1.71.1.2.8"  # G16; not seen in any certificate, deduced from its place
_KNOWN = {_CATEGORY, _CARD_TYPE, _CARD_ID, _PROFESSION, _FUTURE_PROFESSION}
_PRIVATE_ARCS = ("1.2.250.1.71.", "1.2.250.1.213.")  # GIP-CPS, ASIP Santé / ANS


@dataclass(frozen=True, slots=True)
class Subject:
    """A distinguished name: the first value of each attribute, and all of it as text (RFC 4514) and DER."""

    text: str
    der: bytes = field(repr=False)
    country: str | None = None
    organization: str | None = None
    unit: str | None = None
    locality: str | None = None
    state: str | None = None
    title: str | None = None
    given_name: str | None = None
    surname: str | None = None
    common_name: str | None = None
    pseudonym: str | None = None


@dataclass(frozen=True, slots=True)
class CardCertificate:
    der: bytes = field(repr=False)  # without padding; repaired when the card's copy was not valid DER
    label: str  # of the card's object, "" when unknown
    repaired: bool
    subject: Subject
    issuer: Subject
    serial: int
    not_before: datetime  # UTC
    not_after: datetime
    spki: bytes = field(repr=False)  # SubjectPublicKeyInfo, DER
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...]  # OIDs
    policies: tuple[str, ...]  # OIDs
    crl_urls: tuple[str, ...]
    delta_crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]
    upn: str | None
    category: str | None  # code of G01: "00" real, "80" test
    card_type: str | None  # code of G02
    issuer_number: str | None
    card_number: str | None
    profession: str | None  # code of G15
    future_profession: str | None  # code of G16
    private_extensions: tuple[tuple[str, bytes], ...]  # other extensions of the health sector, undecoded

    @property
    def serial_hex(self) -> str:
        return f"{self.serial:X}".zfill(2)

    @property
    def usage(self) -> Usage | None:
        """What the key is for. Nothing in the certificate tells the technical (contactless) key apart; its label does."""
        if "technique" in self.label.casefold():
            return "technical"
        if "nonRepudiation" in self.key_usage:
            return "signature"
        return "authentication" if "digitalSignature" in self.key_usage else None

    @property
    def is_signature(self) -> bool:
        return self.usage == "signature"

    @property
    def is_authentication(self) -> bool:
        return self.usage == "authentication"

    @property
    def is_technical(self) -> bool:
        return self.usage == "technical"


def parse_certificate(data: bytes, label: str = "") -> CardCertificate:
    """The certificate at the start of `data`; padding after it is cut. `label` is that of its object in the CDF.

    RecordError when it is no certificate: no structure, name, dates or key.
    """
    der, repaired = _repair(data)
    try:
        return _decode(x509.Certificate.load(der), der, label, repaired)
    except RecordError:
        raise
    except Exception as error:  # asn1crypto raises half a dozen kinds on hostile bytes; all mean the same here
        raise RecordError(f"no X.509 certificate: {type(error).__name__}") from None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What stands before the subject of a certificate."""

    serial: int
    issuer: Subject
    not_before: datetime  # UTC
    not_after: datetime


def parse_beginning(data: bytes) -> Beginning:
    """Of a certificate of which the first bytes were read. RecordError when they are none, or too few."""
    parts = [part for part in ber.entries(_opened(_opened(data))) if part is not None]
    if parts and parts[0].tag == 0xA0:  # version
        del parts[0]
    if len(parts) < 4 or [part.tag for part in parts[:4]] != [0x02, 0x30, 0x30, 0x30]:
        raise RecordError("no beginning of a certificate")
    serial, _, issuer, validity = (part.encode() for part in parts[:4])
    try:
        dates = x509.Validity.load(validity)
        name = _name(x509.Name.load(issuer))
        return Beginning(int(core.Integer.load(serial).native), name, _date(dates["not_before"]), _date(dates["not_after"]))
    except RecordError:
        raise
    except Exception as error:  # as in parse_certificate
        raise RecordError(f"no beginning of a certificate: {type(error).__name__}") from None


def _opened(data: bytes) -> bytes:
    """What follows the head of a SEQUENCE that may be cut short."""
    if len(data) < 2 or data[0] != 0x30:
        raise RecordError("no certificate: not a SEQUENCE")
    return data[2 + (data[1] & 0x7F if data[1] & 0x80 else 0) :]


def _repair(data: bytes) -> tuple[bytes, bool]:
    """Cards exist whose signature BIT STRING says it has unused bits: that byte is set to 0, as every reader does."""
    whole = next(ber.entries(data), None)
    parts = [] if whole is None else ber.elements(whole.value)
    if whole is None or whole.tag != 0x30 or len(parts) != 3 or parts[2].tag != 0x03 or not parts[2].value:
        raise RecordError("no certificate: not a SEQUENCE of three parts")
    signature = parts[2].value
    if not whole.value.endswith(signature):
        raise RecordError("no certificate: bytes after the signature")
    if signature[0] == 0:
        return whole.encode(), False
    return tlv(0x30, whole.value[: -len(signature)] + b"\x00" + signature[1:]), True


def _decode(certificate: Any, der: bytes, label: str, repaired: bool) -> CardCertificate:
    tbs = certificate["tbs_certificate"]
    extensions = _extensions(tbs)
    issuer_number, card_number = _card_id(extensions.get(_CARD_ID))
    access = _access(extensions.get("1.3.6.1.5.5.7.1.1"))
    usage = extensions.get("2.5.29.15")
    return CardCertificate(
        der=der,
        label=label,
        repaired=repaired,
        subject=_name(tbs["subject"]),
        issuer=_name(tbs["issuer"]),
        serial=int(tbs["serial_number"].native),
        not_before=_date(tbs["validity"]["not_before"]),
        not_after=_date(tbs["validity"]["not_after"]),
        spki=tbs["subject_public_key_info"].dump(),
        key_usage=frozenset() if usage is None else _try(lambda: ber.names(ber.only(usage, 0x03), _KEY_USAGE), frozenset()),
        extended_key_usage=_oids(x509.ExtKeyUsageSyntax, extensions.get("2.5.29.37")),
        policies=_oids(x509.CertificatePolicies, extensions.get("2.5.29.32"), "policy_identifier"),
        crl_urls=_distribution_urls(extensions.get("2.5.29.31")),
        delta_crl_urls=_distribution_urls(extensions.get("2.5.29.46")),
        ocsp_urls=tuple(url for method, url in access if method == _OCSP),
        issuer_urls=tuple(url for method, url in access if method == _CA_ISSUERS),
        upn=_upn(extensions.get("2.5.29.17")),
        category=_code(extensions.get(_CATEGORY)),
        card_type=_code(extensions.get(_CARD_TYPE)),
        issuer_number=issuer_number,
        card_number=card_number,
        profession=_code(extensions.get(_PROFESSION)),
        future_profession=_code(extensions.get(_FUTURE_PROFESSION)),
        private_extensions=tuple(
            (oid, value) for oid, value in extensions.items() if oid.startswith(_PRIVATE_ARCS) and oid not in _KNOWN
        ),
    )


def _try(decode: Callable[[], R], default: R) -> R:
    try:
        return decode()
    except Exception:  # see parse_certificate; an unreadable extension counts as absent
        return default


def _extensions(tbs: Any) -> dict[str, bytes]:
    """Values by OID, the first of each. An unreadable list is an empty one."""

    def read() -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for extension in tbs["extensions"]:
            found.setdefault(extension["extn_id"].dotted, bytes(extension["extn_value"].contents))
        return found

    return _try(read, {})


def _name(name: Any) -> Subject:
    values: dict[str, str] = {}
    rdns: list[str] = []
    for rdn in name.chosen:
        parts: list[str] = []
        for attribute in rdn:
            oid, value = attribute["type"].dotted, _string(attribute["value"])
            field_name, short = _NAMES.get(oid, ("", oid))
            if field_name:
                values.setdefault(field_name, value)
            parts.append(f"{short}={_escaped(value)}")
        rdns.append("+".join(parts))
    return Subject(text=",".join(reversed(rdns)), der=name.dump(), **values)


def _string(value: Any) -> str:
    """Contents of a DirectoryString of any kind: UTF-8 or Latin-1, 16-bit for a BMPString."""
    inner = value.chosen if isinstance(value, x509.DirectoryString) else value
    contents = bytes(inner.contents or b"")
    if inner.tag == 0x1E:
        return contents.decode("utf-16-be", "replace").strip("\x00 ")
    return ber.text(contents)


def _escaped(value: str) -> str:
    """RFC 4514, 2.4."""
    escaped = "".join("\\" + char if char in ',+"\\<>;' else char for char in value).replace("\x00", "\\00")
    return "\\" + escaped if escaped[:1] in ("#", " ") else escaped


def _date(choice: Any) -> datetime:
    moment = ber.time(bytes(choice.chosen.contents))
    if moment is None:
        raise RecordError("certificate with a date that is none")
    return moment


def _oids(kind: Any, value: bytes | None, item: str = "") -> tuple[str, ...]:
    if value is None:
        return ()
    return _try(lambda: tuple((part[item] if item else part).dotted for part in kind.load(value)), ())


def _distribution_urls(value: bytes | None) -> tuple[str, ...]:
    def read() -> tuple[str, ...]:
        points = x509.CRLDistributionPoints.load(value)
        names = (p["distribution_point"].chosen for p in points if p["distribution_point"].native is not None)
        return tuple(_url(n) for full in names for n in full if n.name == "uniform_resource_identifier")

    return () if value is None else _try(read, ())


def _access(value: bytes | None) -> tuple[tuple[str, str], ...]:
    """(method, URL) of the authority information access."""

    def read() -> tuple[tuple[str, str], ...]:
        descriptions = x509.AuthorityInfoAccessSyntax.load(value)
        pairs = ((d["access_method"].dotted, d["access_location"]) for d in descriptions)
        return tuple((method, _url(n)) for method, n in pairs if n.name == "uniform_resource_identifier")

    return () if value is None else _try(read, ())


def _url(name: Any) -> str:
    # Not `.native`: it would parse and rewrite the URL, and the LDAP ones hold characters it refuses.
    return ber.text(bytes(name.chosen.contents))


def _upn(value: bytes | None) -> str | None:
    def read() -> str | None:
        for name in x509.GeneralNames.load(value):
            if name.name == "other_name" and name.chosen["type_id"].dotted == _UPN:
                return ber.text(ber.only(ber.only(name.chosen["value"].dump(), 0xA0).value, 0x0C, 0x16).value)
        return None

    return None if value is None else _try(read, None)


def _code(value: bytes | None) -> str | None:
    """A code as the tables write it: INTEGER 60 is "60", OCTET STRING 80 (a byte) is "80"; a string is itself."""
    element = None if value is None else next(ber.entries(value), None)
    if element is None:
        return None
    if element.tag == 0x02:
        return _try(lambda: f"{ber.integer(element):02d}", None)
    return element.value.hex().upper() if element.tag == 0x04 else ber.text(element.value)


def _card_id(value: bytes | None) -> tuple[str | None, str | None]:
    """ "8025000001/2600301752" → issuer, card number; without a slash it is all card number."""
    text = _code(value)
    if text is None:
        return None, None
    issuer, slash, number = text.partition("/")
    return (issuer, number) if slash else (None, issuer)
