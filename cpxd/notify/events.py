# SPDX-License-Identifier: Apache-2.0
"""Which event is worth telling, and whether it was told already. No I/O but the small file that remembers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from cpxd.text import Text

EXPIRES = (1, 7, 30)  # days before the end at which a person is told, the nearest first
_KEPT = 512  # lines of the file


@dataclass(frozen=True)
class View:
    """What is known of a card that is in a reader."""

    serial: str
    tries_left: int
    blocked: bool
    for_good: bool  # the unblock code is blocked too
    valid_until: date | None
    revoked: bool = False


@dataclass(frozen=True)
class Event:
    """`command`: of cpxd, run in a terminal when the person clicks; empty: nothing to open."""

    kind: str
    title: Text
    body: Text
    command: tuple[str, ...] = ()
    urgent: bool = False

    def about(self, reader: str) -> Event:
        """The same, whose command names the card among others."""
        return replace(self, command=(*self.command, "--reader", reader))


_UNBLOCK = Text("Cliquez pour la débloquer, avec le code à 8 chiffres.", "Click to unblock it, with the code of 8 digits.")
LAST_TRY = Event(
    "last-try",
    Text("Carte : dernier essai du code porteur", "Card: last try of the PIN"),
    Text("Un code faux la bloque. Ne devinez pas.", "A wrong PIN blocks it. Do not guess."),
    ("rescue",),
    urgent=True,
)
BLOCKED = Event("blocked", Text("Carte bloquée, pas perdue", "Card blocked, not lost"), _UNBLOCK, ("rescue",), urgent=True)
FOR_GOOD = Event(
    "for-good",
    Text("Carte définitivement bloquée", "Card blocked for good"),
    Text("Commandez une nouvelle carte. L'e-CPS marche en attendant.", "Order a new card. The e-CPS works meanwhile."),
    ("doctor",),
    urgent=True,
)
REVOKED = Event(
    "revoked",
    Text("Carte en opposition", "Card revoked"),
    Text("Les téléservices la refusent. Prenez la nouvelle.", "Services refuse it. Take the new one."),
    ("validity",),
    urgent=True,
)


def reader_lost(reader: str) -> Event:
    return Event(
        "reader-lost",
        Text("Lecteur de cartes débranché", "Card reader disconnected"),
        Text(f"{reader} a disparu avec la carte.", f"{reader} has gone, with the card."),
        ("doctor",),
    )


def expires(left: int) -> Event:
    when = (
        Text("aujourd'hui", "today")
        if left == 0
        else Text(f"dans {left} jour{'s' * (left > 1)}", f"in {left} day{'s' * (left > 1)}")
    )
    return Event(
        "expires",
        Text(f"La carte expire {when.fr}", f"The card expires {when.en}"),
        Text("Avez-vous reçu la nouvelle ?", "Have you got the new one?"),
        ("validity",),
    )


class Told:
    """What was told of each card. An event that has passed (the card is unblocked) may be told again when it comes back.

    `file`: where that outlives the process; hashes only. One that cannot be read or written is none.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: set[str] = set()
        if file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._known = set(file.read_text(encoding="ascii").split()[-_KEPT:])

    def new(self, view: View, today: date) -> list[Event]:
        """What to tell now."""
        found: list[Event] = []
        standing = {mark: event for mark, event in _standing(view, today)}
        passed = {self._hash(view, mark) for mark in ("last-try", "blocked", "for-good") if mark not in standing}
        before = set(self._known)
        self._known -= passed
        for mark, event in standing.items():
            if self._hash(view, mark) not in self._known:
                self._known.add(self._hash(view, mark))
                found.append(event)
        if self._known != before:
            self._save()
        return found

    def _hash(self, view: View, mark: str) -> str:
        return hashlib.blake2b(f"{view.serial} {mark}".encode(), digest_size=12).hexdigest()

    def _save(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._file.with_suffix(".new")
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write("\n".join(sorted(self._known)) + "\n")
            new.replace(self._file)


def _standing(view: View, today: date) -> Iterator[tuple[str, Event]]:
    """(mark, event) of all that holds now; a mark is told once."""
    if view.revoked:
        yield "revoked", REVOKED
    if view.blocked and view.for_good:
        yield "for-good", FOR_GOOD
    elif view.blocked:
        yield "blocked", BLOCKED
    elif view.tries_left == 1:
        yield "last-try", LAST_TRY
    if view.valid_until is not None:
        left = (view.valid_until - today).days
        step = next((days for days in EXPIRES if left <= days), None)
        if step is not None and left >= 0:
            yield f"expires {view.valid_until} {step}", expires(left)
