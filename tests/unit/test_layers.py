# SPDX-License-Identifier: Apache-2.0
"""The house has floors: imports go downwards only, and the product and the virtual card do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A room may import its own floor's shared pieces and every floor below; rooms of one floor do not know each other.
FLOORS = [
    ["text", "failure", "errors", "errors_codes", "files", "config", "log", "version"],
    ["secret", "tlv", "apdu", "nomenclature"],
    ["record"],
    ["reader", "revocation", "usages"],
    ["card"],
    ["signature", "dialog"],
    ["service", "browsers"],
    ["pkcs11", "doctor", "notify", "api"],
    ["daemon"],
    ["cli"],
    ["start"],
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FREE = {
    "text",
    "failure",
    "errors",
    "errors_codes",
    "files",
    "config",
    "log",
    "version",
    "secret",
    "tlv",
    "apdu",
}  # one file each: they may lean on each other


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:  # a relative import stays in its own room
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(package: str) -> list[Path]:
    return sorted(p for p in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources("cpxd"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(ROOT / "cpxd").with_suffix("").parts[0]
    if room == "__init__" or room.startswith("_"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "cpxd" or len(parts) < 2 or parts[1].startswith("_"):
            continue
        other = parts[1]
        if other == room or (room in FREE and other in FREE):
            continue
        assert other in LEVEL and room in LEVEL, f"{path} imports {name}: a room without a floor"
        assert LEVEL[other] < LEVEL[room], f"{path} imports upwards: {name}"


@pytest.mark.parametrize(
    ("package", "stranger"), [("cpxd", "simulator"), ("simulator", "cpxd"), ("cpxd", "tests"), ("simulator", "tests")]
)
def test_strangers(package: str, stranger: str) -> None:
    found = [f"{p}: {n}" for p in sources(package) for n in imports(p) if n.split(".")[0] == stranger]
    assert not found


def test_the_lowest_floors_do_no_io() -> None:
    io = {"socket", "subprocess", "smartcard", "asyncio"}
    for package in ("record", "nomenclature"):
        for path in sources(f"cpxd/{package}"):
            assert not io & {n.split(".")[0] for n in imports(path)}, path


def test_every_source_names_its_licence() -> None:
    files = [
        p
        for d in ("cpxd", "simulator", "tests", "bench", "tools", "fuzz")
        for p in (ROOT / d).rglob("*")
        if p.suffix in (".py", ".c", ".h", ".sh")
    ]
    assert files
    for path in files:
        if path.name != "_apdu_ffi.c":
            assert "SPDX-License-Identifier: Apache-2.0" in path.read_text(encoding="utf-8")[:200], path


def test_files_stay_readable() -> None:
    files = [p for d in ("cpxd", "simulator") for p in (ROOT / d).rglob("*") if p.suffix in (".py", ".c", ".h")]
    long = [
        f"{p}: {n}" for p in files if p.name != "_apdu_ffi.c" and (n := len(p.read_text(encoding="utf-8").splitlines())) > 450
    ]
    assert not long
