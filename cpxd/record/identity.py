# SPDX-License-Identifier: Apache-2.0
"""One record out of all that a card says. Certificates are the authority for identity; data objects add to them.

Where both speak and differ, the certificate wins and the record carries a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import TypeVar

from cpxd.nomenclature import lookup
from cpxd.nomenclature.keys import person_ok, structure_ok
from cpxd.record.certificate import CardCertificate
from cpxd.record.ciainfo import CiaInfo
from cpxd.record.dictionary import Dictionary
from cpxd.record.export import to_json
from cpxd.record.files import SerialNumber
from cpxd.record.model import (
    Card,
    CardRecord,
    Category,
    Coded,
    Holder,
    Identifier,
    Kind,
    Notice,
    Situation,
    Source,
)
from cpxd.record.objects import MAX_SITUATIONS, DecodedObject, Field, check_situations, decode_object, situation_number
from cpxd.text import Text

__all__ = ["compose", "decode_objects", "split_person", "split_structure", "to_json"]

T = TypeVar("T")
Claim = tuple[T | None, str, str]  # value, origin, certainty

CERTAIN, INFERRED = "certain", "inferred"
_KINDS: dict[str, tuple[Kind, Kind]] = {  # by card type (G02): staff, head of the structure
    "00": ("CPS", "CPS"),
    "01": ("CPF", "CPF"),
    "02": ("CPE", "CDE"),
    "03": ("CPA", "CDA"),
}
_HEAD_LEVEL = "01"  # G04: responsable de la structure
_HEAD_TITLE = re.compile(r"\b(directeur|directrice|responsable)", re.IGNORECASE)
_STAFF_TITLE = re.compile(r"\b(personnel|carte de service)\b", re.IGNORECASE)
_CATEGORIES: dict[str, Category] = {c: "test" if c[0] == "8" else "real" for c in ("00", "02", "03", "80", "82", "83")}
_TOKEN_LABEL = re.compile(r"(CPS\d)v\d+(?:-(\d+))?")  # "CPS3v3-2600971845", "CPS3v3_CL"
_USAGE_ORDER = ("authentication", "signature", "technical", None)


def decode_objects(data: Mapping[str, bytes], dictionary: Dictionary | None = None) -> tuple[DecodedObject, ...]:
    """Data objects as read from the card, by label."""
    return tuple(decode_object(label, raw, dictionary) for label, raw in data.items())


def compose(
    ciainfo: CiaInfo | None,
    serial: SerialNumber | None,
    certificates: Iterable[CardCertificate],
    objects: Iterable[DecodedObject],
    *,
    situations_read: bool = False,
    generation: str | None = None,
) -> CardRecord:
    """The record of a card. `situations_read`: the PIN was given, so that no situation means the card has none.

    Raises SituationError (more than 16 situations, or two with one number); nothing else.
    """
    found = tuple(objects)
    check_situations([item.label for item in found])
    return _Composer(ciainfo, serial, certificates, found).record(situations_read, generation)


def split_person(text: str | None) -> Identifier | None:
    """PS_IdNat: "899700024450" → 8, 99700024450; "30B0037750/CPET0001" → 3, 0B0037750/CPET0001. None when it is none."""
    if text is not None and "@" in text:
        return Identifier("10", text, _label("G08", "10"), None)
    return None if text is None else _split(text, "G08", person_ok(text[:1], text[1:]))


def split_structure(text: str | None) -> Identifier | None:
    """Struct_IdNat: "499700735741008" → 4, 99700735741008. None when it is none."""
    return None if text is None else _split(text, "G07", structure_ok(text[:1], text[1:]))


def _split(text: str, table: str, key_ok: bool | None) -> Identifier | None:
    if len(text) < 2 or not (text[0].isascii() and text[0].isdigit()):
        return None
    return Identifier(text[0], text[1:], _label(table, text[0]), key_ok)


def _label(table: str, code: str) -> str | None:
    entry = lookup(table, code)
    return None if entry is None else entry.label


def _coded(table: str, code: str | None) -> Coded | None:
    return Coded(code, _label(table, code)) if code else None


def _of_field(found: Field | None) -> Coded | None:
    return None if found is None or not found.code else Coded(found.code, found.label)


def _text(found: Field | None) -> str | None:
    return found.value if found is not None and isinstance(found.value, str) and found.value else None


class _Composer:
    def __init__(
        self,
        ciainfo: CiaInfo | None,
        serial: SerialNumber | None,
        certificates: Iterable[CardCertificate],
        objects: Sequence[DecodedObject],
    ) -> None:
        self._serial = serial
        self._certificates = tuple(certificates)
        self._ordered = sorted(self._certificates, key=lambda certificate: _USAGE_ORDER.index(certificate.usage))
        self._objects = {item.label: item for item in objects}
        self._token = None if ciainfo is None else _TOKEN_LABEL.match(ciainfo.label)
        self._warnings: list[Notice] = []
        self._sources: dict[str, Source] = {}

    def record(self, situations_read: bool, generation: str | None) -> CardRecord:
        info = "CPS_INFO_PS"
        level = self._field(info, "responsibility_level")
        return CardRecord(
            card=self._card(level, generation),
            holder=self._holder(),
            profession=self._pick(
                "profession",
                self._certified(lambda c: _coded("G15", c.profession)),
                self._coded_claim(info, "profession"),
            ),
            future_profession=self._pick(
                "future_profession",
                self._certified(lambda c: _coded("G16", c.future_profession), INFERRED),
                self._coded_claim(info, "future_profession"),
            ),
            specialty=self._pick("specialty", self._coded_claim(info, "specialty")),
            pharmacist_table=self._pick("pharmacist_table", self._coded_claim(info, "pharmacist_table")),
            responsibility_level=self._pick("responsibility_level", self._coded_claim(info, "responsibility_level")),
            situations=self._situations(situations_read),
            billing=self._objects.get("CPS_SIT_FACT"),
            certificates=self._certificates,
            warnings=(*self._warnings, *self._damaged()),
            sources=self._sources,
        )

    # --- weighing what is claimed

    def _pick(self, path: str, *claims: Claim[T], same: Callable[[T, T], bool] = lambda one, other: one == other) -> T | None:
        """The first claim with a value, its source noted; a warning when the certificate claims it and another differs."""
        known = [(value, origin, certainty) for value, origin, certainty in claims if value is not None]
        if not known:
            return None
        value, origin, certainty = known[0]
        self._sources[path] = Source(origin, certainty)
        for other, other_origin, _ in known[1:] if origin == "certificate" else ():
            if not same(value, other):
                self._warn_contradiction(path, other_origin)
        return value

    def _certified(self, read: Callable[[CardCertificate], T | None], certainty: str = CERTAIN) -> Claim[T]:
        """What the first certificate that says it says."""
        values = (read(certificate) for certificate in self._ordered)
        return next((value for value in values if value is not None), None), "certificate", certainty

    def _field(self, label: str, name: str) -> Field | None:
        found = self._objects.get(label)
        return None if found is None else found.get(name)

    def _claim(self, label: str, name: str, read: Callable[[Field | None], T | None]) -> Claim[T]:
        found = self._field(label, name)
        return read(found), label, "" if found is None else found.certainty

    def _coded_claim(self, label: str, name: str) -> Claim[Coded]:
        return self._claim(label, name, _of_field)

    def _text_claim(self, label: str, name: str) -> Claim[str]:
        return self._claim(label, name, _text)

    def _warn_contradiction(self, path: str, origin: str) -> None:
        text = Text(
            f"Le certificat et la donnée {origin} de la carte ne disent pas la même chose ({path}) ; le certificat fait foi.",
            f"The certificate and the data object {origin} of the card disagree ({path}); the certificate prevails.",
        )
        self._warnings.append(Notice("contradiction", path, text))

    # --- the card

    def _card(self, level: Field | None, generation: str | None) -> Card:
        card = "CPS_ID_CARD"
        token_generation, token_number = (self._token[1], self._token[2]) if self._token else (None, None)
        return Card(
            kind=self._kind(level),
            category=self._pick(
                "card.category",
                self._certified(lambda c: _CATEGORIES.get(c.category or "")),
                self._claim(card, "category", lambda f: _CATEGORIES.get(f.code or "") if f else None),
                self._certified(lambda c: "test" if (c.issuer.common_name or "").startswith("TEST ") else None, INFERRED),
            ),
            generation=self._pick("card.generation", (generation, "ATR", CERTAIN), (token_generation, "EF.CIAInfo", CERTAIN)),
            number=self._pick(
                "card.number",
                self._certified(lambda c: c.card_number),
                self._text_claim(card, "card_number"),
                (token_number, "EF.CIAInfo", CERTAIN),
            ),
            serial=self._pick("card.serial", (self._serial.chip if self._serial else None, "EF.SN.ICC", CERTAIN)),
            valid_from=self._pick(
                "card.valid_from",
                self._claim(card, "valid_from", _date),
                self._certified(lambda c: c.not_before.date(), INFERRED),
            ),
            valid_until=self._pick(
                "card.valid_until",
                self._claim(card, "valid_until", _date),
                self._certified(lambda c: c.not_after.date(), INFERRED),
            ),
        )

    def _kind(self, level: Field | None) -> Kind | None:
        """By card type; staff or head of the structure by the level of responsibility, else by the title, else staff."""
        found = self._pick(
            "card.kind",
            self._certified(lambda c: _KINDS.get(c.card_type or "")),
            self._claim("CPS_ID_CARD", "card_type", lambda f: _KINDS.get(f.code or "") if f else None),
        )
        if found is None or found[0] == found[1]:
            return None if found is None else found[0]
        staff, head = found
        if level is not None and level.code:
            self._sources["card.kind"] = Source("CPS_INFO_PS", level.certainty)
            return head if level.code == _HEAD_LEVEL else staff
        titles = [c.subject.title for c in self._ordered if c.subject.title]
        self._sources["card.kind"] = Source("certificate", INFERRED)
        if any(_HEAD_TITLE.search(title) for title in titles):
            return head
        if not any(_STAFF_TITLE.search(title) for title in titles):
            text = Text(
                f"Rien dans la carte ne permet de distinguer {staff} et {head} : {staff} est une supposition.",
                f"Nothing on the card tells {staff} from {head}: {staff} is an assumption.",
            )
            self._warnings.append(Notice("kind-uncertain", "card.kind", text))
        return staff

    # --- the holder

    def _holder(self) -> Holder:
        name, info = "CPS_NAME_PS", "CPS_INFO_PS"
        professional = _text(self._field(name, "professional_name"))

        def same_name(one: str, other: str) -> bool:
            # The certificate may carry the name of practice, the data object the name of birth.
            return one.casefold() in (other.casefold(), (professional or other).casefold())

        return Holder(
            family_name=self._pick(
                "holder.family_name",
                self._certified(lambda c: c.subject.surname),
                self._text_claim(name, "family_name"),
                self._text_claim(info, "family_name"),
                same=same_name,
            ),
            given_names=self._pick(
                "holder.given_names",
                self._certified(lambda c: c.subject.given_name),
                self._text_claim(name, "given_names"),
                self._text_claim(info, "given_names"),
                same=lambda one, other: one.casefold() == other.casefold(),
            ),
            professional_name=self._pick("holder.professional_name", self._text_claim(name, "professional_name")),
            title=self._pick("holder.title", self._coded_claim(name, "title")),
            identifier=self._pick(
                "holder.identifier",
                self._certified(lambda c: split_person(c.subject.common_name)),
                self._claim(info, "identifier", lambda f: split_person(_text(f))),
            ),
            pseudonym=self._pick("holder.pseudonym", self._certified(lambda c: c.subject.pseudonym)),
            languages=self._languages(),
        )

    def _languages(self) -> tuple[Coded, ...]:
        found = self._objects.get("CPS_LANG_PS")
        fields = () if found is None else found.fields
        return tuple(coded for f in fields if f.name == "language" and (coded := _of_field(f)) is not None)

    # --- situations

    def _situations(self, read: bool) -> tuple[Situation, ...] | None:
        numbered = sorted((n, o) for o in self._objects.values() if (n := situation_number(o.label)) is not None)
        for number, item in numbered:
            if not 1 <= number <= MAX_SITUATIONS:
                text = Text(
                    f"{item.label} : numéro de situation impossible, ignorée.", f"{item.label}: no such number, left out."
                )
                self._warnings.append(Notice("situation-number", item.label, text))
        numbered = [(number, item) for number, item in numbered if 1 <= number <= MAX_SITUATIONS]
        if not numbered and not read:
            return None
        return tuple(self._situation(number, item) for number, item in numbered)

    def _situation(self, number: int, item: DecodedObject) -> Situation:
        own = item.get("situation_number")
        if own is not None and own.value != number:
            text = Text(
                f"La situation {number} porte un autre numéro dans ses données.",
                f"Situation {number} has another number in its data.",
            )
            self._warnings.append(Notice("situation-number", f"situations.{number}", text))
        for found in item.fields:
            self._sources[f"situations.{number}.{found.name}"] = Source(item.label, found.certainty)
        return Situation(
            number=number,
            practice_mode=_of_field(item.get("practice_mode")),
            practice_status=_text(item.get("practice_status")),
            pharmacist_table=_of_field(item.get("pharmacist_table")),
            activity_sector=_of_field(item.get("activity_sector")),
            organization_name=_text(item.get("organization_name")),
            organization_identifier=split_structure(_text(item.get("organization_identifier"))),
            raw=(("", item.raw),) if item.damaged else item.unknown,
            damaged=item.damaged,
        )

    def _damaged(self) -> list[Notice]:
        text = Text("La donnée {label} de la carte est illisible.", "The data object {label} of the card cannot be read.")
        return [
            Notice("damaged-object", item.label, Text(text.fr.format(label=item.label), text.en.format(label=item.label)))
            for item in self._objects.values()
            if item.damaged
        ]


def _date(found: Field | None) -> date | None:
    return found.value if found is not None and isinstance(found.value, date) else None
