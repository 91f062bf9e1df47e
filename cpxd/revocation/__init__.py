# SPDX-License-Identifier: Apache-2.0
"""Whether a certificate is on opposition: lists (CRL, delta CRL) and answers (OCSP), judged; nothing here waits for a person.

Three answers only: good until a moment, revoked since a moment, or unknown and why. Stale or doubtful evidence says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from cpxd.text import Text

__all__ = ["DAMAGED", "HOLD", "REASONS", "SKEW", "Answer", "State", "unknown"]

State = Literal["good", "revoked", "unknown"]
# what the library raises for bytes that are not what they should be
DAMAGED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
SKEW = timedelta(minutes=5)  # by how much two clocks may differ
HOLD = "certificateHold"  # the one reason that may be taken back (RFC 5280, 5.3.1)

REASONS: dict[str, Text] = {  # RFC 5280, 5.3.1
    "unspecified": Text("sans motif", "no reason given"),
    "keyCompromise": Text("perte, vol ou clé compromise", "lost, stolen or key compromised"),
    "cACompromise": Text("autorité compromise", "authority compromised"),
    "affiliationChanged": Text("changement de situation", "affiliation changed"),
    "superseded": Text("remplacée par une autre", "superseded"),
    "cessationOfOperation": Text("fin d'activité", "cessation of operation"),
    "certificateHold": Text("suspendue", "on hold"),
    "privilegeWithdrawn": Text("droit retiré", "privilege withdrawn"),
    "aACompromise": Text("autorité compromise", "authority compromised"),
}


@dataclass(frozen=True)
class Answer:
    """`until`: good until then (aware). `since`, `reason`: revoked since then, key of REASONS. `why`: unknown because.
    `told`: when its source said so."""

    state: State
    until: datetime | None = None
    since: datetime | None = None
    reason: str | None = None
    why: Text | None = None
    source: str = ""  # "CRL", "CRL + delta", "OCSP"
    told: datetime | None = field(default=None, compare=False)


def unknown(french: str, english: str) -> Answer:
    return Answer("unknown", why=Text(french, english))
