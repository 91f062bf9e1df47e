# SPDX-License-Identifier: Apache-2.0
"""What the page "Ma carte" shows and does. It is the person's own: what it shows needs no consent, and its codes are typed in
native dialogs like everybody's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpxd import errors, log
from cpxd.api import operations, problems, schema
from cpxd.api.operations import SITUATIONS, Desk
from cpxd.api.words import WORDS
from cpxd.record.export import to_json
from cpxd.record.model import CardRecord
from cpxd.revocation import REASONS, Answer
from cpxd.service import holder, usages
from cpxd.service.consent import Asking, Binding
from cpxd.service.slot import Slot
from cpxd.service.validity import Opposition, Validity, of_card
from cpxd.text import Text
from cpxd.usages.holder import Match

_PATIENCE = 15.0  # seconds that a card just put in may take to be read
_EVENTS = 6
_DOCTOR_SECONDS = 40.0
TAKES = schema.body(
    reader={"type": "integer", "minimum": 0, "maximum": 255}, language=schema.text("of dialogs", enum=["fr", "en"])
)
Json = dict[str, Any]


class MyCard:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._opposition = Opposition(replace(desk.settings, revocation_fetch=False))
        self._examining = asyncio.Lock()
        self._ways: dict[str, Callable[[Json, Asking], Coroutine[Any, Any, Json]]] = {
            "view": self._view,
            "situations": self._situations,
            "change": self._change,
            "unblock": self._unblock,
            "doctor": self._doctor,
        }

    async def run(self, name: str, given: Json, key: str) -> Json:
        way = self._ways.get(name)
        if way is None:
            raise problems.UnknownResource()
        hints = self.desk.keys.hints(key)
        if "language" in given:
            hints = replace(hints, lc_messages={"fr": "fr_FR.UTF-8", "en": "en_GB.UTF-8"}[given["language"]])
        return await way(given, Asking("cpxd : Ma carte", self.desk.settings, hints))

    # --- what is seen

    async def _view(self, given: Json, asking: Asking) -> Json:
        """Never an error: what keeps the card from being shown is part of the view."""
        await self.desk.look()
        seen = {"readers": self.desk.readers()["readers"], "events": events()}
        try:
            slot = await self._slot(given)
            await slot.count()
            return {**seen, **await self._shown(slot, await holder.record(slot, self.desk.settings, None))}
        except errors.CpxError as trouble:
            return {**seen, "trouble": problems.as_json(trouble)["error"]}

    async def _shown(self, slot: Slot, record: CardRecord) -> Json:
        codes = slot.codes
        if codes is None:
            raise slot.error or errors.NoCard()
        found = await asyncio.to_thread(of_card, record, self._opposition.answer)
        return {
            "reader": slot.id,
            "card": to_json(record, reader=slot.reader, pin=codes.pin, unblock=codes.unblock),
            "most": codes.pin.max_tries or 3,
            "unblock_blocked": codes.unblock.blocked,
            "professional_name": record.holder.professional_name,
            "pseudonym": record.holder.pseudonym,
            "validity": _validity(found),
            "usages": [_sheet(match) for match in usages.of_record(record)],
        }

    async def _slot(self, given: Json) -> Slot:
        """The reader that was chosen, else the first with a card that can be used."""
        slots = [slot for slot in self.desk.hub.slots if slot.present and slot.error is None]
        number = given.get("reader", slots[0].id if slots else None)
        slot = operations.choose(self.desk.hub, number)
        await slot.ready(_PATIENCE)
        if slot.error is not None:
            raise slot.error
        return slot

    # --- what is done: the dialogs are native

    async def _situations(self, given: Json, asking: Asking) -> Json:
        with self.desk.alone():
            bound = Binding.to(await self._slot(given))
            settings = self.desk.settings
            record = await asking.proved(bound, SITUATIONS, lambda client: holder.record(bound.slot, settings, client))
            return await self._shown(bound.slot, record)

    async def _change(self, given: Json, asking: Asking) -> Json:
        with self.desk.alone():
            await asking.change(Binding.to(await self._slot(given)))
            return {}

    async def _unblock(self, given: Json, asking: Asking) -> Json:
        with self.desk.alone():
            await asking.unblock(Binding.to(await self._slot(given)))
            return {}

    async def _doctor(self, given: Json, asking: Asking) -> Json:
        """In a process of its own: what hangs in it, hangs there."""
        async with self._examining:
            command = [str(Path(sys.executable).with_name("cpxd")), "doctor", "--json"]
            slots = self.desk.hub.slots
            if given.get("reader", len(slots)) < len(slots):
                command += ["--reader", slots[given["reader"]].reader]
            pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(*command, stdin=null, stdout=pipe, stderr=null)
            try:
                async with asyncio.timeout(_DOCTOR_SECONDS):
                    said, _ = await process.communicate()
                found: Json = json.loads(said)
            except (TimeoutError, ValueError):
                raise errors.Internal(detail="doctor") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return {"first": found["first_cause"], "checks": [c for c in found["checks"] if c["status"] not in ("ok", "skipped")]}


def events() -> list[Json]:
    """The last lines of the log that say something to a person, the newest first."""
    found = []
    for line in reversed(log.tail(8 * _EVENTS)):
        with contextlib.suppress(ValueError, AttributeError):
            entry = json.loads(line)
            event = f"event_{entry.get('event')}"
            if event in WORDS or f"{event}_{entry.get('operation')}" in WORDS:
                found.append({name: entry[name] for name in log.FIELDS | {"time"} if name in entry})
    return found[:_EVENTS]


def _validity(found: Validity) -> Json:
    dates = found.dates
    return {
        "state": dates.state,
        "from": dates.valid_from and dates.valid_from.isoformat(),
        "until": dates.valid_until and dates.valid_until.isoformat(),
        "days": dates.days_left,
        "revocation": _answer(found.answer),
    }


def _answer(found: Answer) -> Json:
    reason = REASONS.get(found.reason or "unspecified")
    return {
        "state": found.state,
        "until": found.until and found.until.isoformat(),
        "since": found.since and found.since.isoformat(),
        "why": _pair(reason if found.state == "revoked" else found.why),
    }


def _sheet(match: Match) -> Json:
    """As the guide has it; where the sheet may not be the holder's, `doubt` says why, and a yes is conditional on that."""

    def value(said: str) -> str:
        return "conditional" if said == "yes" and not match.certain else said

    return {
        "holder": match.sheet.holder,
        "card": match.sheet.card,
        "situations": list(match.situations),
        "doubt": _pair(match.doubt),
        "usages": [{"service": u.service, "value": value(u.value), "note": u.note} for u in match.sheet.usages],
    }


def _pair(text: Text | None) -> list[str] | None:
    return None if text is None else [text.fr, text.en]
