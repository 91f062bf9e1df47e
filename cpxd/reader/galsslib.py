# SPDX-License-Identifier: Apache-2.0
"""The two libraries of GALSS, loaded when this machine has them (cffi, ABI mode). `_galss.h` says what is assumed of them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cpxd import errors, log
from cpxd._apdu_ffi import ffi as core
from cpxd._apdu_ffi import lib as core_lib
from cpxd.apdu import GalssTransport, OnExchange
from cpxd.reader.galssini import SERIAL, Ini
from cpxd.text import visible

_NAMES = {
    "linux": ("libgalcllux.so", "libgalinlux.so"),
    "darwin": ("galclosx.framework/galclosx", "galinosx.framework/galinosx"),
    "win32": ("galclw64.dll", "galinw64.dll"),
}
_FOLDERS = ("", "/usr/local/galss", "/usr/local/lib")  # "": where the loader looks
_CLIENT = ("OuvrirSession", "FermerSession", "DebutExclusivite", "FinExclusivite", "Echange")
_INFORMATION = ("DonneNombreRessources", "DonneTableRessources")
_MOST_RESOURCES = 255
ANSWER_WAIT = 10_000  # milliseconds that the terminal may take for one answer
POWER_ON, WITHDRAW, PRESENCE = 0x14, 0x15, 0x16
_ATR = 2, 33  # bytes
ABSENT, OFF, ON = 0, 1, 3


@dataclass(frozen=True)
class Resource:
    """`key`: what OuvrirSession is given; `reader`: the name that people see."""

    key: str
    reader: str
    channel: int


@dataclass(frozen=True)
class Answer:
    """Of the terminal to an order. `counter` moves when a card comes, goes or is powered."""

    state: int
    counter: int
    rest: bytes


class Library:
    """Calls raise GalssTrouble for every code that is not 0. `line`: held for a whole operation by who uses the terminal.

    Nobody says that the library may be called by two threads at once, and a serial line has one speaker: hence one lock.
    """

    def __init__(self, client: str, information: str | None) -> None:
        from cffi import FFI

        ffi = FFI()
        ffi.cdef((Path(__file__).parents[1] / "_galss.h").read_text(encoding="utf-8"))
        self._ffi = ffi
        self._client = ffi.dlopen(client)
        self._information = ffi.dlopen(information) if information else None
        for library, names in ((self._client, _CLIENT), (self._information, _INFORMATION)):
            for name in names if library is not None else ():
                getattr(library, name)  # AttributeError: not the library that we know
        self.echange = int(ffi.cast("uintptr_t", self._client.Echange))
        self.line = threading.Lock()
        self.listed: list[Resource] | None = None  # what `resources` last gave

    def resources(self, ini: Ini | None) -> list[Resource]:
        """The CPS slots of serial terminals: as the library says, else as galss.ini does."""
        if self._information is not None:
            rows = self._table(self._information)
        else:
            rows = [
                (unit.name, (*unit.aliases, "")[0], channel.index, channel.kind)
                for channel in (ini.channels if ini else ())
                for unit in channel.units
            ]
        cps = [row for row in rows if row[0].startswith("CPS") and row[3] == SERIAL]
        names = [row[0] for row in cps]
        found: dict[str, Resource] = {}
        for name, alias, channel, _ in cps:
            reader = visible(f"GALSS {name}" + (f" ({alias})" if alias else ""))
            # of two that nothing tells apart OuvrirSession opens one
            found.setdefault(reader, Resource(name if names.count(name) == 1 else alias or name, reader, channel))
        return list(found.values())

    def _table(self, library: Any) -> list[tuple[str, str, int, int]]:
        count = self._ffi.new("uint16_t *")
        _check(library.DonneNombreRessources(count), "DonneNombreRessources")
        room = min(count[0], _MOST_RESOURCES)
        if room == 0:
            return []
        table = self._ffi.new("galss_ressource[]", _MOST_RESOURCES)  # more than asked for: resources may come meanwhile
        count[0] = room
        _check(library.DonneTableRessources(count, table), "DonneTableRessources")
        rows = table[0 : min(count[0], room)]
        return [(self._name(row.NomRessource), self._name(row.NomAlias), row.IndexCanal, row.TypeCanal) for row in rows]

    def _name(self, field: Any) -> str:
        text: bytes = self._ffi.string(field, 9)
        return text.decode("cp1252", "replace").strip()

    def open(self, resource: str) -> Session:
        number, lad = self._ffi.new("uint16_t *"), self._ffi.new("uint8_t *")
        code = self._client.OuvrirSession(b"cpxd", resource.encode("cp1252", "replace"), number, lad)
        _check(code, "OuvrirSession")
        return Session(self, number[0], lad[0])

    def call(self, name: str, session: int) -> int:
        """One of the functions that take a session only; its code."""
        return int(getattr(self._client, name)(session))


def _check(code: int, operation: str) -> None:
    if code != 0:
        raise trouble(code, operation)


def trouble(code: int, operation: str) -> errors.CpxError:
    """The typed error for a code of GALSS (0001 to 8011), of the terminal (its error byte) or of ours (no known form)."""
    if code >= core_lib.APDU_GALSS_MALFORMED:
        return errors.GalssTrouble(code="?", operation=operation)
    if code >= core_lib.APDU_GALSS_STATUS:
        return errors.GalssTrouble(code=f"terminal {code & 0xFF:02X}", operation=operation)
    return errors.GalssTrouble(code=f"{code:04X}", operation=operation)


class Session:
    """One open session on a resource. Used with the library's line held."""

    def __init__(self, library: Library, number: int, lad: int) -> None:
        self._library = library
        self._number: int | None = number
        self._exclusive = False
        terminal = core_lib.apdu_galss_new(library.echange, number, lad, ANSWER_WAIT)
        if terminal == core.NULL:
            self.close()
            raise MemoryError
        self._terminal = core.gc(terminal, core_lib.apdu_galss_free)

    @property
    def closed(self) -> bool:
        return self._number is None

    def transport(self, on_exchange: OnExchange | None) -> GalssTransport:
        return GalssTransport(self._terminal, on_exchange)

    def claim(self) -> bool:
        """Begin an exclusive section. False: not now, somebody else has one."""
        if self._number is not None and not self._exclusive:
            self._exclusive = self._library.call("DebutExclusivite", self._number) == 0
        return self._exclusive

    def yield_(self) -> None:
        if self._number is not None and self._exclusive:
            self._library.call("FinExclusivite", self._number)
        self._exclusive = False

    def order(self, order: int) -> Answer:
        """Raises GalssTrouble."""
        if self._number is None:
            raise errors.GalssTrouble(code="?", operation="FermerSession")
        room, length = core.new("uint8_t[]", 261), core.new("size_t *")
        code = core_lib.apdu_galss_order(self._terminal, order, room, len(room), length)
        _check(int(code), f"Echange {order:02X}")
        said = bytes(core.buffer(room, length[0]))
        return Answer(said[1], said[2], said[3:])

    def power(self) -> Answer:
        """Power the card, or power it anew: `rest` is its ATR. GalssTrouble for what is none (ISO/IEC 7816-3, 8.1) too."""
        answer = self.order(POWER_ON)
        if not _ATR[0] <= len(answer.rest) <= _ATR[1]:
            raise trouble(core_lib.APDU_GALSS_MALFORMED, f"Echange {POWER_ON:02X}")
        return answer

    def expect(self, counter: int) -> None:
        """From now on commands are for the card that the terminal counted so."""
        core_lib.apdu_galss_expect(self._terminal, counter)

    def close(self) -> None:
        """Idempotent. Ends the exclusive section too."""
        if self._number is not None:
            self.yield_()
            self._library.call("FermerSession", self._number)
        self._number = None


@cache
def load(folder: str) -> Library | None:
    """The library of this machine, from `folder` or else its usual places; None when there is none that can be used."""
    client, information = _NAMES.get(sys.platform, ("", ""))
    found = _first(client, folder) if client else None
    if found is None:
        return None
    try:
        return Library(found, _first(information, folder))
    except (OSError, AttributeError):
        log.write("galss-not-loaded", operation=os.path.basename(found))
        return None


def _first(name: str, folder: str) -> str | None:
    for place in (folder,) if folder else _FOLDERS:
        path = os.path.join(place, name)
        with contextlib.suppress(OSError):
            type(core)().dlopen(path)  # costs less than cffi.FFI, where there is none
            return path
    return None
