# SPDX-License-Identifier: Apache-2.0
"""What every personality shares: the exchange of one APDU, chaining, retained answers, volatile and lasting state."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from simulator.cardos.apdu import OUTPUT_BUFFER, Command, Status, parse
from simulator.cardos.environment import Environment, KeyRing
from simulator.cardos.filesystem import Cursor, FileSystem
from simulator.cardos.pins import USER, Pins
from simulator.image import Access, Image, Path

logger = logging.getLogger(__name__)

_CHALLENGE = 8
_CHAIN_LIMIT = 1024
_STATE_VERSION = 1

State = dict[str, Any]


class StateError(ValueError):
    """A saved state that does not belong to this card, or is damaged."""


class VirtualCard(ABC):
    """One inserted card. Not thread-safe: the transport serialises."""

    contactless: ClassVar[bool] = False
    # T=0: Le 00 asks for 256 bytes, and the card says how many there are; else it asks for whatever there is.
    exact_le: ClassVar[bool] = False
    chainable: ClassVar[frozenset[int]] = frozenset({0x2A})

    def __init__(self, image: Image, state: State | None = None, *, rng: Callable[[int], bytes] | None = None) -> None:
        self.atr = image.atr
        self.on_state_change: Callable[[State], None] | None = None
        self._random = rng or os.urandom
        self._files = FileSystem(image)
        self._pins = Pins(image.pins)
        self._keys = KeyRing(image)
        self._environment = Environment()
        self._cursor = Cursor()
        self._pending = b""
        self._chain: Command | None = None
        if state is not None:
            self._restore(state)
        self._saved = self.state()

    # -- power -------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        self._forget()

    def power_off(self) -> None:
        self._forget()

    def reset(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Everything the card knows only while it has power."""
        self._pins.forget()
        self._environment.clear()
        self._cursor = Cursor()
        self._pending = b""
        self._chain = None

    # -- lasting state -----------------------------------------------------------------------------------------

    def state(self) -> State:
        """What survives power-off, ready for JSON: codes (in clear: this is a simulator) and written files (hex)."""
        files = {_name(path): content.hex() for path, content in sorted(self._files.written.items())}
        return {"version": _STATE_VERSION, "codes": self._pins.state(), "files": files}

    def _restore(self, state: State) -> None:
        try:
            if state["version"] != _STATE_VERSION:
                raise ValueError("version")
            self._pins.restore(state["codes"])
            for name, content in state["files"].items():
                path = tuple(int(part, 16) for part in name.split("/"))
                data = bytes.fromhex(content)
                if self._files.size(path) != len(data):
                    raise ValueError(name)
                self._files.written[path] = data
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"card state: {error}") from error

    # -- one exchange ------------------------------------------------------------------------------------------

    def transmit(self, apdu: bytes) -> bytes:
        """Any bytes in, data and status word out; never raises."""
        try:
            # a T=0 command always has a fifth byte: what a program sends without one arrives with 00 (ISO 7816-3 12.2.2)
            answer = self._exchange(parse(apdu + b"\0" if self.exact_le and len(apdu) == 4 else apdu))
        except Status as status:
            answer = status.sw.to_bytes(2, "big")
        except Exception:  # a fault of the simulator must not take the reader down
            logger.exception("fault of the simulated card")
            answer = b"\x6f\x00"
        self._announce()
        return answer

    def _announce(self) -> None:
        state = self.state()
        if state == self._saved:
            return
        self._saved = state
        if self.on_state_change is not None:
            try:
                self.on_state_change(self.state())
            except Exception:
                logger.exception("the state of the simulated card is not kept")

    def _exchange(self, command: Command) -> bytes:
        self._check_class(command)
        if command.ins == 0xC0:
            return self._get_response(command)
        self._pending = b""
        if command.chained:
            self._collect(command)
            return b"\x90\x00"
        return self._deliver(command, self._run(self._unchain(command)))

    @abstractmethod
    def _check_class(self, command: Command) -> None:
        """`Status(6E00)` or `Status(6881)` for a class that the card does not serve now."""

    @abstractmethod
    def _run(self, command: Command) -> bytes:
        """The command itself: its answer data, or `Status`."""

    def _collect(self, command: Command) -> None:
        if command.ins not in self.chainable:
            self._chain = None
            raise Status(0x6884)
        whole = self._so_far(command) + command.data
        if len(whole) > _CHAIN_LIMIT:
            self._chain = None
            raise Status(0x6700)
        self._chain = command.with_data(whole)

    def _unchain(self, command: Command) -> Command:
        whole = self._so_far(command) + command.data
        self._chain = None
        return command.with_data(whole)

    def _so_far(self, command: Command) -> bytes:
        """What an unbroken chain of the same command has brought; another command breaks it."""
        chain = self._chain
        if chain is None or (chain.ins, chain.p1p2) != (command.ins, command.p1p2):
            return b""
        return chain.data if (chain.cla ^ command.cla) & ~0x10 == 0 else b""

    def _deliver(self, command: Command, data: bytes) -> bytes:
        """T=1 asks for the data with Le; T=0 has no Le behind command data and fetches them (ISO 7816-3 12.2.1)."""
        if not data or command.le is None:
            self._pending = data
            return _more(len(data)) if data else b"\x90\x00"
        fits, short_of = len(data) <= command.le, self.exact_le and len(data) < command.le < 65536
        if not command.data and (not fits or short_of):
            raise Status(0x6C00 | len(data) & 0xFF)
        if fits:
            return data + b"\x90\x00"
        self._pending = data[command.le :]
        return data[: command.le] + _more(len(self._pending))

    def _get_response(self, command: Command) -> bytes:
        if not self._pending:
            raise Status(0x6985)
        if command.p1p2:
            raise Status(0x6A86)
        wanted = command.le or 256
        if command.data or wanted > len(self._pending):
            raise Status(0x6C00 | min(len(self._pending), 256) & 0xFF)
        data, self._pending = self._pending[:wanted], self._pending[wanted:]
        return data + (_more(len(self._pending)) if self._pending else b"\x90\x00")

    # -- files -------------------------------------------------------------------------------------------------

    def _locate(self, command: Command, cursor: Cursor) -> Path:
        """The target of SELECT by P1 (ISO 7816-4 table 39)."""
        if command.p1 in (0x00, 0x02):
            return self._files.by_id(cursor.df, command.data)
        if command.p1 == 0x03:
            return cursor.df[:-1]
        if command.p1 == 0x04:
            return self._files.by_name(command.data)
        if command.p1 == 0x08:
            return self._files.by_path((), command.data)
        if command.p1 == 0x09:
            if command.data[:2] == b"\x3f\x00":
                return self._files.by_path((), command.data[2:]) if command.data[2:] else ()
            return self._files.by_path(cursor.df, command.data)
        raise Status(0x6A86)

    def _move(self, cursor: Cursor, path: Path) -> None:
        if self._files.move(cursor, path) and cursor is self._cursor:
            self._environment.clear()

    def _target(self, command: Command, cursor: Cursor) -> tuple[Path, int]:
        """File and offset of READ and UPDATE BINARY: the current file, or a short identifier in P1."""
        if command.p1 & 0x80 and command.p1 & 0x60:
            raise Status(0x6A86)
        if command.p1 & 0x80 and command.p1 & 0x1F:  # 0: the current file
            self._move(cursor, self._files.by_sfi(cursor.df, command.p1 & 0x1F))
        if cursor.ef is None:
            raise Status(0x6986)
        return cursor.ef, command.p2 if command.p1 & 0x80 else command.p1p2

    def _read_binary(self, command: Command, cursor: Cursor) -> bytes:
        if command.data:
            raise Status(0x6700)
        path, offset = self._target(command, cursor)
        self._require(self._files.rules(path, self.contactless).read)
        content = self._files.content(path)
        if offset >= max(len(content), 1):
            raise Status(0x6B00)
        rest = content[offset : offset + OUTPUT_BUFFER]
        whatever = command.le in (None, 65536) or (command.le == 256 and not self.exact_le)
        wanted = len(rest) if whatever else command.le or 0
        if wanted > len(rest):
            raise Status(0x6C00 | len(rest) & 0xFF)
        return rest[:wanted]

    def _update_binary(self, command: Command, cursor: Cursor) -> bytes:
        path, offset = self._target(command, cursor)
        self._require(self._files.rules(path, self.contactless).update)
        if not command.data:
            raise Status(0x6700)
        self._files.write(path, offset, command.data)
        return b""

    def _require(self, access: Access) -> None:
        if access is Access.NEVER or (access is Access.PIN and not self._pins.verified(USER)):
            raise Status(0x6982)

    # -- common commands ---------------------------------------------------------------------------------------

    def _challenge(self, command: Command) -> bytes:
        if command.p1p2 or command.data:
            raise Status(0x6A86)
        if command.le != _CHALLENGE:
            raise Status(0x6C00 | _CHALLENGE)
        return self._random(_CHALLENGE)


def _more(count: int) -> bytes:
    return bytes([0x61, min(count, 256) & 0xFF])


def _name(path: Path) -> str:
    return "/".join(f"{fid:04X}" for fid in path)
