# SPDX-License-Identifier: Apache-2.0
"""`cpxd codes`: the code tables, one code, a search in them; newer tables from files the person downloaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cpxd import nomenclature
from cpxd.cli.common import add_json, show_json
from cpxd.errors import BadFile, Exit, Usage
from cpxd.nomenclature import Entry
from cpxd.text import printable, tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("chercher dans les tables de codes, et les mettre à jour", "search the code tables, and refresh them")
    parser = commands.add_parser("codes", parents=[common], help=text, description=text)
    parser.add_argument(
        "table", nargs="?", metavar="TABLE", help=tr("par exemple G15 ; sans elle, la liste", "such as G15; without it, the list")
    )
    parser.add_argument("code", nargs="?", metavar="CODE")
    parser.add_argument(
        "--at",
        metavar=tr("DATE", "DATE"),
        help=tr("codes fermés ou non à cette date (AAAA-MM-JJ)", "closed or not on that day (YYYY-MM-DD)"),
    )
    parser.add_argument(
        "--search",
        metavar=tr("TEXTE", "TEXT"),
        help=tr("codes dont un libellé contient ce texte", "codes with this text in a label"),
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--refresh",
        nargs="+",
        type=Path,
        metavar=tr("FICHIER", "FILE"),
        help=tr(
            "remplacer des tables par des fichiers téléchargés (CodeSystem FHIR ou CSV)",
            "replace tables by downloaded files (FHIR CodeSystem or CSV)",
        ),
    )
    what.add_argument(
        "--revert",
        nargs="*",
        metavar="TABLE",
        help=tr(
            "revenir aux tables livrées avec cpxd (toutes, ou celles nommées)",
            "go back to the tables of cpxd (all, or those named)",
        ),
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.refresh is not None or options.revert is not None:
        if options.table is not None:
            raise Usage(detail=tr("--refresh et --revert se passent de TABLE", "--refresh and --revert take no TABLE"))
        return _refresh(options) if options.refresh is not None else _revert(options)
    day = _day(options.at)
    if options.table is None and options.search is None:
        return _show_tables(options.json)
    known = nomenclature.tables()
    names = list(known) if options.table is None else [options.table.upper()]
    if names[0] not in known:
        raise Usage(
            detail=tr(
                f"table inconnue « {printable(options.table)} » (la liste : cpxd codes)",
                f"unknown table “{printable(options.table)}” (the list: cpxd codes)",
            )
        )
    if options.code is not None and options.search is not None:
        raise Usage(detail=tr("CODE ou --search, pas les deux", "CODE or --search, not both"))
    if options.code is not None:
        return _show_code(names[0], options.code, day, options.json)
    found = [
        e
        for name in names
        for e in (
            nomenclature.search(name, options.search, day) if options.search is not None else nomenclature.entries(name, day)
        )
    ]
    if options.json:
        show_json([_json(e) for e in found])
    else:
        print("\n".join(_line(e, with_table=len(names) > 1) for e in found) or tr("aucun code", "no code"))
    return Exit.DONE


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Usage(
            detail=tr(f"--at : « {text} » n'est pas une date (AAAA-MM-JJ)", f"--at: “{text}” is no date (YYYY-MM-DD)")
        ) from None


def _show_tables(as_json: bool) -> int:
    found = sorted(nomenclature.tables().values())
    if as_json:
        show_json(
            [{"name": t.name, "title": t.title, "oid": t.oid, "version": t.version, "refreshed": t.refreshed} for t in found]
        )
    else:
        own = tr(" – mise à jour par vous", " – refreshed by you")
        print("\n".join(f"{t.name:<6}{t.version}  {t.title}{own if t.refreshed else ''}" for t in found))
    return Exit.DONE


def _show_code(table: str, code: str, day: date | None, as_json: bool) -> int:
    """An unknown code is shown raw, without a label: it is no error."""
    found = (
        nomenclature.conventions(code, day) if table == "G102" else tuple(e for e in [nomenclature.lookup(table, code, day)] if e)
    )
    became = nomenclature.natures(code, day) if table == "G12" else {}
    if as_json:
        shown = [_json(e) for e in found] or [{"table": table, "code": code, "label": None}]
        show_json(
            [
                {**item, "savoir_faire": [{"nature": n, "code": e.code, "label": e.label} for n, e in became.items()]}
                for item in shown
            ]
            if table == "G12"
            else shown
        )
        return Exit.DONE
    lines = [line for e in found for line in _details(e)] or [
        tr(f"{printable(code)} : code inconnu de la table {table}", f"{printable(code)}: not in table {table}")
    ]
    for nature, entry in became.items():
        name = nomenclature.lookup("G11", nature)
        lines.append(
            tr(
                f"  nature {nature} ({name.label if name else '?'}) → savoir-faire {entry.code} {entry.label}",
                f"  nature {nature} ({name.label if name else '?'}) → savoir-faire {entry.code} {entry.label}",
            )
        )
    print("\n".join(lines))
    return Exit.DONE


def _details(entry: Entry) -> Iterator[str]:
    yield _line(entry, with_table=True)
    for name, value in (
        (tr("libellé court", "short label"), entry.short_label),
        ("OID", entry.oid),
        (tr("depuis", "since"), entry.valid_from),
        (tr("jusqu'au", "until"), entry.valid_to),
    ):
        if value is not None:
            yield f"  {name}{tr(' : ', ': ')}{value}"


def _line(entry: Entry, *, with_table: bool) -> str:
    convention = "" if entry.convention is None else tr(f" (convention {entry.convention})", f" (convention {entry.convention})")
    closed = tr(f" – fermé le {entry.valid_to}", f" – closed on {entry.valid_to}") if entry.closed else ""
    return f"{entry.table + ' ' if with_table else ''}{entry.code:<6} {printable(entry.label)}{convention}{closed}"


def _json(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = {
        "table": entry.table,
        "code": entry.code,
        "label": entry.label,
        "short_label": entry.short_label,
        "oid": entry.oid,
        "valid_from": entry.valid_from and entry.valid_from.isoformat(),
        "valid_to": entry.valid_to and entry.valid_to.isoformat(),
        "closed": entry.closed,
    }
    return found if entry.convention is None else {**found, "convention": entry.convention}


def _refresh(options: argparse.Namespace) -> int:
    """All files are checked before the first table is replaced."""
    from cpxd.files import read_small, reason
    from cpxd.nomenclature import refresh

    ready: list[refresh.NewTable] = []
    for path in options.refresh:
        try:
            new = refresh.parse(read_small(path, refresh.MAX_FILE), path.name)
            ready.append(refresh.over(new, *nomenclature.state(new.name)))
        except refresh.RefreshError as error:
            raise BadFile(file=path, reason=tr(error.french, error.english)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(file=path, reason=reason(error)) from None
    try:
        refresh.install(ready)
    except OSError as error:
        raise BadFile(file=nomenclature.folder(), reason=reason(error)) from None
    nomenclature.forget()
    _report(
        [f"{t.name} : {len(t.rows)} codes, version {t.version}" for t in ready],
        [{"table": t.name, "codes": len(t.rows), "version": t.version} for t in ready],
        options.json,
    )
    return Exit.DONE


def _revert(options: argparse.Namespace) -> int:
    from cpxd.files import reason
    from cpxd.nomenclature import refresh

    try:
        gone = refresh.revert(name.upper() for name in options.revert)
    except OSError as error:
        raise BadFile(file=nomenclature.folder(), reason=reason(error)) from None
    nomenclature.forget()
    lines = [tr(f"{name} : table livrée avec cpxd remise", f"{name}: back to the table of cpxd") for name in gone]
    _report(lines or [tr("rien à remettre", "nothing to go back to")], [{"table": name} for name in gone], options.json)
    return Exit.DONE


def _report(lines: Sequence[str], values: Sequence[dict[str, object]], as_json: bool) -> None:
    if as_json:
        show_json(list(values))
    else:
        print("\n".join(lines))
