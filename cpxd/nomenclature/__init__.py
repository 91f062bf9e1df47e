# SPDX-License-Identifier: Apache-2.0
"""Code tables of the French health sector and the keys of its identifiers. Nothing is read but the tables: those of the package,
and those the person has put over them.
"""

from cpxd.nomenclature.codes import (
    Entry,
    Table,
    UnknownTable,
    adeli_to_r01,
    conventions,
    entries,
    folder,
    forget,
    lookup,
    natures,
    search,
    state,
    tables,
)

__all__ = [
    "Entry",
    "Table",
    "UnknownTable",
    "adeli_to_r01",
    "conventions",
    "entries",
    "folder",
    "forget",
    "lookup",
    "natures",
    "search",
    "state",
    "tables",
]
