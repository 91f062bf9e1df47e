# SPDX-License-Identifier: Apache-2.0
"""File control parameters (ISO/IEC 7816-4, 5.3.3); EF.SN.ICC and EF_ACTUA, serial number and update marker of the CPS3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cpxd.nomenclature.keys import luhn_ok
from cpxd.record import ber
from cpxd.record.errors import RecordError


@dataclass(frozen=True, slots=True)
class Fcp:
    size: int | None  # bytes; None for a DF that does not say
    file_id: int | None
    descriptor: int  # first byte of tag 82: 01 transparent EF, 38 DF
    is_df: bool
    life_cycle: int | None  # 05 operational, activated
    aid: bytes | None


def parse_fcp(data: bytes) -> Fcp:
    """Answer to SELECT: an FCP (62) or FCI (6F) template. 82 is required; everything else is None when absent.

    RecordError when it is no such template.
    """
    items = ber.elements(ber.only(data, 0x62, 0x6F).value)
    descriptor = ber.first(items, 0x82)
    if descriptor is None or not descriptor.value:
        raise RecordError("FCP without a file descriptor (82)")
    size, file_id, life_cycle, aid = (ber.first(items, *tags) for tags in ((0x80, 0x81), (0x83,), (0x8A,), (0x84,)))
    if file_id is not None and len(file_id.value) != 2:
        raise RecordError("file identifier (83) is not two bytes")
    return Fcp(
        size=ber.optional_integer(size),
        file_id=ber.optional_integer(file_id),
        descriptor=descriptor.value[0],
        is_df=descriptor.value[0] & 0xBF == 0x38,
        life_cycle=ber.optional_integer(life_cycle),
        aid=None if aid is None else aid.value,
    )


ISSUER = "8025000001"  # IAS issuer number of the cards of ANS; the prefix of their PAN


@dataclass(frozen=True, slots=True)
class SerialNumber:
    pan: str  # digits, check digit included: "8025000001992138450"
    chip: str  # the serial users and PKCS#11 see: PAN without issuer prefix and check digit, "99213845"
    check_ok: bool  # Luhn of the PAN


def parse_serial_number(data: bytes) -> SerialNumber:
    """EF.SN.ICC (3F00/D003): `5A 0A` and the PAN in BCD, padded with F. RecordError when it is not."""
    pan = ber.only(data, 0x5A).value.hex().rstrip("f")
    if not 2 <= len(pan) <= 24 or not pan.isdigit():
        raise RecordError("PAN is not a number")
    # The official library drops the last byte (check digit and F), then the issuer prefix.
    chip = pan[:-1].removeprefix(ISSUER)
    return SerialNumber(pan, chip, luhn_ok(pan))


@dataclass(frozen=True, slots=True)
class UpdateMarker:
    """EF_ACTUA: when the last update of the card began and ended, by the clock of whoever made it; None: not said."""

    start: datetime | None
    end: datetime | None
    raw: bytes  # the file without its padding

    @property
    def complete(self) -> bool:
        """Whether the update went to its end. A second one that was interrupted ends before it begins."""
        return self.start is not None and self.end is not None and self.end >= self.start


def parse_update_marker(data: bytes) -> UpdateMarker:
    """EF_ACTUA (3F00/D010): template EC with 81 start and 82 end, BCD YYYYMMDDhhmmss. What is unreadable is not said."""
    try:
        items = ber.elements(ber.only(data, 0xEC).value)
    except RecordError:
        items = []
    start, end = (ber.first(items, tag) for tag in (0x81, 0x82))
    return UpdateMarker(
        None if start is None else _moment(start.value), None if end is None else _moment(end.value), data.rstrip(b"\x00\xff")
    )


def _moment(value: bytes) -> datetime | None:
    digits = value.hex()
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S") if len(digits) == 14 and digits.isdigit() else None
    except ValueError:
        return None
