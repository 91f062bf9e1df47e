# SPDX-License-Identifier: Apache-2.0
"""CPS3 through its contacts: an IAS-ECC card (T=0) with a CPS2ter view in class A0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from simulator.cardos import cps2ter, sdo
from simulator.cardos.apdu import Command, Status
from simulator.cardos.card import State, VirtualCard
from simulator.cardos.filesystem import IAS_APPLET
from simulator.cardos.ias_operations import ALGORITHMS, Operations
from simulator.cardos.pins import BLOCK, UNBLOCK, USER
from simulator.image import Image


class Cps3(VirtualCard):
    algorithms: ClassVar[Mapping[int, frozenset[int]]] = ALGORITHMS
    exact_le = True

    def __init__(self, image: Image, state: State | None = None, **options: Any) -> None:
        self._cps2ter = cps2ter.Cps2ter(image.cps2ter)
        self._in_cps2ter = False
        super().__init__(image, state, **options)
        self._operations = Operations(
            self._environment, self._keys, self._pins, contactless=self.contactless, algorithms=self.algorithms
        )
        self._commands: dict[int, Callable[[Command], bytes]] = {
            0xA4: self._select,
            0xB0: lambda command: self._read_binary(command, self._cursor),
            0xD6: lambda command: self._update_binary(command, self._cursor),
            0x20: self._verify,
            0x24: self._change,
            0x2C: self._reset_retry_counter,
            0x22: lambda command: self._operations.manage(command, self._cursor.df),
            0x2A: self._operations.perform,
            0x88: self._operations.internal_authenticate,
            0x84: self._challenge,
            0xCB: self._get_data,
        }

    def _forget(self) -> None:
        super()._forget()
        self._leave_cps2ter()

    # -- classes -----------------------------------------------------------------------------------------------

    def _check_class(self, command: Command) -> None:
        """Once class A0 has spoken, class 00 gets 6E00 until the IAS applet is selected; GET RESPONSE passes."""
        if command.cla == cps2ter.CLASS and not self.contactless:
            return
        if command.cla & ~0x10:
            raise Status(0x6E00)
        selects = command.ins == 0xA4 and command.p1 == 0x04
        if self._in_cps2ter and not selects and command.ins != 0xC0:
            raise Status(0x6E00)

    def _run(self, command: Command) -> bytes:
        if command.cla == cps2ter.CLASS:
            self._in_cps2ter = True
            return self._cps2ter.run(command, verified=self._pins.verified(USER))
        if command.ins not in self._commands:
            raise Status(0x6D00)
        return self._commands[command.ins](command)

    def _leave_cps2ter(self) -> None:
        self._in_cps2ter = False
        self._cps2ter.leave()

    # -- files -------------------------------------------------------------------------------------------------

    def _select(self, command: Command) -> bytes:
        """P2 04 gives the FCP, 0C nothing; 00 is refused, but for the applet by its name, and then gives nothing."""
        if command.p2 not in (0x00, 0x04, 0x0C):
            raise Status(0x6A86)
        by_name = command.p1 == 0x04
        if command.p2 == 0x00 and not by_name:
            raise Status(0x6A86)
        if by_name and command.data == cps2ter.APPLET and not self.contactless:
            self._in_cps2ter = True
            return b""
        path = self._locate(command, self._cursor)
        if command.p2 == 0x00 and command.data != IAS_APPLET:
            raise Status(0x6A86)
        self._leave_cps2ter()
        self._move(self._cursor, path)
        return self._files.control_parameters(path) if command.p2 == 0x04 else b""

    def _get_data(self, command: Command) -> bytes:
        if command.p1p2 != 0x3FFF:
            raise Status(0x6A86)
        return sdo.get_data(command.data, self._pins, self._keys, self._cursor.df)

    # -- codes -------------------------------------------------------------------------------------------------

    def _verify(self, command: Command) -> bytes:
        if command.p1:
            raise Status(0x6A86)
        code = self._pins[command.p2]
        if command.data:
            code.present(command.data)
            return b""
        code.check_usable()
        if not code.verified:
            raise Status(0x63C0 | min(code.tries_left, 15))
        return b""

    def _change(self, command: Command) -> bytes:
        """P1 00: old ‖ new, each 8 bytes. P1 01: new alone, after VERIFY. The unblock code never changes."""
        code = self._pins[command.p2]
        if command.p1 not in (0x00, 0x01):
            raise Status(0x6A86)
        if command.p2 != USER:
            raise Status(0x6982)
        old, new = command.data[:-BLOCK], command.data[-BLOCK:]
        if len(old) != (0 if command.p1 else BLOCK):
            raise Status(0x6700)
        code.digits(new)
        was_verified = code.verified
        if command.p1 and not was_verified:
            raise Status(0x6982)
        if not command.p1:
            code.present(old)
        code.change(new)
        code.verified = was_verified  # a change is no login
        return b""

    def _reset_retry_counter(self, command: Command) -> bytes:
        """The data are [unblock code] ‖ [new PIN]: P1 bit 2 leaves out the first (verified before), bit 1 the second."""
        code = self._pins[command.p2]
        if command.p1 not in (0x00, 0x01, 0x02, 0x03):
            raise Status(0x6A86)
        if command.p2 != USER:
            raise Status(0x6982)
        puk, new = b"", command.data
        if not command.p1 & 0x02:
            puk, new = command.data[:BLOCK], command.data[BLOCK:]
        if not command.p1 & 0x01:
            code.digits(new)
        elif new:
            raise Status(0x6700)
        if not command.p1 & 0x02:
            self._pins[UNBLOCK].present(puk)
        if not self._pins.verified(UNBLOCK):
            raise Status(0x6982)
        code.unblock()
        if new:
            code.change(new)
        return b""
