# SPDX-License-Identifier: Apache-2.0
"""A signer whose key is in memory: the same certificates as the virtual cards have, without the card."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric import padding as forms
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from cpxd.signature.signer import Padding
from simulator import personas
from simulator.pki import TestPki

FORMS: dict[Padding, forms.AsymmetricPadding] = {"pkcs1": forms.PKCS1v15(), "pss": forms.PSS(forms.MGF1(SHA256()), 32)}


class SoftSigner:
    """`calls` counts the signatures it was asked for."""

    def __init__(
        self,
        pki: TestPki,
        persona: str = "cps-medecin",
        usage: Literal["signature", "authentication"] = "signature",
        padding: Padding = "pkcs1",
    ) -> None:
        credential = pki.issue(personas.load(persona), "cps4", usage)
        self.key, self.certificate, self.padding = credential.key, credential.certificate, padding
        self.calls = 0

    def sign(self, digest: bytes) -> bytes:
        self.calls += 1
        return self.key.sign(digest, FORMS[self.padding], Prehashed(SHA256()))
