# SPDX-License-Identifier: Apache-2.0
"""The authorities a signature may lead to: the nine of IGC-Santé, and those a person or an administrator names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from asn1crypto import pem, x509

from cpxd import errors
from cpxd.files import reason
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.text import tr

logging.getLogger("pyhanko").setLevel(logging.CRITICAL + 1)  # what it thinks of a document is told by our reports
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL + 1)
_SUFFIXES = (".cer", ".crt", ".der", ".pem")
MAX_FILE = 1 << 20


@dataclass(frozen=True)
class TrustStore:
    """Authorities by their DER. `anchors`: where a chain may end; `others`: what may stand between."""

    anchors: tuple[bytes, ...]
    others: tuple[bytes, ...]


@lru_cache(1)
def shipped() -> tuple[bytes, ...]:
    """The nine authorities of IGC-Santé, DER."""
    folder = resources.files("cpxd").joinpath("data/igc-sante")
    return tuple(f.read_bytes() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.name.endswith(".cer"))


def load(*paths: Path | str) -> TrustStore:
    """IGC-Santé and the authorities in files or folders (PEM bundles or DER). Raises BadFile."""
    found = list(shipped())
    for path in paths:
        found += _read(Path(path))
    unique = dict.fromkeys(found)
    anchors = tuple(der for der in unique if _subject(der) == _issuer(der))
    return TrustStore(anchors, tuple(der for der in unique if der not in anchors))


def _read(path: Path) -> list[bytes]:
    try:
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES and f.is_file()) if path.is_dir() else [path]
        return [der for file in files for der in _certificates(file)]
    except OSError as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None


def _certificates(file: Path) -> list[bytes]:
    with file.open("rb") as opened:  # a pipe too, where the shell made one of a command
        content = opened.read(MAX_FILE + 1)
    try:
        if len(content) > MAX_FILE:
            raise ValueError("too large")
        ders = [der for _, _, der in pem.unarmor(content, multiple=True)] if pem.detect(content) else [content]
        return [_checked(der) for der in ders]
    except (ValueError, RecordError):
        why = tr("pas un certificat d'autorité (PEM ou DER)", "no certificate of an authority (PEM or DER)")
        raise errors.BadFile(file=file, reason=why) from None


def _checked(der: bytes) -> bytes:
    parse_certificate(der)
    if not x509.Certificate.load(der).ca:
        raise ValueError("not an authority")
    return der


@lru_cache(256)
def parsed(der: bytes) -> CardCertificate:
    """A certificate, decoded once. Raises RecordError."""
    return parse_certificate(der)


@lru_cache(256)
def asn1(der: bytes) -> x509.Certificate:
    return x509.Certificate.load(der)


@lru_cache(256)
def readable(der: bytes) -> bool:
    """Whether a certificate can be decoded down to its last field."""
    try:
        return bool(parsed(der).der == der and asn1(der).native)
    except Exception:  # asn1crypto raises half a dozen kinds on hostile bytes; all mean the same here
        return False


def _subject(der: bytes) -> bytes:
    return parsed(der).subject.der


def _issuer(der: bytes) -> bytes:
    return parsed(der).issuer.der
