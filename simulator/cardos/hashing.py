# SPDX-License-Identifier: Apache-2.0
"""SHA-1 and SHA-256 taken up again from an intermediate state (FIPS 180-4), which `hashlib` does not offer.

PSO HASH gives the card the state and the bit count so far, and leaves it the last block.
"""

from __future__ import annotations

import math
from collections.abc import Callable

BLOCK = 64
_MASK = 0xFFFFFFFF


def _primes(count: int) -> list[int]:
    found: list[int] = []
    n = 2
    while len(found) < count:
        if all(n % p for p in found):
            found.append(n)
        n += 1
    return found


def _cube_root_fraction(p: int) -> int:
    """First 32 bits of the fractional part of the cube root (FIPS 180-4 section 4.2.2)."""
    scaled = p << 96
    root: int = round(float(p) ** (1 / 3) * 2**32)
    while root**3 > scaled:
        root -= 1
    while (root + 1) ** 3 <= scaled:
        root += 1
    return root & _MASK


_K256 = [_cube_root_fraction(p) for p in _primes(64)]
_INITIAL = {
    "sha1": (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0),
    "sha256": tuple(math.isqrt(p << 64) & _MASK for p in _primes(8)),
}


def _left(x: int, n: int) -> int:
    return (x << n | x >> 32 - n) & _MASK


def _right(x: int, n: int) -> int:
    return _left(x, 32 - n)


def _words(block: bytes) -> list[int]:
    return [int.from_bytes(block[i : i + 4], "big") for i in range(0, BLOCK, 4)]


def _sha1(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    w = _words(block)
    for t in range(16, 80):
        w.append(_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1))
    a, b, c, d, e = state
    for t in range(80):
        if t < 20:
            f, k = b & c | ~b & d, 0x5A827999
        elif t < 40:
            f, k = b ^ c ^ d, 0x6ED9EBA1
        elif t < 60:
            f, k = b & c | b & d | c & d, 0x8F1BBCDC
        else:
            f, k = b ^ c ^ d, 0xCA62C1D6
        a, b, c, d, e = (_left(a, 5) + f + e + k + w[t]) & _MASK, a, _left(b, 30), c, d
    return tuple((x + y) & _MASK for x, y in zip(state, (a, b, c, d, e), strict=True))


def _sha256(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    w = _words(block)
    for t in range(16, 64):
        s0 = _right(w[t - 15], 7) ^ _right(w[t - 15], 18) ^ w[t - 15] >> 3
        s1 = _right(w[t - 2], 17) ^ _right(w[t - 2], 19) ^ w[t - 2] >> 10
        w.append((w[t - 16] + s0 + w[t - 7] + s1) & _MASK)
    a, b, c, d, e, f, g, h = state
    for t in range(64):
        s1 = _right(e, 6) ^ _right(e, 11) ^ _right(e, 25)
        t1 = (h + s1 + (e & f ^ ~e & g) + _K256[t] + w[t]) & _MASK
        s0 = _right(a, 2) ^ _right(a, 13) ^ _right(a, 22)
        t2 = (s0 + (a & b ^ a & c ^ b & c)) & _MASK
        a, b, c, d, e, f, g, h = (t1 + t2) & _MASK, a, b, c, (d + t1) & _MASK, e, f, g
    return tuple((x + y) & _MASK for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))


_COMPRESS: dict[str, Callable[[tuple[int, ...], bytes], tuple[int, ...]]] = {"sha1": _sha1, "sha256": _sha256}


def size(name: str) -> int:
    """Bytes of a digest, which is also an intermediate state here."""
    return 4 * len(_INITIAL[name])


def compress(name: str, state: bytes, block: bytes) -> bytes:
    """The intermediate state after one more whole block; an empty state is the start."""
    words = tuple(int.from_bytes(state[i : i + 4], "big") for i in range(0, len(state), 4)) or _INITIAL[name]
    return b"".join(word.to_bytes(4, "big") for word in _COMPRESS[name](words, block))


def finish(name: str, state: bytes, bits_done: int, last: bytes) -> bytes:
    """The digest of what `state` has taken in (`bits_done`, whole blocks; empty: nothing yet) followed by `last`."""
    total = bits_done + 8 * len(last)
    tail = last + b"\x80"
    tail += bytes(-(len(tail) + 8) % BLOCK) + (total % 2**64).to_bytes(8, "big")
    for at in range(0, len(tail), BLOCK):
        state = compress(name, state, tail[at : at + BLOCK])
    return state
