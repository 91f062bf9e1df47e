# SPDX-License-Identifier: Apache-2.0
"""The public files of the inserted card, each read once a session; certificates with the help of what was kept of them."""

from __future__ import annotations

from cpxd.card.application import END, Application, Path
from cpxd.card.kept import Certificates, Kept, Sealed, keepable
from cpxd.record.files import SerialNumber, UpdateMarker


class Shelf:
    """Used inside a transaction, but for `save`. `keeps`: whether certificates may be looked for, and left, on disk."""

    def __init__(self, card: Application, *, keeps: bool) -> None:
        self.card = card
        self._keeps = keeps
        self._files: dict[Path, bytes] = {}
        self._kept: Kept | None = None
        self._known: Certificates = {}
        self._new = False

    def open(self, serial: SerialNumber, update: UpdateMarker | None) -> None:
        """Whose card it is: what was kept of it is looked up. Of a card whose update was interrupted nothing is kept."""
        if not self._keeps:
            return
        kept = Kept(serial.pan, b"" if update is None else update.raw)
        if update is not None and not update.complete:
            kept.forget()
            return
        self._kept, self._known = kept, kept.load()

    def read(self, path: Path, first: int = 0) -> bytes:
        """As Application.read, from the card the first time."""
        if path not in self._files:
            self._files[path] = self.card.read(path, first=first)
        return self._files[path]

    def certificate(self, path: Path) -> bytes:
        """As `read`."""
        if path not in self._files:
            known = self._known.get(path)
            self._files[path] = self.card.read(path, known=known)
            der = keepable(self._files[path]) if self._kept is not None else b""
            if der and (known is None or known.open(der[-END:]) != der):
                self._known[path] = Sealed.seal(der)
                self._new = True
        return self._files[path]

    def beginning(self, path: Path, most: int) -> bytes:
        """Of a certificate, for who cannot wait for all of it; whole where it was kept and still is the card's."""
        if path in self._files:
            return self._files[path]
        return self.card.read(path, known=self._known.get(path), most=most)

    def consult(self, serial: SerialNumber, update: UpdateMarker | None) -> None:
        """Look up what was kept of the card; nothing new will be."""
        if not self._known and (update is None or update.complete):
            self._known = Kept(serial.pan, b"" if update is None else update.raw).load()

    def save(self) -> None:
        """Keep what was new."""
        if self._new and self._kept is not None:
            self._kept.save(self._known)
        self._new = False

    def distrust(self) -> None:
        """What was kept has proved wrong: nothing of it is used again."""
        if self._kept is not None:
            self._kept.forget()
        self._known, self._new = {}, False
