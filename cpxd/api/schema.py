# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests, described once: the same description checks what comes and is published (JSON Schema 2020-12)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cpxd.api.problems import BadRequest
from cpxd.text import tr

Schema = Mapping[str, Any]
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: JSON can spell it, no text has it (RFC 8259, section 8.2)
# with a length of whole fours, what the published pattern says, whose groups take 700 MiB for the largest document
_BASE64 = re.compile("[A-Za-z0-9+/]*={0,2}")
_MARKS, _MOST = (b'"', b",", b"[", b"{"), 20_000  # in a whole body, names of 20 documents made of nothing else included


def text(description: str, **rules: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **rules}


def body(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object that takes nothing else than what is named."""
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def read(content: bytes | bytearray, schema: Schema) -> dict[str, Any]:
    """The body of a request; nothing at all is an empty object. Raises BadRequest.

    What is large here is one long word, a document: many small things are refused before they are made.
    """
    if sum(map(content.count, _MARKS)) > _MOST:
        raise BadRequest(detail="JSON")
    try:
        found = json.loads(content.decode("utf-8") or "{}", object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadRequest(detail="JSON") from None
    check(found, schema, "")
    return dict(found)


def check(value: Any, schema: Schema, where: str) -> None:
    """Raises BadRequest with the name of the field, never its value."""
    _CHECKS[schema["type"]](value, schema, where)


def _check_object(value: Any, schema: Schema, where: str) -> None:
    if not isinstance(value, dict):
        raise _bad(where)
    for name in schema["required"]:
        if name not in value:
            raise BadRequest(detail=tr(f"il manque « {name} »", f"“{name}” is missing"))
    for name, item in value.items():
        if name not in schema["properties"]:
            raise BadRequest(detail=tr("champ inconnu", "unknown field"))
        check(item, schema["properties"][name], f"{where}.{name}".lstrip("."))


def _check_array(value: Any, schema: Schema, where: str) -> None:
    if not isinstance(value, list) or not schema["minItems"] <= len(value) <= schema["maxItems"]:
        raise _bad(where)
    for item in value:
        check(item, schema["items"], where)


def _check_integer(value: Any, schema: Schema, where: str) -> None:
    if type(value) is not int or not schema["minimum"] <= value <= schema["maximum"]:
        raise _bad(where)


def _check_boolean(value: Any, schema: Schema, where: str) -> None:
    if type(value) is not bool:
        raise _bad(where)


def _check_text(value: Any, schema: Schema, where: str) -> None:
    if not isinstance(value, str) or ("enum" in schema and value not in schema["enum"]):
        raise _bad(where)
    if not value.isascii() and _HALF.search(value):
        raise _bad(where)
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        raise _bad(where)
    if schema.get("contentEncoding") == "base64" and (len(value) % 4 or not _BASE64.fullmatch(value)):
        raise _bad(where)


_CHECKS = {
    "object": _check_object,
    "array": _check_array,
    "string": _check_text,
    "integer": _check_integer,
    "boolean": _check_boolean,
}


def _bad(where: str) -> BadRequest:
    return BadRequest(detail=tr(f"« {where or 'corps'} »", f"“{where or 'body'}”"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(word)
