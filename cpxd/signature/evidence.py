# SPDX-License-Identifier: Apache-2.0
"""Revocation data as bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """What was collected, DER: CRLs (RFC 5280 §5) and OCSP responses (RFC 6960)."""

    crls: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(tuple(dict.fromkeys(self.crls + other.crls)), tuple(dict.fromkeys(self.ocsps + other.ocsps)))
