# SPDX-License-Identifier: Apache-2.0
"""Newer code tables from files that the person downloaded, checked before they stand over the shipped ones.

Read: a FHIR CodeSystem in JSON as ANS publishes its NOS (https://mos.esante.gouv.fr/NOS), or a CSV with a header of ours
(`code;label;short_label;valid_from;valid_to;table;oid;version`; the first two must be there, and a date). Kept: one JSON file
a table under $XDG_DATA_HOME/cpxd/nomenclature, written whole or not at all. A table that goes away brings the shipped one back.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from cpxd.files import read_small, write_new
from cpxd.nomenclature.codes import Row, folder

MAX_FILE = 16 << 20
_MAX_ROWS = 50_000
_NAME = re.compile(r"(?:TRE|JDV|ASS)?[_-]?([A-Z]\d{2,3})(?:[-_ ].*)?", re.DOTALL)
_OFFICIAL = re.compile(r"TRE_[A-Z]\d{2,3}_\w{1,80}", re.ASCII)
_OID = re.compile(r"\d(\.\d+){2,40}", re.ASCII)
_CODE = re.compile(r"[^\s;](?:[^\x00-\x1f;]{0,62}[^\s;])?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_KEPT_SHARE = 0.5  # of the codes known before: below it the file is some other table, or a part of this one
_FORMAT = 1
_BY_CONVENTION = "G102"  # only the dictionary of the cards has it, and one code is several rows there


class RefreshError(ValueError):
    """A file that is no code table, or not a newer version of the one it would replace. `french`, `english` say why."""

    def __init__(self, french: str, english: str) -> None:
        super().__init__(english)
        self.french, self.english = french, english


@dataclass(frozen=True)
class NewTable:
    name: str  # "G15"
    title: str
    oid: str | None
    version: str  # YYYYMMDD
    rows: tuple[Row, ...]
    official: str = ""  # "TRE_G15_ProfessionSante"


def parse(content: str, name: str = "") -> NewTable:
    """A table out of the text of a file. `name`: of the file, for a CSV that does not say it. Raises RefreshError."""
    if content.lstrip("\ufeff \t\r\n").startswith("{"):
        return _fhir(content)
    return _csv(content, name)


# --- the two formats ------------------------------------------------------------------------------------------------


def _fhir(content: str) -> NewTable:
    try:
        found = json.loads(content.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise RefreshError("JSON illisible", "unreadable JSON") from None
    if not isinstance(found, dict) or found.get("resourceType") != "CodeSystem":
        raise RefreshError("ce n'est pas un CodeSystem FHIR", "it is no FHIR CodeSystem")
    official = _text(found, "name").replace("-", "_")
    name = _table_name(official or _text(found, "id"))
    concepts = found.get("concept")
    if found.get("content", "complete") != "complete" or not isinstance(concepts, list):
        raise RefreshError("le CodeSystem n'est pas complet", "the CodeSystem is not complete")
    rows = [_concept(item) for item in _flat(concepts)]
    # ANS gives its tables the moment as a version; others a number ("1.2.0"), and the date apart.
    said = [re.sub(r"\D", "", _text(found, key))[:8] for key in ("version", "date")]
    version = next((text for text in said if _day_of(text)), "")
    title = _text(found, "title") or _text(found, "description") or name
    return _checked(NewTable(name, title, _oid(found), version, tuple(rows), official))


def _flat(concepts: list[Any]) -> Iterable[dict[str, Any]]:
    """Concepts and those under them."""
    waiting = list(reversed(concepts))
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict):
            raise RefreshError("un concept n'en est pas un", "a concept is none")
        yield item
        below = item.get("concept")
        waiting += reversed(below) if isinstance(below, list) else []


def _concept(item: Mapping[str, Any]) -> Row:
    properties = {_text(p, "code"): p for p in _objects(item, "property")}

    def day(*names: str) -> str:
        values = (properties.get(n, {}).get(k) for n in names for k in ("valueDateTime", "valueDate", "valueString"))
        return next((v[:10] for v in values if isinstance(v, str) and v), "")

    designations = [_text(d, "value") for d in _objects(item, "designation")]
    label = _text(item, "display")
    short = next((d for d in designations if d and d != label), "")
    return {
        "code": _text(item, "code"),
        "label": label,
        "short_label": short,
        "valid_from": day("dateValid"),
        "valid_to": day("dateFin"),
    }


def _objects(item: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """What a member holds that is an object: a file of anybody's may have anything there."""
    value = item.get(name)
    return [found for found in value if isinstance(found, dict)] if isinstance(value, list) else []


def _oid(found: Mapping[str, Any]) -> str | None:
    values = [_text(i, "value") for i in _objects(found, "identifier")]
    return next((v.removeprefix("urn:oid:") for v in values if v.startswith("urn:oid:")), None)


def _csv(content: str, name: str) -> NewTable:
    text = content.lstrip("\ufeff")
    head = text.partition("\n")[0]
    delimiter = max(";,\t", key=head.count)
    try:
        found = list(csv.DictReader(text.splitlines(), delimiter=delimiter, strict=True))
    except csv.Error:
        raise RefreshError("CSV illisible", "unreadable CSV") from None
    if not found or not {"code", "label"} <= set(found[0]):
        raise RefreshError(
            "ni CodeSystem FHIR, ni CSV avec les colonnes code et label", "no FHIR CodeSystem nor CSV with code and label"
        )
    columns = ("code", "label", "short_label", "valid_from", "valid_to")
    rows = [{column: (row.get(column) or "").strip() for column in columns} for row in found]
    said = {(row.get("table") or "").strip() for row in found} - {""}
    stem = Path(name).stem
    oid = (found[0].get("oid") or "").strip() or None
    version = re.sub(r"\D", "", found[0].get("version") or "")[:8] or max(row["valid_from"].replace("-", "") for row in rows)
    official = stem.replace("-", "_")
    table = _table_name(said.pop() if len(said) == 1 else stem)
    return _checked(NewTable(table, stem, oid, version, tuple(rows), official))


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return value.strip() if isinstance(value, str) else ""


