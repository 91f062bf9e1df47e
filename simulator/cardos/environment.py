# SPDX-License-Identifier: Apache-2.0
"""Security environment: what MSE has set (ISO 7816-4 section 10.3), and the hash that PSO HASH has left."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.cardos import hashing
from simulator.cardos.apdu import Status
from simulator.cardos.crypto import Rsa
from simulator.cardos.filesystem import CONTACT_DF, CONTACTLESS_DF
from simulator.cardos.tlv import decode
from simulator.image import Image, Key, Path

AUTHENTICATION, SIGNATURE, DECIPHER, HASH = 0xA4, 0xB6, 0xB8, 0xAA  # control reference templates

_COUNTER = 8  # bytes of the bit count behind an intermediate hash


@dataclass(frozen=True)
class CardKey:
    key: Key
    rsa: Rsa
    home: Path  # keys are local to their application


@dataclass(frozen=True)
class Template:
    algorithm: int | None
    key: CardKey | None


@dataclass
class Environment:
    templates: dict[int, Template] = field(default_factory=dict)
    digest: tuple[str, bytes] | None = None

    def clear(self) -> None:
        self.templates.clear()
        self.digest = None

    def algorithm(self, template: int) -> int:
        found = self.templates.get(template)
        if found is None or found.algorithm is None:
            raise Status(0x6985)
        return found.algorithm

    def key(self, template: int) -> CardKey:
        found = self.templates.get(template)
        if found is None or found.key is None:
            raise Status(0x6985)
        return found.key

    def take_digest(self, name: str) -> bytes:
        """The hash left by PSO HASH, for one signature."""
        if self.digest is None or self.digest[0] != name:
            raise Status(0x6985)
        value, self.digest = self.digest[1], None
        return value


class KeyRing:
    def __init__(self, image: Image) -> None:
        self._keys = {key.reference: _card_key(key) for key in image.keys}

    def find(self, reference: int, directory: Path) -> CardKey:
        found = self._keys.get(reference)
        if found is None or found.home != directory:
            raise Status(0x6A88)
        return found


def _card_key(key: Key) -> CardKey:
    home = CONTACTLESS_DF if key.usage == "technical" else CONTACT_DF
    return CardKey(key, Rsa(key.private_key), home)


def hash_input(name: str, data: bytes) -> bytes:
    """The digest that the data of PSO HASH stand for.

    `90 [state ‖ bit count] 80 [last block]`, the 90 empty when nothing was hashed off card; or `90 digest` alone when
    all of it was.
    """
    objects = decode(data)
    tags, size = [tag for tag, _ in objects], hashing.size(name)
    if tags == [0x90] and len(objects[0][1]) == size:
        return objects[0][1]
    if tags == [0x80]:
        objects, tags = [(0x90, b""), *objects], [0x90, 0x80]
    if tags != [0x90, 0x80]:
        raise Status(0x6A80)
    partial, last = objects[0][1], objects[1][1]
    if len(last) > hashing.BLOCK or len(partial) not in (0, size + _COUNTER):
        raise Status(0x6A80)
    bits = int.from_bytes(partial[size:], "big")
    if bits % (8 * hashing.BLOCK):
        raise Status(0x6A80)
    return hashing.finish(name, partial[:size], bits, last)
