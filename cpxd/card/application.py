# SPDX-License-Identifier: Apache-2.0
"""What every generation of the card can do, and the rules they share. One subclass a generation, in `cps3.py`, `cps4.py`.

An application speaks to the card through the link of the moment and believes nothing across a reset: `fresh()` drops what was
selected, logged in or set up when the link's epoch has moved. All methods run on the card's thread, inside a transaction.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal, Protocol

from cpxd import errors
from cpxd.apdu import SW, Command, PinBlock, Response, Secret, TransportError
from cpxd.reader.link import Link
from cpxd.reader.pinpad import Ask, Block, PinPad
from cpxd.record.errors import RecordError
from cpxd.record.files import parse_fcp
from cpxd.record.pkcs15 import PinObject
from cpxd.record.sdo import PinState
from cpxd.text import tr
from cpxd.tlv import extent

Path = tuple[int, ...]  # file identifiers from the MF, without 3F00
APPLICATION_DF: Path = (0x0001,)
CONTACTLESS_DF: Path = (0x0002,)
SERIAL_FILE: Path = (0xD003,)
UPDATE_FILE: Path = (0xD010,)
END = 64  # bytes: of a certificate, a part of its signature, which no other certificate has
FILE_LIMIT = 16384  # bytes: no file of these cards is near it; a card that says more is not believed


class Code(Enum):
    """The two secret codes. The value is the PIN reference (P2 of VERIFY), unless the AODF gives another one."""

    PIN = 1
    UNBLOCK = 2

    @property
    def digits(self) -> int:
        return 4 if self is Code.PIN else 8

    @property
    def words(self) -> str:
        return tr("Code porteur", "PIN") if self is Code.PIN else tr("Code de déblocage", "Unblock code")


Entry = Secret | PinPad  # where the digits of a code are: in locked memory, or under the fingers of a person at the reader

Usage = Literal["signature", "authentication", "technical"]  # technical: of the contactless side, and nobody's in particular
Padding = Literal["pkcs1", "pss"]


@dataclass(frozen=True)
class Mechanism:
    """RSA signature of a finished hash. `hash` is a hashlib name; PSS has MGF1 and a salt of the hash's own length."""

    padding: Padding
    hash: str

    def __str__(self) -> str:
        return f"RSA {'PSS' if self.padding == 'pss' else 'PKCS#1'} {self.hash.upper()}"


class Known(Protocol):
    """Content of a file that was read before, sealed: it takes the last END of its `length` bytes to open it."""

    @property
    def length(self) -> int: ...
    def open(self, end: bytes, /) -> bytes | None: ...


class FileMissing(Exception):
    """The card has no such file (6A82). Not an error by itself: some files are optional."""


class NotAllowed(Exception):
    """The card wants the PIN first (6982)."""


@contextlib.contextmanager
def if_cut(error: errors.CpxError) -> Iterator[None]:
    """Say `error` when the card is lost while one command that changes a code is on the wire."""
    try:
        yield
    except TransportError:
        raise error from None


