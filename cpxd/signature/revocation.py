# SPDX-License-Identifier: Apache-2.0
"""The revocation state of a certificate at a moment: from the evidence a signature holds, or from the servers it names.

`cpxd.revocation` judges one list or one answer; here is which ones are asked, and which bytes said so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from asn1crypto import core
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp

from cpxd.revocation import SKEW, Answer, State, crl, ocsp, unknown
from cpxd.signature.evidence import Evidence
from cpxd.signature.fetch import Fetch, FetchError
from cpxd.signature.trust import parsed

__all__ = ["SKEW", "Revocation", "State", "check", "collect", "now_utc", "vouched"]


@dataclass(frozen=True)
class Revocation:
    """`since`: when it was revoked, aware. `evidence`: the CRL or OCSP response, DER, that says so; b"" when unknown."""

    state: State
    since: datetime | None = None
    evidence: bytes = b""
    kind: Literal["crl", "ocsp", ""] = ""
    reason: str = ""  # why unknown


def check(certificate: bytes, issuer: bytes, evidence: Evidence, at: datetime, now: datetime) -> Revocation:
    """What the evidence says of a certificate at a moment. A revocation wins over anything that says good."""
    found = [_by_ocsp(certificate, issuer, der, at, now) for der in evidence.ocsps]
    found += [_by_crl(certificate, issuer, der, at, now) for der in evidence.crls]
    for state in ("revoked", "good"):
        for result in found:
            if result.state == state:
                return result
    return Revocation("unknown", reason="; ".join(dict.fromkeys(r.reason for r in found if r.reason)))


def collect(certificate: bytes, issuer: bytes, fetch: Fetch, now: datetime) -> Revocation:
    """Ask the servers the certificate names, OCSP first; the first answer that says something now."""
    reasons: list[str] = []
    named = parsed(certificate)
    asked: list[tuple[str, bytes | None, str]]
    asked = [(url, ocsp.request(certificate, issuer), "application/ocsp-request") for url in named.ocsp_urls]
    asked += [(url, None, "") for url in named.crl_urls if url.startswith(("http://", "https://"))]
    for url, body, kind in asked:
        try:
            answer = fetch(url, body, kind)
        except FetchError as error:
            reasons.append(str(error))
            continue
        judged = _by_crl if body is None else _by_ocsp
        result = judged(certificate, issuer, answer, now, now)
        if result.state != "unknown":
            return result
        reasons.append(f"{url} : {result.reason}")
    return Revocation("unknown", reason="; ".join(dict.fromkeys(reasons)) or "aucune adresse / no address")


def _by_crl(certificate: bytes, issuer: bytes, der: bytes, at: datetime, now: datetime) -> Revocation:
    try:
        found = _list(der, issuer)
    except crl.ForeignList:
        return Revocation("unknown")
    except crl.ListError as error:
        return Revocation("unknown", reason=str(error))
    # a list made after the moment knows more of it than one made before
    moment = max(at, found.this_update) if found.this_update <= now + SKEW else at
    named = parsed(certificate)
    return _result(crl.answer(found, None, named.serial, moment, covered=found.scope.covers(named)), der, "crl")


def _by_ocsp(certificate: bytes, issuer: bytes, der: bytes, at: datetime, now: datetime) -> Revocation:
    for moment in (at, now):
        answer = ocsp.answer(der, certificate, issuer, moment)
        if answer.state != "unknown":
            break
    return _result(answer, der, "ocsp")


def _result(answer: Answer, der: bytes, kind: Literal["crl", "ocsp"]) -> Revocation:
    if answer.state == "unknown":
        return Revocation("unknown", reason=str(answer.why or unknown("", "").why))
    return Revocation(answer.state, answer.since, der, kind)


@lru_cache(16)  # lists are large
def _list(der: bytes, issuer: bytes) -> crl.RevocationList:
    return crl.load(der, issuer)


def vouched(evidence: Evidence, pairs: Iterable[tuple[bytes, bytes]], now: datetime) -> bool:
    """Whether every piece of evidence is genuine and about one of these certificates (with its issuer): a touched one is
    worse than none.
    """
    known = list(pairs)
    return all(_is_list(der) and any(_list_of(der, issuer) for _, issuer in known) for der in evidence.crls) and all(
        _is_response(der) and any(_speaks_of(der, certificate, issuer, now) for certificate, issuer in known)
        for der in evidence.ocsps
    )


def _list_of(der: bytes, issuer: bytes) -> bool:
    try:
        _list(der, issuer)
    except crl.ListError:
        return False
    return True


def _speaks_of(der: bytes, certificate: bytes, issuer: bytes, now: datetime) -> bool:
    try:
        made = asn1_ocsp.OCSPResponse.load(der).basic_ocsp_response["tbs_response_data"]["produced_at"].native
    except (ValueError, TypeError, KeyError):
        return False
    return made <= now + SKEW and ocsp.answer(der, certificate, issuer, made).state != "unknown"


def _is_list(der: bytes) -> bool:
    """Nothing in it that its signature does not cover can have been touched."""
    try:
        found = asn1_crl.CertificateList.load(der, strict=True)
        inner, outer = found["tbs_cert_list"]["signature"].dump(), found["signature_algorithm"].dump()
        return bool(inner == outer and found["signature"].contents[:1] == b"\x00")
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_response(der: bytes) -> bool:
    """As `_is_list`; enclosed certificates are left to be judged with the others."""
    try:
        basic = asn1_ocsp.OCSPResponse.load(der, strict=True).basic_ocsp_response
        parameters = basic["signature_algorithm"]["parameters"]
        plain = isinstance(parameters, core.Void | core.Null)
        return bool(plain and basic["signature"].contents[:1] == b"\x00")
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def now_utc() -> datetime:
    return datetime.now(UTC)
