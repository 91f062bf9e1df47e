# SPDX-License-Identifier: Apache-2.0
"""Sign documents with the card in the reader: one document or many, one consent, one PIN."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cpxd import errors
from cpxd.card.application import Mechanism, NotAllowed, Padding, Usage
from cpxd.config import Settings
from cpxd.files import reason, write_new
from cpxd.service.desk import OpenCard
from cpxd.signature import signing
from cpxd.signature.cms import Content, read_content
from cpxd.signature.options import Options
from cpxd.signature.signing import MAX_DOCUMENT, Document
from cpxd.text import tr

if TYPE_CHECKING:  # they cost time that a plain CMS does not need
    from cpxd.signature.fetch import Fetch
    from cpxd.signature.pades import Appearance
    from cpxd.signature.preview import Preview
    from cpxd.signature.signer import Signer
    from cpxd.signature.trust import TrustStore
    from cpxd.signature.vihf import Request

# after these nothing more can be signed: the card is not there, or not ours, any more
_LOST = (
    errors.CardRemoved,
    errors.CardMute,
    errors.CardChanged,
    errors.CardReset,
    errors.NoService,
    errors.NoReader,
    errors.NoCard,
    errors.ReaderBusy,
    errors.WrongSignature,
    errors.StampFailed,
)


class CardSigner:
    """A key of an open card as the formats of `signature/` want it; the PIN is proved before it signs.

    Raises KeyUnavailable, and MechanismUnavailable when this card cannot pad so.
    """

    def __init__(self, card: OpenCard, usage: Usage, padding: Padding = "pkcs1") -> None:
        self._card = card
        self._usage: Usage = usage
        self._mechanism = Mechanism(padding, "sha256")
        self.padding: Padding = padding
        self.certificate = card.run(lambda session, begin: session.certificate(begin, usage)).der
        if self._mechanism not in card.run(lambda session, begin: session.card.mechanisms(usage)):
            raise errors.MechanismUnavailable(mechanism=self._mechanism)

    def sign(self, digest: bytes) -> bytes:
        try:
            return self._card.run(lambda session, begin: session.sign(begin, self._usage, self._mechanism, digest))
        except NotAllowed:
            raise errors.CardReset() from None  # the PIN was proved a moment ago: another program reset the card


# --- documents ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A file to be signed, as it was when the person was asked: it is signed only while it is still the same."""

    path: Path
    hashed: Content
    preview: Preview | None = None

    def open(self, options: Options) -> Document:
        """Raises BadFile when the file is not what it was any more."""
        if options.streamed:
            return Document(self.path.name, self.hashed, None, _media_type(self.path, options))
        content = _read_whole(self.path, options)
        if hashlib.sha256(content).digest() != self.hashed.digest:
            why = tr("a changé depuis qu'il a été présenté", "has changed since it was shown")
            raise errors.BadFile(file=self.path, reason=why)
        return Document(self.path.name, self.hashed, content, _media_type(self.path, options, content))


def read_source(path: Path, options: Options, *, shown: bool = False) -> Source:
    """Hash a file; with `shown`, read what a person must see of it. Raises BadFile, DocumentTooLarge."""
    try:
        found = path.stat()
        size = found.st_size
        endless, ordinary = stat.S_ISCHR(found.st_mode), stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if endless or not (options.streamed or ordinary):
            raise errors.BadFile(file=path, reason=tr("ce n'est pas un fichier ordinaire", "it is no regular file"))
        if not options.streamed and size > MAX_DOCUMENT:
            raise errors.DocumentTooLarge(format=options.kind.name, size=size, limit=MAX_DOCUMENT)
        with path.open("rb") as file:
            if not shown:
                return Source(path, read_content(file))
            from cpxd.signature import preview

            seen, hashed = preview.of_stream(file)
            return Source(path, hashed, seen)
    except (OSError, ValueError) as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None


def _read_whole(path: Path, options: Options) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None
    if len(content) > MAX_DOCUMENT:
        raise errors.DocumentTooLarge(format=options.kind.name, size=len(content), limit=MAX_DOCUMENT)
    return content


def _media_type(path: Path, options: Options, content: bytes = b"") -> str:
    if options.format not in ("xades", "jws"):
        return "application/octet-stream"  # the others do not say it
    from cpxd.signature import preview

    return preview.media_type(content, path)


# --- signing --------------------------------------------------------------------------------------------------------


def usage_of(options: Options, settings: Settings) -> Usage:
    """Which key of the card signs this format: the table of `signature/options.py`, and [vihf] key for a VIHF."""
    key: Literal["signature", "authentication", "configured"] = options.kind.key
    if key != "configured":
        return key
    return "signature" if settings.vihf_key == "signature" else "authentication"


