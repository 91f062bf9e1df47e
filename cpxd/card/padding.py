# SPDX-License-Identifier: Apache-2.0
"""RSA encodings that the host makes or takes off because the card does not: PKCS #1 v2.2 (RFC 8017)."""

from __future__ import annotations

# RFC 8017 §9.2, note 1: the DER of DigestInfo before the hash itself
_PREFIX = {
    "sha1": "3021300906052B0E03021A05000414",
    "sha224": "302D300D06096086480165030402040500041C",
    "sha256": "3031300D060960864801650304020105000420",
    "sha384": "3041300D060960864801650304020205000430",
    "sha512": "3051300D060960864801650304020305000440",
}


def digest_info(hash_name: str, digest: bytes) -> bytes:
    """DER DigestInfo of a finished hash."""
    prefix = bytes.fromhex(_PREFIX[hash_name])
    if prefix[-1] != len(digest):
        raise ValueError(f"{hash_name} has {prefix[-1]} bytes, not {len(digest)}")
    return prefix + digest


def pkcs1_type_1(content: bytes, size: int) -> bytes:
    """EMSA-PKCS1-v1_5 block of `size` bytes: 00 01 FF… 00 content. ValueError when the content is too long (§9.2 step 3)."""
    if len(content) > size - 11:
        raise ValueError("content too long for the modulus")
    return b"\x00\x01" + b"\xff" * (size - 3 - len(content)) + b"\x00" + content


def remove_pkcs1_type_2(block: bytes) -> bytes:
    """The message in an EME-PKCS1-v1_5 block (§7.2.2). ValueError when it is none."""
    end = block.find(b"\x00", 2)
    if block[:2] != b"\x00\x02" or end < 10:
        raise ValueError("decryption error")
    return block[end + 1 :]
