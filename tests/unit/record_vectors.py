# SPDX-License-Identifier: Apache-2.0
"""Reads tests/vectors/record/*.txt: `[name]`, then hex over any number of lines; `#` starts a comment."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "vectors" / "record"


def load(name: str) -> dict[str, bytes]:
    vectors: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        content = line.split("#")[0].strip()
        if content.startswith("["):
            current = vectors.setdefault(content.strip("[]"), [])
        else:
            current.append(content)
    return {key: bytes.fromhex("".join(lines)) for key, lines in vectors.items()}


REAL = load("real.txt")
MODEL = load("model.txt")
