# SPDX-License-Identifier: Apache-2.0
"""Code tables of the French health sector and the keys of its identifiers. Pure: nothing but the data of the package is read."""

from cpxd.nomenclature.codes import Entry, Table, UnknownTable, adeli_to_r01, entries, lookup, search, tables

__all__ = ["Entry", "Table", "UnknownTable", "adeli_to_r01", "entries", "lookup", "search", "tables"]
