# SPDX-License-Identifier: Apache-2.0
"""What a pcscd shows of its readers, asked over its own socket.

libpcsclite reads PCSCLITE_CSOCK_NAME once for the whole process, so that one process cannot look into several labs with it.
Messages: pcsc-lite's `winscard_msg.h`, protocol 4.3 and up (CMD_VERSION, then CMD_GET_READERS_STATE: 16 fixed records).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_VERSION, _READERS = 0x11, 0x12
_HEADER = struct.Struct("=II")  # size of what follows, command
_VERSION_BODY = struct.Struct("=iiI")  # major, minor, result
_RECORD = struct.Struct("=128sIIi33s3xII")  # name, event counter, state, sharing, ATR, its length, protocol
_RECORDS = 16
_MAJOR, _MINOR = 4, 4
_UNKNOWN, _PRESENT, _SWALLOWED = 0x0001, 0x0004, 0x0008


class WireError(OSError):
    """pcscd does not answer, or speaks otherwise than expected."""


@dataclass(frozen=True)
class Reader:
    name: str
    present: bool
    atr: bytes  # empty: no card, or a mute one


def readers(path: str | Path, timeout: float = 5.0) -> list[Reader]:
    """The readers of the pcscd that listens at `path`. Raises OSError (WireError when pcscd answers nonsense)."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        link.connect(str(path))
        link.sendall(_HEADER.pack(_VERSION_BODY.size, _VERSION) + _VERSION_BODY.pack(_MAJOR, _MINOR, 0))
        major, _, result = _VERSION_BODY.unpack(_read(link, _VERSION_BODY.size))
        if major != _MAJOR or result != 0:
            raise WireError(f"pcscd protocol {major}, result {result:#x}")
        link.sendall(_HEADER.pack(0, _READERS))
        records = _read(link, _RECORD.size * _RECORDS)
    found = (_reader(record) for record in _RECORD.iter_unpack(records))
    return [reader for reader in found if reader.name]


def _reader(record: tuple[bytes, int, int, int, bytes, int, int]) -> Reader:
    name, _, state, _, atr, atr_length, _ = record
    present = bool(state & (_PRESENT | _SWALLOWED))
    return Reader(name.split(b"\0")[0].decode("utf-8", "replace"), present, atr[:atr_length] if present else b"")


def _read(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise WireError("pcscd closed the connection")
        data += part
    return data
