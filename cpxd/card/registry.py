# SPDX-License-Identifier: Apache-2.0
"""Which card is in the reader, by its ATR alone (ISO 7816-3 §8): nothing is sent to a card that is not in this table.

Rows are tried from the top, the most specific first: the mask published for the CPS3 also matches the CPS2ter and the T=0 form
of the CPS4, so the version bytes of the historical bytes decide (…00 03 10…, …82 02 12…, …04 01…). Interface bytes and TCK
are masked out where a terminal is known to show other ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    CPS3 = "CPS3"
    CPS4 = "CPS4"
    CPS3_CONTACTLESS = "CPS3 sans contact"
    CPS2TER = "CPS2ter"
    UNKNOWN_VERSION = "CPx"  # of the family by its historical bytes, of no known version: to be probed
    VITALE = "Vitale"


@dataclass(frozen=True)
class Row:
    kind: Kind
    atr: bytes
    mask: bytes

    def matches(self, atr: bytes) -> bool:
        return len(atr) == len(self.atr) and all(a & m == b & m for a, b, m in zip(atr, self.atr, self.mask, strict=True))


def _row(kind: Kind, atr: str, mask: str) -> Row:
    return Row(kind, bytes.fromhex(atr), bytes.fromhex(mask))


# Sources: ATRs published by ANS and in the pcsc-tools list, see docs/CARDS.md. The historical bytes are "00 12 25 00 64 80",
# three version bytes and the status "00 90 00".
_ROWS = (
    _row(Kind.CPS3, "3BAC00402A 001225006480 000310 009000", "FF00000000 FFFFFFFFFFFF 00FFFF 00FFFF"),
    _row(Kind.CPS2TER, "3BAC00402A 001225006480 820212 009000", "FF00000000 FFFFFFFFFFFF FFFFFF 00FFFF"),
    _row(Kind.CPS4, "3BDC18FF00 001225006480 000401 009000", "FF00000000 FFFFFFFFFFFF 00FFFF 00FFFF"),
    _row(Kind.CPS4, "3B9B188001 001225006480 040100 0090 44", "FF00000000 FFFFFFFFFFFF FFFF00 00FF 00"),
    _row(Kind.CPS4, "3B9B188001 001225006480 000401 0090 44", "FF00000000 FFFFFFFFFFFF 00FFFF 00FF 00"),
    _row(
        Kind.CPS3_CONTACTLESS,
        "3B8F80010031B86404B0ECC1739401808290000E",
        "FFFFFFFFFFFFFFFF0000FFC0FFFFFFFFFFFFFF00",
    ),
    _row(Kind.UNKNOWN_VERSION, "3BAC00402A 001225006480 000000 009000", "FF00000000 FFFFFFFFFFFF 000000 00FFFF"),
    _row(Kind.UNKNOWN_VERSION, "3B9B188001 001225006480 000000 009044", "FF00000000 FFFFFFFFFFFF 000000 00FF00"),
    _row(Kind.VITALE, "3F6525002C09699000", "FFFFFFFFFFFFFFFFFF"),
    _row(Kind.VITALE, "3B75130000 4009EA9000", "FFFFFFFFFF F0FFE0FFFF"),
)


def identify(atr: bytes) -> Kind | None:
    """The kind of card that shows this ATR; None for a card that is not ours."""
    return next((row.kind for row in _ROWS if row.matches(atr)), None)


USABLE = frozenset({Kind.CPS3, Kind.CPS4, Kind.UNKNOWN_VERSION, Kind.CPS3_CONTACTLESS})
