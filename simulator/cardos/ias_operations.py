# SPDX-License-Identifier: Apache-2.0
"""MSE, PSO and INTERNAL AUTHENTICATE of the IAS-ECC card."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.cardos import hashing
from simulator.cardos.apdu import Command, Status
from simulator.cardos.environment import (
    AUTHENTICATION,
    DECIPHER,
    HASH,
    SIGNATURE,
    CardKey,
    Environment,
    KeyRing,
    Template,
    hash_input,
)
from simulator.cardos.pins import USER, Pins
from simulator.cardos.tlv import decode
from simulator.image import Path

_HASHES = {0x10: "sha1", 0x40: "sha256"}
_SIGNATURES = {0x12: "sha1", 0x42: "sha256"}
_RSA_AUTHENTICATE, _RSA_DECIPHER = 0x02, 0x1A
ALGORITHMS: Mapping[int, frozenset[int]] = {
    AUTHENTICATION: frozenset({_RSA_AUTHENTICATE}),
    SIGNATURE: frozenset(_SIGNATURES),
    DECIPHER: frozenset({_RSA_DECIPHER}),
    HASH: frozenset(_HASHES),
}
_LOCAL = 0x80  # bit of a reference to an object of the current application
_ENCRYPTED_WITH_PADDING = 0x81  # first byte of the data of PSO DECIPHER
_ENVIRONMENTS = (1, 3, 5)

# Which template's operation a key serves (its access rules, see sdo.py).
_SERVES = {
    "signature": {SIGNATURE},
    "authentication": {AUTHENTICATION, DECIPHER},
    "technical": {AUTHENTICATION},
}


class Operations:
    def __init__(
        self,
        environment: Environment,
        keys: KeyRing,
        pins: Pins,
        *,
        contactless: bool,
        algorithms: Mapping[int, frozenset[int]],
    ) -> None:
        self._environment = environment
        self._keys = keys
        self._pins = pins
        self._contactless = contactless
        self._algorithms = algorithms

    def manage(self, command: Command, directory: Path) -> bytes:
        """MSE SET (P1 41, P2 the template) replaces one template; RESTORE (P1 F2 or F3, P2 the number) drops all."""
        if command.p1 in (0xF2, 0xF3):
            if command.p2 not in _ENVIRONMENTS:
                raise Status(0x6A88)
            self._environment.clear()
            return b""
        if command.p1 != 0x41 or command.p2 not in ALGORITHMS:
            raise Status(0x6A86)
        algorithm, key = None, None
        for tag, value in decode(command.data):
            if tag not in (0x80, 0x83, 0x84) or len(value) != 1:
                raise Status(0x6A80)
            if tag == 0x80:
                algorithm = value[0]
            else:
                key = self._key(value[0], directory)
        if algorithm is not None and algorithm not in self._algorithms.get(command.p2, ()):
            raise Status(0x6A80)
        self._environment.templates[command.p2] = Template(algorithm, key)
        return b""

    def _key(self, reference: int, directory: Path) -> CardKey:
        if not reference & _LOCAL:
            raise Status(0x6A88)
        return self._keys.find(reference & ~_LOCAL, directory)

    def perform(self, command: Command) -> bytes:
        if command.p1p2 == 0x90A0:
            return self._hash(command.data)
        if command.p1p2 == 0x9E9A:
            return self._sign(command.data, command.le)
        if command.p1p2 == 0x8086:
            return self._decipher(command.data)
        raise Status(0x6A86)

    def _hash(self, data: bytes) -> bytes:
        name = _HASHES[self._environment.algorithm(HASH)]
        self._environment.digest = None
        self._environment.digest = name, hash_input(name, data)
        return b""

    def _sign(self, data: bytes, le: int | None) -> bytes:
        """A hash in the data, or the one that PSO HASH left, which stays when Le is too small and the command comes again."""
        name = _SIGNATURES[self._environment.algorithm(SIGNATURE)]
        key = self._usable_key(SIGNATURE)
        if data and len(data) != hashing.size(name):
            raise Status(0x6A80)
        if not data and le is not None and le < key.rsa.size:
            raise Status(0x6C00 | key.rsa.size & 0xFF)
        return key.rsa.sign_digest(name, data or self._environment.take_digest(name))

    def _decipher(self, data: bytes) -> bytes:
        self._environment.algorithm(DECIPHER)
        key = self._usable_key(DECIPHER)
        if data[:1] != bytes([_ENCRYPTED_WITH_PADDING]):
            raise Status(0x6A80)
        return key.rsa.decipher_pkcs1(data[1:])

    def internal_authenticate(self, command: Command) -> bytes:
        """PKCS#1 type 1 round the data, which may take 40 % of the modulus."""
        if command.p1p2:
            raise Status(0x6A86)
        self._environment.algorithm(AUTHENTICATION)
        key = self._usable_key(AUTHENTICATION)
        if not command.data:
            raise Status(0x6700)
        if len(command.data) > key.rsa.size * 40 // 100:
            raise Status(0x6A80)
        return key.rsa.sign_pkcs1(command.data)

    def _usable_key(self, template: int) -> CardKey:
        """The technical key belongs to the air and needs no code; the others to the contacts, behind the user PIN."""
        found = self._environment.key(template)
        technical = found.key.usage == "technical"
        allowed = template in _SERVES[found.key.usage] and technical == self._contactless
        if not allowed or not (technical or self._pins.verified(USER)):
            raise Status(0x6982)
        return found
