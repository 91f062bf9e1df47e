# SPDX-License-Identifier: Apache-2.0
"""`cpx-sim replay`: the commands of a trace of `cpxd trace`, put to a virtual card; where its answers differ, and how.

Hidden bytes (`[8]`) are filled in: codes by the persona's own (a wrong one where the trace shows a refusal), all else by 01.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import InputError, unusable

_FORM = re.compile(r"((?:[0-9A-F]{2})*)(?:\[(\d{1,6})\])?((?:[0-9A-F]{2})*)")
_LARGEST = 4 << 20  # bytes; a device says that it has none
_WITH_CODE = (0x20, 0x24, 0x2C)
_WRONG, _NEW = b"0000", b"2580"


@dataclass(frozen=True)
class Part:
    """One line: bytes, hidden ones in the middle."""

    head: bytes
    hidden: int
    tail: bytes

    @property
    def size(self) -> int:
        return len(self.head) + self.hidden + len(self.tail)


@dataclass(frozen=True)
class Exchange:
    line: int
    command: Part
    answer: Part

    @property
    def status(self) -> bytes:
        return (self.answer.head + self.answer.tail)[-2:]


@dataclass(frozen=True)
class Difference:
    """`was`: the status word and length of the trace; `now`: those of the virtual card."""

    line: int
    command: str
    was: str
    now: str


def run(options: argparse.Namespace, *, english: bool) -> int:
    """0: the same answers; 1: others."""
    from simulator import source

    model, exchanges = read(options.file)
    spec = options.card if ":" in options.card else f"{options.card}:{model}"
    source.split(spec)
    found = replay(exchanges, spec)
    for item in found[:20]:
        print(f"{options.file.name}:{item.line}: > {item.command}  < {item.was} | {item.now}")
    if english:
        print(f"{len(exchanges)} commands on {spec}: {len(found)} answers differ")
    else:
        print(f"{len(exchanges)} commandes sur {spec} : {len(found)} réponses diffèrent")
    return 1 if found else 0


def read(path: Path) -> tuple[str, list[Exchange]]:
    """(model of the card, exchanges). Raises InputError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputError(f"{path} : plus de {_LARGEST >> 20} Mio", f"{path}: more than {_LARGEST >> 20} MiB")
        lines = content.decode("ascii").splitlines()
    except OSError as error:
        raise unusable(path, error) from None
    except ValueError:
        raise InputError(f"{path} : n'est pas une trace", f"{path}: is no trace") from None
    model, exchanges = "cps3", []
    command: Part | None = None
    for number, line in enumerate(lines, 1):
        if line.startswith("# card "):
            model = "cps4" if "CPS4" in line else "cps3"
        elif line.startswith("> "):
            command = _part(path, number, line[2:])
        elif line.startswith("< ") and command is not None:
            exchanges.append(Exchange(number - 1, command, _part(path, number, "" if line == "< -" else line[2:])))
            command = None
    if not exchanges:
        raise InputError(f"{path} : aucun échange", f"{path}: no exchange")
    return model, exchanges


def _part(path: Path, number: int, text: str) -> Part:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{path}, ligne {number} : illisible", f"{path}, line {number}: cannot be read")
    return Part(bytes.fromhex(match[1]), int(match[2] or 0), bytes.fromhex(match[3]))


def replay(exchanges: list[Exchange], spec: str) -> list[Difference]:
    """What a fresh card of this persona and model answers otherwise than the trace says."""
    from simulator import personas, source

    person = personas.load(source.split(spec)[0])
    codes = {1: person.codes.pin.encode(), 2: person.codes.unblock.encode()}
    card = source.make(spec)
    card.power_on()
    found = []
    for exchange in exchanges:
        answer = card.transmit(_filled(exchange, codes))
        if answer[-2:] != exchange.status or len(answer) != exchange.answer.size:
            command = exchange.command.head.hex().upper() + (f"[{exchange.command.hidden}]" if exchange.command.hidden else "")
            was = f"{exchange.answer.size - 2}+{exchange.status.hex().upper()}"
            found.append(Difference(exchange.line, command, was, f"{len(answer) - 2}+{answer[-2:].hex().upper()}"))
    card.power_off()
    return found


def _filled(exchange: Exchange, codes: dict[int, bytes]) -> bytes:
    part = exchange.command
    content = b"\x01" * part.hidden
    if part.hidden and len(part.head) >= 5 and part.head[1] in _WITH_CODE:
        content = _code(exchange, codes)
    return part.head + content + part.tail


def _code(exchange: Exchange, codes: dict[int, bytes]) -> bytes:
    instruction, count = exchange.command.head[1], exchange.command.hidden
    reference = exchange.command.head[3] & 0x7F
    known, done = codes.get(reference, b""), exchange.status == b"\x90\x00"
    if instruction == 0x20:
        return (known if done else _WRONG * (len(known) // 4)).ljust(count, b"\xff")
    if done:
        codes[reference] = _NEW
    if count >= 16:  # old and new
        return (known if done else _WRONG).ljust(count // 2, b"\xff") + _NEW.ljust(count - count // 2, b"\xff")
    return _NEW.ljust(count, b"\xff")


def add(parser: argparse.ArgumentParser, *, english: bool) -> None:
    """The arguments of the command."""
    parser.add_argument("file", metavar="FILE", type=Path, help="cpxd trace FILE")
    parser.add_argument(
        "--card",
        metavar="PERSONA[:MODEL]",
        default="cps-medecin",
        help="the virtual card (model: that of the trace)" if english else "la carte virtuelle (modèle : celui de la trace)",
    )


__all__ = ["Difference", "Exchange", "add", "read", "replay", "run"]
