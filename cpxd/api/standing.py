# SPDX-License-Identifier: Apache-2.0
"""Whether the cards that are in stand on a list of opposition, by what this machine holds. No request ever asks a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic

from cpxd import errors
from cpxd.config import Settings
from cpxd.service.slot import Slot
from cpxd.service.token import Token
from cpxd.service.validity import Opposition

_FRESH = 60.0  # seconds that an answer is good for: lists change a few times a day


class Standing:
    """Used on the loop; lists are read on a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = replace(settings, revocation_fetch=False)
        self._opposition: Opposition | None = None
        self._known: dict[int, tuple[Token, float, bool]] = {}  # by number of slot

    def revoked(self, slot: Slot) -> bool | None:
        """As it was looked up last for the card that is in; None: not yet."""
        token, _, found = self._known.get(slot.id, (None, 0.0, False))
        return found if token is not None and token is slot.token else None

    async def look(self, slots: Iterable[Slot]) -> None:
        """Look up what is not known, or not any more."""
        for slot in slots:
            token = slot.token
            known = self._known.get(slot.id)
            if token is None:
                self._known.pop(slot.id, None)
            elif known is None or known[0] is not token or monotonic() - known[1] > _FRESH:
                self._known[slot.id] = token, monotonic(), await asyncio.to_thread(self._ask, token)

    def _ask(self, token: Token) -> bool:
        try:
            self._opposition = self._opposition or Opposition(self._settings)
            ask = self._opposition.answer
            return any(ask(c.der).state == "revoked" for c in token.certificates if c is not None)
        except errors.CpxError:
            return False
