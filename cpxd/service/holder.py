# SPDX-License-Identifier: Apache-2.0
"""The record of a card that lies in a slot of the daemon: what `identity.read` is for the command line."""

from __future__ import annotations

from typing import Any

from cpxd import errors
from cpxd.card.application import FileMissing, NotAllowed
from cpxd.config import Settings
from cpxd.record.errors import SituationError
from cpxd.record.export import to_json
from cpxd.record.identity import compose, decode_objects
from cpxd.record.model import CardRecord
from cpxd.service import identity
from cpxd.service.logins import Client
from cpxd.service.slot import Slot
from cpxd.text import tr


async def read(slot: Slot, settings: Settings, client: Client | None) -> dict[str, Any]:
    """As cpxd/schema/card.schema.json says; else as `record`."""
    found = await record(slot, settings, client)
    codes = slot.codes
    if codes is None:
        raise slot.error or errors.NoCard()
    return to_json(found, reader=slot.reader, pin=codes.pin, unblock=codes.unblock)


async def record(slot: Slot, settings: Settings, client: Client | None) -> CardRecord:
    """What the card says. With a `client` that proved the PIN, the practice situations too.

    Raises NoCard, DamagedCard, CardReset when the proof was lost, and what a lost card raises.
    """
    token = slot.token
    if token is None:
        raise slot.error or errors.NoCard()
    words = identity._dictionary(settings)
    data: dict[str, bytes] = {}
    for entry in token.data:
        if not entry.path or (entry.private and client is None):
            continue
        try:
            data[entry.label] = await slot.content(client, entry)
        except NotAllowed:
            if entry.private:
                raise errors.CardReset() from None
        except (FileMissing, errors.CardRefused, errors.DamagedCard):
            continue
    found = [certificate for certificate in token.certificates if certificate is not None]
    try:
        return compose(
            token.tree.information,
            token.root.serial,
            found,
            decode_objects(data, words),
            situations_read=client is not None,
            generation=token.generation,
        )
    except SituationError:
        part = tr("plus de situations d'exercice qu'une carte n'en porte, 16", "more practice situations than a card holds, 16")
        raise errors.DamagedCard(part=part) from None
