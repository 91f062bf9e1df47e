# SPDX-License-Identifier: Apache-2.0
"""Security data objects of the IAS-ECC card, read by GET DATA: `4D { 70 { BF class reference { tag 80 … } } }`."""

from __future__ import annotations

from simulator.cardos.apdu import Status
from simulator.cardos.environment import KeyRing
from simulator.cardos.filesystem import MF
from simulator.cardos.pins import BLOCK, UNBLOCK, USER, Code, Pins
from simulator.cardos.tlv import decode, encode, tag_list
from simulator.image import Path

_CODE, _PRIVATE_KEY, _ENVIRONMENT = 0x01, 0x10, 0x7B  # SDO classes
_PARAMETERS, _CODE_VALUE, _KEY_VALUE = 0xA0, 0x7F41, 0x7F48

# Access mode byte and one condition byte a right: change, verify, reset, put data, get data.
_CODE_RULES = {USER: "F3000013FF00", UNBLOCK: "F3FF00FFFF00"}
# Rights of private keys: 40 compute signature, 20 internal authenticate, 10 decipher; 11 is the user PIN.
_KEY_RULES = {
    "signature": "8C024011",
    "authentication": "8C03301111",
    "technical": "8C0220FF9C022000",
}


def get_data(request: bytes, pins: Pins, keys: KeyRing, directory: Path) -> bytes:
    """The answer to one request, or 6A80 (malformed) or 6A88 (no such object here).

    Codes are global, keys and environments belong to one directory. The content of an environment is not public: the
    answer is a bare 9000.
    """
    name, tags = _parse(request)
    sdo_class, reference = name >> 8 & 0x7F, name & 0xFF
    if not tags:
        raise Status(0x6A80)
    if sdo_class == _CODE:
        value = _code(pins[reference], tags)
    elif sdo_class == _PRIVATE_KEY and set(tags) <= {_PARAMETERS, _KEY_VALUE}:
        value = _private_key(keys, reference, directory)
    elif sdo_class == _ENVIRONMENT and tags == [_ENVIRONMENT] and reference in (3, 5) and directory == MF:
        return b""
    else:
        raise Status(0x6A88)
    return encode(0x70, encode(name, value))


def _parse(request: bytes) -> tuple[int, list[int]]:
    """Object name (three bytes, BF cc rr) and the tags asked for."""
    outer = decode(request)
    if len(outer) != 1 or outer[0][0] != 0x4D:
        raise Status(0x6A80)
    inner = decode(outer[0][1])
    if len(inner) != 1 or inner[0][0] != 0x70:
        raise Status(0x6A80)
    objects = decode(inner[0][1])
    if len(objects) != 1 or objects[0][0] >> 16 != 0xBF:
        raise Status(0x6A80)
    return objects[0][0], list(dict.fromkeys(tag_list(objects[0][1])))


def _code(code: Code, tags: list[int]) -> bytes:
    parts = {
        _PARAMETERS: encode(
            _PARAMETERS,
            encode(0x9A, bytes([code.max_tries])),
            encode(0x9B, bytes([code.tries_left])),
            b"" if code.uses_left is None else encode(0x9D, code.uses_left.to_bytes(2, "big")),
            encode(0xA1, encode(0x8C, bytes.fromhex(_CODE_RULES[code.reference]))),
        ),
        _CODE_VALUE: encode(_CODE_VALUE, encode(0x80, bytes([BLOCK])), encode(0x81, bytes([code.length]))),
    }
    if not set(tags) <= set(parts):
        raise Status(0x6A88)
    return b"".join(parts[tag] for tag in tags)


def _private_key(keys: KeyRing, reference: int, directory: Path) -> bytes:
    """Parameters and the (empty: never readable) value, whichever of the two is asked."""
    found = keys.find(reference, directory)
    return encode(
        _PARAMETERS,
        encode(0x80, found.rsa.size.to_bytes(2, "big")),
        encode(0xA1, bytes.fromhex(_KEY_RULES[found.key.usage])),
    ) + encode(_KEY_VALUE)
