# SPDX-License-Identifier: Apache-2.0
"""Who the holder of the card in the reader is, what the card says of them, and the state of its codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpxd import errors
from cpxd.card.session import Begin, CardSession, CodeStates
from cpxd.config import Settings
from cpxd.files import read_small, reason
from cpxd.record.certificate import parse_certificate
from cpxd.record.dictionary import Dictionary, dictionary
from cpxd.record.errors import DictionaryError, RecordError, SituationError
from cpxd.record.identity import compose, decode_objects, to_json
from cpxd.record.model import CardRecord
from cpxd.record.objects import check_situations
from cpxd.service.desk import OpenCard
from cpxd.text import tr

_LANGUAGES = "CPS_LANG_PS"


@dataclass(frozen=True)
class Identity:
    reader: str
    record: CardRecord
    codes: CodeStates | None  # None: seen without contact, where the card has none
    unreadable: tuple[str, ...]  # parts of the card that were skipped, for a person to know
    doors: tuple[str, ...] = ()  # readers that see the same chip without contact
    update_interrupted: bool = False  # EF_ACTUA: what the card says may be incomplete


def read(card: OpenCard, *, private: bool, whole: bool = True, languages: bool = False) -> Identity:
    """Read the card. With `private`, the PIN being verified, the practice situations too.

    Without `whole` only what the answer to "who is it, where, what may they do" is made of is read: a person waits for it. That
    leaves out the signature certificate, the `languages` unless they are asked for, and what holds nothing that can be decoded.

    Raises DamagedCard when nothing tells whose card it is, or when it lists situations that no card can have.
    """
    words = _dictionary(card.settings)
    return card.run(lambda session, begin: _read(session, begin, card.reader, words, (private, whole, languages)))


def _read(session: CardSession, begin: Begin, reader: str, words: Dictionary, how: tuple[bool, bool, bool]) -> Identity:
    private, whole, languages = how
    root = session.root(begin)
    tree = session.tree(begin) if whole else session.holder(begin)
    unreadable = list(tree.warnings)
    certificates = []
    for entry, der in tree.certificates:
        try:
            certificates.append(parse_certificate(der, entry.label))
        except RecordError:
            unreadable.append(entry.label)
    if not certificates:
        raise errors.DamagedCard(part=", ".join(unreadable) or "CDF")

    def wanted(label: str) -> bool:
        known = words.spec(label)
        return whole or (known is not None and not known.opaque and (languages or label != _LANGUAGES))

    try:
        check_situations(list(session.labels(begin)))
        record = compose(
            tree.information,
            root.serial,
            certificates,
            decode_objects(session.data(begin, private=private, wanted=wanted), words),
            situations_read=private,
            generation=session.card.generation,
        )
    except SituationError:
        part = tr("plus de situations d'exercice qu'une carte n'en porte, 16", "more practice situations than a card holds, 16")
        raise errors.DamagedCard(part=part) from None
    codes = None if session.card.contactless else session.code_states(begin)
    return Identity(reader, record, codes, (*unreadable, *session.unreadable), (), root.update_interrupted)


def _dictionary(settings: Settings) -> Dictionary:
    name = settings.record_dictionary
    if not name:
        return dictionary()
    try:
        return dictionary(read_small(Path(name)))
    except (DictionaryError, RecursionError) as error:
        raise errors.BadConfig(file=name, reason=tr(f"dictionnaire refusé ({error})", f"dictionary refused ({error})")) from None
    except (OSError, ValueError) as error:
        raise errors.BadConfig(file=name, reason=reason(error)) from None


def as_json(identity: Identity) -> dict[str, Any]:
    """As cpxd/schema/card.schema.json says."""
    codes = identity.codes
    pin, unblock = (None, None) if codes is None else (codes.pin, codes.unblock)
    return to_json(identity.record, reader=identity.reader, pin=pin, unblock=unblock)
