# SPDX-License-Identifier: Apache-2.0
"""Reads the vectors of tests/vectors/apdu and plays the card in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cpxd.apdu import Command, Protocol

FOLDER = Path(__file__).parent.parent / "vectors" / "apdu"


def unhex(text: str) -> bytes:
    """Hex with blanks; `AA*n` is n bytes AA."""
    return bytes.fromhex(re.sub(r"([0-9A-F]{2})\*(\d+)", lambda m: m[1] * int(m[2]), text))


def rows(name: str) -> Iterator[list[str]]:
    for line in (FOLDER / name).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


@dataclass
class Exchange:
    name: str
    protocol: Protocol
    max_le: int = 231
    get_response_cla: int | None = None
    command: Command = field(default_factory=lambda: Command(0, 0, 0, 0))
    script: list[tuple[bytes, bytes]] = field(default_factory=list)
    data: bytes = b""
    sw: int = 0
    error: str = ""


def _command(words: list[str]) -> Command:
    header = unhex(words[0])
    options = dict(word.split("=") for word in words[1:] if "=" in word)
    return Command(
        *header,
        data=unhex(options.get("data", "")),
        le=int(options["le"]) if "le" in options else None,
        extended="extended" in words,
        block=int(options.get("block", "255")),
    )


def _case(text: str) -> Exchange:
    name, _, rest = text.rpartition(": ")
    protocol, *options = rest.split()
    case = Exchange(name, Protocol[protocol])
    for option in options:
        key, _, value = option.partition("=")
        if key == "max_le":
            case.max_le = int(value)
        else:
            case.get_response_cla = int(value, 16)
    return case


def exchanges(name: str) -> Iterator[Exchange]:
    case: Exchange | None = None
    for line in (FOLDER / name).read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "case":
            if case is not None:
                yield case
            case = _case(rest)
        elif case is None or not kind or kind == "#":
            continue
        elif kind == "command":
            case.command = _command(rest.split())
        elif kind == ">":
            case.script.append((unhex(rest), b""))
        elif kind == "<":
            case.script[-1] = (case.script[-1][0], unhex(rest))
        elif kind == "=":
            data, _, sw = rest.rpartition(" ")
            case.data, case.sw = unhex(data.replace("-", "")), int(sw, 16)
        elif kind == "!":
            case.error = rest
        else:
            raise ValueError(line)
    if case is not None:
        yield case


class Card:
    """Answers what the script says, to what the script says and nothing else."""

    def __init__(self, script: list[tuple[bytes, bytes]]) -> None:
        self.left = list(script)

    def __call__(self, apdu: bytes) -> bytes:
        assert self.left, f"unexpected {apdu.hex()}"
        expected, answer = self.left.pop(0)
        assert apdu == expected, f"{apdu.hex()} instead of {expected.hex()}"
        return answer
