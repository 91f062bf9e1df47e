# SPDX-License-Identifier: Apache-2.0
"""Sign documents with the card in the reader."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cpxd import errors
from cpxd.card.application import Mechanism, NotAllowed, Usage
from cpxd.service.desk import OpenCard
from cpxd.signature.cms import Content, read_content, sign_detached
from cpxd.text import tr

_SHA256 = Mechanism("pkcs1", "sha256")


class CardSigner:
    """A key of an open card, whose PIN was proved, as the formats of `signature/` want it."""

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
    except OSError as error:
        raise errors.BadFile(file=path, reason=error.strerror or error) from None


def sign_cms(card: OpenCard, content: Content) -> bytes:
    """Detached CMS of a document, with the signature key."""
    return sign_detached(content, CardSigner(card, "signature"))


def write_new(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises BadFile."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise errors.BadFile(file=path, reason=error.strerror or error) from None


def check_output(document: Path, output: Path) -> None:
    """Refuse an output that cannot be before the PIN is asked: the document itself, a folder, a missing folder."""
    if output.is_dir() or not output.parent.is_dir():
        raise errors.BadFile(
            file=output,
            reason=tr("le dossier n'existe pas ou le nom est celui d'un dossier", "no such folder, or the name of one"),
        )
    if output.exists() and output.samefile(document):
        raise errors.BadFile(file=output, reason=tr("c'est le document lui-même", "it is the document itself"))
    if not os.access(output.parent, os.W_OK):
        raise errors.BadFile(file=output, reason=tr("dossier protégé en écriture", "folder is write-protected"))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
