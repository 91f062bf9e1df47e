# SPDX-License-Identifier: Apache-2.0
"""The card of the recorded exchanges (tests/traces) as a card one can insert: `trace-model`, `trace-model-16`.

Its files, identifiers and sizes are those that independent middleware was seen to read, none of them ours (`trace-model.json`,
from the recorded bytes alone). Keys are made here: the certificates keep their bytes but for the public key and its identifier,
so that signatures verify with them; their own signature by an authority that nobody has no longer does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from simulator.image import ElementaryFile, Image, Key, Model, Pin
from simulator.imagefile import from_json
from simulator.pki import Usage
from simulator.pki.store import KeyStore, default_folder

NAMES = {"trace-model": 2, "trace-model-16": 16}  # practice situations
KEY_SIZE = 2048
PINS = (Pin(1, b"1234", 3, 3), Pin(2, b"12345678", 10, 10, 100))
_DATA = Path(__file__).parent / "trace-model.json"
_REFERENCES: dict[Model, dict[Usage, int]] = {
    "cps3": {"signature": 1, "authentication": 2, "technical": 3},
    "cps4": {"signature": 0x10, "authentication": 0x20},
    "cps3cl": {"technical": 3},
}
CERTIFICATES: dict[Usage, tuple[int, int]] = {
    "signature": (0x0001, 0xA001),
    "authentication": (0x0001, 0xA002),
    "technical": (0x0002, 0xA003),
}


@cache
def _document() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(_DATA.read_text(encoding="ascii")))


def recorded(model: Model, situations: int, keys: Mapping[Usage, RSAPrivateKey]) -> Image:
    """With the certificates as they were recorded, whatever the keys. `situations`: 2 or 16."""
    held = [Key(reference, usage, keys[usage]) for usage, reference in _REFERENCES[model].items()]
    document = _document()[model]
    return from_json(document[str(situations)] if str(situations) in document else document["2"], held, PINS)


def image(name: str, model: Model, folder: Path | None = None) -> Image:
    """A whole card: its certificates hold its keys, which are kept in `folder` (None: that of the test PKI)."""
    store = KeyStore(folder or default_folder())
    keys: dict[Usage, RSAPrivateKey] = {usage: store.key(f"trace-model-{usage}", KEY_SIZE) for usage in CERTIFICATES}
    found = recorded(model, NAMES[name], keys)
    return replace(found, files=tuple(_with_key(file, keys) for file in found.files))


def _with_key(file: ElementaryFile, keys: Mapping[Usage, RSAPrivateKey]) -> ElementaryFile:
    usage = next((usage for usage, path in CERTIFICATES.items() if path == file.path and file.content), None)
    if usage is None:
        return file
    old = x509.load_der_x509_certificate(file.content)
    public = cast(RSAPublicKey, old.public_key())
    new = keys[usage].public_key()
    content = file.content.replace(_modulus(public), _modulus(new))
    before, after = (x509.SubjectKeyIdentifier.from_public_key(key).digest for key in (public, new))
    return replace(file, content=content.replace(before, after))


def _modulus(key: RSAPublicKey) -> bytes:
    return key.public_numbers().n.to_bytes(KEY_SIZE // 8, "big")
