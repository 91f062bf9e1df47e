# SPDX-License-Identifier: Apache-2.0
"""The CPS2ter view: class A0, files found step by step, its own FCI and some status words of its own."""

from __future__ import annotations

from simulator.cardos.apdu import OUTPUT_BUFFER, Command, Status

CLASS = 0xA0
APPLET = bytes.fromhex("8025000001FF0002")

_MF, _BILLING_DF = 0x3F00, 0x7F01
_BILLING = 0x4000
_MF_TYPE, _DF_TYPE, _EF_TYPE = 1, 2, 4
_NOT_FOUND, _CODE_NEEDED = 0x9404, 0x9804


class Cps2ter:
    """Files by identifier: 7F01/4000 billing, 3F00/4010 to 401F situations. All of them need the user PIN."""

    def __init__(self, files: dict[int, bytes]) -> None:
        self._files = files
        self.leave()

    def leave(self) -> None:
        self._directory = _MF
        self._file: int | None = None

    def run(self, command: Command, *, verified: bool) -> bytes:
        if command.ins == 0xA4:
            return self._select(command)
        if command.ins == 0xB0:
            return self._read(command, verified)
        raise Status(0x6D00)

    def _select(self, command: Command) -> bytes:
        if command.p1p2:
            raise Status(0x6B00)
        if len(command.data) != 2:
            raise Status(0x6700)
        fid = int.from_bytes(command.data, "big")
        size, kind = 0, _EF_TYPE
        if fid == _MF:
            kind = _MF_TYPE
        elif fid == _BILLING_DF and _BILLING in self._files:
            kind = _DF_TYPE
        elif fid in self._files and self._directory == (_BILLING_DF if fid == _BILLING else _MF):
            size = len(self._files[fid])
        else:
            raise Status(_NOT_FOUND)
        if kind == _EF_TYPE:
            self._file = fid
        else:
            self._directory, self._file = fid, None
        return b"\x85\x05" + size.to_bytes(2, "big") + command.data + bytes([kind])

    def _read(self, command: Command, verified: bool) -> bytes:
        if self._file is None:
            raise Status(_NOT_FOUND)
        if not verified:
            raise Status(_CODE_NEEDED)
        content = self._files[self._file]
        if command.p1p2 >= max(len(content), 1):
            raise Status(0x6B00)
        rest = content[command.p1p2 :][:OUTPUT_BUFFER]
        if command.le is not None and command.le > len(rest):
            raise Status(0x6C00 | len(rest))
        return rest[: command.le]
