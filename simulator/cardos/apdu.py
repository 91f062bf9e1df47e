# SPDX-License-Identifier: Apache-2.0
"""Command APDUs as the card sees them (ISO 7816-3 section 12.1, 7816-4 section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

# EF.ATR tag E0 announces an input buffer of 260 bytes and an output of 256: longer commands are refused.
INPUT_BUFFER = 260
OUTPUT_BUFFER = 256


class Status(Exception):
    """A status word that ends the command; `sw` is the 16-bit value."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw


@dataclass(frozen=True)
class Command:
    """A parsed command. `le` is None without Le, else 1 to 65536; `data` may hold a PIN and is kept out of repr."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None

    @property
    def p1p2(self) -> int:
        return self.p1 << 8 | self.p2

    @property
    def chained(self) -> bool:
        """Bit 5 of the class: more commands of the chain follow."""
        return bool(self.cla & 0x10)

    def with_data(self, data: bytes) -> Command:
        return replace(self, data=data)


def parse(apdu: bytes) -> Command:
    """Any bytes in; a `Command` out, or `Status(6700)` when the lengths do not agree."""
    if len(apdu) < 4:
        raise Status(0x6700)
    header, body = apdu[:4], apdu[4:]
    data, le = _short(body) if len(body) < 2 or body[0] else _extended(body)
    return Command(header[0], header[1], header[2], header[3], data, le)


def _short(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or 256
    lc = body[0]
    if len(body) == 1 + lc:
        return body[1:], None
    if len(body) == 2 + lc:
        return body[1:-1], body[-1] or 256
    raise Status(0x6700)


def _extended(body: bytes) -> tuple[bytes, int | None]:
    if not 3 <= len(body) <= INPUT_BUFFER - 4:
        raise Status(0x6700)
    number = int.from_bytes(body[1:3], "big")
    if len(body) == 3:
        return b"", number or 65536
    if number and len(body) == 3 + number:
        return body[3:], None
    if number and len(body) == 5 + number:
        return body[3:-2], int.from_bytes(body[-2:], "big") or 65536
    raise Status(0x6700)
