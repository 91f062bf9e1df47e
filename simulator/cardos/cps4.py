# SPDX-License-Identifier: Apache-2.0
"""CPS4 through its contacts: a ChipDoc applet on logical channel 1 (class 01), the card's public face on channel 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.cardos import cps2ter, hashing
from simulator.cardos.apdu import Command, Status
from simulator.cardos.card import State, VirtualCard
from simulator.cardos.environment import DECIPHER, SIGNATURE, CardKey, Template
from simulator.cardos.filesystem import IAS_APPLET, Cursor
from simulator.cardos.pins import UNBLOCK, USER, Code
from simulator.cardos.tlv import decode
from simulator.image import Image

_SECURITY_DOMAIN = bytes.fromhex("A0000001510000")
_LOCAL = 0x80
_PKCS1 = {0x0A: "sha1", 0x28: "sha256"}
_PSS = {0x15: "sha1", 0x2C: "sha256"}
_HASHES = _PKCS1 | _PSS


class Cps4(VirtualCard):
    def __init__(self, image: Image, state: State | None = None, **options: Any) -> None:
        self._cps2ter = cps2ter.Cps2ter(image.cps2ter)
        self._basic = Cursor()
        self._applet: bytes | None = None  # what channel 1 talks to
        self._change_granted = False
        super().__init__(image, state, **options)
        self._commands: dict[int, Callable[[Command], bytes]] = {
            0xA4: lambda command: self._select(command, self._cursor),
            0xB0: lambda command: self._read_binary(command, self._cursor),
            0xD6: lambda command: self._update_binary(command, self._cursor),
            0x20: self._verify,
            0x24: self._change,
            0x2C: self._reset_retry_counter,
            0x22: self._manage_environment,
            0x2A: self._perform,
            0x84: self._challenge,
        }

    def _forget(self) -> None:
        super()._forget()
        self._cps2ter.leave()
        self._basic = Cursor()
        self._applet = None
        self._change_granted = False

    # -- channels ----------------------------------------------------------------------------------------------

    def _check_class(self, command: Command) -> None:
        if command.cla == cps2ter.CLASS:
            return
        channel = command.cla & ~0x10
        if channel in (0x02, 0x03):
            raise Status(0x6881)
        if channel > 0x03:
            raise Status(0x6E00)
        if command.chained and channel == 0x00:
            raise Status(0x6884)
        if channel == 0x01 and self._applet is None and not (command.ins == 0xA4 and command.p1 == 0x04):
            raise Status(0x6881)

    def _run(self, command: Command) -> bytes:
        if command.cla == cps2ter.CLASS:
            return self._cps2ter.run(command, verified=self._pins.verified(USER))
        if not command.cla & 0x01:
            return self._run_basic(command)
        if command.ins == 0xA4 and command.p1 == 0x04:
            return self._select_applet(command)
        if self._applet != IAS_APPLET:
            raise Status(0x6985)
        if command.ins not in self._commands:
            raise Status(0x6D00)
        return self._commands[command.ins](command)

    def _run_basic(self, command: Command) -> bytes:
        """Channel 0: files may be selected and read, all else is out of place there."""
        if command.ins == 0xA4:
            if command.p1 == 0x04 and command.data == cps2ter.APPLET:
                return b""
            return self._select(command, self._basic)
        if command.ins == 0xB0:
            return self._read_binary(command, self._basic)
        raise Status(0x6985)

    def _select_applet(self, command: Command) -> bytes:
        """The first SELECT by name opens channel 1."""
        if command.data == _SECURITY_DOMAIN:
            self._applet = _SECURITY_DOMAIN
            return b""
        answer = self._select(command, self._cursor)
        self._applet = IAS_APPLET
        return answer

    # -- files -------------------------------------------------------------------------------------------------

    def _select(self, command: Command, cursor: Cursor) -> bytes:
        """P2 00 gives the FCI (tag 6F), 04 the FCP (tag 62), 0C nothing; a directory without Le gives nothing."""
        if command.p2 not in (0x00, 0x04, 0x0C):
            raise Status(0x6A86)
        path = self._locate(command, cursor)
        self._move(cursor, path)
        if command.p2 == 0x0C or (self._files.is_directory(path) and command.le is None):
            return b""
        return self._files.control_parameters(path, 0x62 if command.p2 else 0x6F)

    # -- codes -------------------------------------------------------------------------------------------------

    def _code(self, reference: int) -> Code:
        return self._pins[reference & ~_LOCAL]

    def _verify(self, command: Command) -> bytes:
        """Without data: the tries left, even when the code is verified."""
        if command.p1:
            raise Status(0x6A86)
        code = self._code(command.p2)
        if command.data:
            code.present(command.data)
            return b""
        code.check_usable()
        raise Status(0x63C0 | min(code.tries_left, 15))

    def _change(self, command: Command) -> bytes:
        """P1 01: the new PIN alone, after VERIFY of the old one or after an unblocking."""
        if command.p1 != 0x01:
            raise Status(0x6A86)
        code = self._code(command.p2)
        if code.reference != USER or not (code.verified or self._change_granted):
            raise Status(0x6982)
        code.change(command.data)
        self._change_granted = False
        return b""

    def _reset_retry_counter(self, command: Command) -> bytes:
        """P1 03: after VERIFY of the unblock code the PIN has its tries back, its value unchanged."""
        if command.p1 != 0x03:
            raise Status(0x6A86)
        code = self._code(command.p2)
        if command.data:
            raise Status(0x6700)
        if code.reference != USER or not self._pins.verified(UNBLOCK):
            raise Status(0x6982)
        code.unblock()
        self._change_granted = True
        return b""

    # -- keys --------------------------------------------------------------------------------------------------

    def _manage_environment(self, command: Command) -> bytes:
        """81 B6: `91 02 algorithm key|80` for signatures. 41 B8: `83 01 key` for raw RSA."""
        if command.p1p2 not in (0x81B6, 0x41B8):
            raise Status(0x6A86)
        objects = decode(command.data)
        if len(objects) != 1:
            raise Status(0x6A80)
        tag, value = objects[0]
        if command.p1p2 == 0x81B6 and tag == 0x91 and len(value) == 2:
            self._environment.templates[SIGNATURE] = self._signature_template(*value)
        elif command.p1p2 == 0x41B8 and tag == 0x83 and len(value) == 1:
            key = self._keys.find(value[0], self._cursor.df)
            self._environment.templates[DECIPHER] = Template(None, key)
        else:
            raise Status(0x6A80)
        return b""

    def _signature_template(self, algorithm: int, reference: int) -> Template:
        if not reference & _LOCAL:
            raise Status(0x6A88)
        key = self._keys.find(reference & ~_LOCAL, self._cursor.df)
        if algorithm not in (_HASHES if key.key.usage == "signature" else _PSS):
            raise Status(0x6A80)
        return Template(algorithm, key)

    def _perform(self, command: Command) -> bytes:
        if command.p1p2 == 0x9E9A:
            return self._sign(command.data)
        if command.p1p2 == 0x8086:
            return self._usable_key(DECIPHER).rsa.raw(command.data)
        raise Status(0x6A86)

    def _sign(self, digest: bytes) -> bytes:
        algorithm = self._environment.algorithm(SIGNATURE)
        rsa, name = self._usable_key(SIGNATURE).rsa, _HASHES[algorithm]
        if len(digest) != hashing.size(name):
            raise Status(0x6A80)
        return rsa.sign_pss(name, digest) if algorithm in _PSS else rsa.sign_digest(name, digest)

    def _usable_key(self, template: int) -> CardKey:
        found = self._environment.key(template)
        if (template == DECIPHER and found.key.usage != "authentication") or not self._pins.verified(USER):
            raise Status(0x6982)
        return found