class Application(ABC):
    generation: ClassVar[str]
    block: ClassVar[int]  # bytes asked by one READ BINARY
    update_marker: ClassVar[bool]  # whether this generation has an EF_ACTUA
    folder: ClassVar[Path] = APPLICATION_DF  # where the application's files are
    contactless: ClassVar[bool] = False  # no code, no key but the technical one

    def __init__(self, link: Link) -> None:
        self._link = link
        self._epoch = link.epoch
        self._current: Path | None = None  # the DF that is selected, when we know
        self._environment: Command | None = None  # the MSE SET that is in force, when we know
        self.verified = False
        self.unblocks = False  # the unblock code is verified
        self.pins: dict[Code, PinObject] = {}  # from the AODF, once it was read

    def fresh(self) -> None:
        """Forget what a reset has made untrue."""
        if self._link.epoch != self._epoch:
            self._epoch = self._link.epoch
            self.verified = self.unblocks = False
            self.forget_selection()

    def forget_selection(self) -> None:
        """Believe nothing of the selected file and the environment: another program may have moved them."""
        self._moved(None)

    def _moved(self, path: Path | None) -> None:
        self._current = path
        self._environment = None

    def send(self, command: Command) -> Response:
        return self._link.transport.transmit(command)

    # --- files

    @abstractmethod
    def _select(self, path: Path) -> Response:
        """SELECT an EF by its path from the MF, asking for its control parameters."""

    @abstractmethod
    def _select_df(self) -> None:
        """Select the application's DF if it is not known to be current."""

    @abstractmethod
    def _read_command(self, offset: int, count: int) -> Command:
        """READ BINARY (ISO 7816-4 §11.3.3) of the current EF."""

    def read(
        self, path: Path, *, padding: bool = False, known: Known | None = None, first: int = 0, most: int = FILE_LIMIT
    ) -> bytes:
        """Content of an EF. Reading stops where its BER objects end, unless `padding` asks for the whole file.

        `first`: bytes to begin with, where most of the file may be padding: a byte takes a CPS3 more than a millisecond.
        `most`: no more than its beginning is wanted, so many bytes or up to a block more.
        `known` is what it was once: if its end is still the card's, it is the answer, and only that end is read.
        Raises FileMissing, NotAllowed, DamagedCard (impossible size), CardRefused.
        """
        answer = self._select(path)
        name = "".join(f"{fid:04X}" for fid in path)
        if answer.sw in (SW.FILE_NOT_FOUND, SW.DATA_NOT_FOUND):
            raise FileMissing(name)
        self._expect(answer, f"SELECT {name}")
        self._moved(path[:-1])
        try:
            size = parse_fcp(answer.data).size
        except RecordError:
            raise errors.DamagedCard(part=name) from None
        if size is None or size > FILE_LIMIT:
            raise errors.DamagedCard(part=f"{name}, {size}")
        if known is not None and END <= known.length <= size:
            end = self.send(self._read_command(known.length - END, END))
            content = known.open(end.data) if end.sw == SW.OK else None
            if content is not None:
                return content
        return self._read_selected(name, min(size, most), first or self.block, padding=padding)

    def _read_selected(self, name: str, size: int, first: int, *, padding: bool) -> bytes:
        content = b""
        while len(content) < size:
            asked = min(self.block if content else first, size - len(content))
            answer = self.send(self._read_command(len(content), asked))
            if answer.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
                raise NotAllowed(name)
            if answer.sw not in (SW.OK, SW.END_OF_FILE):
                raise errors.CardRefused(operation=f"READ BINARY {name}", sw=answer.sw)
            content += answer.data
            if len(answer.data) < asked or (not padding and extent(content) is not None):
                break
        return content[:size]

    @abstractmethod
    def update(self, path: Path, content: bytes) -> None:
        """UPDATE BINARY from offset 0; `content` is not longer than the file."""

    # --- codes

    @abstractmethod
    def pin_state(self, code: Code) -> PinState:
        """Tries left of a code, without spending one."""

    def verify(self, code: Code, entry: Entry) -> int:
        """VERIFY; the status word. The caller has checked the digits and the counter. Never repeated."""
        if isinstance(entry, PinPad):
            ask: Ask = "pin" if code is Code.PIN else "unblock"
            sw = entry.verify(ask, bytes([self._cla, 0x20, 0x00, self._reference(code)]), self._pad_block(code))
        else:
            block = self._pin_block(code, entry)
            sw = self._link.transport.pin(self._cla, 0x20, 0x00, self._reference(code), [block]).sw
        if code is Code.PIN:
            self.verified = sw == SW.OK
        else:
            self.unblocks = sw == SW.OK
        return sw

    def _set_pin(self, ins: int, p1: int, new: Entry, *, old: Entry | None = None) -> int:
        """CHANGE REFERENCE DATA or RESET RETRY COUNTER with a new PIN, behind the old one if there is one; the status word."""
        reference = self._reference(Code.PIN)
        if isinstance(new, PinPad):
            header = bytes([self._cla, ins, p1, reference])
            ask: Ask = "new" if old is None else "change"
            return new.modify(ask, header, self._pad_block(Code.PIN), ask_old=old is not None)
        secrets = [secret for secret in (old, new) if isinstance(secret, Secret)]
        blocks = [self._pin_block(Code.PIN, secret) for secret in secrets]
        return self._link.transport.pin(self._cla, ins, p1, reference, blocks).sw

    _cla: ClassVar[int]

    def _reference(self, code: Code) -> int:
        return self.pins[code].reference if code in self.pins else code.value

    def _stored(self, code: Code) -> tuple[int, int]:
        """Length of a code as the card keeps it, and what fills it."""
        # AODF of real cards: stored length 8 for both codes, the PIN padded with FF, the unblock code as long as it is stored
        known = self.pins.get(code)
        return known.stored_length if known else 8, known.pad_char if known and known.pad_char is not None else 0xFF

    def _pin_block(self, code: Code, secret: Secret) -> PinBlock:
        stored, fill = self._stored(code)
        return PinBlock(secret, stored, fill if stored > code.digits else None, code.digits, code.digits)

    def _pad_block(self, code: Code) -> Block:
        stored, fill = self._stored(code)
        return Block(code.words, code.digits, stored, fill)

    @abstractmethod
    def change_pin(self, old: Entry, new: Entry) -> int:
        """Replace the PIN by proving the old one; the status word of the step that failed, or 9000."""

    @abstractmethod
    def renew_pin(self, new: Entry) -> int:
        """Give the PIN its tries back under a new value, the unblock code being verified; the status word.

        Raises UnblockInterrupted or CodeUncertain when the card is lost meanwhile.
        """

    # --- keys

    @abstractmethod
    def mechanisms(self, usage: Usage) -> frozenset[Mechanism]:
        """What the key can compute on this generation."""

    @abstractmethod
    def sign(self, key_reference: int, usage: Usage, mechanism: Mechanism, digest: bytes, modulus_bytes: int) -> Response:
        """One signature over a finished hash: selection and environment as needed, then the operation."""

    @abstractmethod
    def sign_content(self, key_reference: int, content: bytes, modulus_bytes: int) -> Response:
        """PKCS#1 v1.5 type 1 signature of `content` as it stands (a DigestInfo, as a rule), authentication key only."""

    least_content: ClassVar[int] = 0  # the fewest

    @abstractmethod
    def content_limit(self, modulus_bytes: int) -> int:
        """The most bytes `sign_content` takes."""

    @abstractmethod
    def decrypt(self, key_reference: int, cryptogram: bytes) -> Response:
        """RSA PKCS#1 v1.5 decryption with the authentication key; the data as the card gives it (see `unpadded`)."""

    unpadded: ClassVar[bool]  # whether the card itself removes the type 2 padding

    def random(self, count: int) -> bytes:
        """GET CHALLENGE (ISO 7816-4 §11.5.3), 8 bytes a command."""
        content = b""
        while len(content) < count:
            answer = self.send(Command(self._cla, 0x84, 0x00, 0x00, le=8))
            self._expect(answer, "GET CHALLENGE")
            if not answer.data:
                raise errors.CardRefused(operation="GET CHALLENGE", sw=answer.sw)
            content += answer.data
        return content[:count]

    def _with_key(self, environment: Command, operation: Command, *, keep: bool) -> Response:
        """Security environment, then the operation. With `keep`, an environment known to be in force is not sent again."""
        self._select_df()
        if not keep or self._environment != environment:
            self._environment = None
            answer = self.send(environment)
            if answer.sw != SW.OK:
                return answer
        answer = self.send(operation)
        self._environment = environment if keep and answer.sw == SW.OK else None
        return answer

    def _expect(self, answer: Response, operation: str) -> None:
        if answer.sw != SW.OK:
            raise errors.CardRefused(operation=operation, sw=answer.sw)
