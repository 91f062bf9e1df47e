# SPDX-License-Identifier: Apache-2.0
"""What a card says, composed: the values of `identity.compose`. None always means unknown or absent, never a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from cpxd.record.certificate import CardCertificate
from cpxd.record.objects import DecodedObject
from cpxd.text import Text

Kind = Literal["CPS", "CPF", "CPE", "CDE", "CPA", "CDA"]
Category = Literal["real", "test"]


@dataclass(frozen=True, slots=True)
class Coded:
    code: str
    label: str | None  # None: the tables do not know the code


@dataclass(frozen=True, slots=True)
class Identifier:
    type: str  # code of G08 for a person, G07 for a structure
    number: str  # without the type digit
    type_label: str | None
    key_ok: bool | None  # check digit; None: this type has none


@dataclass(frozen=True, slots=True)
class Card:
    kind: Kind | None
    category: Category | None
    generation: str | None  # "CPS3", "CPS4"
    number: str | None  # the one printed on the card
    serial: str | None  # of the chip
    valid_from: date | None
    valid_until: date | None


@dataclass(frozen=True, slots=True)
class Holder:
    family_name: str | None
    given_names: str | None
    professional_name: str | None
    title: Coded | None  # civility, G03
    identifier: Identifier | None  # PS_IdNat
    pseudonym: str | None  # of a service card, which names nobody
    languages: tuple[Coded, ...]  # G00


@dataclass(frozen=True, slots=True)
class Situation:
    number: int
    practice_mode: Coded | None  # G17
    practice_status: str | None
    pharmacist_table: Coded | None  # G05
    activity_sector: Coded | None  # R02
    organization_name: str | None
    organization_identifier: Identifier | None
    raw: tuple[tuple[str, bytes], ...]  # (tag, value) of what was not decoded; tag "" for a damaged object, whole
    damaged: bool


@dataclass(frozen=True, slots=True)
class Source:
    origin: str  # "certificate", a file ("EF.CIAInfo", "EF.SN.ICC"), "ATR", or the label of a data object
    certainty: str  # "certain", "inferred", or the certainty of the tag in the dictionary


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the person should know about the record; it never holds an identity."""

    code: Literal["contradiction", "kind-uncertain", "damaged-object", "situation-number"]
    path: str  # what it is about: "holder.identifier", "situations.3"
    text: Text


@dataclass(frozen=True, slots=True)
class CardRecord:
    card: Card
    holder: Holder
    profession: Coded | None  # G15
    future_profession: Coded | None  # G16, on a CPF
    specialty: Coded | None  # R01
    pharmacist_table: Coded | None  # G05
    responsibility_level: Coded | None  # G04
    situations: tuple[Situation, ...] | None  # None: not read, the PIN was not given
    billing: DecodedObject | None  # CPS_SIT_FACT, as far as a dictionary names it
    certificates: tuple[CardCertificate, ...]
    warnings: tuple[Notice, ...]
    sources: Mapping[str, Source] = field(repr=False)  # by path: "holder.family_name", "card.kind"
