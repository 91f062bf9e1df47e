# SPDX-License-Identifier: Apache-2.0
"""Writes the TOML files of the catalogue from the short tables below. All people, places and numbers are invented; numbers
begin as those of the ANS test environment and their keys are right.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.personas.checks import luhn_digit
from simulator.personas.tables import PROFESSIONS

KEY_SETS = 4
_HEAD = "# SPDX-License-Identifier: Apache-2.0\n# made by python -m simulator.catalogue.generate\n"


def _keyed(digits: str) -> str:
    return f"{digits}{luhn_digit(digits)}"


def rpps(n: int) -> str:
    return _keyed(f"997001{n:04}")


def adeli(n: int) -> str:
    return _keyed(f"9990{n:04}")


def finess(n: int) -> str:
    return _keyed(f"99080{n:03}")


def siret(n: int) -> str:
    return _keyed(_keyed(f"99998{n:03}") + "0001")


@dataclass
class Entry:
    """One persona; `holder`, `situations` and `more` are TOML tables in the words of a persona file."""

    name: str
    kind: str
    fr: str
    en: str
    holder: dict[str, Any]
    situations: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    expires: int = 640


def situation(n: int, mode: str, sector: str, organization: str, name: str = "CABINET FICTIF", **more: Any) -> dict[str, Any]:
    status = "1" if mode in ("00", "04") else "0"
    return {
        "number": n,
        "mode": mode,
        "status": status,
        "sector": sector,
        "organization_name": name,
        "organization_identifier": organization,
        **more,
    }


def practitioner(name: str, profession: str, mode: str, sector: str, **holder: Any) -> Entry:
    """A CPS with one situation; the holder's number is filled in later."""
    words = {
        "00": ("en libéral", "self-employed"),
        "01": ("salarié", "employed"),
        "04": ("remplaçant", "locum"),
        "07": ("non rétribué", "unpaid"),
    }[mode]
    label = PROFESSIONS[profession]
    entry = Entry(name, "CPS", f"CPS : {label}, {words[0]}", f"CPS: {label}, {words[1]}", {"profession": profession, **holder})
    entry.situations = [{"mode": mode, "sector": sector}]
    return entry


def employee(name: str, kind: str, fr: str, sector: str, *, anonymous: bool = False, **holder: Any) -> Entry:
    english = name.removeprefix("cat-").removeprefix(f"{kind.lower()}-")
    entry = Entry(name, kind, f"{kind} : {fr}", f"{kind}: {english}", dict(holder), [{"mode": "01", "sector": sector}])
    if anonymous:
        entry.holder["pseudonym"] = ""
    return entry


_LIBERAL = {  # slug → profession, specialty of R01, sector of R02
    "chirurgien-dentiste": ("40", "SCD01", "SA07"),
    "infirmier-liberal": ("60", None, "SA07"),
    "infirmier-psychiatrique": ("69", None, "SA07"),
    "masseur-kinesitherapeute": ("70", None, "SA08"),
    "medecin-generaliste": ("10", "SM26", "SA07"),
    "pedicure-podologue": ("80", None, "SA07"),
    "pharmacien-titulaire": ("21", None, "SA33"),
    "sage-femme": ("50", None, "SA07"),
    "medecin-biologiste": ("10", "SM03", "SA25"),
    "pharmacien-biologiste": ("21", "SM03", "SA29"),
    "orthophoniste": ("91", None, "SA07"),
    "orthoprothesiste": ("81", None, "SA42"),
    "podo-orthesiste": ("82", None, "SA42"),
    "orthopediste-orthesiste": ("83", None, "SA42"),
    "oculariste": ("84", None, "SA42"),
    "epithesiste": ("85", None, "SA42"),
    "audioprothesiste": ("26", None, "SA42"),
    "opticien": ("28", None, "SA42"),
    "orthoptiste": ("92", None, "SA07"),
    "psychologue": ("93", None, "SA07"),
    "dieteticien": ("95", None, "SA07"),
}
_EMPLOYED = {
    "medecin-salarie": ("10", "SM54", "SA01"),
    "medecin-centre-de-sante": ("10", "SM26", "SA05"),
    "assistant-dentaire": ("31", None, "SA07"),
    "physicien-medical": ("32", None, "SA36"),
    "aide-soignant": ("35", None, "SA17"),
    "ambulancier-diplome": ("36", None, "SA10"),
    "auxiliaire-de-puericulture": ("37", None, "SA15"),
    "preparateur-hospitalier": ("38", None, "SA01"),
    "preparateur-officine": ("39", None, "SA33"),
    "technicien-de-laboratoire": ("86", None, "SA25"),
    "ergotherapeute": ("94", None, "SA12"),
    "psychomotricien": ("96", None, "SA16"),
    "manipulateur": ("98", None, "SA01"),
}
_LOCUMS = {
    "chirurgien-dentiste": ("40", "SA07"),
    "infirmier": ("60", "SA07"),
    "medecin": ("10", "SA07"),
    "masseur-kinesitherapeute": ("70", "SA08"),
    "orthophoniste": ("91", "SA07"),
    "pharmacien": ("21", "SA33"),
    "pedicure-podologue": ("80", "SA07"),
    "sage-femme": ("50", "SA07"),
}
_TABLES = {"pharmacien-titulaire": "A", "pharmacien-biologiste": "G"}
_LONG = "DE-LA-TRES-LONGUE-LIGNEE-FICTIVE-DES-ESSAIS-DE-CARTE-PROFESSIONNELLES-DE-SANTE-A"
assert len(_LONG) == 80  # noqa: S101 - the length is the point


