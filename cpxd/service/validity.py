# SPDX-License-Identifier: Apache-2.0
"""Until when a card is good: its dates, and whether it is on opposition.

Lists come from the administrator's folder, from our cache, and, when the settings allow it, from the servers the certificates
name: OCSP first, then the list. Fetching runs in the background; a question is answered from what is at hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cpxd.config import Settings
from cpxd.errors import CpxError
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.model import CardRecord
from cpxd.revocation import HOLD, REASONS, Answer, crl, ocsp, unknown
from cpxd.revocation.crl import ForeignList, ListError, RevocationList
from cpxd.revocation.store import Cache, Held, lists_in
from cpxd.signature import trust
from cpxd.signature.fetch import Fetch, FetchError, Network
from cpxd.text import Text

__all__ = ["REPLACED_RULE", "WARN_DAYS", "CertificateValidity", "Dates", "Opposition", "Validity", "as_json", "of_card"]

WARN_DAYS = 30
REPLACED_RULE = Text(
    "Une carte refaite après un changement de situation met l'ancienne en opposition 30 jours après l'émission de la nouvelle.",
    "A card made anew after a change of situation puts the old one on opposition 30 days after the new one was issued.",
)
DateState = Literal["valid", "expires_soon", "expired", "not_yet_valid", "unknown"]


@dataclass(frozen=True)
class Dates:
    valid_from: date | None
    valid_until: date | None
    state: DateState
    days_left: int | None  # to the last day, which counts whole; negative: expired


@dataclass(frozen=True)
class CertificateValidity:
    certificate: CardCertificate
    dates: Dates
    answer: Answer


@dataclass(frozen=True)
class Validity:
    """`answer`: the worst of the certificates'; an expired card is unknown, since lists forget what has expired."""

    dates: Dates
    answer: Answer
    certificates: tuple[CertificateValidity, ...]


def dates(valid_from: date | None, valid_until: date | None, today: date) -> Dates:
    """What the dates mean on a day."""
    if valid_until is None:
        return Dates(valid_from, None, "unknown", None)
    left = (valid_until - today).days
    state: DateState = "expired" if left < 0 else "expires_soon" if left <= WARN_DAYS else "valid"
    if valid_from is not None and today < valid_from:
        state = "not_yet_valid"
    return Dates(valid_from, valid_until, state, left)


