# SPDX-License-Identifier: Apache-2.0
"""RSAES-OAEP (RFC 8017 §7.1) for cards that give back the whole block and leave its padding to the host."""

from __future__ import annotations

import hashlib
import hmac

from cpxd.card.pss import mgf1


def remove_oaep(block: bytes, hash_name: str, mask_hash: str) -> bytes:
    """The message in an EME-OAEP block without a label (§7.1.2 step 3), MGF1 over `mask_hash`. ValueError when it is none: one
    for all reasons, found after all of them were looked at (note of step 3g).
    """
    size = hashlib.new(hash_name).digest_size
    if len(block) < 2 * size + 2:
        raise ValueError("decryption error")
    seed = _xor(block[1 : 1 + size], mgf1(mask_hash, block[1 + size :], size))
    data = _xor(block[1 + size :], mgf1(mask_hash, seed, len(block) - 1 - size))
    end = data.find(b"\x01", size)
    right = hmac.compare_digest(data[:size], hashlib.new(hash_name).digest())
    right &= (block[0] == 0) & (end >= 0)
    right &= not any(data[size : max(end, size)])
    if not right:
        raise ValueError("decryption error")
    return data[end + 1 :]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
