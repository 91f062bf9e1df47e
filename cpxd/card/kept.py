# SPDX-License-Identifier: Apache-2.0
"""Certificates of cards that were read before, on disk: reading them is five of the seven seconds that a CPS3 takes.

Only certificates: they are public, and too long for one READ BINARY. Every other file costs no more to read than to check.
What is kept is sealed with a key made of the certificate's own last bytes, a part of its signature, which are read from the
card each time. So another certificate under the same serial number is noticed, and the disk tells nothing of the holder to who
has not the card. One file a card, named by a hash of its serial number. A file that is not as we wrote it is none.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from cpxd import tlv
from cpxd.card.application import END, FILE_LIMIT, Path
from cpxd.config import cache_home
from cpxd.errors import BadFile
from cpxd.files import read_private, write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_HEAD = b"cpxd card 1 "  # then SHA-256 of the rest in hexadecimal, and a line end
_FILE_LIMIT = 1 << 17  # bytes
_MOST_CERTIFICATES = 16
MOST_CARDS = 64  # the one that was used longest ago makes room


@dataclass(frozen=True)
class Sealed:
    """A certificate of `length` bytes, AES-256-GCM. The key is never used for anything else: no nonce is needed."""

    length: int
    content: bytes

    @classmethod
    def seal(cls, der: bytes) -> Sealed:
        return cls(len(der), _cipher(der[-END:]).encrypt(bytes(12), der, None))

    def open(self, end: bytes) -> bytes | None:
        """The certificate, if it ends so."""
        from cryptography.exceptions import InvalidTag

        try:
            der = _cipher(end).decrypt(bytes(12), self.content, None)
        except InvalidTag:
            return None
        return der if len(der) == self.length and keepable(der) == der else None


def _cipher(end: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # loaded only when there is something to seal or open

    return AESGCM(hashlib.sha256(b"cpxd card 1" + end).digest())


Certificates = dict[Path, Sealed]


def folder() -> FilePath:
    """$XDG_CACHE_HOME/cpxd/cards."""
    return cache_home() / "cards"


class Kept:
    """What is kept of one card. `marker`: the content of its EF_ACTUA; what was kept under another one is forgotten."""

    def __init__(self, pan: str, marker: bytes) -> None:
        self._path = folder() / hashlib.sha256(b"cpxd card " + pan.encode()).hexdigest()
        self._marker = marker.hex()

    def load(self) -> Certificates:
        """By path; empty when there is nothing that can be used."""
        try:
            found = _parsed(read_private(self._path, _FILE_LIMIT), self._marker)
            os.utime(self._path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return found

    def save(self, certificates: Mapping[Path, Sealed]) -> None:
        """Whole or not at all; where that cannot be, nothing is kept."""
        written = {
            "".join(f"{fid:04X}" for fid in path): [sealed.length, base64.b64encode(sealed.content).decode()]
            for path, sealed in list(certificates.items())[:_MOST_CERTIFICATES]
        }
        body = json.dumps({"marker": self._marker, "certificates": written}).encode()
        if len(body) > _FILE_LIMIT - 128:
            return
        with contextlib.suppress(OSError, BadFile):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                _make_room(self._path.parent)
            write_new(self._path, _HEAD + hashlib.sha256(body).hexdigest().encode() + b"\n" + body, mode=0o600)

    def forget(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def held() -> tuple[int, int]:
    """How many cards something is kept of, and the bytes it takes. Raises OSError."""
    sizes = [path.lstat().st_size for path in _files(folder())]
    return len(sizes), sum(sizes)


def clear() -> int:
    """Forget all cards; how many. Raises OSError."""
    found = _files(folder())
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def keepable(content: bytes) -> bytes:
    """The one certificate that a file holds, without padding; empty when it is anything else."""
    try:
        first = next(tlv.items(content), None)
        der = b"" if first is None or first.tag != 0x30 else first.encode()
    except tlv.TlvError:
        return b""
    alone = content.startswith(der) and not content[len(der) :].strip(b"\x00\xff")
    return der if alone and END <= len(der) <= FILE_LIMIT else b""


def _files(place: FilePath) -> list[FilePath]:
    try:
        return [path for path in place.iterdir() if path.is_symlink() or not path.is_dir()]
    except FileNotFoundError:
        return []


def _make_room(place: FilePath) -> None:
    found = sorted(_files(place), key=lambda path: path.lstat().st_mtime_ns)
    for path in found[: max(0, len(found) - MOST_CARDS + 1)]:
        path.unlink(missing_ok=True)


def _parsed(content: bytes, marker: str) -> Certificates:
    head, _, body = content.partition(b"\n")
    if head != _HEAD + hashlib.sha256(body).hexdigest().encode():
        raise ValueError("damaged")
    document = json.loads(body)
    if document["marker"] != marker:
        raise ValueError("of before an update")
    return {_path(name): _sealed(*kept) for name, kept in document["certificates"].items()}


def _path(name: str) -> Path:
    return tuple(int(name[at : at + 4], 16) for at in range(0, len(name), 4))


def _sealed(length: int, text: str) -> Sealed:
    if not isinstance(length, int):
        raise TypeError
    return Sealed(length, base64.b64decode(text, validate=True))