def _professions() -> list[Entry]:
    found = []
    for mode, table in (("00", _LIBERAL), ("01", _EMPLOYED)):
        for slug, (profession, specialty, sector) in table.items():
            entry = practitioner(f"cat-{slug}", profession, mode, sector, **({"specialty": specialty} if specialty else {}))
            if slug in _TABLES:
                entry.holder["pharmacist_table"] = _TABLES[slug]
            found.append(entry)
    for slug, (profession, sector) in _LOCUMS.items():
        found.append(practitioner(f"cat-remplacant-{slug}", profession, "04", sector))
    for slug, future in (("medecin", "10"), ("pharmacien", "21"), ("chirurgien-dentiste", "40"), ("sage-femme", "50")):
        entry = Entry(
            f"cat-cpf-{slug}", "CPF", f"CPF : {slug} en formation", f"CPF: trainee ({slug})", {"future_profession": future}
        )
        entry.situations = [{"mode": "01", "sector": "SA01"}]
        found.append(entry)
    return found


def _employees() -> list[Entry]:
    found = []
    for slug, sector in (("ambulance", "SA10"), ("taxi", "SA58")):
        found += [
            employee(f"cat-cde-{slug}", "CDE", f"responsable ({slug})", sector, responsibility_level="01", structure="5"),
            employee(f"cat-cpe-{slug}", "CPE", f"conducteur ({slug})", sector, structure="5"),
            employee(f"cat-cpe-{slug}-service", "CPE", f"carte de service ({slug})", sector, anonymous=True, structure="5"),
        ]
    return [
        *found,
        employee("cat-cpe-assistant-medical", "CPE", "assistant médical d'un cabinet", "SA07", structure="6"),
        employee("cat-cpe-secretaire-adeli", "CPE", "secrétaire d'un cabinet ADELI", "SA07", structure="1"),
        employee("cat-cpe-siren", "CPE", "employé d'une société (SIREN)", "SA33", structure="4"),
        employee("cat-cpe-service-pharmacie", "CPE", "carte de service d'une officine", "SA33", anonymous=True, structure="3"),
        employee("cat-cde-hopital", "CDE", "directeur d'hôpital", "SA01", responsibility_level="01", structure="3"),
        employee("cat-cpe-adjoint", "CPE", "adjointe du directeur", "SA01", responsibility_level="02", structure="3"),
        employee("cat-cda", "CDA", "directrice d'un organisme autorisé", "SA24", responsibility_level="01", structure="5"),
        employee("cat-cpa-sdis", "CPA", "agent d'un service d'incendie et de secours", "SA47", structure="5"),
    ]


