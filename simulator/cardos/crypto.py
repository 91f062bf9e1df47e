# SPDX-License-Identifier: Apache-2.0
"""RSA as the card computes it: raw, PKCS#1 v1.5 types 1 and 2, PSS (RFC 8017). Time is not kept constant here."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from simulator.cardos.apdu import Status

_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052B0E03021A05000414"),
    "sha256": bytes.fromhex("3031300D060960864801650304020105000420"),
}


class Rsa:
    """One private key, ready for use."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self._numbers = key.private_numbers()
        self.size = (key.key_size + 7) // 8

    def raw(self, block: bytes) -> bytes:
        """m^d mod n by the Chinese remainder theorem; the block must be below the modulus."""
        private, value = self._numbers, int.from_bytes(block, "big")
        if len(block) != self.size or value >= private.public_numbers.n:
            raise Status(0x6A80)
        m1 = pow(value, private.dmp1, private.p)
        m2 = pow(value, private.dmq1, private.q)
        result = m2 + private.q * (private.iqmp * (m1 - m2) % private.p)
        return result.to_bytes(self.size, "big")

    def sign_pkcs1(self, data: bytes) -> bytes:
        """Type 1 padding round `data` as it is (section 9.2 step 3 on)."""
        return self.raw(b"\0\1" + b"\xff" * (self.size - 3 - len(data)) + b"\0" + data)

    def sign_digest(self, name: str, digest: bytes) -> bytes:
        return self.sign_pkcs1(_DIGEST_INFO[name] + digest)

    def sign_pss(self, name: str, digest: bytes) -> bytes:
        """Salt of the digest's length, MGF1 on the same hash."""
        algorithm = _HASHES[name]
        scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        return self._key.sign(digest, scheme, utils.Prehashed(algorithm))

    def decipher_pkcs1(self, cryptogram: bytes) -> bytes:
        """The plain text without its type 2 padding (section 7.2.2)."""
        block = self.raw(cryptogram)
        end = block.find(b"\0", 2)
        if block[:2] != b"\0\2" or end < 10:
            raise Status(0x6A80)
        return block[end + 1 :]
