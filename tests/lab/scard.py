# SPDX-License-Identifier: Apache-2.0
"""A PC/SC client in a process of its own: libpcsclite reads PCSCLITE_CSOCK_NAME once, so that a process can look into one lab.

Run as a script it executes the code it is given, with the functions below at hand, and prints what `say` was given as JSON.
`ask` does that inside a lab.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from typing import Any

from smartcard import scard

from simulator.lab import Lab


class StubCard:
    """Answers each command with its own first bytes and 9000; knows whether it has power."""

    def __init__(self, atr: str = "3BAC00402A001225006480000310009000") -> None:
        self.atr = bytes.fromhex(atr)
        self.events: list[str] = []

    def power_on(self) -> None:
        self.events.append("on")

    def power_off(self) -> None:
        self.events.append("off")

    def reset(self) -> None:
        self.events.append("reset")

    def transmit(self, apdu: bytes) -> bytes:
        return apdu[:250] + b"\x90\x00"


def ask(lab: Lab, code: str, timeout: float = 40) -> Any:
    """What `code` said, in a client process of its own."""
    done = lab.run([sys.executable, __file__, code], capture_output=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start(lab: Lab, code: str) -> Any:
    """The same, not waited for: a Popen whose stdout is the JSON."""
    import os
    import subprocess

    environment = {**os.environ, **lab.env}
    return subprocess.Popen(
        [sys.executable, __file__, code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# -- inside the client ---------------------------------------------------------------------------------------------


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def check(result: Any) -> Any:
    code, *values = result if isinstance(result, list | tuple) else [result]
    if code != scard.SCARD_S_SUCCESS:
        raise OSError(scard.SCardGetErrorMessage(code))
    return values[0] if len(values) == 1 else values


def context() -> Any:
    return check(scard.SCardEstablishContext(scard.SCARD_SCOPE_USER))


def readers() -> list[str]:
    return list(check(scard.SCardListReaders(context(), [])))


def connect(slot: int = 0, protocol: int = 3) -> Any:
    """A handle on the card of a slot (shared), and the protocol."""
    ctx = context()
    name = check(scard.SCardListReaders(ctx, []))[slot]
    for _ in range(20):
        code, *found = scard.SCardConnect(ctx, name, scard.SCARD_SHARE_SHARED, protocol)
        # what pcscd says while another client's SCardConnect is powering the card up
        if (code ^ scard.SCARD_E_PROTO_MISMATCH) & 0xFFFFFFFF:
            break
        time.sleep(0.05)
    return check([code, *found])


def transmit(handle: Any, apdu: str, protocol: int = 1) -> str:
    """The answer, hex; or the name of the error."""
    pci = scard.SCARD_PCI_T0 if protocol == 1 else scard.SCARD_PCI_T1
    code, answer = scard.SCardTransmit(handle, pci, list(bytes.fromhex(apdu)))
    return bytes(answer).hex() if code == scard.SCARD_S_SUCCESS else f"error {code & 0xFFFFFFFF:08X}"


def timed(handle: Any, apdu: str) -> tuple[str, float]:
    begun = time.monotonic()
    return transmit(handle, apdu), time.monotonic() - begun


def control(handle: Any, code: int, data: bytes = b"") -> str:
    """The answer, hex; or the name of the error."""
    status, answer = scard.SCardControl(handle, code, list(data))
    return bytes(answer).hex() if status == scard.SCARD_S_SUCCESS else f"error {status & 0xFFFFFFFF:08X}"


def features(handle: Any) -> dict[int, int]:
    data = bytes.fromhex(control(handle, 0x42000000 + 3400))
    return {data[i]: int.from_bytes(data[i + 2 : i + 6], "big") for i in range(0, len(data), 6)}


def verify_structure(template: str, low: int = 4, high: int = 8, block: int = 8) -> bytes:
    data = bytes.fromhex(template)
    return struct.pack("=BBBBBHBBHB3sI", 5, 0, 0x82, block, 0, low << 8 | high, 2, 1, 0x0409, 0, bytes(3), len(data)) + data


def modify_structure(template: str, confirm: int) -> bytes:
    data = bytes.fromhex(template)
    head = struct.pack("=BBBBBBBH", 5, 0, 0x82, 8, 0, 0, 8, 0x0408)
    return head + struct.pack("=BBBHBBB3sI", confirm, 2, 3, 0x0409, 0, 1, 2, bytes(3), len(data)) + data


def wait_change(ctx: Any, name: str, present: bool, seconds: float = 10) -> float:
    """The moment (monotonic clock) pcscd tells that the card of a reader is in, or out."""
    wanted = scard.SCARD_STATE_PRESENT if present else scard.SCARD_STATE_EMPTY
    state = scard.SCARD_STATE_UNAWARE
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code, seen = scard.SCardGetStatusChange(ctx, int(seconds * 1000), [(name, state)])
        if code == scard.SCARD_S_SUCCESS and seen[0][1] & wanted:
            return time.monotonic()
        state = seen[0][1]
    raise OSError("no change seen")


if __name__ == "__main__":
    exec(sys.argv[1])  # noqa: S102 - the tests' own code