def _names() -> list[Entry]:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "une-lettre": ("nom et prénom d'une lettre", {"family_name": "O", "given_names": "Y"}),
        "80-lettres": ("nom et prénoms de 80 lettres", {"family_name": _LONG, "given_names": _LONG[::-1]}),
        "accents": (
            "accents, ligature, cédille, tréma",
            {"family_name": "ŒUVRARD-GARÇON DE L'ÎLE", "given_names": "ÉLOÏSE ÀNNIE"},
        ),
        "deux-noms": (
            "nom en deux parties et nom d'exercice",
            {"family_name": "PREMIER FICTIF", "given_names": "JEAN-MARC PAUL", "professional_name": "SECOND FICTIF"},
        ),
        "apostrophe": (
            "apostrophe, virgule, plus et guillemets",
            {"family_name": 'D\'ESSAI, "DIT" + FICTIF', "given_names": "LOU#1"},
        ),
        "polonais": ("lettres d'Europe centrale", {"family_name": "ŻÓŁW-ŠIŠKA", "given_names": "ŁUKASZ ĐORĐE"}),
        "grec-cyrillique": ("grec et cyrillique", {"family_name": "ΦΑΝΤΑΣΤΙΚΌΣ", "given_names": "ЙОРДАНКА"}),
        "asie": ("caractères sur trois et quatre octets", {"family_name": "虚構", "given_names": "𠮷野"}),
        "sans-prenom": ("prénom vide", {"family_name": "SANSPRENOM-FICTIF", "given_names": ""}),
    }
    found = []
    for slug, (fr, names) in cases.items():
        entry = practitioner(f"cat-nom-{slug}", "10", "00", "SA07", specialty="SM26", **names)
        entry.fr, entry.en = f"CPS : {fr}", f"CPS: name case {slug}"
        found.append(entry)
    return found


def _odd() -> list[Entry]:
    def doctor(name: str, fr: str, places: list[dict[str, Any]], expires: int = 640, **more: Any) -> Entry:
        holder = {"profession": "10", "specialty": "SM26"} | more.pop("holder", {})
        return Entry(f"cat-{name}", "CPS", f"CPS : {fr}", f"CPS: {name}", holder, places, more, expires)

    one = {"mode": "00", "sector": "SA07"}
    employed = {"mode": "01", "sector": "SA01"}
    return [
        doctor("16-situations", "seize situations", [one, employed] * 8),
        doctor("situations-trous", "situations 1, 3 et 16", [{**one, "number": n} for n in (1, 3, 16)]),
        doctor("sans-situation", "aucune situation", []),
        doctor("benevole", "non rétribué, organisme humanitaire", [{"mode": "07", "sector": "SA28"}]),
        doctor("liberal-et-remplacant", "cabinet et remplacements", [one, {"mode": "04", "sector": "SA08"}]),
        doctor("structure-sans-nom", "situation sans raison sociale", [{**one, "organization_name": ""}]),
        doctor("structure-siren", "structure connue par son SIREN", [{**employed, "structure": "2"}]),
        doctor("structure-adeli", "cabinet ADELI", [{**one, "structure": "0"}]),
        doctor("langues", "huit langues", [one], holder={"languages": ["fr", "en", "es", "de", "it", "pt", "ar", "nl"]}),
        doctor("dsm", "savoir-faire DSM", [one], holder={"specialty": "DSM201"}),
        doctor("sans-specialite", "sans spécialité", [one], holder={"specialty": None}),
        doctor("expire-aujourdhui", "expire aujourd'hui", [one], 0),
        doctor("expire-dans-30-jours", "expire dans 30 jours", [one], 30),
        doctor("expire-dans-31-jours", "expire dans 31 jours", [one], 31),
        doctor("expiree-hier", "expirée hier", [one], -1),
        doctor(
            "opposee-situation",
            "en opposition : situation changée",
            [one],
            revocation={"days_ago": 5, "reason": "affiliationChanged"},
        ),
        doctor("opposee-remplacee", "en opposition : remplacée", [one], revocation={"days_ago": 1, "reason": "superseded"}),
        doctor(
            "opposee-fin", "en opposition : fin d'activité", [one], revocation={"days_ago": 90, "reason": "cessationOfOperation"}
        ),
        doctor("opposee-sans-motif", "en opposition, sans motif", [one], revocation={"days_ago": 0, "reason": "unspecified"}),
        doctor("categorie-reelle", "carte qui se dit réelle, d'une autorité de test", [one], category="real"),
        doctor("bits-inutiles", "signature de certificat à bits inutilisés", [one], odd_signature_bits=True),
        doctor("chiffrement", "certificat d'authentification qui permet de chiffrer", [one], key_encipherment=True),
    ]


