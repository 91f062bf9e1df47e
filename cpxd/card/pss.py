# SPDX-License-Identifier: Apache-2.0
"""EMSA-PSS (RFC 8017 §9.1.1), for a card that computes RSA on a whole block: any hash, any salt length."""

from __future__ import annotations

import hashlib
import secrets


def emsa_pss(hash_name: str, digest: bytes, salt_length: int, modulus_bits: int) -> bytes:
    """The block to be signed, as long as the modulus; MGF1 with the same hash. ValueError when the modulus is too short."""
    bits = modulus_bits - 1
    size, length = (bits + 7) // 8, len(digest)
    if size < length + salt_length + 2:
        raise ValueError("modulus too short for this hash and salt")
    salt = secrets.token_bytes(salt_length)
    inner = hashlib.new(hash_name, bytes(8) + digest + salt, usedforsecurity=False).digest()
    data = bytes(size - salt_length - length - 2) + b"\x01" + salt
    masked = bytearray(a ^ b for a, b in zip(data, mgf1(hash_name, inner, len(data)), strict=True))
    masked[0] &= 0xFF >> (8 * size - bits)
    return (bytes(masked) + inner + b"\xbc").rjust((modulus_bits + 7) // 8, b"\x00")


def mgf1(hash_name: str, seed: bytes, count: int) -> bytes:
    """RFC 8017 §B.2.1."""
    mask = b""
    for counter in range(count):
        if len(mask) >= count:
            break
        mask += hashlib.new(hash_name, seed + counter.to_bytes(4, "big"), usedforsecurity=False).digest()
    return mask[:count]
