# SPDX-License-Identifier: Apache-2.0
"""The data objects of a card (CPS_NAME_PS, CPS_ACTIVITY_nn_PS…) through the tag dictionary.

What the dictionary names becomes fields; every other tag stays as it is, raw. Nothing on a card makes this fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from cpxd.nomenclature import lookup
from cpxd.record import ber
from cpxd.record.dictionary import Dictionary, FieldSpec, ObjectSpec, shipped
from cpxd.record.errors import RecordError, SituationError
from cpxd.tlv import Tlv

MAX_SITUATIONS = 16
Value = str | int | date | bytes

# Last characters of CPS_INFO_PS: a code shaped like those of table R01, not the end of a longer word.
_LAST_SPECIALTY = re.compile(rb"(?<![A-Z0-9])((?:SM|SI|SP|FQ|SCD|SCH|CEX|CAPA|PAC|C)\d\d|DSM\d{3})$")
_SITUATION = re.compile(r"CPS_ACTIVITY_(\d+)_PS")


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    value: Value
    code: str | None  # the value as its table writes it; None without a table
    label: str | None  # None without a table, and for a code the table does not know
    certainty: str
    tag: str  # hexadecimal; "" when a rule found it, not a tag


@dataclass(frozen=True, slots=True)
class DecodedObject:
    label: str
    fields: tuple[Field, ...]
    unknown: tuple[tuple[str, bytes], ...]  # (tag, value) of what was not decoded, in card order
    raw: bytes
    damaged: bool = False  # no BER-TLV where it should be: only `raw` says something

    def get(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


def decode_object(label: str, raw: bytes, dictionary: Dictionary | None = None) -> DecodedObject:
    """One data object, from the bytes of its file (padding included)."""
    spec = (dictionary or shipped()).spec(label)
    if spec is not None and spec.opaque:
        return DecodedObject(label, (), (), raw)
    try:
        outer = ber.elements(raw)
        inside, beside = _split(outer, None if spec is None else spec.template)
    except RecordError:
        return DecodedObject(label, _by_rule(spec, (), raw), (), raw, damaged=True)
    specs: Mapping[int, FieldSpec] = {} if spec is None else spec.fields
    convention = _convention(inside, specs)
    fields: list[Field] = []
    unknown: list[tuple[str, bytes]] = []
    for element in inside:
        field = _field(element, specs.get(element.tag), fields, convention)
        if field is None:
            unknown.append((f"{element.tag:02X}", element.value))
        else:
            fields.append(field)
    unknown += [(f"{element.tag:02X}", element.value) for element in beside]
    return DecodedObject(label, (*fields, *_by_rule(spec, fields, raw)), tuple(unknown), raw)


def situation_number(label: str) -> int | None:
    """7 for CPS_ACTIVITY_07_PS, None for another object."""
    match = _SITUATION.fullmatch(label)
    return int(match[1][:9]) if match else None


def check_situations(labels: list[str]) -> None:
    """Raises SituationError when these objects list more than 16 situations, or twice the same."""
    numbers = [number for label in labels if (number := situation_number(label)) is not None]
    if len(numbers) > MAX_SITUATIONS:
        raise SituationError(f"{len(numbers)} situations, where at most {MAX_SITUATIONS} can be")
    if len(set(numbers)) < len(numbers):
        raise SituationError("two situations with the same number")


def _split(outer: list[Tlv], template: int | None) -> tuple[list[Tlv], list[Tlv]]:
    """The elements to decode, and those that only stay raw: everything, when the object has another template."""
    if template is None and len(outer) == 1 and outer[0].constructed:
        return ber.elements(outer[0].value), []
    if template is None:
        return outer, []
    whole = ber.first(outer, template)
    if whole is not None:
        return ber.elements(whole.value), [element for element in outer if element is not whole]
    return [], outer


def _convention(inside: list[Tlv], specs: Mapping[int, FieldSpec]) -> str | None:
    """The code of table G101 in the same object, on which table G102 depends."""
    tag = next((tag for tag, spec in specs.items() if spec.table == "G101"), None)
    element = None if tag is None else ber.first(inside, tag)
    return None if element is None else ber.text(element.value)


def _field(element: Tlv, spec: FieldSpec | None, before: list[Field], convention: str | None) -> Field | None:
    """The field an element is; None when it is not named, repeated without leave, or not of its type."""
    if spec is None or (not spec.repeated and any(field.tag == f"{element.tag:02X}" for field in before)):
        return None
    value = _value(element.value, spec)
    if value is None:
        return None
    code, label = (None, None) if spec.table is None else _decoded(spec.table, value, convention)
    return Field(spec.name, value, code, label, spec.certainty, f"{element.tag:02X}")


def _value(content: bytes, spec: FieldSpec) -> Value | None:
    match spec.type:
        case "ascii" | "utf8":
            return ber.text(content)
        case "octet":
            return content[0] if len(content) == 1 else None
        case "date":
            return _date(content)
        case "bytes":
            return content


def _date(content: bytes) -> date | None:
    digits = ber.text(content)
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _decoded(table: str, value: Value, convention: str | None) -> tuple[str | None, str | None]:
    """The code and its label. A byte is its decimal value, or in G01 its hexadecimal digits; `lookup` knows which."""
    if not isinstance(value, str | int):
        return None, None
    entry = lookup(table, value, convention=convention)
    if entry is not None:
        return entry.code, entry.label
    return (f"{value:02d}" if isinstance(value, int) else value), None


def _by_rule(spec: ObjectSpec | None, fields: Sequence[Field], raw: bytes) -> tuple[Field, ...]:
    """What is known by its place and not by its tag: the specialty, at the end of CPS_INFO_PS when there is one."""
    if spec is None or "specialty-last" not in spec.rules or any(field.name == "specialty" for field in fields):
        return ()
    match = _LAST_SPECIALTY.search(raw.rstrip(b"\x00\xff"))
    if match is None:
        return ()
    code = match[1].decode("ascii")
    return (Field("specialty", code, *_decoded("R01", code, None), "third-party", ""),)