def entries() -> list[Entry]:
    return [*_professions(), *_employees(), *_names(), *_odd()]


# --- numbers, then TOML ---------------------------------------------------------------------------------------------


def document(entry: Entry, n: int) -> dict[str, Any]:
    """The persona file of the n-th entry."""
    own = {"0": f"0{adeli(n)}01", "1": f"1{finess(n)}", "2": f"2{siret(n)[:9]}", "3": f"3{siret(n)}", "4": f"4{rpps(n)}010"}
    holder = dict(entry.holder)
    structure = holder.pop("structure", "")  # type of the person's identifier (G08), for an employee
    by_type = {"1": own["0"], "3": own["1"], "4": own["2"], "5": own["3"], "6": own["4"]}
    employer = by_type.get(structure, own["4"])
    if structure:
        anonymous = "pseudonym" in holder
        holder["identifier"] = f"{structure}{employer[1:]}/{f'{n:09}' if anonymous else f'CAT{n:04}'}"
        if anonymous:
            holder["pseudonym"] = f"EMPLOYE{n:09}"
    else:
        adeli_only = holder.get("profession") in ("91", "26", "28", "81", "82", "83", "84", "85", "92", "93", "95")
        holder["identifier"] = f"0{adeli(n)}" if adeli_only else f"8{rpps(n)}"
    if "pseudonym" not in holder:
        holder = {
            "title": ("22", "31")[n % 2],
            "family_name": f"CATALOGUE-FICTIF {_letters(n)}",
            "given_names": ("CAMILLE", "DOMINIQUE", "CLAUDE")[n % 3],
            **holder,
        }
    places = []
    for position, given in enumerate(entry.situations, 1):
        place = dict(given)
        mode, sector = place.pop("mode"), place.pop("sector")
        kind = place.pop("structure", "4" if mode in ("00", "04") else "1")
        places.append(
            situation(
                place.pop("number", position), mode, sector, employer if structure else own[kind], f"STRUCTURE FICTIVE Nº {n}"
            )
            | place
        )
    return {
        "kind": entry.kind,
        "key_set": f"catalogue-{n % KEY_SETS}",
        **{key: value for key, value in entry.more.items() if not isinstance(value, dict)},
        "description": {"fr": entry.fr, "en": entry.en},
        "card": {
            "number": f"2600998{n:03}",
            "serial": {"cps3": f"99810{n:03}", "cps4": f"99840{n:03}"},
            "expires_in_days": entry.expires,
        },
        "holder": {"languages": ["fr"], **{key: value for key, value in holder.items() if value is not None}},
        **(
            {"organization": {"name": f"STRUCTURE FICTIVE Nº {n}", "identifier": employer, "department": "Paris (75)"}}
            if structure
            else {}
        ),
        "situations": places,
        **{key: value for key, value in entry.more.items() if isinstance(value, dict)},
    }


def _letters(n: int) -> str:
    return chr(ord("A") + n // 26) + chr(ord("A") + n % 26)


def toml(values: dict[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if not _is_table(value)]
    for key, value in values.items():
        for table in (value if isinstance(value, list) else [value]) if _is_table(value) else ():
            mark = f"[[{key}]]" if isinstance(value, list) else f"[{key}]"
            lines += ["", mark, *(f"{name} = {_value(item)}" for name, item in table.items())]
    return _HEAD + "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and (not value or isinstance(value[0], dict)))


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers, truths and lists are written the same in TOML


def files() -> dict[str, str]:
    """Every file of the catalogue, by name."""
    return {f"{entry.name}.toml": toml(document(entry, n)) for n, entry in enumerate(entries(), 1)}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    for old in folder.glob("*.toml"):
        old.unlink()
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