def prepare(card: OpenCard, options: Options, trust: TrustStore | None = None, fetch: Fetch | None = None) -> signing.Signing:
    """Everything that can be found wrong before a PIN is asked. Raises as `Signing`, KeyUnavailable, MechanismUnavailable."""
    signer = CardSigner(card, usage_of(options, card.settings), "pss" if options.pss else "pkcs1")
    return prepare_for(signer, options, card.settings, trust, fetch)


def prepare_for(
    signer: Signer, options: Options, settings: Settings, trust: TrustStore | None = None, fetch: Fetch | None = None
) -> signing.Signing:
    """The same for any signer; what the level needs comes from the settings when it is not given."""
    network, known = fetch or _fetch(options, settings), trust or _trust(options, settings)
    return signing.Signing(signer, options, trust=known, fetch=network, now=datetime.now(UTC))


def _trust(options: Options, settings: Settings) -> TrustStore | None:
    if options.level not in ("lt", "lta"):
        return None
    from cpxd.signature import trust

    return trust.load(*([settings.sign_trust] if settings.sign_trust else []))


def _fetch(options: Options, settings: Settings) -> Fetch | None:
    if options.level == "b":
        return None
    from cpxd.signature import fetch

    return fetch.Network(settings.sign_network_wait, settings.revocation_proxy)


def appearance(certificate: bytes, at: datetime | None = None) -> Appearance:
    """What a signed PDF shows: name, profession and identifier, date with its offset."""
    from cpxd.nomenclature import lookup
    from cpxd.record.certificate import parse_certificate
    from cpxd.signature.pades import Appearance

    card = parse_certificate(certificate)
    subject = card.subject
    name = " ".join(part for part in (subject.given_name, subject.surname) if part)
    entry = lookup("G15", card.profession) if card.profession else None
    profession = entry.label if entry else subject.title
    moment = (at or datetime.now(UTC)).astimezone()
    offset = f"{moment:%z}"
    date = f"Signé le {moment:%d/%m/%Y} à {moment:%H:%M} (UTC{offset[:3]}:{offset[3:]})"
    about = ", ".join(part for part in (profession, subject.common_name) if part)
    return Appearance(tuple(line for line in (name or subject.pseudonym or "", about, date) if line))


# --- batches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    source: Source
    target: Path  # where the result is written, as `check_output` gave it
    output: Path  # the same as the person named it


@dataclass(frozen=True)
class Outcome:
    """`error` None: the result stands whole at the target. Else nothing was written there."""

    task: Task
    error: errors.CpxError | None


Progress = Callable[[int, int], None]  # done, of how many


def sign_all(
    prepared: signing.Signing,
    tasks: Sequence[Task],
    options: Options,
    progress: Progress = lambda done, total: None,
) -> Iterator[Outcome]:
    """Sign and write each document. One that cannot be signed does not stop the others; a lost card does: the rest is named."""
    lost: errors.CpxError | None = None
    for number, task in enumerate(tasks):
        try:
            if lost is not None:
                raise lost
            look = appearance(prepared.signer.certificate) if options.format == "pades" and options.visible else None
            write_new(task.target, prepared.sign(task.source.open(options), appearance=look))
            yield Outcome(task, None)
        except errors.CpxError as error:
            lost = error if isinstance(error, _LOST) else lost
            yield Outcome(task, error)
        progress(number + 1, len(tasks))


# --- VIHF and hashes ------------------------------------------------------------------------------------------------


def sign_vihf(card: OpenCard, request: Request, approve: Callable[[Preview], None], *, pss: bool = False) -> bytes:
    """A VIHF from the card's own identity and situation, the PIN being proved. `approve` sees what gets signed, and may raise.

    Raises BadDocument, and as `prepare`.
    """
    from cpxd.service import identity
    from cpxd.signature import preview, vihf

    options = Options("vihf")
    signer = CardSigner(card, usage_of(options, card.settings), "pss" if pss else "pkcs1")
    signing.check_validity(signer.certificate, datetime.now(UTC))
    record = identity.read(card, private=True).record
    return vihf.sign(record, request, signer, approve=lambda content: approve(preview.of_bytes(content)))


def check_hash(digest: bytes, origin: str | None, who: str, settings: Settings) -> None:
    """Whether a bare hash, which nobody can read, may be signed: a SHA-256, for a site that an administrator named.

    `origin`: None for a program, which nobody can name; `who` asks, in words. Raises HashRefused, BadDocument.
    """
    if origin is None or origin not in settings.sign_hash_origins.split():
        raise errors.HashRefused(origin=who)
    if len(digest) != hashlib.sha256().digest_size:
        raise errors.BadDocument(format="SHA-256", reason=tr(f"{len(digest)} octets", f"{len(digest)} bytes"))
