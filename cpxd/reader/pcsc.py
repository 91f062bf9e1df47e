# SPDX-License-Identifier: Apache-2.0
"""Readers and cards over PC/SC (PC/SC part 5), on pyscard's thin binding, and on `winscard.py` where names are passed.

Each transaction tells whether another program reset the card since the last one (`epoch` grows). Errors of PC/SC leave this
module as typed errors only.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType

from smartcard import scard

from cpxd import errors
from cpxd.apdu import PcscTransport, TransportError
from cpxd.reader import winscard
from cpxd.reader.link import Link, ReaderState

__all__ = ["Context", "Link", "PcscLink", "ReaderState", "typed"]

_KINDS: dict[int, type[errors.CpxError]] = {
    code & 0xFFFFFFFF: kind
    for kind, codes in {
        errors.NoService: (
            scard.SCARD_E_NO_SERVICE,
            scard.SCARD_E_SERVICE_STOPPED,
            scard.SCARD_F_COMM_ERROR,
            scard.SCARD_E_INVALID_HANDLE,
            scard.SCARD_W_SECURITY_VIOLATION,  # what pcsc-lite says when pcscd died in a call, or polkit refused us
        ),
        errors.CardRemoved: (
            scard.SCARD_W_REMOVED_CARD,
            scard.SCARD_E_NO_SMARTCARD,
            scard.SCARD_E_READER_UNAVAILABLE,
            scard.SCARD_E_UNKNOWN_READER,
            scard.SCARD_E_INVALID_VALUE,  # what pcsc-lite says on a handle whose reader was unplugged
        ),
        errors.CardMute: (
            scard.SCARD_W_UNRESPONSIVE_CARD,
            scard.SCARD_W_UNPOWERED_CARD,
            scard.SCARD_E_PROTO_MISMATCH,
            scard.SCARD_E_NOT_TRANSACTED,
        ),
        errors.CardReset: (scard.SCARD_W_RESET_CARD,),
        errors.NoReader: (scard.SCARD_E_NO_READERS_AVAILABLE,),
    }.items()
    for code in codes
}
_READER_SAYS_NO = {
    code & 0xFFFFFFFF
    for code in (
        scard.SCARD_E_INVALID_PARAMETER,
        scard.SCARD_E_INSUFFICIENT_BUFFER,
        scard.SCARD_E_UNSUPPORTED_FEATURE,
    )
}
_SEEN = 2.0  # seconds
_READER_FAILED = {  # or it left, or its card
    code & 0xFFFFFFFF for code in (scard.SCARD_E_NOT_TRANSACTED, scard.SCARD_F_COMM_ERROR, scard.SCARD_E_INVALID_VALUE)
}
_PNP = "\\\\?PnP?\\Notification"  # PC/SC Lite: a pseudo reader whose state changes when readers come and go
_SHARED = scard.SCARD_SHARE_SHARED
_POWERED_BY_ANOTHER = (scard.SCARD_E_PROTO_MISMATCH, scard.SCARD_W_UNRESPONSIVE_CARD)
_POWERING = 1.0  # seconds
_ATTEMPTS = 8  # at what others may undo meanwhile
_T0_T1 = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1


def typed(code: int) -> errors.CpxError:
    """The typed error for a PC/SC return code (winscard.h)."""
    number = code & 0xFFFFFFFF
    kind = _KINDS.get(number)
    return kind() if kind else errors.Internal(detail=f"PC/SC {number:08X}")


def _same(code: int, wanted: int) -> bool:
    # pyscard gives some codes signed and some unsigned, depending on how SWIG was built
    return bool((code ^ wanted) & 0xFFFFFFFF == 0)


class Context:
    """A PC/SC resource manager context. Raises NoService when pcscd cannot be reached."""

    def __init__(self) -> None:
        code, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        if code != scard.SCARD_S_SUCCESS:
            raise errors.NoService()

    def close(self) -> None:
        scard.SCardReleaseContext(self._context)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def names(self) -> list[str]:
        """Names of the connected readers, in PC/SC order; empty when there is none."""
        code, names = winscard.list_readers(self._context)
        if _same(code, scard.SCARD_E_NO_READERS_AVAILABLE):
            return []
        if code != scard.SCARD_S_SUCCESS:
            raise typed(code)
        return names

    def states(self) -> list[ReaderState]:
        """State of each reader now, without touching any card."""
        for _ in range(_ATTEMPTS):
            names = self.names()
            if not names:
                return []
            code, states = winscard.get_status_change(self._context, 0, [(name, scard.SCARD_STATE_UNAWARE) for name in names])
            if not _same(code, scard.SCARD_E_UNKNOWN_READER):  # else one left between the two calls
                break
        if code != scard.SCARD_S_SUCCESS and not _same(code, scard.SCARD_E_TIMEOUT):
            raise typed(code)
        return [_reader_state(*state) for state in states]

    def wait(self, known: list[ReaderState], seconds: float | None) -> list[ReaderState]:
        """Sleep until a reader or card comes or goes, or `seconds` pass; the states then. `cancel()` wakes it.

        Nothing is polled: the call rests in SCardGetStatusChange.
        """
        watched = [(s.name, _known_state(s)) for s in known]
        if self.names() != [name for name, _ in watched]:  # pcsc-lite tells of a new reader only if it comes during the rest
            return self.states()
        limit = 0xFFFFFFFF if seconds is None else int(seconds * 1000)
        code, _ = winscard.get_status_change(self._context, limit, [*watched, (_PNP, scard.SCARD_STATE_UNAWARE)])
        if watched and _same(code, scard.SCARD_E_INVALID_PARAMETER):
            # as many readers as pcscd can have (16): there is no room for the pseudo reader, and none can come
            code, _ = winscard.get_status_change(self._context, limit, watched)
        quiet = (scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED, scard.SCARD_E_UNKNOWN_READER)
        if code != scard.SCARD_S_SUCCESS and not any(_same(code, c) for c in quiet):
            raise typed(code)
        return self.states()

    def cancel(self) -> None:
        """Wake a `wait` that rests in another thread."""
        scard.SCardCancel(self._context)

    def connect(self, reader: str, *, wait: float, allowed: Callable[[], None]) -> Link:
        """Open the card in `reader`, shared. An exclusive holder is waited for, at most `wait` seconds (ReaderBusy)."""
        begun = time.monotonic()
        limit = begun + wait
        while True:
            if not self._in_use(reader):
                allowed()  # else it is waited for: SCardConnect rests as long as another program's commands follow each other
            code, handle, protocol = winscard.connect(self._context, reader, _SHARED, _T0_T1)
            if code == scard.SCARD_S_SUCCESS:
                return PcscLink(self, reader, handle, protocol)
            # what pcscd says while another program powers the card up, or has just cut its power
            powering = any(_same(code, c) for c in _POWERED_BY_ANOTHER) and time.monotonic() - begun < _POWERING
            if not powering and not _same(code, scard.SCARD_E_SHARING_VIOLATION):
                raise errors.NoCard() if _same(code, scard.SCARD_E_NO_SMARTCARD) else typed(code)
            if time.monotonic() >= limit:
                raise errors.ReaderBusy(seconds=round(wait))
            self._rest(reader, min(0.25, max(0.0, limit - time.monotonic())))

    def _in_use(self, reader: str) -> bool:
        return any(state.in_use for state in self.states() if state.name == reader)

    def _rest(self, reader: str, seconds: float) -> None:
        """Wait until whoever holds the card does something, or `seconds` pass."""
        time.sleep(min(seconds, 0.02))  # the state may change and change back: never ask in a tight loop
        here = [_known_state(s) for s in self.states() if s.name == reader]
        if here:
            winscard.get_status_change(self._context, int(seconds * 1000), [(reader, here[0])])


def _reader_state(name: str, state: int, atr: bytes) -> ReaderState:
    return ReaderState(
        name=name,
        atr=atr,
        present=bool(state & scard.SCARD_STATE_PRESENT),
        mute=bool(state & scard.SCARD_STATE_MUTE),
        in_use=bool(state & scard.SCARD_STATE_INUSE),
        exclusive=bool(state & scard.SCARD_STATE_EXCLUSIVE),
        events=(state >> 16) & 0xFFFF,
    )


def _known_state(state: ReaderState) -> int:
    flags = scard.SCARD_STATE_PRESENT if state.present else scard.SCARD_STATE_EMPTY
    flags |= scard.SCARD_STATE_MUTE if state.mute else 0
    flags |= (scard.SCARD_STATE_INUSE if state.in_use else 0) | (scard.SCARD_STATE_EXCLUSIVE if state.exclusive else 0)
    return (state.events << 16) | int(flags)


class PcscLink(Link):
    """A handle of SCardConnect, shared."""

    def __init__(self, context: Context, reader: str, handle: int, protocol: int) -> None:
        super().__init__(reader)
        self._context = context
        self._handle = handle
        self.atr = self._first_atr()
        self._protocol = protocol
        self.transport = self._transport()

    def _first_atr(self) -> bytes:
        # as the reader shows it: SCardStatus rests while another program is in a transaction
        try:
            here = next((state for state in self._context.states() if state.name == self.reader), None)
            if here is None or not here.present:
                raise errors.CardRemoved()
            return here.atr
        except errors.CpxError:
            self._disconnect()
            raise

    def _transport(self) -> PcscTransport:
        return PcscTransport(self._handle, self._protocol, on_exchange=self._observer)

    def _begin(self) -> None:
        for _ in range(_ATTEMPTS):
            code = scard.SCardBeginTransaction(self._handle)
            if code == scard.SCARD_S_SUCCESS:
                return
            if not _same(code, scard.SCARD_W_RESET_CARD):
                raise typed(code)
            self._reconnect()
        raise errors.CardReset()

    def _reconnect(self) -> None:
        code, protocol = scard.SCardReconnect(self._handle, _SHARED, _T0_T1, scard.SCARD_LEAVE_CARD)
        if _same(code, scard.SCARD_W_UNRESPONSIVE_CARD):  # its power was cut by another program: pcscd must be told
            code, protocol = scard.SCardReconnect(self._handle, _SHARED, _T0_T1, scard.SCARD_UNPOWER_CARD)
        if code != scard.SCARD_S_SUCCESS:
            raise typed(code)
        self.epoch += 1
        self._protocol = int(protocol)
        self.transport = self._transport()

    def _diagnose(self, code: int) -> errors.CpxError:
        # pcscd says "not transacted" both for a card that was pulled and for one that fell silent: its own view of the
        # reader tells which
        if _same(code, scard.SCARD_E_PROTO_MISMATCH):  # a reset by another program that pcscd let in: the command was not sent
            return errors.CardReset()
        error = typed(code)
        if isinstance(error, errors.CardMute):
            with contextlib.suppress(errors.CpxError):
                here = [s for s in self._context.states() if s.name == self.reader]
                if not here or not here[0].present:
                    return errors.CardRemoved()
        return error

    def control(self, code: int, data: bytes) -> bytes:
        result, answer = scard.SCardControl(self._handle, code, list(data))
        if result == scard.SCARD_S_SUCCESS:
            return bytes(answer)
        number = result & 0xFFFFFFFF
        if number not in _READER_SAYS_NO | _READER_FAILED:
            raise TransportError(number)
        if number in _READER_FAILED:
            try:
                gone = not self._still_there()
            except errors.CpxError:  # pcscd is
                raise TransportError(scard.SCARD_E_NO_SERVICE & 0xFFFFFFFF) from None
            if gone:
                raise TransportError(scard.SCARD_W_REMOVED_CARD & 0xFFFFFFFF)
        raise errors.PadRefused(status=f"PC/SC {number:08X}")

    def _still_there(self) -> bool:
        """Whether the card is in, once pcscd has had the time to see it leave: it looks every 0.4 s with some drivers."""
        limit = time.monotonic() + _SEEN
        while time.monotonic() < limit:
            if not any(s.present for s in self._context.states() if s.name == self.reader):
                return False
            time.sleep(0.02)
        return True

    def _end(self, *, reset: bool) -> None:
        scard.SCardEndTransaction(self._handle, scard.SCARD_RESET_CARD if reset else scard.SCARD_LEAVE_CARD)

    def _disconnect(self) -> None:
        scard.SCardDisconnect(self._handle, scard.SCARD_LEAVE_CARD)
