# SPDX-License-Identifier: Apache-2.0
"""The directory files of a CPx card: PKCS#15 (ISO/IEC 7816-15) as these cards write it, malformed bytes included.

Exact, from dumps of real CPS3 cards: EF.ATR, EF.SN.ICC, AODF, the PrKDF entry of the authentication key, the start of the CDF,
the values of CIAInfo. The rest follows the same forms and is listed in INVENTED.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..personas.checks import luhn_digit
from ..personas.tables import CARD_ISSUER
from .tlv import bits, boolean, integer, octets, sequence, tlv, utf8

CONTACT_AID = bytes.fromhex("E828BD080F 8025000001 FF0010")
CONTACTLESS_AID = bytes.fromhex("E828BD080F 8025000001 FF0020")

# "80" first is a quirk of the real file: a category byte before the data objects.
EF_ATR = bytes.fromhex(
    "80 4301B8 460404B0ECC1 47039401 80 4F088025000001FF0100"
    "E010 02020104 02020104 02020100 02020100 7808 06062B8122F87802 82029000"
)

# The flags of both codes are an impossible BIT STRING, 03 01 08: no content, "8 unused bits".
AODF = bytes.fromhex(
    "3061303F0C1C436F646520706F7274657572206465206C612063617274652043"
    "5053030108040102301930060302052005003006030206400500300703020308"
    "04010430030401 01A1193017030304 0C100A01010201040201080201048001 01"
    "0401FF305830390C22436F64652064652064C3A9626C6F63616765206465206C"
    "6120636172746520435053030108301030060302052005003006030206400500"
    "3003040104A1163014030304 1D100A0101020108020108020108800102"
)

_EMPTY_FLAGS = bytes.fromhex("030108")
_NULL = bytes.fromhex("0500")
_PIN = octets(b"\x01")  # identifier of the user PIN in the AODF
_PRIVATE = bits(0)
_READ, _UPDATE, _PSO_CDS, _PSO_DECIPHER, _INTERNAL_AUTHENTICATE = 0, 1, 5, 7, 9  # AccessMode, ISO/IEC 7816-15, 8.2.9

_UPDATE_MARKER = 20  # bytes, both moments
_HASH, _SIGN, _DECIPHER = bits(6), bits(1), bits(5)  # Operations, 8.11


def serial_number(chip: str) -> bytes:
    """EF.SN.ICC: 5A, then issuer, 8 digits of the chip, Luhn digit, F to fill."""
    digits = CARD_ISSUER + chip
    return tlv(0x5A, bytes.fromhex(f"{digits}{luhn_digit(digits)}F"))


def update_marker(*, complete: bool) -> bytes:
    """EF_ACTUA: when the last update of the card began and ended; without its end, one that was interrupted."""
    start, end = "20250602091500", "20250602091740"
    moments = tlv(0x81, bytes.fromhex(start)) + (tlv(0x82, bytes.fromhex(end)) if complete else b"")
    return tlv(0xEC, moments).ljust(_UPDATE_MARKER, b"\x00")


def application_directory() -> bytes:
    """EF.DIR: the contactless application first, both with the contact AID in their discretionary template."""

    def template(aid: bytes, label: bytes, path: str) -> bytes:
        contact = tlv(0x73, tlv(0x4F, CONTACT_AID))
        return tlv(0x61, tlv(0x4F, aid), tlv(0x50, label), tlv(0x51, bytes.fromhex(path)), contact)

    return template(CONTACTLESS_AID, b"CPS IAS CL", "3F000002") + template(CONTACT_AID, b"CPS IAS", "3F000001")


def _path(file: int) -> bytes:
    return sequence(octets(file.to_bytes(2, "big")))


def object_directory(*entries: tuple[int, int]) -> bytes:
    """EF.OD: (tag, file) pairs: A0 private keys, A4 certificates, A7 data objects, A8 authentication objects."""
    return b"".join(tlv(tag, _path(file)) for tag, file in entries)


def card_information(label: str, last_update: str) -> bytes:
    """EF.CIAInfo, without a serial number. `last_update`: YYYYMMDDhhmmssZ."""

    def algorithm(number: int, mechanism: int, operation: bytes, oid: str, reference: int) -> bytes:
        return sequence(integer(number), integer(mechanism), _NULL, operation, tlv(0x06, bytes.fromhex(oid)), integer(reference))

    rsa = "2A864886F70D0101"
    algorithms = (
        algorithm(1, 0x220, _HASH, "2B0E03021A", 0x10),
        algorithm(2, 0x250, _HASH, "608648016503040201", 0x40),
        algorithm(3, 0x06, _SIGN, rsa + "05", 0x12),
        algorithm(4, 0x40, _SIGN, rsa + "0B", 0x42),
        algorithm(5, 0x01, _SIGN, rsa + "01", 0x02),
        algorithm(6, 0x01, _DECIPHER, rsa + "01", 0x1A),
    )
    return sequence(
        integer(0),
        utf8("ASIP SANTE"),
        tlv(0x80, label.encode()),
        bits(0, 1),  # read-only, login required
        tlv(0xA2, *algorithms),
        tlv(0xA5, tlv(0x18, last_update.encode())),
    )


def _rule(mode: int, condition: bytes) -> bytes:
    return sequence(bits(mode), condition)


def key_identifier(number: int) -> bytes:
    """CKA_ID of a key and its certificate: the contact AID, over the contactless interface too, and a number."""
    return CONTACT_AID + bytes([number])


def _private_key(common: bytes, number: int, usage: bytes, reference: int) -> bytes:
    """A PrKDF entry. `common`: label, flags, code and access rules; `number` ends the identifier."""
    return sequence(
        sequence(common),
        # "B0": sensitive, alwaysSensitive, neverExtractable
        sequence(octets(key_identifier(number)), usage, boolean(True), bits(0, 2, 3), integer(reference)),
        tlv(0xA1, sequence(sequence(octets(b"")), integer(2048))),
    )


def signature_key(number: int, reference: int) -> bytes:
    rules = sequence(_rule(_PSO_CDS, _PIN))
    return _private_key(utf8("CPS_PRIV_SIG") + _PRIVATE + _PIN + rules, number, bits(9), reference)


def authentication_key(number: int, reference: int) -> bytes:
    rules = sequence(_rule(_PSO_DECIPHER, _PIN), _rule(_INTERNAL_AUTHENTICATE, _PIN))
    return _private_key(utf8("CPS_PRIV_AUT") + bits(0, 1, 2) + _PIN + rules, number, bits(1, 2), reference)


def technical_key(number: int, reference: int) -> bytes:
    rules = sequence(_rule(_INTERNAL_AUTHENTICATE, _NULL))
    return _private_key(utf8("CPS_PRIV_TECH_AUT") + _EMPTY_FLAGS + rules, number, bits(2), reference)


def certificate(label: str, number: int, file: int) -> bytes:
    """A CDF entry. Its flags are an impossible BIT STRING on real cards: 03 02 08 00."""
    rules = sequence(_rule(_READ, _NULL), _rule(_UPDATE, _PIN))
    return sequence(
        sequence(utf8(label), bytes.fromhex("03020800"), rules),
        sequence(octets(key_identifier(number))),
        tlv(0xA1, sequence(_path(file))),
    )


def data_object(label: str, file: int, *, private: bool = False, modifiable: bool = False) -> bytes:
    """A DODF entry of application "CPS"."""
    common = _PRIVATE + _PIN if private else bits(1) if modifiable else _EMPTY_FLAGS
    return sequence(sequence(utf8(label), common), sequence(utf8("CPS")), tlv(0xA1, _path(file)))


def padded(entries: Iterable[bytes], unit: int) -> tuple[bytes, int]:
    """A directory file and the size of its EF: the next multiple of `unit`, filled with 00 by the card."""
    content = b"".join(entries)
    return content, -(-len(content) // unit) * unit
