# SPDX-License-Identifier: Apache-2.0
"""What a signature is worth (after EN 319 102-1): who signed, when, whether the certificate counted then, was it revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from cpxd.nomenclature import lookup
from cpxd.record.certificate import CardCertificate
from cpxd.record.errors import RecordError
from cpxd.signature import chain, revocation
from cpxd.signature.chain import Path, PathRevocation
from cpxd.signature.evidence import Evidence
from cpxd.signature.fetch import Fetch, offline
from cpxd.signature.report import WORST, Found, Report, Verdict
from cpxd.signature.revocation import SKEW
from cpxd.signature.timestamp import Stamp
from cpxd.signature.trust import TrustStore, parsed
from cpxd.signature.vihf import Conditions
from cpxd.text import Text

_NOTHING = Evidence()
# RFC 5280 §4.2.1.12: keys of servers, of programs, of time stamps, of OCSP responders sign no documents
_NO_DOCUMENTS = {f"1.3.6.1.5.5.7.3.{number}" for number in (1, 3, 8, 9)}
_UNKNOWN = PathRevocation("unknown", None, "", _NOTHING)


class _Opinion:
    """A verdict that only gets worse, with the reasons in the order they were met."""

    def __init__(self) -> None:
        self.verdict: Verdict = "valid"
        self.reasons: list[Text] = []

    def lower(self, verdict: Verdict, fr: str, en: str) -> None:
        if WORST[verdict] > WORST[self.verdict]:
            self.verdict = verdict
        self.reasons.append(Text(fr, en))


@dataclass(frozen=True)
class _Moment:
    at: datetime
    proven: bool  # by a time stamp of an authority one trusts
    tsa: Path


def judge(found: Found, trust: TrustStore, fetch: Fetch, now: datetime, held: Evidence = _NOTHING) -> Report:
    """The report on one signature. What the document holds tells about revocation, else what is `held`, else `fetch` is asked."""
    opinion = _Opinion()
    signer = _decoded(found.certificate)
    if found.unjudged is not None:
        opinion.lower("indeterminate", *found.unjudged)
        return _report(found, opinion, signer, now, path=Path(()), revoked=_UNKNOWN, level="")
    if found.broken or signer is None:
        reason = found.broken or "certificate"
        opinion.lower(
            "invalid", f"signature fausse ou document modifié ({reason})", f"wrong signature or changed document ({reason})"
        )
        return _report(found, opinion, signer, now, path=Path(()), revoked=_UNKNOWN, level="")
    for doubt in found.doubts:
        opinion.lower("indeterminate", *doubt)
    _check_conditions(found.conditions, now, opinion)
    moment = _moment(found, trust, _Sources(found.evidence + held, fetch), now, opinion)
    path = chain.build(found.certificate, trust, moment.at, found.certificates)
    _check_path(path, signer, moment, claimed=found.signing_time, now=now, opinion=opinion)
    revoked = chain.revocation_of(path, found.evidence + held, fetch, moment.at, now) if path.certificates else _UNKNOWN
    _check_revocation(revoked, moment, found.signing_time, opinion)
    _check_usage(signer, opinion)
    _check_strangers(found, [path, moment.tsa, *_archive_path(found, trust)], trust, now, opinion)
    level = _level(found, path, moment, _archive_path(found, trust), now)
    return _report(found, opinion, signer, moment.at, path=path, revoked=revoked, level=level)


def _decoded(der: bytes) -> CardCertificate | None:
    try:
        return parsed(der) if der else None
    except RecordError:
        return None


@dataclass(frozen=True)
class _Sources:
    """Where revocation is asked."""

    held: Evidence
    fetch: Fetch


def _moment(found: Found, trust: TrustStore, sources: _Sources, now: datetime, opinion: _Opinion) -> _Moment:
    """The moment the signature surely existed."""
    stamp = found.stamp or found.archive
    if stamp is None:
        return _Moment(now, False, Path(()))
    tsa = chain.build(stamp.signer, trust, stamp.time, stamp.certificates)
    if stamp.time > now + SKEW:
        opinion.lower("invalid", "horodatage dans le futur", "time stamp in the future")
    if not tsa.valid:
        opinion.lower("indeterminate", "autorité d'horodatage inconnue", "unknown time-stamping authority")
        return _Moment(now, False, tsa)
    revoked = chain.revocation_of(tsa, sources.held, sources.fetch, stamp.time, now)
    if revoked.state == "revoked":  # whenever that was: with a stolen key, stamps of the past can be made
        opinion.lower("indeterminate", "autorité d'horodatage révoquée", "revoked time-stamping authority")
        return _Moment(now, False, tsa)
    if revoked.state == "unknown":
        opinion.lower(
            "indeterminate",
            f"état de révocation de l'autorité d'horodatage inconnu ({revoked.reason})",
            f"revocation state of the time-stamping authority unknown ({revoked.reason})",
        )
    return _Moment(stamp.time, True, tsa)


def _check_path(
    path: Path, signer: CardCertificate, moment: _Moment, *, claimed: datetime | None, now: datetime, opinion: _Opinion
) -> None:
    if claimed is not None and not signer.not_before - SKEW <= claimed <= signer.not_after + SKEW:
        opinion.lower("invalid", "signé hors de la validité du certificat", "signed outside the validity of the certificate")
    if claimed is not None and claimed > (moment.at if moment.proven else now) + SKEW:
        opinion.lower("invalid", "date de signature postérieure à la preuve", "signing time later than its proof")
    if not path.certificates:
        opinion.lower(
            "indeterminate", "le certificat ne remonte à aucune autorité connue", "the certificate leads to no known authority"
        )
    elif not signer.not_before <= moment.at <= signer.not_after:
        if moment.proven:
            opinion.lower("invalid", "certificat non valable à la date de l'horodatage", "certificate not valid when stamped")
        else:
            opinion.lower(
                "indeterminate",
                "certificat expiré (ou pas encore valable), et aucun horodatage ne prouve la date",
                "certificate expired (or not yet valid), and no time stamp proves the date",
            )
    elif path.problem:
        opinion.lower("invalid", f"chaîne de certificats refusée ({path.problem})", f"certificate chain refused ({path.problem})")


def _check_revocation(revoked: PathRevocation, moment: _Moment, claimed: datetime | None, opinion: _Opinion) -> None:
    if revoked.state == "unknown":
        why = f" ({revoked.reason})" if revoked.reason else ""
        opinion.lower("indeterminate", f"état de révocation inconnu{why}", f"revocation state unknown{why}")
    if revoked.state != "revoked" or revoked.since is None:
        return
    day = f"{revoked.since:%Y-%m-%d %H:%M} UTC"
    if moment.proven and revoked.since > moment.at:
        return  # signed before, and that is proven
    if moment.proven or claimed is None or revoked.since <= claimed:
        opinion.lower("invalid", f"certificat révoqué depuis le {day}", f"certificate revoked since {day}")
    else:
        opinion.lower(
            "indeterminate",
            f"certificat révoqué le {day}, et rien ne prouve que la signature est antérieure",
            f"certificate revoked on {day}, and nothing proves that the signature is earlier",
        )


def _check_conditions(conditions: Conditions | None, now: datetime, opinion: _Opinion) -> None:
    """SAML 2.0 core §2.5.1: an assertion counts in its time. Whether one is among its audience, only the service can say."""
    if conditions is None:
        return
    start, end = conditions.not_before, conditions.not_on_or_after
    if start is not None and now + SKEW < start:
        opinion.lower(
            "invalid", f"jeton pas encore valable : dès le {_when(start)}", f"assertion not valid before {_when(start)}"
        )
    if end is not None and now - SKEW >= end:
        opinion.lower("invalid", f"jeton expiré le {_when(end)}", f"assertion expired on {_when(end)}")
    if conditions.audiences:
        names = ", ".join(conditions.audiences)
        opinion.lower("indeterminate", f"jeton réservé à : {names}", f"assertion meant for: {names}")
    if conditions.strange:
        names = ", ".join(conditions.strange)
        opinion.lower("indeterminate", f"condition inconnue du jeton : {names}", f"unknown condition of the assertion: {names}")


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment:%Z}"


def _check_usage(signer: CardCertificate, opinion: _Opinion) -> None:
    purposes = set(signer.extended_key_usage)
    if not signer.key_usage & {"nonRepudiation", "digitalSignature"} or (purposes and purposes <= _NO_DOCUMENTS):
        opinion.lower("invalid", "ce certificat n'est pas fait pour signer", "this certificate is not for signing")


def _check_strangers(found: Found, paths: list[Path], trust: TrustStore, now: datetime, opinion: _Opinion) -> None:
    """Nothing that nobody vouches for: a certificate or a list that was touched is worse than none."""
    known = {*trust.anchors, *trust.others, *(der for path in paths for der in path.certificates)}
    stamps = [s for s in (found.stamp, found.archive) if s is not None]
    inside = {*found.certificates, *(c for stamp in stamps for c in stamp.certificates)}
    if any(c not in known and not _vouched(c, known) for c in inside):
        opinion.lower(
            "indeterminate", "un certificat joint est altéré ou inconnu", "an enclosed certificate is damaged or unknown"
        )
    pairs = [pair for path in paths for pair in zip(path.certificates, path.certificates[1:], strict=False)]
    if not revocation.vouched(found.evidence, pairs, now):
        opinion.lower(
            "indeterminate",
            "une donnée de révocation jointe est altérée ou inconnue",
            "enclosed revocation data is damaged or unknown",
        )


def _archive_path(found: Found, trust: TrustStore) -> list[Path]:
    stamp = found.archive
    return [] if stamp is None else [chain.build(stamp.signer, trust, stamp.time, stamp.certificates)]


def _vouched(der: bytes, authorities: set[bytes]) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        return False
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
            return True
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
    return False


def _level(found: Found, path: Path, moment: _Moment, archive: list[Path], now: datetime) -> str:
    if found.stamp is None:
        return "B"
    held = chain.revocation_of(path, found.evidence, offline, moment.at, now) if path.valid else _UNKNOWN
    if held.state == "unknown":
        return "T"
    return "LTA" if any(p.valid for p in archive) else "LT"


def _report(
    found: Found,
    opinion: _Opinion,
    signer: CardCertificate | None,
    at: datetime,
    *,
    path: Path,
    revoked: PathRevocation,
    level: str,
) -> Report:
    code = signer.profession if signer else None
    entry = lookup("G15", code) if code else None
    return Report(
        format=found.format,
        level=level,
        verdict=opinion.verdict,
        reasons=tuple(opinion.reasons),
        covers=found.covers,
        signer=signer,
        profession=entry.label if entry else code,
        signing_time=found.signing_time,
        stamped_time=_time(found.stamp or found.archive),
        at=at,
        chain=tuple(parsed(der).subject.common_name or parsed(der).subject.text for der in path.certificates[1:]),
        revocation=revoked.state,
        revoked_since=revoked.since,
        certificates=path.certificates,
    )


def _time(stamp: Stamp | None) -> datetime | None:
    return None if stamp is None else stamp.time
