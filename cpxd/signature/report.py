# SPDX-License-Identifier: Apache-2.0
"""What a verification says: what was found in a document, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from cpxd.record.certificate import CardCertificate
from cpxd.signature.evidence import Evidence
from cpxd.signature.revocation import State
from cpxd.signature.signer import Padding
from cpxd.signature.timestamp import Stamp
from cpxd.signature.vihf import Conditions
from cpxd.text import Text

# EN 319 102-1: TOTAL-PASSED, INDETERMINATE, TOTAL-FAILED
Verdict = Literal["valid", "indeterminate", "invalid"]


_DOCUMENT = Text("le document", "the document")
_NOTHING = Evidence()


@dataclass(frozen=True)
class Found:
    """A signature as it stands in a document, before anybody is believed. `broken`: why it is mathematically wrong, or "".
    `unjudged`: why that cannot be said here.
    """

    format: str
    broken: str = ""
    unjudged: Text | None = None
    covers: Text = _DOCUMENT
    certificate: bytes = b""
    certificates: tuple[bytes, ...] = ()
    evidence: Evidence = _NOTHING
    signing_time: datetime | None = None
    padding: Padding | None = None
    stamp: Stamp | None = None
    archive: Stamp | None = None  # over the document with all of this in it (LTA)
    doubts: tuple[Text, ...] = ()  # what the signature does not cover and should
    conditions: Conditions | None = None  # of an assertion


@dataclass(frozen=True)
class Report:
    """`at`: the moment the certificate was judged for; the stamped one when a time stamp proves it, else now."""

    format: str
    level: str  # "B", "T", "LT", "LTA"; "" when broken
    verdict: Verdict
    reasons: tuple[Text, ...]
    covers: Text
    signer: CardCertificate | None
    profession: str | None  # label of the code in the certificate, else the code
    signing_time: datetime | None  # as the signer claims
    stamped_time: datetime | None
    at: datetime
    chain: tuple[str, ...]  # names of the authorities, the issuer first; empty when it leads nowhere
    revocation: State
    revoked_since: datetime | None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


WORST: dict[Verdict, int] = {"valid": 0, "indeterminate": 1, "invalid": 2}


def worst(reports: tuple[Report, ...]) -> Verdict:
    """Of several signatures, what can be said of all."""
    return max((report.verdict for report in reports), key=lambda verdict: WORST[verdict])
