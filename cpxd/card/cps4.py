# SPDX-License-Identifier: Apache-2.0
"""CPS4: NXP ChipDoc, class 01 (logical channel 1), T=1 or T=0 as the terminal chose (docs/CARDS.md, sections on the CPS4)."""

from __future__ import annotations

from typing import ClassVar

from cpxd import errors
from cpxd.apdu import SW, Command, Response, tries_from_sw
from cpxd.card.application import APPLICATION_DF, Application, Code, Entry, Mechanism, Path, Usage, if_cut
from cpxd.card.padding import digest_info, pkcs1_type_1
from cpxd.record.sdo import PinState

APPLET = bytes.fromhex("8025000001FF0100")
_CDS_ALGORITHM = {("pkcs1", "sha1"): 0x0A, ("pkcs1", "sha256"): 0x28, ("pss", "sha1"): 0x15, ("pss", "sha256"): 0x2C}


class Cps4(Application):
    generation = "CPS4"
    block = 256
    update_marker = False  # no public source has one on this generation
    _cla: ClassVar[int] = 0x01
    unpadded = False
    _applet_epoch = -1

    def _select_applet(self) -> None:
        # the card wakes up in its CPS2ter view; the applet is chosen once after each reset
        if self._applet_epoch != self._epoch:
            self._expect(self.send(Command(0x01, 0xA4, 0x04, 0x0C, APPLET)), "SELECT 8025000001FF0100")
            self._applet_epoch = self._epoch
            self._moved(())

    def forget_selection(self) -> None:
        super().forget_selection()
        self._applet_epoch = -1

    def _select(self, path: Path) -> Response:
        self._select_applet()
        name = b"".join(fid.to_bytes(2, "big") for fid in path)
        return self.send(Command(0x01, 0xA4, 0x08, 0x00, name, le=256))

    def _select_df(self) -> None:
        self._select_applet()
        if self._current != APPLICATION_DF:
            self._expect(self.send(Command(0x01, 0xA4, 0x08, 0x00, bytes.fromhex("0001"))), "SELECT 0001")
            self._moved(APPLICATION_DF)

    def _read_command(self, offset: int, count: int) -> Command:
        return Command(0x01, 0xB0, offset >> 8, offset & 0xFF, le=count)

    def update(self, path: Path, content: bytes) -> None:
        self._expect(self._select(path), "SELECT")
        self._moved(path[:-1])
        for offset in range(0, len(content), 255):
            part = content[offset : offset + 255]
            self._expect(self.send(Command(0x01, 0xD6, offset >> 8, offset & 0xFF, part)), "UPDATE BINARY")

    def pin_state(self, code: Code) -> PinState:
        """An empty VERIFY: 63Cx tells the tries, whether or not the code is verified; 6983 none left. It spends none."""
        self._select_applet()
        answer = self.send(Command(0x01, 0x20, 0x00, self._reference(code)))
        tries = tries_from_sw(answer.sw)
        if answer.sw in (SW.AUTHENTICATION_BLOCKED, SW.REFERENCE_DATA_UNUSABLE):
            tries = 0
        if tries is None:
            raise errors.CardRefused(operation="VERIFY", sw=answer.sw)
        return PinState(reference=self._reference(code), max_tries=None, tries_left=tries, uses_left=None)

    def verify(self, code: Code, entry: Entry) -> int:
        self._select_applet()
        return super().verify(code, entry)

    def change_pin(self, old: Entry, new: Entry) -> int:
        """VERIFY of the old PIN, then CHANGE REFERENCE DATA with the new one alone (P1 = 01)."""
        status = self.verify(Code.PIN, old)
        if status != SW.OK:
            return status
        with if_cut(errors.CodeUncertain()):
            return self._set_pin(0x24, 0x01, new)

    def renew_pin(self, new: Entry) -> int:
        """RESET RETRY COUNTER (the old PIN gets its tries back), then the new PIN."""
        self._select_applet()
        answer = self.send(Command(0x01, 0x2C, 0x03, 0x80 | self._reference(Code.PIN)))
        if answer.sw != SW.OK:
            return answer.sw
        with if_cut(errors.UnblockInterrupted()):
            try:
                sw = self._set_pin(0x24, 0x01, new)
            except errors.CpxError:  # given up at the reader
                raise errors.UnblockInterrupted() from None
        if sw != SW.OK:
            raise errors.UnblockInterrupted()
        return SW.OK

    def mechanisms(self, usage: Usage) -> frozenset[Mechanism]:
        found = {Mechanism("pkcs1", "sha1"), Mechanism("pkcs1", "sha256"), Mechanism("pss", "sha1"), Mechanism("pss", "sha256")}
        if usage == "authentication":
            # raw decipher of a block that the host padded: any DigestInfo
            found |= {Mechanism("pkcs1", name) for name in ("sha224", "sha384", "sha512")}
        return frozenset(found)

    def sign(self, key_reference: int, usage: Usage, mechanism: Mechanism, digest: bytes, modulus_bytes: int) -> Response:
        if usage == "authentication" and mechanism.padding == "pkcs1":
            return self.sign_content(key_reference, digest_info(mechanism.hash, digest), modulus_bytes)
        algorithm = _CDS_ALGORITHM[mechanism.padding, mechanism.hash]
        environment = Command(0x01, 0x22, 0x81, 0xB6, bytes((0x91, 2, algorithm, 0x80 | key_reference)))
        return self._with_key(environment, Command(0x01, 0x2A, 0x9E, 0x9A, digest, le=256), keep=False)

    def sign_content(self, key_reference: int, content: bytes, modulus_bytes: int) -> Response:
        return self._raw(key_reference, pkcs1_type_1(content, modulus_bytes))

    def content_limit(self, modulus_bytes: int) -> int:
        return modulus_bytes - 11  # RFC 8017 §9.2

    def decrypt(self, key_reference: int, cryptogram: bytes) -> Response:
        return self._raw(key_reference, cryptogram)

    def _raw(self, key_reference: int, block: bytes) -> Response:
        # RSA with the private key on a whole block: signature of what the host padded, or decryption
        environment = Command(0x01, 0x22, 0x41, 0xB8, bytes((0x83, 1, key_reference)))
        return self._with_key(environment, Command(0x01, 0x2A, 0x80, 0x86, block, le=256), keep=True)