class Opposition:
    """Answers about certificates, from lists loaded once. Thread-safe; one for a process is enough."""

    def __init__(self, settings: Settings, *, cache: Cache | None = None, network: Fetch | None = None) -> None:
        self._settings = settings
        self._cache = cache or Cache()
        self._network = network or Network(settings.revocation_wait, settings.revocation_proxy)
        self._trust = trust.load(*([settings.sign_trust] if settings.sign_trust else []))
        self._lock = threading.Lock()
        self._loaded: dict[tuple[Path, bytes], tuple[tuple[int, int, int], RevocationList | ListError]] = {}
        self._paths: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        self._failed: dict[str, Text] = {}  # by address: why the last fetch gave nothing
        self._running: threading.Thread | None = None

    # -- the question --------------------------------------------------------------------------------------------

    def answer(self, certificate: bytes, now: datetime | None = None) -> Answer:
        """What is known at this moment of a certificate (DER) and of the authorities above it; the network is not asked.

        Raises BadFile when the administrator's folder cannot be read.
        """
        now = now or datetime.now(UTC)
        with self._lock:
            links = self._links(certificate, now)
            if not links:
                return unknown("aucune autorité connue n'a émis ce certificat", "no known authority issued this certificate")
            return _worst(_capped(self._about(one, issuer, now), one, now) for one, issuer in links)

    def quick(self, issuer: bytes, serial: int, now: datetime) -> Answer:
        """Of a certificate of which no more was read than its number and the name (DER) of its authority, by the lists at hand.

        Its signature is not checked, nor what is above its authority. Raises BadFile.
        """
        with self._lock:
            known = [der for der in (*self._trust.others, *self._trust.anchors) if trust.parsed(der).subject.der == issuer]
            if not known:
                return unknown("aucune autorité connue n'a émis ce certificat", "no known authority issued this certificate")
            folder = self._settings.revocation_folder
            held = [*(lists_in(Path(folder)) if folder else ()), *self._cache.everything()]
            found = [self._load(item, authority) for item in held for authority in known]
            lists = [item for item in found if isinstance(item, RevocationList)]
            delta = [item for item in lists if item.base is not None]
            full = [(item, item.scope.about((), authority=False)) for item in lists if item.base is None]
            answers = [crl.answer(item, over, serial, now, covered=covered) for item, covered in full for over in (None, *delta)]
            return _best([*answers, self._nothing()])

    def _links(self, certificate: bytes, now: datetime) -> tuple[tuple[bytes, bytes], ...]:
        """(certificate, issuer) from the card's up to the root; empty when no valid path was found.

        Kept: the same certificate is asked about again and again, and building a path takes long.
        """
        if certificate not in self._paths:
            from cpxd.signature import chain

            own = parse_certificate(certificate)
            path = chain.build(certificate, self._trust, min(max(now, own.not_before), own.not_after))
            ders = path.certificates if path.valid else ()
            self._paths[certificate] = tuple(pairwise(ders))
        return self._paths[certificate]

    def _about(self, certificate: bytes, issuer: bytes, now: datetime) -> Answer:
        parsed = parse_certificate(certificate)
        answers = [self._by_ocsp(url, certificate, issuer, now) for url in _http(parsed.ocsp_urls)]
        lists, refused = self._lists(parsed, issuer)
        full = [item for item in lists if item.base is None]
        delta = [item for item in lists if item.base is not None]
        for item in full:
            covered = item.scope.covers(parsed)
            answers += [crl.answer(item, over, parsed.serial, now, covered=covered) for over in (None, *delta)]
        answers += refused
        if not full:
            answers += [
                unknown(f"{url} : {why.fr}", f"{url}: {why.en}") for url, why in self._failed.items() if url in parsed.crl_urls
            ]
        answers.append(self._nothing())
        return _best(answers)

    def _nothing(self) -> Answer:
        if self._settings.revocation_fetch:
            return unknown("aucune liste d'opposition n'a pu être obtenue", "no list of opposition could be had")
        return unknown(
            "aucune liste d'opposition à jour sur ce poste, et le téléchargement n'est pas autorisé (revocation.fetch)",
            "no current list of opposition on this machine, and fetching is not allowed (revocation.fetch)",
        )

    def _by_ocsp(self, url: str, certificate: bytes, issuer: bytes, now: datetime) -> Answer:
        held = self._cache.read(_question(url, certificate))
        return unknown("OCSP non interrogé", "OCSP not asked") if held is None else ocsp.answer(held, certificate, issuer, now)

    def _lists(self, certificate: CardCertificate, issuer: bytes) -> tuple[list[RevocationList], list[Answer]]:
        """The lists at hand of an authority, and why others of it were refused."""
        folder = self._settings.revocation_folder
        urls = _http((*certificate.crl_urls, *certificate.delta_crl_urls))
        held = [*(lists_in(Path(folder)) if folder else ()), *(item for url in urls if (item := self._cache.held(url)))]
        found = [(item.name, self._load(item, issuer)) for item in held]
        refused = [
            unknown(f"{name} : {error.text.fr}", f"{name}: {error.text.en}")
            for name, error in found
            if isinstance(error, ListError) and not isinstance(error, ForeignList)
        ]
        return [item for _, item in found if isinstance(item, RevocationList)], refused

    def _load(self, held: Held, issuer: bytes) -> RevocationList | ListError:
        """Once for each state of a file: a large list takes its time."""
        stamp, known = self._loaded.get((held.path, issuer), (None, None))
        if known is None or stamp != held.stamp:
            known = _loaded(held, issuer)
            self._loaded[held.path, issuer] = held.stamp, known
        return known

    # -- the network ---------------------------------------------------------------------------------------------

    def refresh(self, certificates: Iterable[bytes]) -> None:
        """Start fetching, in the background, what is missing or stale about these certificates; nothing unless allowed."""
        wanted = tuple(certificates)
        if not self._settings.revocation_fetch or (self._running is not None and self._running.is_alive()):
            return
        self._running = threading.Thread(target=self._fetch_all, args=(wanted,), name="revocation", daemon=True)
        self._running.start()

    def wait(self, seconds: float) -> bool:
        """Until what `refresh` started is done; False when it is not in that time."""
        if self._running is None:
            return True
        self._running.join(seconds)
        return not self._running.is_alive()

    def _fetch_all(self, certificates: tuple[bytes, ...]) -> None:
        for certificate in certificates:
            now = datetime.now(UTC)
            with contextlib.suppress(CpxError, RecordError):  # told when the question is asked
                with self._lock:
                    links = self._links(certificate, now)
                    missing = [link for link in links if _open(self._about(*link, now))]
                for one, issuer in missing:
                    self._fetch(one, issuer, now)

    def _fetch(self, certificate: bytes, issuer: bytes, now: datetime) -> None:
        """OCSP, then the lists: what says nothing is not kept."""
        parsed = parse_certificate(certificate)
        for url in _http(parsed.ocsp_urls):
            nonce = secrets.token_bytes(32)
            content = self._ask(url, ocsp.request(certificate, issuer, nonce), ocsp.MEDIA_TYPE)
            if content is not None and ocsp.answer(content, certificate, issuer, now, nonce).state != "unknown":
                self._cache.write(_question(url, certificate), content)
                return
        for url in _http((*parsed.crl_urls, *parsed.delta_crl_urls)):
            content = self._ask(url, None, "")
            if content is not None:
                try:
                    crl.load(content, issuer)
                except ListError as error:
                    self._note(url, error.text)
                else:
                    self._cache.write(url, content)
                    self._note(url, None)

    def _note(self, url: str, why: Text | None) -> None:
        with self._lock:
            self._failed.pop(url, None)
            if why is not None:
                self._failed[url] = why

    def _ask(self, url: str, body: bytes | None, kind: str) -> bytes | None:
        try:
            return self._network(url, body, kind)
        except FetchError as error:
            self._note(url, Text(str(error), str(error)))
            return None


