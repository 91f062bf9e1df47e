# SPDX-License-Identifier: Apache-2.0
"""A card that is slow is not read to its end while a person waits: its codes, its dates, whether it is revoked, and no more.

A CPS3 at the speed that its ATR offers takes eight seconds for all it says, and one for this. What kind of card it is stands
further on: advice is then for all kinds. `cpxd doctor --all` reads the whole card.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from cpxd import errors
from cpxd.card.session import Begin, CardSession, CodeStates
from cpxd.record.certificate import Beginning, CardCertificate, parse_beginning, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.identity import compose
from cpxd.service.desk import Observer, OpenCard
from cpxd.service.identity import Identity
from cpxd.service.validity import Opposition, Validity, dates

WHOLE_BYTES = 6500  # on the line, for all that a CPS3 says
PATIENCE = 1.4  # seconds that this may take
_BEGINNING = 231  # bytes: number, authority and dates of an IGC-Santé certificate are in one block
_MORE = 512  # where the names are longer


class Pace:
    """What was said, and how fast. The fastest command tells the line's own speed: others may have waited for the processor."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self.fastest = float("inf")  # milliseconds a byte

    def __call__(self, sent: bytes, received: bytes, milliseconds: float) -> None:
        self.fastest = min(self.fastest, milliseconds / max(1, len(sent) + len(received)))
        if self._observer is not None:
            self._observer(sent, received, milliseconds)

    @property
    def slow(self) -> bool:
        return self.fastest != float("inf") and self.fastest * WHOLE_BYTES > PATIENCE * 1000


def read(card: OpenCard, codes: CodeStates, *, kept: bool) -> tuple[Identity, Beginning | CardCertificate]:
    """Raises DamagedCard, and what a lost card raises."""
    root = card.run(lambda session, begin: session.root(begin))
    found = _beginning(card, kept)
    whole = (found,) if isinstance(found, CardCertificate) else ()
    generation = card.run(lambda session, begin: session.card.generation)
    record = compose(None, root.serial, whole, (), generation=generation)
    if isinstance(found, Beginning):
        start, end = found.not_before.astimezone().date(), found.not_after.astimezone().date()
        category = "test" if b"TEST" in found.issuer.der.upper() else record.card.category
        record = replace(record, card=replace(record.card, valid_from=start, valid_until=end, category=category))
    return Identity(card.reader, record, codes, root.warnings, (), root.update_interrupted), found


def _beginning(card: OpenCard, kept: bool) -> Beginning | CardCertificate:
    content = b""
    for most in (_BEGINNING, _MORE):
        content = card.run(partial(_bytes, most, kept))
        if len(content) > _MORE:
            break
        try:
            return parse_beginning(content)
        except RecordError:
            continue
    try:
        return parse_certificate(content)
    except RecordError:
        raise errors.DamagedCard(part="certificate") from None


def _bytes(most: int, kept: bool, session: CardSession, begin: Begin) -> bytes:
    return session.beginning(begin, most, kept=kept)


def validity(found: Beginning, opposition: Opposition, now: datetime) -> Validity:
    card = dates(found.not_before.astimezone().date(), found.not_after.astimezone().date(), now.astimezone().date())
    return Validity(card, opposition.quick(found.issuer.der, found.serial, now), ())
