# SPDX-License-Identifier: Apache-2.0
"""The public side of a card's RSA key: what a signature is checked with before it is handed out.

Apart from the session because the library takes a while to load, and reading a card needs none of it.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from cpxd import errors
from cpxd.card.application import Mechanism, Usage
from cpxd.text import tr

_HASHES: dict[str, HashAlgorithm] = {
    "sha1": SHA1(),
    "sha224": SHA224(),
    "sha256": SHA256(),
    "sha384": SHA384(),
    "sha512": SHA512(),
}


class PublicKey:
    """Of a DER SubjectPublicKeyInfo. Raises DamagedCard, and KeyUnavailable when it is no RSA key."""

    def __init__(self, spki: bytes, usage: Usage) -> None:
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            raise errors.DamagedCard(part=tr(f"certificat ({usage})", f"certificate ({usage})")) from None
        if not isinstance(key, RSAPublicKey):
            raise errors.KeyUnavailable(usage=usage)
        self._key = key

    @property
    def bits(self) -> int:
        """Length of the modulus."""
        return self._key.key_size

    @property
    def size(self) -> int:
        """Length of the modulus in bytes."""
        return (self._key.key_size + 7) // 8

    def apply(self, block: bytes) -> bytes:
        """The public operation on one block (RFC 8017 §5.2.2)."""
        numbers = self._key.public_numbers()
        return pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(self.size, "big")

    def right(self, mechanism: Mechanism, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` is one of `digest`; PSS with a salt of the hash's length."""
        algorithm = _HASHES[mechanism.hash]
        form: padding.AsymmetricPadding = padding.PKCS1v15()
        if mechanism.padding == "pss":
            form = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
        try:
            self._key.verify(signature, digest, form, Prehashed(algorithm))
        except InvalidSignature:
            return False
        return True
