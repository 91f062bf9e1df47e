# SPDX-License-Identifier: Apache-2.0
"""The operations a session can have under way: what they collect, and how they end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512, HashAlgorithm

from cpxd.card.application import Mechanism as CardMechanism
from cpxd.card.padding import digest_info, pkcs1_type_1
from cpxd.pkcs11.ck import CKG_MGF1, CKM, CKR, DIGESTS, HASH_RSA_PKCS, HASH_RSA_PSS
from cpxd.pkcs11.objects import Object
from cpxd.pkcs11.rv import Failure
from cpxd.pkcs11.wire import Mechanism, Pss

HASHES: dict[str, HashAlgorithm] = {
    "sha1": SHA1(),
    "sha224": SHA224(),
    "sha256": SHA256(),
    "sha384": SHA384(),
    "sha512": SHA512(),
}
_RAW_LIMIT = 1 << 16  # bytes collected for a mechanism that takes no more than a modulus


class Raw:
    """Data that are not hashed."""

    def __init__(self) -> None:
        self.data = b""

    def update(self, data: bytes, /) -> None:
        self.data += data
        if len(self.data) > _RAW_LIMIT:
            raise Failure(CKR.DATA_LEN_RANGE)


@dataclass
class Digest:
    name: str
    hash: Any
    begun: bool = False

    @classmethod
    def start(cls, mechanism: Mechanism) -> Digest:
        name = DIGESTS.get(mechanism.type)  # type: ignore[call-overload]  # an int that may be no CKM
        if name is None:
            raise Failure(CKR.MECHANISM_INVALID)
        return cls(name, hashlib.new(name, usedforsecurity=False))


@dataclass
class Scheme:
    """An RSA signature scheme: PKCS#1 v1.5 or PSS, over data as they come (hash None) or hashed here."""

    padding: str  # "pkcs1", "pss"
    hash: str | None  # hashed here, by the mechanism
    inner: str | None  # the hash that the scheme is about; None: RSA_PKCS, which takes anything
    salt: int = 0  # bytes, PSS

    @classmethod
    def of(cls, mechanism: Mechanism) -> Scheme:
        kind, parameter = mechanism.type, mechanism.parameter
        if kind == CKM.RSA_PKCS:
            return cls("pkcs1", None, None)
        if kind in HASH_RSA_PKCS:
            name = HASH_RSA_PKCS[CKM(kind)]
            return cls("pkcs1", name, name)
        if kind != CKM.RSA_PKCS_PSS and kind not in HASH_RSA_PSS:
            raise Failure(CKR.MECHANISM_INVALID)
        if not isinstance(parameter, Pss):
            raise Failure(CKR.MECHANISM_PARAM_INVALID)
        inner = next((name for number, name in DIGESTS.items() if number == parameter.hash), None)
        hashed = HASH_RSA_PSS[CKM(kind)] if kind in HASH_RSA_PSS else None
        if inner is None or parameter.mgf != CKG_MGF1[inner] or hashed not in (None, inner) or parameter.salt > 512:
            raise Failure(CKR.MECHANISM_PARAM_INVALID)
        return cls("pss", hashed, inner, parameter.salt)

    @property
    def by_card(self) -> CardMechanism | None:
        """As the cards know it: PSS with a salt as long as the hash. None for other salts, and for RSA_PKCS."""
        if self.inner is None or (self.padding == "pss" and self.salt != HASHES[self.inner].digest_size):
            return None
        return CardMechanism("pss" if self.padding == "pss" else "pkcs1", self.inner)

    def collector(self) -> Any:
        return Raw() if self.hash is None else hashlib.new(self.hash, usedforsecurity=False)

    def collected(self, collector: Any) -> bytes:
        """What was collected: the hash, or the data."""
        data: bytes = collector.data if isinstance(collector, Raw) else collector.digest()
        if self.padding == "pss" and self.inner is not None and len(data) != HASHES[self.inner].digest_size:
            raise Failure(CKR.DATA_LEN_RANGE)
        return data


@dataclass
class Signing:
    """A signature being made or verified."""

    key: Object
    scheme: Scheme
    collector: Any
    begun: bool = False  # an Update was made

    @property
    def size(self) -> int:
        """Bytes of the signature."""
        assert self.key.public_key is not None  # noqa: S101 - keys are shown with their public key only
        return self.key.public_key.key_size // 8


class Signature(Signing):
    """C_Sign."""


class Verification(Signing):
    """C_Verify, in software."""

    def check(self, signature: bytes) -> None:
        key = self.key.public_key
        if key is None or len(signature) != self.size:
            raise Failure(CKR.SIGNATURE_LEN_RANGE)
        data = self.scheme.collected(self.collector)
        try:
            if self.scheme.inner is None:
                _check_raw(key, data, signature, wrapped=self.key.usage == "signature")
            else:
                key.verify(signature, data, self._padding(), Prehashed(HASHES[self.scheme.inner]))
        except InvalidSignature:
            raise Failure(CKR.SIGNATURE_INVALID) from None

    def _padding(self) -> padding.AsymmetricPadding:
        if self.scheme.padding == "pkcs1" or self.scheme.inner is None:
            return padding.PKCS1v15()
        return padding.PSS(padding.MGF1(HASHES[self.scheme.inner]), self.scheme.salt)


def _check_raw(key: RSAPublicKey, data: bytes, signature: bytes, *, wrapped: bool) -> None:
    """CKM_RSA_PKCS. `wrapped`: a key that puts a bare hash into its DigestInfo itself (`bare_hash`)."""
    numbers, size = key.public_numbers(), key.key_size // 8
    if len(data) > size - 11:
        raise Failure(CKR.DATA_LEN_RANGE)
    found = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(size, "big")
    mechanism = bare_hash(data) if wrapped else None
    wanted = [pkcs1_type_1(data, size)]
    if mechanism is not None and mechanism[1] == data:
        wanted.append(pkcs1_type_1(digest_info(mechanism[0].hash, data), size))
    if found not in wanted:
        raise InvalidSignature


def bare_hash(data: bytes) -> tuple[CardMechanism, bytes] | None:
    """The hash in CKM_RSA_PKCS data of the signature key: a DigestInfo, or a bare SHA-1 or SHA-256 as the official library
    takes it. None when it is neither."""
    for name, algorithm in HASHES.items():
        size = algorithm.digest_size
        if len(data) > size and data == digest_info(name, data[-size:]):
            return CardMechanism("pkcs1", name), data[-size:]
    name = {20: "sha1", 32: "sha256"}.get(len(data), "")
    return (CardMechanism("pkcs1", name), data) if name else None


@dataclass
class Decryption:
    key: Object
    collected: Raw = field(default_factory=Raw)
    begun: bool = False
    plain: bytes | None = None  # decrypted already, for a caller whose buffer was too small


@dataclass
class Encryption:
    key: Object