def _table_name(text: str) -> str:
    match = _NAME.fullmatch(text)
    if match is None:
        raise RefreshError(
            "le nom de la table n'est pas reconnu (attendu : TRE_G15…)", "unrecognised table name (expected: TRE_G15…)"
        )
    return match[1]


def _checked(table: NewTable) -> NewTable:
    """With the OID in each row. Raises RefreshError."""
    oid, version = table.oid, table.version
    if not 0 < len(table.rows) <= _MAX_ROWS:
        raise RefreshError(f"{len(table.rows)} codes", f"{len(table.rows)} codes")
    if oid is not None and not _OID.fullmatch(oid):
        raise RefreshError(f"OID incorrect : {oid}", f"wrong OID: {oid}")
    if not _day_of(version):
        raise RefreshError("sans date : la version (AAAAMMJJ) n'en est pas une", "undated: the version (YYYYMMDD) is no date")
    seen: set[str] = set()
    for row in table.rows:
        _check_row(row, seen)
        row["oid"] = oid or ""
    official = table.official if _OFFICIAL.fullmatch(table.official) else ""
    title = table.title if table.title.isprintable() else table.name
    return replace(table, title=title[:200], official=official)


def _check_row(row: Row, seen: set[str]) -> None:
    code, label = row["code"], row["label"]
    if not (_CODE.fullmatch(code) and code.isprintable()) or code in seen:
        raise RefreshError(f"code incorrect ou en double : {code!r}", f"wrong or repeated code: {code!r}")
    if not label or not label.isprintable() or len(label) > 1000:
        raise RefreshError(f"libellé incorrect (code {code})", f"wrong label (code {code})")
    if not row["short_label"].isprintable():
        row["short_label"] = ""
    for key in ("valid_from", "valid_to"):
        if row[key] and not _date(row[key]):
            raise RefreshError(f"date incorrecte (code {code})", f"wrong date (code {code})")
    seen.add(code)


def _day_of(version: str) -> date | None:
    return _date(f"{version[:4]}-{version[4:6]}-{version[6:]}")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


# --- over what is known ---------------------------------------------------------------------------------------------


def over(new: NewTable, known: Mapping[str, Row], oid: str | None, version: str) -> NewTable:
    """`new` made ready to stand over the table with these rows: codes it lacks are kept, because cards outlive the tables.

    Raises RefreshError when it is another table, a part of one, or older.
    """
    if new.name == _BY_CONVENTION:
        raise RefreshError(f"{new.name} dépend d'une autre table", f"{new.name} depends on another table")
    if oid is not None and new.oid is not None and new.oid != oid:
        raise RefreshError(f"l'OID de {new.name} est {oid}, pas {new.oid}", f"the OID of {new.name} is {oid}, not {new.oid}")
    if version and new.version < version:
        raise RefreshError(
            f"plus ancienne ({new.version}) que celle en place ({version})", f"older ({new.version}) than {version}"
        )
    codes = {row["code"] for row in new.rows}
    if known and len(codes & known.keys()) < _KEPT_SHARE * len(known):
        raise RefreshError(
            f"il n'y a que {len(codes & known.keys())} des {len(known)} codes de {new.name}",
            f"it has only {len(codes & known.keys())} of the {len(known)} codes of {new.name}",
        )
    kept = tuple({key: row.get(key, "") for key in new.rows[0]} for code, row in known.items() if code not in codes)
    return NewTable(new.name, new.title, new.oid or oid, new.version, new.rows + kept, new.official)


# --- the person's folder --------------------------------------------------------------------------------------------


@cache
def installed() -> dict[str, NewTable]:
    """The person's tables, by name; a file that cannot be used is left out (`damaged` tells which)."""
    found = {}
    for path in _files():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            found[path.stem] = _load(path)
    return found


def damaged() -> list[Path]:
    return [path for path in _files() if path.stem not in installed()]


def _files() -> list[Path]:
    try:
        return sorted(path for path in folder().glob("*.json") if _NAME.fullmatch(path.stem))
    except (OSError, RuntimeError):  # no home at all
        return []


def _load(path: Path) -> NewTable:
    found = json.loads(read_small(path, MAX_FILE))
    if found["format"] != _FORMAT or found["name"] != path.stem or path.stem == _BY_CONVENTION:
        raise RefreshError("autre format", "other format")
    rows = [{key: str(row[key]) for key in ("code", "label", "short_label", "valid_from", "valid_to")} for row in found["rows"]]
    table = NewTable(path.stem, str(found["title"]), found["oid"], str(found["version"]), tuple(rows), str(found["official"]))
    return _checked(table)


def install(tables: Iterable[NewTable]) -> None:
    """Put tables over the shipped ones. Raises BadFile; tables before the one that failed are in place."""
    target = folder()
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for table in tables:
        content = {"format": _FORMAT, "name": table.name, "title": table.title, "oid": table.oid, "version": table.version}
        document = {**content, "official": table.official, "rows": table.rows}
        write_new(target / f"{table.name}.json", json.dumps(document, ensure_ascii=False, indent=0).encode())
    installed.cache_clear()


def revert(names: Iterable[str] = ()) -> list[str]:
    """Take the person's tables away (all when none is named); those that were there. Raises OSError."""
    wanted = set(names)
    gone = [path for path in _files() if not wanted or path.stem in wanted]
    for path in gone:
        path.unlink(missing_ok=True)
    installed.cache_clear()
    return [path.stem for path in gone]
