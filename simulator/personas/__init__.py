# SPDX-License-Identifier: Apache-2.0
"""The people the virtual cards are made for: one TOML file each, read strictly."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import cast, get_args

from simulator.errors import reason

from .checks import is_person_identifier, is_structure_identifier, luhn
from .model import (
    Billing,
    Card,
    Category,
    Codes,
    Holder,
    Kind,
    Organization,
    Persona,
    PersonaError,
    Revocation,
    RevocationReason,
    Situation,
    Update,
)
from .reader import Table
from .tables import FUTURE_PROFESSIONS, PROFESSIONS

__all__ = ["Persona", "PersonaError", "catalogue_names", "load", "names"]

_FOLDER = Path(__file__).parent
_CATALOGUE = _FOLDER.parent / "catalogue"
_MAY_BE_EMPTY = r"[^\x00-\x1f]{0,127}"
_LARGEST = 1 << 20  # bytes of a file
_EMPLOYEES = ("CPE", "CDE", "CPA", "CDA")


def names() -> list[str]:
    """The personas that come with the simulator, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def catalogue_names() -> list[str]:
    """The personas of the catalogue, sorted: every profession, kind of card and odd case; `names` has none of them."""
    return sorted(file.stem for file in _CATALOGUE.glob("*.toml"))


def load(name_or_path: str | Path) -> Persona:
    """A persona by its name, shipped or of the catalogue, or from a file of the caller's (a path, or a name that ends in .toml).

    Raises PersonaError when there is none, or when the file is not a persona.
    """
    text = str(name_or_path)
    if text in names():
        path = _FOLDER / f"{text}.toml"
    elif text in catalogue_names():
        path = _CATALOGUE / f"{text}.toml"
    elif isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml"):
        path = Path(name_or_path)
    else:
        known = ", ".join(names())
        raise PersonaError(f"persona inconnu : {text} (connus : {known})", f"unknown persona: {text} (known: {known})")
    content = _content(path)
    try:
        values = tomllib.loads(content.decode())
    except ValueError as error:  # not UTF-8, or not TOML
        raise PersonaError(f"{path} : pas un fichier TOML ({error})", f"{path}: not a TOML file ({error})") from None
    return _persona(path.stem, Table(values, path.stem))


