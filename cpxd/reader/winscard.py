# SPDX-License-Identifier: Apache-2.0
"""The calls of PC/SC that take reader names, with any name that a driver gives. They read as pyscard's `scard`.

A name is bytes for pcsc-lite, of at most 127, cut without regard to characters, and partly what the device says of itself. It is
shown as UTF-8; bytes that are none, and what no terminal may be sent, are shown as U+FFFD, and the call is made with the bytes
that were listed.
"""

from __future__ import annotations

from collections.abc import Sequence

from smartcard import scard

from cpxd._apdu_ffi import ffi, lib
from cpxd.text import visible

State = tuple[str, int, bytes]  # name, dwEventState, ATR

_SUCCESS, _TOO_SMALL = scard.SCARD_S_SUCCESS, scard.SCARD_E_INSUFFICIENT_BUFFER & 0xFFFFFFFF
_MOST_ATR = 33
_unusual: dict[str, bytes] = {}  # names as shown → as listed, of those that are not shown as they are


def list_readers(context: int) -> tuple[int, list[str]]:
    """SCardListReaders: the return code, and the names in PC/SC order."""
    size = ffi.new("DWORD *")
    for _ in range(8):
        code = int(lib.SCardListReaders(context, ffi.NULL, ffi.NULL, size))
        if code != _SUCCESS:
            return code, []
        buffer = ffi.new("char[]", size[0] + 1)
        code = int(lib.SCardListReaders(context, ffi.NULL, buffer, size))
        if code & 0xFFFFFFFF != _TOO_SMALL:  # a reader came between the two calls
            break
    if code != _SUCCESS:
        return code, []
    names = bytes(ffi.buffer(buffer, size[0])).split(b"\0")
    return code, [_shown(name) for name in names if name]


def get_status_change(context: int, milliseconds: int, watched: Sequence[tuple[str, int]]) -> tuple[int, list[State]]:
    """SCardGetStatusChange: the return code, and each reader's state and ATR."""
    names = [ffi.new("char[]", _raw(name)) for name, _ in watched]  # held: the structure keeps pointers alone
    states = ffi.new("SCARD_READERSTATE[]", max(1, len(watched)))
    for state, name, (_, known) in zip(states, names, watched, strict=False):
        state.szReader, state.dwCurrentState = name, known
    code = int(lib.SCardGetStatusChange(context, milliseconds, states, len(watched)))
    found = [
        (name, int(states[i].dwEventState), bytes(states[i].rgbAtr[0 : min(int(states[i].cbAtr), _MOST_ATR)]))
        for i, (name, _) in enumerate(watched)
    ]
    return code, found


def connect(context: int, reader: str, mode: int, protocols: int) -> tuple[int, int, int]:
    """SCardConnect: the return code, the card handle, the protocol."""
    handle, protocol = ffi.new("SCARDHANDLE *"), ffi.new("DWORD *")
    code = int(lib.SCardConnect(context, _raw(reader), mode, protocols, handle, protocol))
    return code, int(handle[0]), int(protocol[0])


def _shown(name: bytes) -> str:
    text = visible(name.decode("utf-8", "replace"))
    if text.encode() != name:
        _unusual[text] = name
    return text


def _raw(name: str) -> bytes:
    return _unusual.get(name) or name.encode("utf-8", "replace")
