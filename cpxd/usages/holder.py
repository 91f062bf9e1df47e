# SPDX-License-Identifier: Apache-2.0
"""Which sheets of the guide are about the holder of a card, one a practice situation. Pure.

The guide knows professions, locums and a few kinds of employee; the card knows codes. Where the card does not say all that the
sheet supposes, the match is only possible, and none of its "yes" is taken over as a yes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cpxd.record.model import CardRecord, Situation
from cpxd.text import Text
from cpxd.usages import Ecps, Sheet, Usage, ecps, sheets

_BY_PROFESSION = {  # code of G15 → sheet of the practitioner established on his own account
    "10": "medecin",
    "21": "pharmacien",
    "26": "audioprothesiste",
    "28": "opticien_lunetier",
    "40": "chirurgien_dentiste",
    "50": "sage_femme",
    "60": "infirmier",
    "69": "infirmier",
    "70": "masseur_kinesitherapeute",
    "80": "pedicure_podologue",
    "81": "fournisseur_appareillage",
    "82": "fournisseur_appareillage",
    "83": "fournisseur_appareillage",
    "91": "orthophoniste",
    "92": "orthoptiste",
}
_LOCUMS = {name: f"{name}_remplacant" for name in _BY_PROFESSION.values()} | {"sage_femme": "sage_femme_remplacante"}
_ECPS = {  # sheet → row of the e-CPS table, where the words differ
    "laboratoire": "Laboratoires Médecin Pharmacien Directeur de laboratoire",
    "fournisseur_appareillage": "Fournisseurs d'appareillage Orthopédiste Orthésiste Orthoprothésiste Podo-orthésiste",
    "medecin_en_formation": "Médecin en formation (non thésé) Etudiant remplaçant ou adjoint Interne Docteur junior",
    "personnel_cpe_anonyme": "Secrétaire médical(e) Employés de pharmacie Aide soignant Agent administratif",
}
_LIBERAL, _EMPLOYED, _LOCUM = "00", "01", "04"  # G17
_HEALTH_CENTRE, _AMBULANCES, _TAXIS = "SA05", "SA10", "SA58"  # R02
_LABORATORIES = {"SA25", "SA29", "SA59"}
_DOCTOR, _PHARMACIST = "10", "21"

_IF_SHEET = Text("si la fiche « {holder} » est la vôtre", "if the sheet “{holder}” is yours")
_WHY = {
    "job": Text("la carte ne dit pas le métier de son porteur", "the card does not tell its holder's job"),
    "situation": Text("les situations n'ont pas été lues (code porteur)", "the situations were not read (PIN)"),
    "mode": Text("le guide ne parle pas de ce mode d'exercice", "the guide does not speak of this mode of practice"),
    "undecoded": Text(
        "le mode ou le secteur d'exercice de la situation n'a pas pu être décodé",
        "the mode or the sector of the practice situation could not be decoded",
    ),
    "none": Text("la carte n'a pas de situation d'exercice", "the card has no practice situation"),
}


@dataclass(frozen=True)
class Match:
    """A sheet that is about the holder, in the situations of these numbers (none: not tied to one)."""

    sheet: Sheet
    situations: tuple[int, ...]
    doubt: Text | None  # why it is only possible; None: the card says all that the sheet supposes

    @property
    def certain(self) -> bool:
        return self.doubt is None

    @property
    def usages(self) -> tuple[Usage, ...]:
        """As the guide says; a yes or a condition of a sheet that may not be the holder's is conditional on that."""
        return self.sheet.usages if self.certain else tuple(self._weakened(usage) for usage in self.sheet.usages)

    def _weakened(self, usage: Usage) -> Usage:
        if usage.value not in ("yes", "conditional"):
            return usage
        condition = str(_IF_SHEET).format(holder=self.sheet.holder)
        return replace(usage, value="conditional", note=f"{usage.note} ; {condition}" if usage.note else condition)

    @property
    def ecps(self) -> Ecps | None:
        said = ecps().get(_ECPS.get(self.sheet.id, self.sheet.holder))
        return said if said is None or self.certain else replace(said, usages=tuple(self._weakened(u) for u in said.usages))


