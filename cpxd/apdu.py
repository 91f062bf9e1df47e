# SPDX-License-Identifier: Apache-2.0
"""Commands to a card and its answers (ISO/IEC 7816-3 12, 7816-4 5): the Python face of the C core.

A `Transport` sends a `Command` and returns a `Response`. What lies between is done in C with the GIL released: length fields,
chaining, GET RESPONSE after 61xx (9Fxx in class A0), one repeat after 6Cxx. A status word is an answer, never an exception.
A PIN goes through `Transport.pin` only: it is built, sent once and wiped in C, and observers see 2A for its bytes.
One thread at a time uses a transport.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from cpxd._apdu_ffi import ffi, lib
from cpxd.secret import ApduError, Secret, SecretError
from cpxd.tlv import Tlv, TlvError, find, parse, tlv

__all__ = [
    "SW",
    "ApduError",
    "CallbackTransport",
    "Command",
    "CommandError",
    "GalssTransport",
    "PcscTransport",
    "PinBlock",
    "PinFormatError",
    "Protocol",
    "Response",
    "ResponseError",
    "Secret",
    "SecretError",
    "Tlv",
    "TlvError",
    "Transport",
    "TransportError",
    "find",
    "parse",
    "sha256_state",
    "tlv",
    "tries_from_sw",
]

OnExchange = Callable[[bytes, bytes, float], None]
Send = Callable[[bytes], bytes]


class CommandError(ApduError, ValueError):
    """A command that cannot be written, or a transport used twice at once: nothing was sent."""


class PinFormatError(ApduError):
    """The secret has the wrong length or a non-digit: nothing was sent."""


class ResponseError(ApduError):
    """The card or the terminal answered what no card may: no status word, more than asked, or without end."""


class TransportError(ApduError):
    """The terminal failed. `code` is the PC/SC error as pyscard writes it (0x80100069 …), 0 when the terminal has none."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"{code:#010x}")


class Protocol(IntEnum):
    """Transmission protocol, with PC/SC's numbers."""

    T0 = 1
    T1 = 2


class SW(IntEnum):
    """Status words (ISO/IEC 7816-4 5.6) and those of the CPS2ter native class A0 (92xx, 94xx, 98xx)."""

    OK = 0x9000
    END_OF_FILE = 0x6282
    FILE_DEACTIVATED = 0x6283
    VERIFICATION_FAILED = 0x6300
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    LAST_OF_CHAIN_EXPECTED = 0x6883
    CHAINING_NOT_SUPPORTED = 0x6884
    INCOMPATIBLE_FILE = 0x6981
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_BLOCKED = 0x6983
    REFERENCE_DATA_UNUSABLE = 0x6984
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_CURRENT_FILE = 0x6986
    WRONG_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    WRONG_P1P2 = 0x6A86
    WRONG_LC = 0x6A87
    DATA_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    INSTRUCTION_NOT_SUPPORTED = 0x6D00
    CLASS_NOT_SUPPORTED = 0x6E00
    NO_DIAGNOSIS = 0x6F00
    CPS2TER_MEMORY = 0x9240
    CPS2TER_OUT_OF_RANGE = 0x9402
    CPS2TER_NOT_FOUND = 0x9404
    CPS2TER_INCOMPATIBLE = 0x9408
    CPS2TER_NO_PIN = 0x9802
    CPS2TER_WRONG_PIN = 0x9804
    CPS2TER_ORDER = 0x9808
    CPS2TER_CONTRADICTION = 0x9810
    CPS2TER_BLOCKED = 0x9840


def tries_from_sw(sw: int) -> int | None:
    """The counter x of a 63Cx, None for any other status word."""
    return sw & 0x0F if sw & 0xFFF0 == 0x63C0 else None


@dataclass(frozen=True, slots=True)
class Response:
    """The whole answer to one command: data (chained parts joined) and the last status word."""

    data: bytes
    sw: int

    @property
    def ok(self) -> bool:
        return self.sw == SW.OK


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `le` is the most bytes wanted back: 1 to 256 (extended: 65,536); None when no data is expected.

    Data longer than `block` bytes is chained (CLA bit 10) unless `extended` is set, which allows 65,535 bytes.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    extended: bool = False
    block: int = 255

    def encode(self) -> bytes:
        """As one APDU, without chaining. Raises CommandError."""
        out = ffi.new("uint8_t[]", 9 + len(self.data))
        length = ffi.new("size_t *")
        held = ffi.from_buffer(self.data)
        if lib.apdu_encode(self._to_c(held), out, len(out), length) != 0:
            raise CommandError("data or Le too long for a short APDU" if not self.extended else "data too long")
        return bytes(ffi.buffer(out, length[0]))

    def _to_c(self, held: Any) -> Any:
        le = 0 if self.le is None else self.le
        header = (self.cla, self.ins, self.p1, self.p2)
        if any(not 0 <= byte <= 0xFF for byte in header) or not 1 <= self.block <= 255:
            raise CommandError("CLA, INS, P1 and P2 are bytes; block is 1 to 255")
        if len(self.data) > 65535 or (self.le is not None and not 1 <= le <= (65536 if self.extended else 256)):
            raise CommandError("data is at most 65,535 bytes; Le is 1 to 256, extended 1 to 65,536")
        return ffi.new("apdu_command *", (*header, held, len(self.data), le, self.extended, self.block))


class PinBlock(NamedTuple):
    """One secret as a card wants it: ASCII digits, filled with `pad` up to `stored_length` bytes.

    With pad None the digits fill the block. `minimum` and `maximum` count digits; out of them, PinFormatError.
    """

    secret: Secret
    stored_length: int
    pad: int | None
    minimum: int
    maximum: int


def _no_send(apdu: bytes) -> bytes:
    raise TransportError(0)


def _no_observer(sent: bytes, received: bytes, milliseconds: float) -> None:
    pass


@dataclass(eq=False)
class _Hooks:
    """What C calls back into. An exception must not cross C: it waits here and is raised after the call."""

    send: Send
    on_exchange: OnExchange
    failure: BaseException | None = None


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator]  # cffi has no types
def cpxd_send(*call: Any) -> int:
    channel, sent, sent_len, received, cap, received_len = call
    hooks: _Hooks = ffi.from_handle(channel.user)
    try:
        answer = bytes(hooks.send(bytes(ffi.buffer(sent, sent_len))))
    except BaseException as failure:
        hooks.failure = failure
        return -1
    received_len[0] = len(answer)
    if len(answer) <= cap:
        ffi.memmove(received, answer, len(answer))
    return 0


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi has no types
def cpxd_observe(*call: Any) -> None:
    channel, sent, sent_len, received, received_len, milliseconds = call
    hooks: _Hooks = ffi.from_handle(channel.user)
    try:
        hooks.on_exchange(bytes(ffi.buffer(sent, sent_len)), bytes(ffi.buffer(received, received_len)), milliseconds)
    except BaseException as failure:
        hooks.failure = hooks.failure or failure


