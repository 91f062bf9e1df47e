# SPDX-License-Identifier: Apache-2.0
"""Certificate revocation lists (RFC 5280, 5): checked once when loaded, then asked as often as one likes.

A list of an authority of health professionals may hold hundreds of thousands of entries: they are indexed, not decoded.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtensionOID

from cpxd.record import ber
from cpxd.record.certificate import CardCertificate
from cpxd.revocation import DAMAGED, HOLD, SKEW, Answer, unknown
from cpxd.text import Text

MAX_LIST = 64 << 20  # bytes
_UNDERSTOOD = {
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.CRL_NUMBER,
    ExtensionOID.DELTA_CRL_INDICATOR,
    ExtensionOID.FRESHEST_CRL,
    ExtensionOID.ISSUING_DISTRIBUTION_POINT,
}
_REASON_OID = bytes.fromhex("0603551D15")
_REASON_NAMES = {
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}
_REMOVED = "removeFromCRL"
_PARTIAL = ("liste partielle", "partial list")
_WEAK = ("md5", "sha1")
_TIMES = (0x17, 0x18)


class ListError(ValueError):
    """A list that is refused: `text` says why."""

    def __init__(self, french: str, english: str) -> None:
        super().__init__(english)
        self.text = Text(french, english)


class ForeignList(ListError):
    """A list of another authority."""


@dataclass(frozen=True)
class Entry:
    since: datetime
    reason: str  # key of REASONS, or "removeFromCRL" in a delta list


@dataclass(frozen=True)
class Scope:
    """Which certificates of its authority a list is about (RFC 5280, 5.2.5); the rest it says nothing of."""

    points: frozenset[str] = frozenset()  # addresses of its distribution point; empty: whatever the certificate names
    holders: bool = True  # those of persons and machines
    authorities: bool = True

    def covers(self, certificate: CardCertificate) -> bool:
        """Whether it is about this one, by the addresses that it names for lists, and by whose it is (RFC 5280, 6.3.3, b, 2)."""
        return self.about(certificate.crl_urls, authority="keyCertSign" in certificate.key_usage)

    def about(self, points: Collection[str], *, authority: bool) -> bool:
        return (self.authorities if authority else self.holders) and (not self.points or not self.points.isdisjoint(points))


WHOLE = Scope()


@dataclass(frozen=True)
class RevocationList:
    """A list whose signature was checked against its authority. Times are aware, UTC."""

    issuer: bytes = field(repr=False)  # DER of the authority's certificate
    number: int | None
    base: int | None  # of a delta list: the number of the full list it starts from
    this_update: datetime
    next_update: datetime
    scope: Scope
    der: bytes = field(repr=False)
    _index: array[int] = field(repr=False)  # sorted: checksum of the serial number << 32 | place of the entry in `der`

    def __len__(self) -> int:
        return len(self._index)

    def entry(self, serial: int) -> Entry | None:
        """What the list says of a certificate of its authority."""
        wanted = _contents(serial)
        low = zlib.crc32(wanted) << 32
        for place in range(bisect_left(self._index, low), len(self._index)):
            found = self._index[place]
            if found >> 32 != low >> 32:
                return None
            _, start, end = _header(self.der, found & 0xFFFFFFFF)
            _, content, after = _header(self.der, start)
            if self.der[content:after] == wanted:
                return _entry(self.der[after:end])
        return None


def load(der: bytes, issuer: bytes) -> RevocationList:
    """A list in DER, checked to be of this authority (certificate, DER). Raises ListError: damaged, foreign, partial, undated."""
    try:
        crl, authority = x509.load_der_x509_crl(der), x509.load_der_x509_certificate(issuer)
        extensions = {extension.oid: extension for extension in crl.extensions}
        ours = crl.issuer == authority.subject
    except DAMAGED:
        raise ListError("liste illisible", "unreadable list") from None
    if not ours:
        raise ForeignList("liste d'une autre autorité", "list of another authority")
    if not _signed(crl, der, authority):
        raise ListError("liste non authentique : sa signature est fausse", "list not genuine: its signature is wrong")
    strangers = [oid for oid, extension in extensions.items() if oid not in _UNDERSTOOD and extension.critical]
    if strangers:
        raise ListError(*_PARTIAL)
    scope = _scope(extensions.get(ExtensionOID.ISSUING_DISTRIBUTION_POINT))
    if crl.next_update_utc is None:
        raise ListError("liste sans date de fin", "list without an end date")
    number, base = extensions.get(ExtensionOID.CRL_NUMBER), extensions.get(ExtensionOID.DELTA_CRL_INDICATOR)
    return RevocationList(
        issuer=issuer,
        number=cast(x509.CRLNumber, number.value).crl_number if number else None,
        base=cast(x509.DeltaCRLIndicator, base.value).crl_number if base else None,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        scope=scope,
        der=der,
        _index=_indexed(der),
    )


def _scope(extension: x509.Extension[x509.ExtensionType] | None) -> Scope:
    """Raises ListError for a list of some reasons only, of several authorities, or of what no card has."""
    if extension is None:
        return WHOLE
    said = cast(x509.IssuingDistributionPoint, extension.value)
    points = frozenset(name.value for name in said.full_name or () if isinstance(name, x509.UniformResourceIdentifier))
    unnamed = said.relative_name is not None or (said.full_name is not None and not points)
    if unnamed or said.only_some_reasons or said.indirect_crl or said.only_contains_attribute_certs:
        raise ListError(*_PARTIAL)
    return Scope(points, not said.only_contains_ca_certs, not said.only_contains_user_certs)


def _signed(crl: x509.CertificateRevocationList, der: bytes, authority: x509.Certificate) -> bool:
    """Over the bytes as they came: to let the library write the list again takes longer than all the rest."""
    key, algorithm = authority.public_key(), crl.signature_hash_algorithm
    start = _header(der, 0)[1]
    signed = der[start : _header(der, start)[2]]
    if not _sealed(der):
        return False
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign or algorithm is None or algorithm.name in _WEAK:
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(crl.signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(crl.signature, signed, ec.ECDSA(algorithm))
        else:
            return False
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.ExtensionNotFound):
        return False
    return True


def _sealed(der: bytes) -> bool:
    """Whether what the signature does not cover is as it must be: the algorithm named twice alike, no unused bits."""
    start = _header(der, 0)[1]
    inner, end = _header(der, start)[1:]
    if der[inner] == 0x02:  # the version
        inner = _header(der, inner)[2]
    outer_end = _header(der, end)[2]
    same = der[end:outer_end] == der[inner : _header(der, inner)[2]]
    return same and der[_header(der, outer_end)[1]] == 0


def answer(full: RevocationList, delta: RevocationList | None, serial: int, now: datetime, *, covered: bool = False) -> Answer:
    """What a full list, and the delta list over it, say of a certificate of their authority at this moment. `covered`: whether
    it is known to be one of those that a list of a part is about; what is revoked is so all the same.

    Revoked does not go stale: a delta that does not fit the full list says that much all the same, unless its hold is the older.
    """
    if full.base is not None:
        return unknown("il n'y a qu'une liste partielle (delta)", "there is only a delta list")
    if delta is not None and delta.issuer != full.issuer:
        delta = None
    usable = delta if delta is not None and _fits(full, delta, now) else None
    teller, found = full, full.entry(serial)
    later = delta.entry(serial) if delta is not None else None
    if delta is not None and later is not None and (usable or _counts(later, full, delta)):
        teller, found = delta, later
    source = "CRL" if usable is None and teller is full else "CRL + delta"
    if found is not None and found.reason != _REMOVED:
        return Answer("revoked", since=found.since, reason=found.reason, source=source, told=teller.this_update)
    if not covered and full.scope != WHOLE:
        return unknown("cette liste ne couvre pas ce certificat", "this list does not cover this certificate")
    for item in (full, usable):
        if item is not None and not item.this_update <= now + SKEW:
            return unknown("la liste est datée de demain : vérifiez l'horloge", "the list is of tomorrow: check the clock")
    if now >= full.next_update:
        return unknown(
            f"la liste est périmée depuis le {full.next_update:%d/%m/%Y %H:%M} UTC",
            f"the list went stale on {full.next_update:%Y-%m-%d %H:%M} UTC",
        )
    until = full.next_update if usable is None else min(full.next_update, usable.next_update)
    return Answer("good", until=until, source=source, told=(usable or full).this_update)


def _counts(entry: Entry, full: RevocationList, delta: RevocationList) -> bool:
    """Of a delta that cannot stand over the full list: a removal does not, a hold if nothing newer can have lifted it."""
    return entry.reason != _REMOVED and (entry.reason != HOLD or delta.this_update > full.this_update)


def _fits(full: RevocationList, delta: RevocationList, now: datetime) -> bool:
    """RFC 5280, 5.2.4: it has the scope of the full list, starts at or before it, is not older than it, and holds now."""
    if full.scope != delta.scope or None in (full.number, delta.number, delta.base):
        return False
    numbers = cast(tuple[int, int, int], (full.number, delta.number, delta.base))
    return numbers[2] <= numbers[0] <= numbers[1] and delta.this_update <= now + SKEW and now < delta.next_update


# --- the entries, in DER --------------------------------------------------------------------------------------------


def _contents(serial: int) -> bytes:
    """Contents of the INTEGER."""
    return serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=serial < 0)


def _header(der: bytes, at: int) -> tuple[int, int, int]:
    """(tag, start, end of the contents) of the element at a place of a list that was decoded once as a whole."""
    length = der[at + 1]
    if length < 0x80:
        return der[at], at + 2, at + 2 + length
    start = at + 2 + (length & 0x7F)
    return der[at], start, start + int.from_bytes(der[at + 2 : start], "big")


def _revoked(der: bytes) -> tuple[int, int]:
    """Where revokedCertificates lies: the SEQUENCE behind the dates (RFC 5280, 5.1); nothing when there is none."""
    at, end = _header(der, _header(der, 0)[1])[1:]
    dated = False
    while at < end:
        tag, start, after = _header(der, at)
        if tag == 0x30 and dated:
            return start, after
        dated = dated or tag in _TIMES
        at = after
    return end, end


def _indexed(der: bytes) -> array[int]:
    """See RevocationList. One turn of the loop an entry: it may turn a million times."""
    crc, places = zlib.crc32, []
    at, end = _revoked(der)
    while at < end:
        length = der[at + 1]
        if length < 0x80:
            inner, after = at + 2, at + 2 + length
        else:
            _, inner, after = _header(der, at)
        size = der[inner + 1]  # of a serial number: never 128 bytes (RFC 5280, 4.1.2.2: at most 20)
        places.append(crc(der[inner + 2 : inner + 2 + size]) << 32 | at)
        at = after
    places.sort()
    return array("Q", places)


def _entry(rest: bytes) -> Entry:
    """What stands behind the serial number: a date, and extensions of which only the reason matters here."""
    parts = ber.elements(rest)
    since = ber.time(parts[0].value) if parts else None
    if since is None:
        since = datetime.fromtimestamp(0, UTC)  # revoked, from when is not readable: from always
    extensions = ber.elements(parts[1].value) if len(parts) > 1 else []
    reasons = (ber.elements(item.value) for item in extensions)
    code = next((_reason(found[-1].value) for found in reasons if found and found[0].encode() == _REASON_OID), 0)
    return Entry(since, _REASON_NAMES.get(code, "unspecified"))


def _reason(value: bytes) -> int:
    found = ber.first(ber.elements(value), 0x0A)
    return int.from_bytes(found.value[-1:], "big") if found is not None else 0