def matches(record: CardRecord) -> tuple[Match, ...]:
    """The sheets about this holder, in the order of the situations; empty when the guide has none."""
    found: dict[tuple[str, str], list[int]] = {}
    for name, why, number in _named(record):
        found.setdefault((name, why), []).extend([number] if number else [])
    return tuple(Match(sheets()[name], tuple(numbers), _WHY.get(why)) for (name, why), numbers in found.items())


def _named(record: CardRecord) -> Iterator[tuple[str, str, int]]:
    """(sheet, why it is only possible or "", number of the situation or 0)"""
    kind = record.card.kind
    if kind in ("CPE", "CDE"):
        yield from _employee(record, kind)
    elif kind == "CPF":
        if record.future_profession is not None and record.future_profession.code == _DOCTOR:
            yield "medecin_en_formation", "", 0
    elif kind == "CPS" and record.profession is not None:
        yield from _practitioner(record, record.profession.code)


def _practitioner(record: CardRecord, profession: str) -> Iterator[tuple[str, str, int]]:
    own = _BY_PROFESSION.get(profession)
    if own is None:
        return
    if record.situations is None:
        yield from ((name, "situation", 0) for name in _possible(own, profession, None, None))
    elif not record.situations:
        yield own, "none", 0
    for situation in record.situations or ():
        mode, sector = _mode_and_sector(situation)
        by_sector = profession in (_DOCTOR, _PHARMACIST) and mode in (_LIBERAL, _EMPLOYED)
        if mode is None or (sector is None and by_sector):
            yield from ((name, "undecoded", situation.number) for name in _possible(own, profession, mode, sector))
        else:
            yield *_practice(own, profession, mode, sector), situation.number


def _mode_and_sector(situation: Situation) -> tuple[str | None, str | None]:
    return (
        situation.practice_mode.code if situation.practice_mode else None,
        situation.activity_sector.code if situation.activity_sector else None,
    )


def _possible(own: str, profession: str, mode: str | None, sector: str | None) -> Iterator[str]:
    """The sheets of a profession that may be the holder's, a mode or a sector that is None being unknown."""
    yield own
    if mode is None and _LOCUMS[own] in sheets():
        yield _LOCUMS[own]
    if profession == _DOCTOR and mode != _LIBERAL and sector != _HEALTH_CENTRE:
        yield "medecin_salarie_hors_cds"
    if profession in (_DOCTOR, _PHARMACIST) and (sector is None or sector in _LABORATORIES):
        yield "laboratoire"


def _practice(own: str, profession: str, mode: str, sector: str | None) -> tuple[str, str]:
    """Both known, but for the sector where no sheet depends on it."""
    if mode == _LOCUM and _LOCUMS[own] in sheets():
        return _LOCUMS[own], ""
    if sector in _LABORATORIES and profession in (_DOCTOR, _PHARMACIST) and mode in (_LIBERAL, _EMPLOYED):
        return "laboratoire", ""
    if profession == _DOCTOR and mode == _EMPLOYED and sector != _HEALTH_CENTRE:
        return "medecin_salarie_hors_cds", ""
    certain = mode == _LIBERAL or (profession == _DOCTOR and mode == _EMPLOYED and sector == _HEALTH_CENTRE)
    return own, "" if certain else "mode"


def _employee(record: CardRecord, kind: str) -> Iterator[tuple[str, str, int]]:
    anonymous = record.holder.pseudonym is not None
    end = "cde" if kind == "CDE" else "cpe_non_nominative" if anonymous else "cpe_nominative"
    other = "" if kind == "CDE" else "personnel_cpe_anonyme" if anonymous else "assistant_medical"
    names = [f"ambulancier_{end}", f"taxi_{end}", *([other] if other else [])]
    if record.situations is None:
        yield from ((name, "situation", 0) for name in names)
    for situation in record.situations or ():
        _, sector = _mode_and_sector(situation)
        if sector is None:
            yield from ((name, "undecoded", situation.number) for name in names)
        elif sector in (_AMBULANCES, _TAXIS):
            yield f"{'ambulancier' if sector == _AMBULANCES else 'taxi'}_{end}", "", situation.number
        elif other:
            yield other, "" if anonymous else "job", situation.number
    if record.situations == () and other:
        yield other, "none", 0