def _loaded(held: Held, issuer: bytes) -> RevocationList | ListError:
    try:
        return crl.load(held.read(), issuer)
    except ListError as error:
        return error
    except (OSError, ValueError):
        return ListError("fichier illisible", "unreadable file")


def _question(url: str, certificate: bytes) -> str:
    return f"{url} {hashlib.sha256(certificate).hexdigest()}"


def _http(urls: Iterable[str]) -> list[str]:
    """Directories (ldap) are not asked: nothing outside the networks of the health sector can reach them."""
    return [url for url in urls if url.startswith(("http://", "https://"))]


def _capped(answer: Answer, certificate: bytes, now: datetime) -> Answer:
    """Good no longer than the certificate itself."""
    end = parse_certificate(certificate).not_after
    if answer.state != "good" or answer.until is None:
        return answer
    if end <= now:
        return unknown("le certificat a expiré", "the certificate has expired")
    return replace(answer, until=min(answer.until, end))


def _best(answers: Iterable[Answer]) -> Answer:
    """About one certificate: revoked says it all, but for a hold that a later answer has lifted; of those that say good the one
    that holds longest; else the first doubt."""
    found = list(answers)
    good = [a for a in found if a.state == "good"]
    revoked = sorted((a for a in found if a.state == "revoked" and not _lifted(a, good)), key=lambda a: a.reason == HOLD)
    if revoked:
        return revoked[0]
    if good:
        return max(good, key=lambda a: a.until or datetime.min.replace(tzinfo=UTC))
    doubts = [a for a in found if a.why is not None and a.why.en != "OCSP not asked"]
    return doubts[0]


def _lifted(hold: Answer, good: Iterable[Answer]) -> bool:
    return hold.reason == HOLD and any(a.told is not None and hold.told is not None and a.told > hold.told for a in good)


def _open(answer: Answer) -> bool:
    """Whether a newer list or answer could say something else."""
    return answer.state == "unknown" or answer.reason == HOLD


def _worst(answers: Iterable[Answer]) -> Answer:
    """Of a path, or of a card: any revoked, else any unknown, else good until the first of them ends."""
    found = list(answers)
    for state in ("revoked", "unknown"):
        for answer in found:
            if answer.state == state:
                return answer
    if not found:
        return unknown("aucun certificat", "no certificate")
    return min(found, key=lambda a: a.until or datetime.max.replace(tzinfo=UTC))


def of_card(record: CardRecord, ask: Callable[[bytes], Answer], now: datetime | None = None) -> Validity:
    """The validity of a card: `ask` is `Opposition.answer`."""
    now = now or datetime.now(UTC)
    today = now.astimezone().date()
    card = dates(record.card.valid_from, record.card.valid_until, today)
    each = tuple(_certificate(item, ask, now) for item in record.certificates)
    answer = _worst(item.answer for item in each)
    if answer.state != "revoked" and card.state in ("expired", "not_yet_valid"):
        answer = unknown("la carte n'est pas dans ses dates de validité", "the card is outside its dates of validity")
    return Validity(card, answer, each)


def _certificate(item: CardCertificate, ask: Callable[[bytes], Answer], now: datetime) -> CertificateValidity:
    today = now.astimezone().date()
    inside = dates(item.not_before.astimezone().date(), item.not_after.astimezone().date(), today)
    try:
        found = ask(item.der)
    except RecordError:
        found = unknown("certificat illisible", "unreadable certificate")
    if found.state == "good" and not item.not_before <= now <= item.not_after:
        found = unknown("le certificat n'est pas dans ses dates de validité", "the certificate is outside its dates of validity")
    return CertificateValidity(item, inside, found)


# --- JSON -----------------------------------------------------------------------------------------------------------


def as_json(found: Validity, reader: str | None) -> dict[str, Any]:
    """As cpxd/schema/validity.schema.json says."""
    return {
        "reader": reader,
        "card": _dates(found.dates),
        "opposition": _answer(found.answer),
        "certificates": [
            {
                "usage": item.certificate.usage,
                "serial": item.certificate.serial_hex,
                **_dates(item.dates),
                "opposition": _answer(item.answer),
            }
            for item in found.certificates
        ],
        "rule": str(REPLACED_RULE),
    }


def _dates(found: Dates) -> dict[str, Any]:
    return {
        "valid_from": found.valid_from and found.valid_from.isoformat(),
        "valid_until": found.valid_until and found.valid_until.isoformat(),
        "state": found.state,
        "days_left": found.days_left,
    }


def _answer(found: Answer) -> dict[str, Any]:
    return {
        "state": found.state,
        "until": _moment(found.until),
        "since": _moment(found.since),
        "reason": found.reason,
        "reason_label": str(REASONS[found.reason]) if found.reason in REASONS else None,
        "why": None if found.why is None else str(found.why),
        "source": found.source or None,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"
