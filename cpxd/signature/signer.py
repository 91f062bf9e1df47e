# SPDX-License-Identifier: Apache-2.0
"""Who signs: a key that signs a hash, and the certificate that says whose it is. Nothing here knows a card.

One object serves every format: `Signer` is what `service/` supplies, `RsaKey` gives it the shape of a key of the `cryptography`
library for whoever wants one (PKCS#7, CSR).
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NoReturn, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cpxd import errors
from cpxd.record.certificate import parse_certificate

Padding = Literal["pkcs1", "pss"]
SALT = 32  # bytes of the PSS salt: that of the hash (RFC 4056 §2.2, RFC 7518 §3.5)


class Signer(Protocol):
    """A key that signs, and the certificate that says whose it is."""

    @property
    def certificate(self) -> bytes:
        """DER of the X.509 certificate."""

    @property
    def padding(self) -> Padding:
        """How `sign` pads: RSA PKCS#1 v1.5, or PSS with MGF1-SHA-256 and a salt of 32 bytes."""

    def sign(self, digest: bytes) -> bytes:
        """RSA signature of a SHA-256 hash (32 bytes)."""


class RsaKey(rsa.RSAPrivateKey):
    """A signer in the shape of `cryptography`'s private key: it signs; what is private stays where it is."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        public = serialization.load_der_public_key(parse_certificate(signer.certificate).spki)
        if not isinstance(public, rsa.RSAPublicKey):
            raise errors.KeyUnavailable(usage="RSA")
        self._public = public

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """RSA signature with SHA-256 and the padding the signer has; MechanismUnavailable for any other."""
        prehashed = isinstance(algorithm, Prehashed)
        kind = algorithm._algorithm if prehashed else algorithm
        wanted: Padding = "pss" if isinstance(padding, asymmetric.PSS) else "pkcs1"
        if kind.name != "sha256" or wanted != self._signer.padding:
            raise errors.MechanismUnavailable(mechanism=f"RSA {'PSS' if wanted == 'pss' else 'PKCS#1'} {kind.name.upper()}")
        if isinstance(padding, asymmetric.PSS) and not _our_salt(padding):
            raise errors.MechanismUnavailable(mechanism="RSA PSS (salt ≠ 32)")
        return self._signer.sign(bytes(data) if prehashed else hashlib.sha256(data).digest())

    def decrypt(self, ciphertext: Any, padding: Any) -> bytes:
        raise errors.MechanismUnavailable(mechanism=f"RSA decrypt {padding.name}")  # see enveloped.py

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    def private_numbers(self) -> NoReturn:
        raise TypeError("the private key does not leave the card")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        raise TypeError("the private key does not leave the card")

    def __copy__(self) -> RsaKey:
        return self

    def __deepcopy__(self, memo: Any) -> RsaKey:
        return self


def _our_salt(padding: asymmetric.PSS) -> bool:
    return padding._salt_length in (SALT, asymmetric.PSS.DIGEST_LENGTH)


def rsa_bits(spki: bytes) -> int:
    """The size of an RSA key; 0 for any other."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        return 0
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else 0


def verify_rsa(
    spki: bytes, padding: Padding, digest: bytes, signature: bytes, *, hash_name: str = "sha256", salt: int = SALT
) -> bool:
    """Whether an RSA signature of a finished hash is right. False too for a key that is no RSA key of at least 2048 bits."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    kinds: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    algorithm = kinds.get(hash_name)
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        return False
    if algorithm is None or not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        return False
    form: asymmetric.AsymmetricPadding = asymmetric.PKCS1v15()
    if padding == "pss":
        form = asymmetric.PSS(asymmetric.MGF1(algorithm), salt)
    try:
        key.verify(signature, digest, form, Prehashed(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True
