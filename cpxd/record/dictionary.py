# SPDX-License-Identifier: Apache-2.0
"""The tag dictionary: which tag of which data object means what, and how sure that is.

The official one is not public, so the dictionary is data: `dictionary.json` holds what is publicly known, and another file of
the same format can be laid over it. Format: docs/DATA.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from cpxd.nomenclature import tables
from cpxd.record.errors import DictionaryError

FieldType = Literal["ascii", "utf8", "octet", "date", "bytes"]
_FIELD_KEYS = {"name", "type", "table", "certainty", "repeated"}
_OBJECT_KEYS = {"template", "fields", "rules", "opaque"}
_RULES = {"specialty-last"}
_NUMBERED = re.compile(r"_\d\d(?=_|$)")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    name: str
    type: FieldType
    table: str | None  # code table of the value
    certainty: str  # "third-party", "invented", "official"…: where the meaning of the tag comes from
    repeated: bool


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    template: int | None  # tag around the fields; None: any, or none
    fields: Mapping[int, FieldSpec]
    rules: tuple[str, ...] = ()
    opaque: bool = False  # free content: not to be decoded at all

    def over(self, below: ObjectSpec | None) -> ObjectSpec:
        """Both together, this one winning; alone when it is about another template."""
        if below is None or self.opaque or self._other_template(below):
            return self
        fields = {**below.fields, **self.fields}
        return ObjectSpec(self.template or below.template, fields, self.rules or below.rules)

    def _other_template(self, below: ObjectSpec) -> bool:
        return self.template is not None and below.template is not None and self.template != below.template


@dataclass(frozen=True, slots=True)
class Dictionary:
    source: str
    objects: Mapping[str, ObjectSpec]

    def spec(self, label: str) -> ObjectSpec | None:
        """By label; CPS_ACTIVITY_nn_PS stands for all its numbers."""
        return self.objects.get(label) or self.objects.get(_NUMBERED.sub("_nn", label))

    def over(self, below: Dictionary) -> Dictionary:
        """This dictionary laid over another: its tags, templates, rules win; what it does not name stays."""
        objects = {label: spec.over(below.objects.get(label)) for label, spec in self.objects.items()}
        return Dictionary(f"{self.source}; {below.source}", {**below.objects, **objects})


@cache
def shipped() -> Dictionary:
    return parse_dictionary((Path(__file__).parent / "dictionary.json").read_text(encoding="utf-8"))


def dictionary(extra: str | None = None) -> Dictionary:
    """The shipped dictionary, with the text of another one laid over it. Raises DictionaryError."""
    return shipped() if extra is None else parse_dictionary(extra).over(shipped())


def parse_dictionary(text: str) -> Dictionary:
    """Check and read a dictionary. DictionaryError says what is wrong and where; nothing is guessed or skipped."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DictionaryError(f"not JSON: {error}") from None
    top = _table(document, "dictionary", {"source", "objects"})
    objects = _table(top.get("objects", {}), "objects")
    return Dictionary(
        source=_string(top.get("source"), "source"),
        objects={label: _object(value, label) for label, value in objects.items()},
    )


def _object(value: Any, label: str) -> ObjectSpec:
    table = _table(value, label, _OBJECT_KEYS)
    rules = table.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) and rule in _RULES for rule in rules):
        raise DictionaryError(f"{label}: the rules are {sorted(_RULES)}")
    fields = _table(table.get("fields", {}), label)
    return ObjectSpec(
        template=None if table.get("template") is None else _tag(table["template"], label),
        fields={_tag(tag, label): _field(spec, f"{label} {tag}") for tag, spec in fields.items()},
        rules=tuple(rules),
        opaque=_boolean(table.get("opaque", False), label),
    )


def _field(value: Any, where: str) -> FieldSpec:
    spec = _table(value, where, _FIELD_KEYS)
    kind, table = spec.get("type"), spec.get("table")
    if kind not in get_args(FieldType):
        raise DictionaryError(f"{where}: the types are {', '.join(get_args(FieldType))}")
    if table is not None and (not isinstance(table, str) or table not in tables()):
        raise DictionaryError(f"{where}: no code table {table!r}")
    return FieldSpec(
        name=_string(spec.get("name"), where),
        type=cast(FieldType, kind),
        table=table,
        certainty=_string(spec.get("certainty"), where),
        repeated=_boolean(spec.get("repeated", False), where),
    )


def _table(value: Any, where: str, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DictionaryError(f"{where}: not an object")
    unknown = set(value) - keys if keys is not None else set()
    if unknown:
        raise DictionaryError(f"{where}: unknown key {sorted(unknown)[0]!r}")
    return value


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise DictionaryError(f"{where}: a text is missing")
    return value


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise DictionaryError(f"{where}: not true or false")
    return value


def _tag(value: Any, where: str) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9A-Fa-f]{2}){1,4}", value):
        raise DictionaryError(f"{where}: {value!r} is no tag (hexadecimal, 1 to 4 bytes)")
    return int(value, 16)
