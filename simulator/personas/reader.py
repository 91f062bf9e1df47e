# SPDX-License-Identifier: Apache-2.0
"""A TOML table read strictly: every key known, every value of its type, errors that say where."""

from __future__ import annotations

import re
from typing import Any

from .model import PersonaError

_TYPES = {
    str: ("une chaîne", "a string"),
    int: ("un entier", "an integer"),
    bool: ("true ou false", "true or false"),
    dict: ("une table", "a table"),
    list: ("une liste", "a list"),
}


class Table:
    """One table of a persona file. `where` names it in errors: "cps-medecin, card"."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self._values = values
        self._known: set[str] = set()
        self.where = where

    def refuse(self, key: str, french: str, english: str) -> PersonaError:
        return PersonaError(f"{self.where} : {key} : {french}", f"{self.where}: {key}: {english}")

    def _take(self, key: str, kind: type[Any]) -> Any:
        self._known.add(key)
        value = self._values.get(key)
        # bool is an int for Python, not for TOML.
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            french, english = _TYPES[kind]
            raise self.refuse(key, f"type attendu : {french}", f"expected type: {english}")
        return value

    def _must(self, key: str, value: Any) -> Any:
        if value is None:
            raise self.refuse(key, "valeur manquante", "missing value")
        return value

    def optional_text(self, key: str, pattern: str = r"[^\x00-\x1f]{1,127}") -> str | None:
        value: str | None = self._take(key, str)
        if value is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise self.refuse(key, f"« {value} » n'a pas la forme {pattern}", f'"{value}" is not of the form {pattern}')
        return value

    def text(self, key: str, pattern: str = r"[^\x00-\x1f]{1,127}") -> str:
        value: str = self._must(key, self.optional_text(key, pattern))
        return value

    def texts(self, key: str, pattern: str, least: int = 0, most: int = 16) -> tuple[str, ...]:
        values: list[Any] = self._must(key, self._take(key, list))
        if not least <= len(values) <= most:
            raise self.refuse(key, f"de {least} à {most} valeurs attendues", f"{least} to {most} values expected")
        for value in values:
            if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
                raise self.refuse(key, f"« {value} » n'a pas la forme {pattern}", f'"{value}" is not of the form {pattern}')
        return tuple(values)

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._take(key, int)
        value = self._must(key, default if value is None else value)
        if not low <= value <= high:
            raise self.refuse(key, f"de {low} à {high} attendu", f"{low} to {high} expected")
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._take(key, bool)
        return default if value is None else bool(value)

    def optional_table(self, key: str) -> Table | None:
        value = self._take(key, dict)
        return None if value is None else Table(value, f"{self.where}, {key}")

    def table(self, key: str) -> Table:
        found: Table = self._must(key, self.optional_table(key))
        return found

    def tables(self, key: str) -> list[Table]:
        values: list[Any] = self._take(key, list) or []
        if not all(isinstance(value, dict) for value in values):
            raise self.refuse(key, "une liste de tables attendue", "a list of tables expected")
        return [Table(value, f"{self.where}, {key} {n}") for n, value in enumerate(values, 1)]

    def end(self) -> None:
        """Refuse what nobody asked for: a misspelt key must not pass for a default."""
        for key in sorted(self._values.keys() - self._known):
            raise self.refuse(key, "clé inconnue", "unknown key")