class Transport:
    """A way to a card; made as `PcscTransport`, `GalssTransport` or `CallbackTransport`.

    `on_exchange(sent, received, milliseconds)` sees each raw APDU, with an empty `received` when the terminal failed. What it
    raises comes out of `transmit` or `pin` after the exchange is over.
    `max_le` is the most one GET RESPONSE asks for: 231 is what the T=0 card family gives at once, 256 (or 0) lifts it.
    """

    def __init__(self, protocol: int, on_exchange: OnExchange | None, max_le: int, send: Send | None) -> None:
        if protocol not in (Protocol.T0, Protocol.T1) or not 0 <= max_le <= 256:
            raise CommandError("protocol is T0 or T1, max_le 0 to 256")
        channel = lib.apdu_channel_new()
        if channel == ffi.NULL:
            raise MemoryError
        self._channel: Any = ffi.gc(channel, lib.apdu_channel_free)
        self._hooks = _Hooks(send or _no_send, on_exchange or _no_observer)
        self._handle = ffi.new_handle(self._hooks)
        self.protocol = Protocol(protocol)
        channel.user = self._handle
        channel.t0 = self.protocol is Protocol.T0
        channel.max_le = max_le or 256
        channel.send = lib.cpxd_send if send else lib.apdu_send_pcsc
        if on_exchange is not None:
            channel.observe = lib.cpxd_observe

    @property
    def apdus(self) -> int:
        """Raw APDUs sent so far."""
        return int(self._channel.apdus)

    @property
    def get_responses(self) -> int:
        """GET RESPONSE among them."""
        return int(self._channel.get_responses)

    def transmit(self, command: Command, *, get_response_cla: int | None = None) -> Response:
        """Sends a command and all that belongs to it.

        `get_response_cla` None: the command's own class without the chaining bit, and 00 for class A0.
        Raises CommandError, TransportError, ResponseError, or what the callback or observer raised. VERIFY, CHANGE and RESET
        (INS 20, 24, 2C) with data are refused: see `pin`.
        """
        held = ffi.from_buffer(command.data)
        c_command = command._to_c(held)
        if get_response_cla is not None and not 0 <= get_response_cla <= 0xFF:
            raise CommandError("a class is one byte")
        rc = lib.apdu_exchange(self._channel, c_command, -1 if get_response_cla is None else get_response_cla)
        self._raise_for(rc)
        return Response(bytes(ffi.buffer(self._channel.out, self._channel.out_len)), self._channel.sw)

    def pin(self, cla: int, ins: int, p1: int, p2: int, blocks: Sequence[PinBlock]) -> Response:
        """Sends one command made of secrets, once: whatever is answered, nothing is repeated.

        Raises PinFormatError and CommandError before anything is sent; TransportError, ResponseError. After a TransportError
        the card may or may not have counted a try. With a CallbackTransport the callback sees the bytes: it is the terminal.
        """
        if any(not 0 <= byte <= 0xFF for byte in (cla, ins, p1, p2)) or not 1 <= len(blocks) <= 8:
            raise CommandError("CLA, INS, P1 and P2 are bytes; 1 to 8 blocks")
        if any(not 0 <= n <= 255 for b in blocks for n in (b.stored_length, b.minimum, b.maximum, b.pad or 0)):
            raise CommandError("lengths and padding are bytes")
        c_blocks = ffi.new(
            "apdu_pin_block[]",
            [(b.secret._handle, b.stored_length, -1 if b.pad is None else b.pad, b.minimum, b.maximum) for b in blocks],
        )
        self._raise_for(lib.apdu_pin(self._channel, cla, ins, p1, p2, c_blocks, len(blocks)))
        return Response(b"", self._channel.sw)

    def _raise_for(self, rc: int) -> None:
        failure, self._hooks.failure = self._hooks.failure, None
        if failure is not None:
            raise failure
        if rc == 0:
            return
        if rc == lib.APDU_E_TRANSPORT:
            raise TransportError(int(self._channel.code) & 0xFFFFFFFF)
        if rc == lib.APDU_E_PIN:
            raise PinFormatError("wrong number of digits, or not digits")
        if rc == lib.APDU_E_MEMORY:
            raise SecretError("memory")
        if rc == lib.APDU_E_RESPONSE:
            raise ResponseError("malformed answer")
        if rc == lib.APDU_E_LIMIT:
            raise ResponseError("an answer without end")
        raise CommandError(_REFUSALS.get(rc, "a size is out of range"))


