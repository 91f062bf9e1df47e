# SPDX-License-Identifier: Apache-2.0
"""JWS under attack: each is what a right one would be with one thing wrong in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ours import verdict
from signers import SoftSigner

from cpxd.signature import jws
from cpxd.signature.fetch import Network
from cpxd.signature.trust import TrustStore
from simulator.pki import TestPki


def _encode(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _token(signer: SoftSigner, header: dict[str, Any] | bytes, payload: bytes = b"{}", value: bytes | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = _encode(head) + b"." + _encode(payload)
    if value is None:
        value = signer.sign(hashlib.sha256(signed).digest())
    return signed + b"." + _encode(value)


def _header(signer: SoftSigner, **more: Any) -> dict[str, Any]:
    return {"alg": "RS256", "x5c": [base64.b64encode(signer.certificate).decode()], **more}


def test_jws_headers(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    other = SoftSigner(TestPki(), "cps-infirmier")
    numbers = other.key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": _encode(numbers.n.to_bytes(256, "big")).decode(), "e": "AQAB"}
    right = _header(plain)
    assert verdict(_token(plain, right), trust, network) == "valid"
    text = json.dumps(right).encode()
    wrong: dict[str, bytes] = {
        "none": _token(plain, right | {"alg": "none"}, value=b""),
        "None": _token(plain, right | {"alg": "None"}),
        "no algorithm": _token(plain, {"x5c": right["x5c"]}),
        "RS1": _token(plain, right | {"alg": "RS1"}),
        "algorithm as a list": _token(plain, right | {"alg": ["RS256"]}),
        "PS256 for RS256": _token(plain, right | {"alg": "PS256"}),
        "critical": _token(plain, right | {"crit": ["exp"], "exp": 1}),
        "no critical": _token(plain, right | {"crit": []}),
        "detached": _token(plain, right | {"b64": False, "crit": ["b64"]}),
        "key in the header": _token(other, right | {"jwk": jwk}),
        "key in the header, and ours": _token(plain, right | {"jwk": jwk}),
        "address of keys": _token(plain, right | {"jku": "https://evil.example/keys"}),
        "address of certificates": _token(plain, right | {"x5u": "https://evil.example/x5u"}),
        "thumbprint of another": _token(
            plain, right | {"x5t#S256": _encode(hashlib.sha256(other.certificate).digest()).decode()}
        ),
        "old thumbprint": _token(plain, right | {"x5t": "AAAA"}),
        "algorithm twice": _token(plain, text[:-1] + b', "alg": "RS256"}'),
        "certificates twice": _token(plain, text[:-1] + b', "x5c": []}'),
        "another's certificate first": _token(
            plain, right | {"x5c": [base64.b64encode(other.certificate).decode(), *right["x5c"]]}
        ),
        "no certificate": _token(plain, right | {"x5c": []}),
        "certificate as text": _token(plain, right | {"x5c": right["x5c"][0]}),
        "blank in the certificate": _token(plain, right | {"x5c": [" " + right["x5c"][0]]}),
        "a list": _token(plain, b"[]"),
        "deep": _token(plain, b"[" * 100_000),
        "not UTF-8": _token(plain, b"\xff\xfe"),
        "padded": _token(plain, right) + b"=",
        "four parts": _token(plain, right) + b".AAAA",
        "other payload": jws.sign(b"{}", plain).replace(b"." + _encode(b"{}") + b".", b"." + _encode(b"[]") + b"."),
    }
    assert {name: verdict(token, trust, network) for name, token in wrong.items()} == dict.fromkeys(wrong, "invalid")


def test_jws_with_the_public_key_as_a_secret(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """HS256 over what everybody knows."""
    header = _header(plain) | {"alg": "HS256"}
    signed = _encode(json.dumps(header).encode()) + b"." + _encode(b"{}")
    public = plain.key.public_key()
    for secret in (
        plain.certificate,
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        token = signed + b"." + _encode(hmac.digest(secret, signed, "sha256"))
        assert verdict(token, trust, network) == "invalid"


def test_certificates_that_libraries_read_differently(plain: SoftSigner, trust: TrustStore, network: Network) -> None:
    """Whatever is in it, there is a verdict."""
    whole = plain.certificate
    chosen = random.Random("certificates").sample(range(320, len(whole) * 8), 300)  # noqa: S311 - a sample
    for position in [*range(320), *chosen]:  # the head, where lengths and kinds are, and some of the rest
        der = bytearray(whole)
        der[position // 8] ^= 1 << position % 8
        token = _token(plain, {"alg": "RS256", "x5c": [base64.b64encode(bytes(der)).decode()]})
        assert verdict(token, trust, network) != "valid", position
