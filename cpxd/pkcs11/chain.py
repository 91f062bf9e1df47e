# SPDX-License-Identifier: Apache-2.0
"""The certificates that issued a card's: offered too, so that a server that lists only roots sees the client's certificate.

The nine public authorities of IGC-Santé are shipped (cpxd/data/igc-sante); a folder of others, of test authorities for
instance, can be named in the settings (`pkcs11.chain`). None is trusted by that: the host program decides whom it trusts.
"""

from __future__ import annotations

import functools
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from cpxd import log
from cpxd.files import read_bounded
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError

SHIPPED = Path(__file__).parents[1] / "data" / "igc-sante"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SUFFIXES = frozenset({".cer", ".crt", ".der", ".pem"})
_FILE_LIMIT = 1 << 20
_LONGEST = 4


@functools.lru_cache(maxsize=4)
def authorities(folder: str) -> tuple[CardCertificate, ...]:
    """The shipped authorities and those of `folder` ("": none), DER or PEM. A file that is none costs itself only."""
    found: list[CardCertificate] = []
    for place in (SHIPPED, *([Path(folder)] if folder else [])):
        try:
            files = sorted(file for file in place.iterdir() if file.suffix.lower() in _SUFFIXES)
        except OSError as error:
            log.write("chain-folder", error=type(error).__name__)
            continue
        for file in files:
            found += _read(file)
    return tuple(found)


def _read(file: Path) -> Iterator[CardCertificate]:
    try:
        content = read_bounded(file, _FILE_LIMIT)
    except OSError:
        return
    for der in [b64decode(text) for text in _PEM.findall(content)] or [content]:
        try:
            yield parse_certificate(der)
        except RecordError:
            log.write("chain-file", error="RecordError")


def chain(leaves: Iterable[CardCertificate], known: tuple[CardCertificate, ...]) -> list[CardCertificate]:
    """The issuers of the leaves, nearest first, each once; an issuer counts when its key verifies what it issued."""
    found: list[CardCertificate] = []
    for leaf in leaves:
        current = leaf
        for _ in range(_LONGEST):
            issuer = next((c for c in known if c.subject.der == current.issuer.der and _issued(c, current)), None)
            if issuer is None or issuer.der == current.der:
                break
            if all(issuer.der != c.der for c in found):
                found.append(issuer)
            current = issuer
    return found


def _issued(issuer: CardCertificate, subject: CardCertificate) -> bool:
    try:
        below, above = x509.load_der_x509_certificate(subject.der), x509.load_der_x509_certificate(issuer.der)
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion):
        return False
    return True
