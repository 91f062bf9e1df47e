# SPDX-License-Identifier: Apache-2.0
"""JWS compact serialisation (RFC 7515) with RS256 or PS256 (RFC 7518) and the certificate in x5c."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cpxd.record.certificate import parse_certificate
from cpxd.record.errors import RecordError
from cpxd.signature.signeddata import MOST_CERTIFICATES, BadSignature, NotJudged, unusual
from cpxd.signature.signer import Padding, Signer, verify_rsa

_ALGORITHMS: dict[str, tuple[Padding, str]] = {
    "RS256": ("pkcs1", "sha256"),
    "RS384": ("pkcs1", "sha384"),
    "RS512": ("pkcs1", "sha512"),
    "PS256": ("pss", "sha256"),
    "PS384": ("pss", "sha384"),
    "PS512": ("pss", "sha512"),
}
_NAME_OF: dict[Padding, str] = {"pkcs1": "RS256", "pss": "PS256"}
_URL64 = re.compile(rb"[A-Za-z0-9_-]+\Z")
_OTHER_ALGORITHMS = {"ES256", "ES384", "ES512", "ES256K", "EdDSA"}
# they name another key than x5c does, or change what is signed: who reads one reads another signature (RFC 7515 §4.1)
_REFUSED = {"jku", "jwk", "x5u", "x5t", "crit", "b64"}


def sign(payload: bytes, signer: Signer, *, chain: Iterable[bytes] = (), kind: str = "") -> bytes:
    """The compact form of a payload. `kind`: its media type, as cty."""
    header: dict[str, Any] = {"alg": _NAME_OF[signer.padding]}
    if kind:
        header["cty"] = kind.removeprefix("application/")
    header["x5c"] = [base64.b64encode(der).decode() for der in (signer.certificate, *chain)]
    header["x5t#S256"] = _encode(hashlib.sha256(signer.certificate).digest()).decode()
    signed = _encode(json.dumps(header, separators=(",", ":")).encode()) + b"." + _encode(payload)
    return signed + b"." + _encode(signer.sign(hashlib.sha256(signed).digest()))


@dataclass(frozen=True)
class JwsPart:
    """A JWS that is mathematically right."""

    payload: bytes
    certificate: bytes
    certificates: tuple[bytes, ...]
    padding: Padding


def looks_like(content: bytes) -> bool:
    """Whether it has the shape; what is signed may be empty."""
    parts = content.strip().split(b".")
    return len(parts) == 3 and all(_URL64.match(part) for part in (parts[0], parts[1] or b"-", parts[2]))


def verify(content: bytes) -> JwsPart:
    """Check a compact JWS by the certificate in its x5c. Raises BadSignature."""
    try:
        head, payload, value = content.strip(b" \t\r\n").split(b".")
        header = json.loads(_decode(head), object_pairs_hook=_once)
        if header["alg"] in _OTHER_ALGORITHMS:
            raise unusual(header["alg"])
        if not header.keys() & {"x5c", *_REFUSED} and header["alg"] != "none":
            raise NotJudged("le certificat du signataire n'est pas joint (x5c)", "the signer's certificate is not enclosed (x5c)")
        if len(header["x5c"]) > MOST_CERTIFICATES:
            raise ValueError("certificates")
        certificates = tuple(base64.b64decode(text, validate=True) for text in header["x5c"])
        padding, hash_name = _ALGORITHMS[header["alg"]]
        spki = parse_certificate(certificates[0]).spki
        signature, body = _decode(value), _decode(payload) if payload else b""
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, binascii.Error, RecordError):
        raise BadSignature("JWS") from None
    if header.keys() & _REFUSED:
        raise BadSignature("JWS header")
    if header.get("x5t#S256", thumb := _encode(hashlib.sha256(certificates[0]).digest()).decode()) != thumb:
        raise BadSignature("x5t#S256")
    digest = hashlib.new(hash_name, head + b"." + payload).digest()
    salt = hashlib.new(hash_name).digest_size
    if not verify_rsa(spki, padding, digest, signature, hash_name=hash_name, salt=salt):
        raise BadSignature("signature value")
    return JwsPart(body, certificates[0], certificates, padding)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def _encode(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Strict: no padding, no other text for the same value."""
    value = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _encode(value) != text:
        raise ValueError("base64url")
    return value
