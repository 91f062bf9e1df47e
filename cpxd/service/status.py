# SPDX-License-Identifier: Apache-2.0
"""What a person wants to know of the card in the reader, in one look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cpxd import errors, log
from cpxd.config import Settings
from cpxd.service import desk, identity, usages, validity
from cpxd.service.identity import Identity
from cpxd.service.validity import Validity
from cpxd.usages.holder import Match

EVENTS = 5
_QUICK = 0.5  # seconds that another program may hold the card: a look does not wait for it


@dataclass(frozen=True)
class Status:
    """Without a card that can be read: `trouble` says why, and the rest is None."""

    reader: str | None
    identity: Identity | None
    validity: Validity | None
    usages: tuple[Match, ...]
    trouble: errors.CpxError | None
    events: tuple[str, ...]  # the last lines of the log, oldest first
    option: str = ""  # what a further command needs to be about this card when others are in: " --reader …"


def look(settings: Settings, reader: str | None) -> Status:
    """Reads the card without a code. No error is raised: it is what the look found."""
    events = tuple(log.tail(EVENTS))
    try:
        quick = replace(settings, reader_wait=min(_QUICK, settings.reader_wait))
        place = desk.choose(reader, quick.reader_wait)
        with desk.OpenCard(place.state.name, quick) as card:
            found = identity.read(card, private=False)
        opposition = validity.Opposition(replace(settings, revocation_fetch=False))
        valid = validity.of_card(found.record, opposition.answer)
        option = "" if reader is None else desk.command("", place, desk.places())
        return Status(place.state.name, found, valid, usages.of_record(found.record), None, events, option)
    except errors.CpxError as trouble:
        return Status(None, None, None, (), trouble, events)


def as_json(found: Status) -> dict[str, Any]:
    trouble = found.trouble
    return {
        "reader": found.reader,
        "card": None if found.identity is None else identity.as_json(found.identity),
        "validity": None if found.validity is None else validity.as_json(found.validity, found.reader),
        "usages": None if found.identity is None else usages.as_json(found.usages, found.reader),
        "trouble": None if trouble is None else {"code": trouble.code, "title": trouble.sentence()},
        "events": list(found.events),
    }
