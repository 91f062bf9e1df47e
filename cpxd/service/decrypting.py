# SPDX-License-Identifier: Apache-2.0
"""Open what was encrypted for the card in the reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cpxd import errors
from cpxd.card.application import NotAllowed
from cpxd.files import reason
from cpxd.service.desk import OpenCard
from cpxd.signature import enveloped, smime
from cpxd.signature.enveloped import Envelope, Oaep


class CardDecrypter:
    """The authentication key of an open card, for what was encrypted to its certificate; the PIN is proved before it works."""

    def __init__(self, card: OpenCard) -> None:
        self._card = card
        self.certificate = card.run(lambda session, begin: session.certificate(begin, "authentication")).der
        self.opens_oaep = not card.run(lambda session, begin: session.card.unpadded)

    def decrypt(self, cryptogram: bytes, scheme: Oaep | None) -> bytes:
        try:
            if scheme is None:
                return self._card.run(lambda session, begin: session.decrypt(begin, cryptogram))
            hash_name, mask = scheme.hash, scheme.mask
            return self._card.run(lambda session, begin: session.decrypt_oaep(begin, cryptogram, hash_name, mask))
        except NotAllowed:
            raise errors.CardReset() from None  # the PIN was proved a moment ago: another program reset the card


@dataclass(frozen=True)
class Prepared:
    """A message that this card can open, once the PIN is proved."""

    envelope: Envelope
    key: CardDecrypter

    def open(self) -> bytes:
        """Raises CannotDecrypt."""
        return enveloped.open_envelope(self.envelope, self.key)


def prepare(card: OpenCard, path: Path) -> Prepared:
    """Everything that can be found wrong before a PIN is asked. Raises BadFile, and as `enveloped.read`."""
    try:
        with path.open("rb") as file:
            content = file.read(smime.MAX_MAIL + 1)
    except (OSError, ValueError) as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None
    key = CardDecrypter(card)
    return Prepared(enveloped.read(content, key), key)
