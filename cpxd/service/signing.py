# SPDX-License-Identifier: Apache-2.0
"""Sign documents with the card in the reader."""

from __future__ import annotations

from pathlib import Path

from cpxd import errors
from cpxd.card.application import Mechanism, NotAllowed, Padding, Usage
from cpxd.files import reason
from cpxd.service.desk import OpenCard
from cpxd.signature.cms import Content, read_content, sign_detached

_SHA256 = Mechanism("pkcs1", "sha256")


class CardSigner:
    """A key of an open card, whose PIN was proved, as the formats of `signature/` want it."""

    padding: Padding = "pkcs1"

    def __init__(self, card: OpenCard, usage: Usage) -> None:
        self._card = card
        self._usage: Usage = usage
        self.certificate = card.run(lambda session, begin: session.certificate(begin, usage)).der

    def sign(self, digest: bytes) -> bytes:
        try:
            return self._card.run(lambda session, begin: session.sign(begin, self._usage, _SHA256, digest))
        except NotAllowed:
            raise errors.CardReset() from None  # the PIN was proved a moment ago: another program reset the card


def read_document(path: Path) -> Content:
    """Hash a file. Raises BadFile."""
    try:
        with path.open("rb") as source:
            return read_content(source)
    except (OSError, ValueError) as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None


def sign_cms(card: OpenCard, content: Content) -> bytes:
    """Detached CMS of a document, with the signature key."""
    return sign_detached(content, CardSigner(card, "signature"))
