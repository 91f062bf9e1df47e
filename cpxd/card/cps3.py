# SPDX-License-Identifier: Apache-2.0
"""CPS3: IAS-ECC over T=0, class 00 (docs/CARDS.md, sections on the CPS3)."""

from __future__ import annotations

from cpxd import errors
from cpxd.apdu import SW, Command, Response
from cpxd.card.application import Application, Code, Entry, Mechanism, Path, Usage, if_cut
from cpxd.card.padding import digest_info
from cpxd.record.errors import RecordError
from cpxd.record.sdo import PinState, parse_pin_state

_HASH_OFF_CARD = {"sha1": 0x12, "sha256": 0x42}  # algorithm references of PSO CDS, PKCS#1 v1.5
_INTERNAL_AUTHENTICATE = 0x02
_DECIPHER = 0x1A
_NOT_HERE = (SW.DATA_NOT_FOUND, SW.WRONG_P1P2, SW.FILE_NOT_FOUND)


class Cps3(Application):
    generation = "CPS3"
    block = 0xE7  # 231: what the official middleware asks; larger reads were never seen on a real card
    update_marker = True
    _cla = 0x00
    unpadded = True

    _codes_at_mf = False  # learnt: this card answers GET DATA on the codes only from the MF

    def _select(self, path: Path) -> Response:
        name = b"\x3f\x00" + b"".join(fid.to_bytes(2, "big") for fid in path)
        return self.send(Command(0x00, 0xA4, 0x09, 0x04, name, le=256))

    def _select_df(self) -> None:
        if self._current != self.folder:
            name = b"".join(fid.to_bytes(2, "big") for fid in self.folder)
            self._expect(self.send(Command(0x00, 0xA4, 0x09, 0x0C, b"\x3f\x00" + name)), f"SELECT {name.hex()}")
            self._moved(self.folder)

    def _select_mf(self) -> None:
        self._expect(self.send(Command(0x00, 0xA4, 0x00, 0x0C, b"\x3f\x00")), "SELECT 3F00")
        self._moved(())

    def _read_command(self, offset: int, count: int) -> Command:
        return Command(0x00, 0xB0, offset >> 8, offset & 0xFF, le=count)

    def update(self, path: Path, content: bytes) -> None:
        answer = self._select(path)
        self._expect(answer, "SELECT")
        self._moved(path[:-1])
        for offset in range(0, len(content), self.block):
            part = content[offset : offset + self.block]
            self._expect(self.send(Command(0x00, 0xD6, offset >> 8, offset & 0xFF, part)), "UPDATE BINARY")

    def pin_state(self, code: Code) -> PinState:
        """GET DATA on the code's security data object. An empty VERIFY would answer 9000 once the code is verified."""
        if self._codes_at_mf:
            self._select_mf()
        answer = self._get_code_object(code)
        if answer.sw in _NOT_HERE and not self._codes_at_mf:
            self._codes_at_mf = True
            self._select_mf()
            answer = self._get_code_object(code)
        self._expect(answer, "GET DATA")
        try:
            return parse_pin_state(answer.data)
        except RecordError:
            raise errors.DamagedCard(part=f"BF81{self._reference(code):02X}") from None

    def _get_code_object(self, code: Code) -> Response:
        # 4D header list { 70 { BF81xx { A0, length 80: all of it } } }
        wanted = bytes.fromhex("4D087006BF81") + bytes((self._reference(code),)) + bytes.fromhex("02A080")
        return self.send(Command(0x00, 0xCB, 0x3F, 0xFF, wanted, le=256))

    def change_pin(self, old: Entry, new: Entry) -> int:
        with if_cut(errors.CodeUncertain()):
            return self._set_pin(0x24, 0x00, new, old=old)

    def renew_pin(self, new: Entry) -> int:
        """RESET RETRY COUNTER with the new PIN alone (P1 = 02)."""
        with if_cut(errors.CodeUncertain()):
            return self._set_pin(0x2C, 0x02, new)

    def mechanisms(self, usage: Usage) -> frozenset[Mechanism]:
        # the signature key pads a hash it knows the name of; the authentication key pads any DigestInfo
        hashes = _HASH_OFF_CARD if usage == "signature" else ("sha1", "sha224", "sha256", "sha384", "sha512")
        return frozenset(Mechanism("pkcs1", name) for name in hashes)

    def sign(self, key_reference: int, usage: Usage, mechanism: Mechanism, digest: bytes, modulus_bytes: int) -> Response:
        if usage != "signature":
            return self.sign_content(key_reference, digest_info(mechanism.hash, digest), modulus_bytes)
        environment = _environment(0xB6, _HASH_OFF_CARD[mechanism.hash], key_reference)
        return self._with_key(environment, Command(0x00, 0x2A, 0x9E, 0x9A, digest, le=256), keep=False)

    def sign_content(self, key_reference: int, content: bytes, modulus_bytes: int) -> Response:
        environment = _environment(0xA4, _INTERNAL_AUTHENTICATE, key_reference)
        return self._with_key(environment, Command(0x00, 0x88, 0x00, 0x00, content, le=256), keep=True)

    least_content = 1  # INTERNAL AUTHENTICATE has no form without data

    def content_limit(self, modulus_bytes: int) -> int:
        return modulus_bytes * 2 // 5  # INTERNAL AUTHENTICATE takes at most 40 % of the modulus

    def decrypt(self, key_reference: int, cryptogram: bytes) -> Response:
        # 81: padding indicator of IAS-ECC, "RSA"
        operation = Command(0x00, 0x2A, 0x80, 0x86, b"\x81" + cryptogram, le=256)
        return self._with_key(_environment(0xB8, _DECIPHER, key_reference), operation, keep=False)


def _environment(template: int, algorithm: int, key_reference: int) -> Command:
    """MSE SET (ISO 7816-4 §11.5.11) of one template: algorithm (80) and private key (84)."""
    return Command(0x00, 0x22, 0x41, template, bytes((0x80, 1, algorithm, 0x84, 1, key_reference)))
