# SPDX-License-Identifier: Apache-2.0
"""What opens the page "Ma carte": a token that is good once, then a key that lives in that page alone. Kept in memory only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from time import monotonic

from cpxd.dialog.display import DisplayHints

TOKEN_SECONDS = 120.0  # from the command to the browser's first request
KEY_SECONDS = 3600.0  # of a page, however busy it is
_MOST = 8  # of each at a time: the oldest goes
_NEVER = (0.0, DisplayHints())
_Kept = dict[bytes, tuple[float, DisplayHints]]  # by digest: until when, and whose dialogs


class Keys:
    """Only digests are kept: what is looked up is no secret, so comparing needs no care."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tokens: _Kept = {}
        self._keys: _Kept = {}

    def token(self, hints: DisplayHints) -> str:
        """A new one, for the address that is opened. `hints`: of the program that opens it; the page's dialogs follow it."""
        return self._new(self._tokens, TOKEN_SECONDS, hints)

    def exchange(self, token: str) -> str | None:
        """The key of a page for a token, which is then used up; None for any other text."""
        until, hints = self._tokens.pop(_digest(token), _NEVER)
        return self._new(self._keys, KEY_SECONDS, hints) if self._clock() < until else None

    def left(self, key: str) -> float:
        """Seconds that a key is still good for; 0 for any other text."""
        return max(0.0, self._keys.get(_digest(key), _NEVER)[0] - self._clock())

    def hints(self, key: str | None) -> DisplayHints:
        """Where the dialogs of a page are shown; nowhere for any other text."""
        return self._keys.get(_digest(key or ""), _NEVER)[1]

    def forget(self, key: str) -> None:
        """The page is closed."""
        self._keys.pop(_digest(key), None)

    def _new(self, kept: _Kept, seconds: float, hints: DisplayHints) -> str:
        now = self._clock()
        for old in [digest for digest, (until, _) in kept.items() if until <= now]:
            del kept[old]
        while len(kept) >= _MOST:
            del kept[next(iter(kept))]
        made = secrets.token_urlsafe(32)
        kept[_digest(made)] = now + seconds, hints
        return made


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
