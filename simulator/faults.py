# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a card and a reader, on demand.

    SPEC  = FAULT ("," FAULT)*
    FAULT = KIND "@" WHEN ["=" VALUE]
    WHEN  = N | N "-" M | N "-" | "*"        one command, a range, from N on, every command

Commands are numbered from 0, each APDU the card is sent (GET RESPONSE included) being one. The count begins when the card is
inserted or when the fault is set; power-off and reset do not restart it.

    pull-before@N        the card is pulled before it sees command N
    pull@N               the card carries out command N and is pulled before it answers
    mute@N               command N is lost, the card does not answer it; the card goes on after a reset
    delay@N=500ms        the answer comes later by this long (ms or s)
    sw@N=6985            command N is not carried out; this status word is the answer
    answer@N=HEX         command N is not carried out; these bytes are the answer
    truncate@N=10        the answer's data is cut to 10 bytes, its status word stays
    cut@N=1              the whole answer, status word included, is cut to 1 byte
    garbage@N[=32]       the answer is so many bytes without sense, always the same ones, the last two included
    flip@N[=BIT]         one bit of the answer is inverted; without BIT, one in the middle of the data
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from simulator.errors import UsageError

_FORM = re.compile(r"([a-z-]+)@(\*|\d{1,6}(?:-\d{0,6})?)(?:=([0-9A-Za-z]+))?", re.ASCII)
_MAX_DELAY_MS = 600_000
_MAX_ANSWER = 65535

Value = int | bytes | None


class FaultError(UsageError):
    """A SPEC that is not understood."""


@dataclass(frozen=True)
class Fault:
    """One fault. `last` None: no end. `value`: bytes (sw, answer), or a count, a bit, milliseconds."""

    kind: str
    first: int
    last: int | None
    value: Value = None

    def hits(self, index: int) -> bool:
        return index >= self.first and (self.last is None or index <= self.last)


def _count(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return read


def _delay(text: str) -> int:
    """Milliseconds."""
    found = re.fullmatch(r"(\d{1,6})(ms|s)", text)
    if found is None or int(found[1]) * (1000 if found[2] == "s" else 1) > _MAX_DELAY_MS:
        raise ValueError(text)
    return int(found[1]) * (1000 if found[2] == "s" else 1)


def _status(text: str) -> bytes:
    if re.fullmatch("[0-9A-Fa-f]{4}", text) is None:
        raise ValueError(text)
    return bytes.fromhex(text)


def _hex(text: str) -> bytes:
    data = bytes.fromhex(text)
    if not 0 < len(data) <= _MAX_ANSWER:
        raise ValueError(text)
    return data


# kind: (reader of the value, value needed, value when none is given)
_KINDS: dict[str, tuple[Callable[[str], Value] | None, bool, Value]] = {
    "pull-before": (None, False, None),
    "pull": (None, False, None),
    "mute": (None, False, None),
    "delay": (_delay, True, None),
    "sw": (_status, True, None),
    "answer": (_hex, True, None),
    "truncate": (_count(0, _MAX_ANSWER), True, None),
    "cut": (_count(0, _MAX_ANSWER), True, None),
    "garbage": (_count(0, _MAX_ANSWER), False, 32),
    "flip": (_count(0, _MAX_ANSWER * 8), False, None),
}


def parse(spec: str) -> tuple[Fault, ...]:
    """The faults of a SPEC (see the module). Raises FaultError."""
    return tuple(_fault(part.strip()) for part in spec.split(","))


def _fault(text: str) -> Fault:
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in _KINDS:
        known = ", ".join(_KINDS)
        raise FaultError(
            f"faute incomprise : « {text} » (forme : FAUTE@N ou FAUTE@N=VALEUR ; fautes : {known})",
            f"fault not understood: '{text}' (form: FAULT@N or FAULT@N=VALUE; faults: {known})",
        )
    first, last = _range(text, form[2])
    read, needed, default = _KINDS[form[1]]
    if (form[3] is None and needed) or (form[3] is not None and read is None):
        raise FaultError(
            f"faute « {text} » : valeur {'manquante' if needed else 'de trop'}",
            f"fault '{text}': {'value missing' if needed else 'takes no value'}",
        )
    try:
        value = default if form[3] is None or read is None else read(form[3])
    except ValueError:
        raise FaultError(f"faute « {text} » : valeur incorrecte", f"fault '{text}': wrong value") from None
    return Fault(form[1], first, last, value)


def _range(text: str, when: str) -> tuple[int, int | None]:
    if when == "*":
        return 0, None
    first, dash, last = when.partition("-")
    start = int(first)
    end = int(last) if last else (None if dash else start)
    if end is not None and end < start:
        raise FaultError(f"faute « {text} » : intervalle à l'envers", f"fault '{text}': range runs backwards")
    return start, end


def distort(fault: Fault, answer: bytes) -> bytes:
    """The answer as the reader gets it. Faults of power and time leave it as it is."""
    value = fault.value
    if isinstance(value, bytes):
        return answer
    if fault.kind == "truncate" and value is not None:
        return answer[:-2][:value] + answer[-2:]
    if fault.kind == "cut" and value is not None:
        return answer[:value]
    if fault.kind == "garbage" and value is not None:
        return noise(value)
    if fault.kind == "flip" and answer:
        bit = (len(answer) - 2) * 4 if value is None else value % (len(answer) * 8)
        return answer[: bit // 8] + bytes([answer[bit // 8] ^ 0x80 >> bit % 8]) + answer[bit // 8 + 1 :]
    return answer


def noise(count: int) -> bytes:
    """Bytes that mean nothing and are the same each time."""
    return hashlib.shake_128(b"cpx-sim").digest(count)
