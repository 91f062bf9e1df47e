# SPDX-License-Identifier: Apache-2.0
"""What our own verification says of a document, now."""

from __future__ import annotations

from datetime import UTC, datetime

from cpxd.signature import reading
from cpxd.signature.fetch import Network
from cpxd.signature.judge import judge
from cpxd.signature.report import Report
from cpxd.signature.trust import TrustStore


def reports(content: bytes, trust: TrustStore, fetch: Network) -> list[Report]:
    return [judge(one, trust, fetch, datetime.now(UTC)) for one in reading.read(content, None)]


def verdict(content: bytes, trust: TrustStore, fetch: Network) -> str:
    """Of the only signature in it; what is not even taken for a signature is invalid."""
    try:
        (report,) = reports(content, trust, fetch)
    except reading.NotSigned:
        return "invalid"
    return report.verdict
