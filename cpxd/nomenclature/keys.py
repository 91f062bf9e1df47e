# SPDX-License-Identifier: Apache-2.0
"""Check digits of the identifiers of persons and structures.

All are Luhn keys (ISO/IEC 7812-1, annex B). A and B, which stand in ADELI and FINESS numbers (2A and 2B are Corsica, 0B the
department of the ANS test cards), count as 1 and 2: so say all the test numbers of ANS and the FINESS numbers of Corsica.
"""

from __future__ import annotations

from collections.abc import Callable

_VALUES = {**{str(i): i for i in range(10)}, "A": 1, "B": 2}
LA_POSTE = "356000000"  # its establishments outnumber the Luhn keys: their SIRET digits add up to a multiple of 5 instead


def luhn_ok(number: str) -> bool:
    """Whether the last character of `number` is the key of those before it. False for any other character or none."""
    total = 0
    for place, char in enumerate(reversed(number)):
        if char not in _VALUES:
            return False
        doubled = _VALUES[char] * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return len(number) > 1 and total % 10 == 0


def adeli_ok(number: str) -> bool:
    """ADELI number of a person: 8 characters and their key."""
    return len(number) == 9 and luhn_ok(number)


def adeli_cabinet_ok(number: str) -> bool:
    """ADELI number of the practitioner, or of the cabinet, alone or with two digits that number the place."""
    return adeli_ok(number[:9]) and (len(number) == 9 or (len(number) == 11 and _digits(number[9:])))


def finess_ok(number: str) -> bool:
    return len(number) == 9 and luhn_ok(number)


def siren_ok(number: str) -> bool:
    return len(number) == 9 and number.isdigit() and luhn_ok(number)


def siret_ok(number: str) -> bool:
    """SIREN and a 5-digit NIC. The key runs over all 14 digits."""
    if len(number) != 14 or not _digits(number):
        return False
    return luhn_ok(number) or (number.startswith(LA_POSTE) and sum(map(int, number)) % 5 == 0)


def rpps_ok(number: str) -> bool:
    """RPPS number of a person, without the type digit 8: 10 digits and their key."""
    return len(number) == 11 and number.isdigit() and luhn_ok(number)


def rpps_cabinet_ok(number: str) -> bool:
    """RPPS rang: the RPPS number of the practitioner, then three digits that number the place."""
    return len(number) == 14 and _digits(number[11:]) and rpps_ok(number[:11])


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


_STRUCTURES: dict[str, Callable[[str], bool]] = {  # by type (table G07)
    "0": adeli_cabinet_ok,
    "1": finess_ok,
    "2": siren_ok,
    "3": siret_ok,
    "4": rpps_cabinet_ok,
}
_PERSONS: dict[
    str, Callable[[str], bool]
] = {  # by type (table G08); employees: the number of the structure, "/", a register number
    "0": adeli_ok,
    "1": adeli_cabinet_ok,
    "3": finess_ok,
    "4": siren_ok,
    "5": siret_ok,
    "6": rpps_cabinet_ok,
    "8": rpps_ok,
}


def structure_ok(kind: str, number: str) -> bool | None:
    """Key of a structure identifier, type digit (G07) apart. None: this type has no key."""
    check = _STRUCTURES.get(kind)
    return None if check is None else check(number)


def person_ok(kind: str, number: str) -> bool | None:
    """Key of a person identifier, type digit (G08) apart: "8", "99700024450" or "3", "0B0037750/CPET0001". None: no key."""
    check = _PERSONS.get(kind)
    return None if check is None else check(number.partition("/")[0])
