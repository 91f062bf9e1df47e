# SPDX-License-Identifier: Apache-2.0
"""The identifiers of persons and structures a card carries, and whether one is well formed.

A person's identifier (PS_IdNat) is a type digit of table G08 and a number; a structure's (Struct_IdNat) a type digit of
table G07 and a number. Keys: Luhn over RPPS, FINESS, SIREN, SIRET, and over the first eight digits of ADELI.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_REGISTER = r"/[A-Z0-9]{1,15}"


def luhn_digit(digits: str) -> int:
    """The check digit that makes `digits` + itself valid (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, character in enumerate(reversed(digits)):
        value = int(character) * (1 if position % 2 else 2)
        total += value - 9 if value > 9 else value
    return -total % 10


def luhn(digits: str) -> bool:
    """Whether the last digit is the right key of the others."""
    return len(digits) > 1 and digits.isascii() and digits.isdigit() and luhn_digit(digits[:-1]) == int(digits[-1])


def _finess(number: str) -> bool:
    # Corsica (2A, 2B) and the test numbers (0B) hold a letter: how their key is worked out is not published.
    return bool(re.fullmatch(r"\d[AB]\d{7}", number, re.ASCII)) or (len(number) == 9 and luhn(number))


def _siren(number: str) -> bool:
    return len(number) == 9 and luhn(number)


def _siret(number: str) -> bool:
    return len(number) == 14 and luhn(number) and luhn(number[:9])


def _adeli(number: str) -> bool:
    return len(number) == 9 and luhn(number)


def _adeli_practice(number: str) -> bool:
    return bool(re.fullmatch(r"\d{11}", number, re.ASCII)) and _adeli(number[:9])


def _rpps(number: str) -> bool:
    return len(number) == 11 and luhn(number)


def _rpps_practice(number: str) -> bool:
    return bool(re.fullmatch(r"\d{14}", number, re.ASCII)) and _rpps(number[:11])


_STRUCTURES: dict[str, Callable[[str], bool]] = {
    "0": _adeli_practice,
    "1": _finess,
    "2": _siren,
    "3": _siret,
    "4": _rpps_practice,
}
_REGISTERS: dict[str, Callable[[str], bool]] = {
    "1": _adeli_practice,
    "3": _finess,
    "4": _siren,
    "5": _siret,
    "6": _rpps_practice,
}


def is_structure_identifier(text: str) -> bool:
    """Struct_IdNat: "1990000015" is FINESS 990000015."""
    check = _STRUCTURES.get(text[:1])
    return check is not None and check(text[1:])


def is_person_identifier(text: str) -> bool:
    """PS_IdNat: "899700024450" is RPPS 99700024450; "30B0057881/CPET0002" an employee of FINESS 0B0057881."""
    kind, number = text[:1], text[1:]
    if kind == "0":
        return _adeli(number)
    if kind == "8":
        return _rpps(number)
    if kind == "9":
        return bool(re.fullmatch(r"[A-Z0-9]{1,15}", number))
    check = _REGISTERS.get(kind)
    structure, slash, _ = number.partition("/")
    return check is not None and check(structure) and bool(re.fullmatch(_REGISTER, number[len(structure) :])) and bool(slash)
