# SPDX-License-Identifier: Apache-2.0
"""A code names one error: people and `cpxd explain` go by it."""

from __future__ import annotations

import importlib
import pkgutil

import cpxd
from cpxd.failure import CpxError


def kinds(root: type[CpxError]) -> list[type[CpxError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


def test_no_two_errors_share_a_code() -> None:
    for module in pkgutil.walk_packages(cpxd.__path__, "cpxd."):
        if module.name.rpartition(".")[2] in ("errors", "problems") or "error" in module.name:
            importlib.import_module(module.name)
    found: dict[str, set[str]] = {}
    for kind in kinds(CpxError):
        if "code" in vars(kind) and kind.__module__.startswith("cpxd."):
            found.setdefault(kind.code, set()).add(kind.__qualname__)
    assert len(found) > 50
    assert not {code: names for code, names in found.items() if len(names) > 1}