def _content(path: Path) -> bytes:
    """Of a regular file: a device or a pipe would never end, and a persona takes a few kilobytes."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode) and state.st_size <= _LARGEST:
                return file.read(_LARGEST)
    except OSError as error:
        french, english = reason(error)
        raise PersonaError(f"{path} : {french}", f"{path}: {english}") from None
    except ValueError:  # a name that no file can have
        pass
    raise PersonaError(f"{path} : pas un fichier de persona", f"{path}: not a persona file")


def _persona(name: str, top: Table) -> Persona:
    description = top.table("description")
    kind = cast(Kind, top.text("kind", "|".join(get_args(Kind))))
    organization = top.optional_table("organization")
    billing = top.optional_table("billing")
    revocation = top.optional_table("revocation")
    situations = tuple(_situation(entry) for entry in top.tables("situations"))
    persona = Persona(
        name=name,
        description_fr=description.text("fr"),
        description_en=description.text("en"),
        kind=kind,
        card=_card(top.table("card")),
        holder=_holder(top.table("holder")),
        situations=situations,
        codes=_codes(top.optional_table("codes") or Table({}, f"{name}, codes")),
        organization=_organization(organization) if organization else None,
        billing=_billing(billing) if billing else None,
        revocation=_revocation(revocation) if revocation else None,
        odd_signature_bits=top.flag("odd_signature_bits"),
        key_encipherment=top.flag("key_encipherment"),
        key_set=top.optional_text("key_set", r"[a-z0-9-]{1,32}"),
        category=cast(Category, top.optional_text("category", "|".join(get_args(Category))) or "test"),
    )
    description.end()
    top.end()
    _check_whole(persona, top)
    return persona


def _check_whole(persona: Persona, top: Table) -> None:
    """What no table can see alone."""
    numbers = [situation.number for situation in persona.situations]
    if len(set(numbers)) != len(numbers):
        raise top.refuse("situations", "deux situations ont le même numéro", "two situations have the same number")
    if persona.billing and persona.billing.situation not in numbers:
        raise top.refuse("billing", "situation inconnue", "no such situation")
    if (persona.kind in _EMPLOYEES) != (persona.organization is not None):
        raise top.refuse(
            "organization", "attendue pour CPE, CDE, CPA, CDA et pour elles seules", "for CPE, CDE, CPA, CDA, and them alone"
        )
    holder = persona.holder
    if persona.kind == "CPS" and holder.profession is None:
        raise top.refuse("holder", "une CPS a une profession", "a CPS has a profession")
    if persona.kind == "CPF" and holder.future_profession is None:
        raise top.refuse("holder", "une CPF a une future profession", "a CPF has a future profession")


def _card(table: Table) -> Card:
    serial = table.table("serial")
    card = Card(
        number=table.text("number", r"\d{10}"),
        serial_cps3=serial.text("cps3", r"\d{8}"),
        serial_cps4=serial.text("cps4", r"\d{8}"),
        expires_in_days=table.number("expires_in_days", -1095, 1095),
        update=cast("Update | None", table.optional_text("update", "|".join(get_args(Update)))),
    )
    serial.end()
    table.end()
    return card


def _holder(table: Table) -> Holder:
    holder = Holder(
        identifier=table.text("identifier"),
        languages=table.texts("languages", r"[a-z]{2}", least=1, most=8),
        title=table.optional_text("title", r"\d{2}"),
        family_name=table.optional_text("family_name"),
        given_names=table.optional_text("given_names", _MAY_BE_EMPTY),
        professional_name=table.optional_text("professional_name"),
        pseudonym=table.optional_text("pseudonym", r"[A-Z0-9]{1,64}"),
        profession=table.optional_text("profession", "|".join(PROFESSIONS)),
        future_profession=table.optional_text("future_profession", "|".join(FUTURE_PROFESSIONS)),
        specialty=table.optional_text("specialty", r"[A-Z]{1,4}\d{2,3}"),
        pharmacist_table=table.optional_text("pharmacist_table", r"[A-Z]{1,2}"),
        responsibility_level=table.optional_text("responsibility_level", r"0[0-2]"),
    )
    table.end()
    if not is_person_identifier(holder.identifier):
        raise table.refuse(
            "identifier", f"« {holder.identifier} » n'est pas un PS_IdNat", f'"{holder.identifier}" is not a PS_IdNat'
        )
    named = holder.family_name is not None and holder.given_names is not None
    nameless = holder.family_name is None and holder.given_names is None and holder.professional_name is None
    if not (nameless if holder.pseudonym is not None else named):
        raise table.refuse(
            "family_name", "nom et prénoms, ou bien un pseudonyme seul", "family and given names, or else a pseudonym alone"
        )
    return holder


def _structure(table: Table, key: str) -> str:
    identifier = table.text(key)
    if not is_structure_identifier(identifier):
        raise table.refuse(key, f"« {identifier} » n'est pas un Struct_IdNat", f'"{identifier}" is not a Struct_IdNat')
    return identifier


def _organization(table: Table) -> Organization:
    organization = Organization(table.text("name"), _structure(table, "identifier"), table.text("department"))
    table.end()
    return organization


def _situation(table: Table) -> Situation:
    situation = Situation(
        number=table.number("number", 1, 16),
        mode=table.text("mode", r"\d{2}"),
        status=table.text("status", r"\d"),
        sector=table.text("sector", r"SA\d{2}"),
        organization_name=table.text("organization_name", _MAY_BE_EMPTY),
        organization_identifier=_structure(table, "organization_identifier"),
        pharmacist_table=table.optional_text("pharmacist_table", r"[A-Z]{1,2}"),
    )
    table.end()
    return situation


def _billing(table: Table) -> Billing:
    approvals = table.texts("approvals", r"\d{2}", least=3, most=3)
    billing = Billing(
        situation=table.number("situation", 1, 16),
        identifier=table.text("identifier", r"\d{9}"),
        convention=table.text("convention", r"\d"),
        specialty=table.text("specialty", r"\d{2}"),
        tariff_zone=table.text("tariff_zone", r"\d{2}"),
        travel_zone=table.text("travel_zone", r"\d"),
        approvals=(approvals[0], approvals[1], approvals[2]),
        may_sign_invoice=table.flag("may_sign_invoice"),
        may_sign_batch=table.flag("may_sign_batch"),
    )
    table.end()
    if not luhn(billing.identifier):
        raise table.refuse("identifier", "clé fausse", "wrong key")
    return billing


def _codes(table: Table) -> Codes:
    codes = Codes(
        pin=table.optional_text("pin", r"\d{4}") or "1234",
        unblock=table.optional_text("unblock", r"\d{8}") or "12345678",
        pin_tries_left=table.number("pin_tries_left", 0, 3, 3),
        unblock_tries_left=table.number("unblock_tries_left", 0, 10, 10),
        unblock_uses_left=table.number("unblock_uses_left", 0, 100, 100),
    )
    table.end()
    return codes


def _revocation(table: Table) -> Revocation:
    revocation = Revocation(
        days_ago=table.number("days_ago", 0, 1095),
        reason=cast(RevocationReason, table.text("reason", "|".join(get_args(RevocationReason)))),
    )
    table.end()
    return revocation
