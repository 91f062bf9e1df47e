# SPDX-License-Identifier: Apache-2.0
"""The traces of tests/traces, and the card image that their own bytes describe ("trace-model")."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from simulator import tracemodel
from simulator.image import Access, DedicatedFile, ElementaryFile, Image, Key, Model, Path, Pin

FOLDER = FilePath(__file__).parent.parent / "traces"
CONTACT_AID = bytes.fromhex("E828BD080F8025000001FF0010")
CONTACTLESS_AID = bytes.fromhex("E828BD080F8025000001FF0020")
IAS_APPLET = bytes.fromhex("8025000001FF0100")
CPS_DATA: Path = (0x0001, 0xD107)
ATRS: dict[str, str] = {
    "cps3": "3BAC00402A001225006480000310009000",
    "cps4": "3B9B188001001225006480040100009044",
    "cps3cl": "3B8F80010031B86404B0ECC1739401808290000E",
}
CERTIFICATES: dict[int, Path] = {1: (0x0001, 0xA001), 2: (0x0001, 0xA002), 3: (0x0002, 0xA003)}


@dataclass(frozen=True)
class Exchange:
    command: bytes
    answer: bytes

    @property
    def data(self) -> bytes:
        return self.answer[:-2]

    @property
    def sw(self) -> bytes:
        return self.answer[-2:]


@dataclass(frozen=True)
class Trace:
    name: str
    exchanges: tuple[Exchange, ...]
    precondition: dict[str, Any]

    @property
    def model(self) -> Model:
        model = self.name.split("-")[0]
        assert model in ("cps3", "cps4", "cps3cl")
        return model  # type: ignore[return-value]  # narrowed by the assertion above

    @property
    def situations(self) -> int:
        return int(self.precondition.get("situations", 2))


@functools.cache
def declarations() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "preconditions.toml").read_text(encoding="utf-8"))


@functools.cache
def load() -> tuple[Trace, ...]:
    """Every trace of the folder, in the order of their names."""
    preconditions = declarations()["traces"]
    return tuple(Trace(path.stem, _exchanges(path), preconditions[path.stem]) for path in sorted(FOLDER.glob("*.apdu")))


def _exchanges(path: FilePath) -> tuple[Exchange, ...]:
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line[:1] in "<>"]
    assert [line[0] for line in lines] == [">", "<"] * (len(lines) // 2), path.name
    values = [bytes.fromhex(line[1]) for line in lines]
    return tuple(Exchange(*pair) for pair in zip(values[::2], values[1::2], strict=True))


@functools.cache
def key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def trace_image(model: Model, situations: int = 2) -> Image:
    """The card that `cpx-sim lab --card trace-model` inserts, with its certificates as recorded; keys made anew."""
    return tracemodel.recorded(model, situations, {"signature": key(1), "authentication": key(2), "technical": key(3)})


def described(model: Model, situations: int = 2) -> Image:
    """Files, sizes, rules and contents as the traces of this model show them."""
    reader = _Reader()
    for trace in sorted(load(), key=lambda trace: trace.situations):  # the larger card's own files win
        if trace.model == model and trace.situations <= situations and "cps_data" not in trace.precondition:
            reader.read(trace)
    numbers = {"cps3": (1, 2, 3), "cps4": (0x10, 0x20), "cps3cl": (3,)}[model]
    usages = {1: "signature", 2: "authentication", 3: "technical", 0x10: "signature", 0x20: "authentication"}
    directories = (DedicatedFile((0x0001,), CONTACT_AID), DedicatedFile((0x0002,), CONTACTLESS_AID, contactless=True))
    return Image(
        model,
        bytes.fromhex(ATRS[model]),
        "trace-model",
        tuple(reader.files()),
        directories[:1] if model == "cps4" else directories,
        tuple(Key(n, usages[n], key(n & 3 or n >> 4)) for n in numbers),  # type: ignore[arg-type]
        (Pin(1, b"1234", 3, 3), Pin(2, b"12345678", 10, 10, 100)),
        reader.cps2ter,
    )


class _Reader:
    """Follows the selections of a trace and collects what was read."""

    def __init__(self) -> None:
        self.parameters: dict[Path, bytes] = {}
        self.contents: dict[Path, bytearray] = {}
        self.cps2ter: dict[int, bytes] = {}

    def read(self, trace: Trace) -> None:
        selected: Path = ()
        view = 0
        for exchange in trace.exchanges:
            command, ins = exchange.command, exchange.command[1]
            if command[0] == 0xA0:
                if ins == 0xA4:
                    view = int.from_bytes(command[5:7], "big")
                elif exchange.sw == b"\x90\x00":
                    self.cps2ter[view] = exchange.data
                continue
            if ins == 0xA4 and exchange.sw[0] in (0x90, 0x61):
                selected = _selected(command, selected)
            if exchange.data[:1] in (b"\x62", b"\x6f") and exchange.data != self.parameters.get(selected):
                self.parameters[selected] = exchange.data
                self.contents.pop(selected, None)
            if ins == 0xB0 and exchange.sw == b"\x90\x00" and not command[2] & 0x80:
                content = self.contents.setdefault(selected, bytearray())
                offset = int.from_bytes(command[2:4], "big")
                content[offset : offset + len(exchange.data)] = exchange.data

    def files(self) -> list[ElementaryFile]:
        return [self._file(path, fcp) for path, fcp in sorted(self.parameters.items()) if fcp[2] == 0x80]

    def _file(self, path: Path, fcp: bytes) -> ElementaryFile:
        sfi_length, contact = fcp[14], fcp.index(b"\x8c\x07\x7b")
        rights = {0x00: Access.ALWAYS, 0x11: Access.PIN, 0x45: Access.NEVER, 0xFF: Access.NEVER}
        return ElementaryFile(
            path,
            bytes(self.contents.get(path, b"")),
            size=int.from_bytes(fcp[4:6], "big"),
            read=Access.ALWAYS if path[0] == 0x0002 else rights[fcp[contact + 8]],
            update=rights[fcp[contact + 7]],
            sfi=fcp[15] >> 3 if sfi_length else None,
        )


def _selected(command: bytes, current: Path) -> Path:
    """Directory and file after a SELECT that succeeded."""
    p1, data = command[2], command[5 : 5 + command[4]]
    identifiers = tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    if p1 == 0x04:
        return {CONTACT_AID: (0x0001,), CONTACTLESS_AID: (0x0002,), IAS_APPLET: ()}[data]
    if identifiers[0] == 0x3F00:
        return identifiers[1:]
    if p1 == 0x08:
        return identifiers
    return (*(path for path in current[:1] if path < 0x0010), *identifiers)
