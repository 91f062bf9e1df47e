# SPDX-License-Identifier: Apache-2.0
"""`cert_override.txt` of a Firefox profile: the certificates that are accepted for one name and port, whoever signed them.

Firefox takes no leaf that cert9.db trusts as a peer; this list it obeys, for pages, fetch and WebSockets alike. A line is
"name:port:", the object identifier of SHA-256, the fingerprint and an empty word, with tabs between.
"""

from __future__ import annotations

import hashlib

_NAMES = (b"localhost", b"127.0.0.1", b"::1")
_SHA256 = b"OID.2.16.840.1.101.3.4.2.1"
_HEAD = b"# PSM Certificate Override Settings file\n# This is a generated file!  Do not edit.\n"


def fingerprint(leaf: bytes) -> bytes:
    return _colons(hashlib.sha256(leaf).digest())


def _colons(digest: bytes) -> bytes:
    return digest.hex(":").upper().encode()


def add(content: bytes, leaf: bytes, port: int, old: str) -> bytes:
    """`old`: SHA-256 (hex) of the certificate of before, which goes."""
    wanted = [b"%s:%d:\t%s\t%s\t\n" % (name, port, _SHA256, fingerprint(leaf)) for name in _NAMES]
    kept = [line for line in strip(content, old, leaf).splitlines(keepends=True) if not line.startswith(_keys(port))]
    if kept and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    return b"".join([*(kept or [_HEAD]), *wanted])


def strip(content: bytes, *leaves: str | bytes) -> bytes:
    """Without the lines of these certificates: DER, or its SHA-256 (hex). A file that says nothing more is empty."""
    prints = [fingerprint(leaf) if isinstance(leaf, bytes) else _colons(bytes.fromhex(leaf)) for leaf in leaves if leaf]
    lines = [line for line in content.splitlines(keepends=True) if not any(print_ in line for print_ in prints)]
    left = b"".join(lines)
    return b"" if left != content and all(line.startswith(b"#") or not line.strip() for line in lines) else left


def accepts(content: bytes, leaf: bytes, port: int) -> bool:
    wanted = b"localhost:%d:\t" % port
    return any(line.startswith(wanted) and fingerprint(leaf) in line for line in content.splitlines())


def _keys(port: int) -> tuple[bytes, ...]:
    return tuple(b"%s:%d:" % (name, port) for name in _NAMES)
