# SPDX-License-Identifier: Apache-2.0
"""What is known of an inserted card without asking it again: the public snapshot that all doors share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import get_args

from cpxd import errors
from cpxd.card import cps2ter
from cpxd.card.application import Mechanism, Usage
from cpxd.card.session import Begin, CardSession, CodeStates
from cpxd.card.tree import Root, Tree
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.pkcs15 import DataObject, PrivateKeyObject

_GIVE_WAY = 0.12  # seconds in which another program gets hold of a slow card: pcscd looks every 100 ms


@dataclass(frozen=True)
class Token:
    """`certificates` by place in `tree.certificates`; those that cannot be read are None. Data objects are named, not read;
    those without a path are in the CPS2ter view of a CPS3."""

    generation: str  # "CPS3", "CPS4"
    root: Root
    tree: Tree
    certificates: tuple[CardCertificate | None, ...]
    data: tuple[DataObject, ...]
    mechanisms: Mapping[Usage, frozenset[Mechanism]]
    any_pss: bool  # the authentication key signs PSS with any hash and salt

    @property
    def signs_pss(self) -> bool:
        """Whether any key of the card computes RSA-PSS, which TLS 1.3 wants."""
        return any(m.padding == "pss" for found in self.mechanisms.values() for m in found)

    @property
    def contactless(self) -> bool:
        """Seen without contact: no code, the technical key alone."""
        return self.tree.contactless

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


def read_token(session: CardSession, begin: Begin) -> tuple[Token, CodeStates | None]:
    """Read everything public but the data objects. No states of codes where there are none (contactless).

    Raises DamagedCard when no certificate can be read."""
    for part in (session.root, session.holder):  # what another program may be waiting for too, first; the holder is kept
        started = monotonic()
        part(begin)
        if monotonic() - started > _GIVE_WAY:
            sleep(_GIVE_WAY)
    root, tree = session.root(begin), session.tree(begin)
    certificates = tuple(_parsed(der, entry.label) for entry, der in tree.certificates)
    if not any(certificates):
        raise errors.DamagedCard(part="; ".join(tree.warnings) or "CDF")
    card = session.card
    mechanisms: dict[Usage, frozenset[Mechanism]] = {
        usage: card.mechanisms(usage) if (usage == "technical") == card.contactless else frozenset() for usage in get_args(Usage)
    }
    data = session.data_objects(begin)
    if card.generation == "CPS3" and not card.contactless:
        data += tuple(_cps2ter({entry.label for entry in data}))
    token = Token(card.generation, root, tree, certificates, data, mechanisms, any_pss=not card.unpadded)
    return token, None if card.contactless else session.code_states(begin)


def _cps2ter(listed: set[str]) -> Iterator[DataObject]:
    """What the official library shows of a CPS3 without asking it: the billing situation, and a twin of each situation."""
    twins = sorted(label.replace("CPS_", "CPS2TER_", 1) for label in listed if label.startswith("CPS_ACTIVITY_"))
    for label in ("CPS_SIT_FACT", *twins):
        if label not in listed and cps2ter.path_of(label) is not None:
            yield DataObject(label, "CPS", (), None, private=True, modifiable=False)


def _parsed(der: bytes, label: str) -> CardCertificate | None:
    try:
        return parse_certificate(der, label)
    except RecordError:
        return None
