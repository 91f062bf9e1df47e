# SPDX-License-Identifier: Apache-2.0
"""EF.CIAInfo (5032), called EF.TokenInfo by PKCS#15 v1.1 (section 6.9): what the card says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asn1crypto.core import ObjectIdentifier

from cpxd.record import ber
from cpxd.record.errors import RecordError
from cpxd.tlv import Tlv

_FLAGS = "readonly loginRequired prnGeneration eidCompliant"
_OPERATIONS = "computeChecksum computeSignature verifyChecksum verifySignature encipher decipher hash generateKey"
_MECHANISMS = {
    0x0001: "CKM_RSA_PKCS",
    0x0003: "CKM_RSA_X_509",
    0x0006: "CKM_SHA1_RSA_PKCS",
    0x000D: "CKM_RSA_PKCS_PSS",
    0x000E: "CKM_SHA1_RSA_PKCS_PSS",
    0x0040: "CKM_SHA256_RSA_PKCS",
    0x0043: "CKM_SHA256_RSA_PKCS_PSS",
    0x0220: "CKM_SHA_1",
    0x0250: "CKM_SHA256",
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    reference: int  # what keys cite
    mechanism: int  # PKCS#11 number
    name: str | None  # PKCS#11 name, when it is one of those the cards list
    operations: frozenset[str]
    oid: str | None
    algorithm_reference: int | None  # what MSE SET wants


@dataclass(frozen=True, slots=True)
class CiaInfo:
    version: int | None
    label: str
    manufacturer: str | None
    serial: bytes | None
    flags: frozenset[str]
    algorithms: tuple[Algorithm, ...]
    last_update: datetime | None  # UTC


def parse_ciainfo(data: bytes) -> CiaInfo:
    """EF.CIAInfo / EF.TokenInfo (5032). RecordError when it is no SEQUENCE; absent fields are None or empty."""
    items = ber.elements(ber.only(data, 0x30).value)
    label = ber.first(items, 0x80)
    manufacturer, serial = ber.first(items, 0x0C), ber.first(items, 0x04)
    return CiaInfo(
        version=ber.optional_integer(ber.first(items, 0x02)),
        label="" if label is None else ber.text(label.value),
        manufacturer=None if manufacturer is None else ber.text(manufacturer.value),
        serial=None if serial is None else serial.value,
        flags=ber.names(ber.first(items, 0x03), _FLAGS),
        algorithms=_algorithms(ber.first(items, 0xA2)),
        last_update=_last_update(ber.first(items, 0xA5, 0x85, 0x05, 0x18)),
    )


def _algorithms(element: Tlv | None) -> tuple[Algorithm, ...]:
    """supportedAlgorithms [2]; an entry that is unreadable or unlike an AlgorithmInfo is left out: nothing rests on it."""
    found: list[Algorithm] = []
    for item in [] if element is None else ber.entries(element.value):
        if item is None:
            break
        try:
            items = ber.elements(item.value)
            numbers = [ber.integer(number) for number in items if number.tag == 0x02]
        except RecordError:
            continue
        if len(numbers) < 2:
            continue
        found.append(
            Algorithm(
                reference=numbers[0],
                mechanism=numbers[1],
                name=_MECHANISMS.get(numbers[1]),
                operations=ber.names(ber.first(items, 0x03), _OPERATIONS),
                oid=_oid(ber.first(items, 0x06)),
                algorithm_reference=numbers[2] if len(numbers) > 2 else None,
            )
        )
    return tuple(found)


def _oid(element: Tlv | None) -> str | None:
    # A last byte with its high bit set would be an unfinished arc.
    if element is None or not 1 <= len(element.value) <= 32 or element.value[-1] & 0x80:
        return None
    return str(ObjectIdentifier(contents=element.value).dotted)


def _last_update(element: Tlv | None) -> datetime | None:
    """[5]: the standard has the bare characters (85); real and observed cards also wrap them (A5 around 18)."""
    if element is None:
        return None
    if not element.constructed:
        return ber.time(element.value)
    inner = next(ber.entries(element.value), None)
    return ber.time(element.value if inner is None else inner.value)
