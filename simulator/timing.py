# SPDX-License-Identifier: Apache-2.0
"""How long a real card and reader would take.

The line: ISO/IEC 7816-3. One elementary time unit lasts F/D clock cycles, F and D from TA1 of the ATR (8.3, tables 7 and 8;
372/1 without TA1); a character takes 12 of them in T=0 and T=1 with the usual guard time. The rest is INVENTED, of the size
that such cards and USB readers are known for, and measured on no CPS card:

    reader clock             4 MHz
    each command             2 ms    (USB, reader, dispatch in the card)
    VERIFY, CHANGE, RESET    8 ms    (counter written to EEPROM)
    UPDATE BINARY            6 ms
    RSA-2048 private key     350 ms  (CPS3), 180 ms (T=1 offered: CPS4)
    PSO HASH                 4 ms
"""

from __future__ import annotations

from collections.abc import Callable

Delay = Callable[[bytes, bytes], float]  # command, answer → seconds

_CLOCK_HZ = 4_000_000
_F = {0: 372, 1: 372, 2: 558, 3: 744, 4: 1116, 5: 1488, 6: 1860, 9: 512, 10: 768, 11: 1024, 12: 1536, 13: 2048}
_D = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 64, 8: 12, 9: 20}
_COMMAND = 0.002
_BY_INSTRUCTION = {0x20: 0.008, 0x24: 0.008, 0x2C: 0.008, 0xD6: 0.006}
NAMES = ("none", "real")


def delay_model(name: str, atr: bytes) -> Delay | None:
    """`none` or `real` → what to wait for before an answer leaves. Raises ValueError for another name."""
    if name == "none":
        return None
    if name != "real":
        raise ValueError(name)
    character = 12 * unit_seconds(atr)
    private_key = 0.180 if _offers_t1(atr) else 0.350

    def delay(command: bytes, answer: bytes) -> float:
        procedure = 1  # the ACK of T=0, less than the prologue and EDC of T=1
        return _COMMAND + (len(command) + len(answer) + procedure) * character + _work(command, answer, private_key)

    return delay


def unit_seconds(atr: bytes) -> float:
    """One elementary time unit at the speed the ATR offers."""
    speed = atr[2] if len(atr) > 2 and atr[1] & 0x10 else 0x11
    return _F.get(speed >> 4, 372) / _D.get(speed & 0x0F, 1) / _CLOCK_HZ


def _offers_t1(atr: bytes) -> bool:
    at = 1
    while at < len(atr) and atr[at] & 0x80:
        at += 1 + sum(atr[at] >> bit & 1 for bit in (4, 5, 6))
        if at < len(atr) and atr[at] & 0x0F == 1:
            return True
    return False


def _work(command: bytes, answer: bytes, private_key: float) -> float:
    if len(command) < 4 or answer[-2:-1] not in (b"\x90", b"\x61"):
        return 0.0
    if command[1] == 0x88 or (command[1] == 0x2A and command[2:4] in (b"\x9e\x9a", b"\x80\x86")):
        return private_key
    if command[1] == 0x2A:
        return 0.004
    return _BY_INSTRUCTION.get(command[1], 0.0)
