# SPDX-License-Identifier: Apache-2.0
"""What is known of an inserted card without asking it again: the public snapshot that all doors share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from cpxd import errors
from cpxd.card.application import Mechanism, Usage
from cpxd.card.session import Begin, CardSession, CodeStates
from cpxd.card.tree import Root, Tree
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.pkcs15 import DataObject, PrivateKeyObject


@dataclass(frozen=True)
class Token:
    """`certificates` by place in `tree.certificates`; those that cannot be read are None. Data objects are named, not read."""

    generation: str  # "CPS3", "CPS4"
    root: Root
    tree: Tree
    certificates: tuple[CardCertificate | None, ...]
    data: tuple[DataObject, ...]
    mechanisms: Mapping[Usage, frozenset[Mechanism]]

    @property
    def serial(self) -> str:
        """The chip's serial number, digits."""
        return self.root.serial.chip

    def usage(self, key: PrivateKeyObject) -> Usage | None:
        """What a private key of the card is for."""
        return next((usage for usage in get_args(Usage) if self.tree.key(usage) == key), None)

    def certificate_of(self, key: PrivateKeyObject) -> CardCertificate | None:
        pairs = zip(self.tree.certificates, self.certificates, strict=True)
        return next((parsed for (entry, _), parsed in pairs if entry.id == key.id and parsed is not None), None)


def read_token(session: CardSession, begin: Begin) -> tuple[Token, CodeStates]:
    """Read everything public but the data objects. Raises DamagedCard when no certificate can be read."""
    root, tree = session.root(begin), session.tree(begin)
    certificates = tuple(_parsed(der, entry.label) for entry, der in tree.certificates)
    if not any(certificates):
        raise errors.DamagedCard(part="; ".join(tree.warnings) or "CDF")
    card = session.card
    mechanisms: dict[Usage, frozenset[Mechanism]] = {usage: card.mechanisms(usage) for usage in get_args(Usage)}
    data = session.data_objects(begin)
    return Token(card.generation, root, tree, certificates, data, mechanisms), session.code_states(begin)


def _parsed(der: bytes, label: str) -> CardCertificate | None:
    try:
        return parse_certificate(der, label)
    except RecordError:
        return None
