# SPDX-License-Identifier: Apache-2.0
"""From a certificate to an authority one trusts (RFC 5280 §6, by pyhanko-certvalidator), and what is known of its revocation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cpxd.signature import revocation
from cpxd.signature.evidence import Evidence
from cpxd.signature.fetch import Fetch
from cpxd.signature.revocation import Revocation, State
from cpxd.signature.trust import TrustStore, asn1, readable

_NO_AUTHORITY = "aucune autorité connue / no known authority"


@dataclass(frozen=True)
class Path:
    """`certificates`: DER from the signer to the root; empty when none was found. `problem`: why the path is not valid."""

    certificates: tuple[bytes, ...]
    problem: str = ""

    @property
    def valid(self) -> bool:
        return bool(self.certificates) and not self.problem


def build(certificate: bytes, trust: TrustStore, at: datetime, more: Iterable[bytes] = ()) -> Path:
    """The path of a certificate, valid at a moment."""
    try:
        return asyncio.run(_build(certificate, trust, at, tuple(der for der in more if readable(der))))
    except Exception as error:  # asn1crypto reads late what a stranger wrote, and raises half a dozen kinds; all mean the same
        return Path((), f"{_NO_AUTHORITY}: {type(error).__name__}")


async def _build(certificate: bytes, trust: TrustStore, at: datetime, more: tuple[bytes, ...]) -> Path:
    from pyhanko_certvalidator.context import ValidationContext
    from pyhanko_certvalidator.errors import PathBuildingError, ValidationError
    from pyhanko_certvalidator.validate import async_validate_path

    context = ValidationContext(
        trust_roots=[asn1(der) for der in trust.anchors],
        other_certs=[asn1(der) for der in (*trust.others, *more)],
        moment=at,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )
    longest = Path(())
    try:
        paths = await context.path_builder.async_build_paths(asn1(certificate))
    except (PathBuildingError, ValueError) as error:
        return Path((), f"{_NO_AUTHORITY}: {type(error).__name__}")
    for candidate in paths:
        ders = tuple(reversed([c.dump() for c in candidate.iter_certs(include_root=True)]))
        try:
            await async_validate_path(context, candidate)
            return Path(ders)
        except (ValidationError, ValueError) as error:
            longest = Path(ders, str(error) or type(error).__name__)
    return longest if longest.certificates else Path((), _NO_AUTHORITY)


@dataclass(frozen=True)
class PathRevocation:
    """The worst state along a path, the root left out: it cannot be revoked, only distrusted."""

    state: State
    since: datetime | None
    reason: str
    evidence: Evidence  # what says so, for the whole path


def revocation_of(path: Path, held: Evidence, fetch: Fetch, at: datetime, now: datetime) -> PathRevocation:
    """The state of every certificate of a path: from the evidence held, else from the servers the certificates name."""
    found: list[Revocation] = []
    for certificate, issuer in zip(path.certificates, path.certificates[1:], strict=False):
        result = revocation.check(certificate, issuer, held, at, now)
        # a certificate that nobody known has signed names the servers of whoever made it: they are not asked
        if result.state == "unknown" and path.valid:
            asked = revocation.collect(certificate, issuer, fetch, now)
            result = asked if asked.state != "unknown" or not result.reason else result
        found.append(result)
    evidence = Evidence(
        tuple(dict.fromkeys(r.evidence for r in found if r.kind == "crl")),
        tuple(dict.fromkeys(r.evidence for r in found if r.kind == "ocsp")),
    )
    for state in ("revoked", "unknown"):
        for result in found:
            if result.state == state:
                return PathRevocation(result.state, result.since, result.reason, evidence)
    return PathRevocation("good" if found else "unknown", None, "", evidence)