_REFUSALS = {
    lib.APDU_E_BUSY: "the transport is in use",
    lib.APDU_E_PIN_COMMAND: "a command that carries a PIN goes through pin()",
}


class PcscTransport(Transport):
    """SCardTransmit on a card handle of the same process (pyscard's `SCardConnect` gives handle and protocol)."""

    def __init__(self, hcard: int, protocol: int, on_exchange: OnExchange | None = None, *, max_le: int = 231) -> None:
        super().__init__(protocol, on_exchange, max_le, None)
        self._channel.handle = hcard & 0xFFFFFFFFFFFFFFFF


class GalssTransport(Transport):
    """Echange of GALSS; `terminal` is an `apdu_galss` of the C core. T=0: terminals serve case 4 as case 3 and GET RESPONSE."""

    def __init__(self, terminal: Any, on_exchange: OnExchange | None = None) -> None:
        super().__init__(Protocol.T0, on_exchange, 231, None)
        self._terminal = terminal
        self._channel.handle = int(ffi.cast("uintptr_t", terminal))
        self._channel.send = lib.apdu_send_galss


class CallbackTransport(Transport):
    """Any other terminal: `send(apdu) -> answer`. What it raises comes out of `transmit` and `pin` unchanged."""

    def __init__(self, send: Send, protocol: int, on_exchange: OnExchange | None = None, *, max_le: int = 231) -> None:
        super().__init__(protocol, on_exchange, max_le, send)


def sha256_state(data: bytes) -> tuple[bytes, int]:
    """The SHA-256 chaining value (32 bytes) before the last block of `data`, and the number of bits it covers.

    The last block, 1 to 64 bytes, is left to the card: `data[bits // 8:]` (CPS3 PSO HASH `90 28 state ‖ count 80 L last`).
    Up to 64 bytes nothing is covered: 0 bits, the initial value.
    """
    covered = max(0, len(data) - 1) // 64 * 64
    context = ffi.new("apdu_sha256 *")
    state = ffi.new("uint8_t[32]")
    lib.apdu_sha256_init(context)
    lib.apdu_sha256_update(context, ffi.from_buffer(data), covered)
    lib.apdu_sha256_state(context, state)
    return bytes(ffi.buffer(state)), covered * 8
