# SPDX-License-Identifier: Apache-2.0
"""The module called as a host calls it: its C functions by name, with structures laid out as PKCS#11 says."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_ubyte, c_ulong, c_void_p
from pathlib import Path

OK = 0x000
HOST_MEMORY = 0x002
SLOT_ID_INVALID = 0x003
ARGUMENTS_BAD = 0x007
NO_EVENT = 0x008
ATTRIBUTE_SENSITIVE = 0x011
ATTRIBUTE_TYPE_INVALID = 0x012
ATTRIBUTE_VALUE_INVALID = 0x013
DATA_LEN_RANGE = 0x021
DEVICE_ERROR = 0x030
DEVICE_REMOVED = 0x032
FUNCTION_NOT_PARALLEL = 0x051
FUNCTION_NOT_SUPPORTED = 0x054
KEY_HANDLE_INVALID = 0x060
MECHANISM_INVALID = 0x070
MECHANISM_PARAM_INVALID = 0x071
OBJECT_HANDLE_INVALID = 0x082
SESSION_HANDLE_INVALID = 0x0B3
SESSION_PARALLEL_NOT_SUPPORTED = 0x0B4
BUFFER_TOO_SMALL = 0x150
NOT_INITIALIZED = 0x190
ALREADY_INITIALIZED = 0x191
OPERATION_CANCEL_FAILED = 0x202

UNAVAILABLE = 2**64 - 1


class Version(ctypes.Structure):
    _fields_ = [("major", c_ubyte), ("minor", c_ubyte)]


class Attribute(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


class Mechanism(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class Pss(ctypes.Structure):
    _fields_ = [("hash", c_ulong), ("mgf", c_ulong), ("salt", c_ulong)]


class InitArgs(ctypes.Structure):
    _fields_ = [
        ("create", c_void_p),
        ("destroy", c_void_p),
        ("lock", c_void_p),
        ("unlock", c_void_p),
        ("flags", c_ulong),
        ("reserved", c_void_p),
    ]


class Interface(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("list", c_void_p), ("flags", c_ulong)]


class SessionInfo(ctypes.Structure):
    _fields_ = [("slot", c_ulong), ("state", c_ulong), ("flags", c_ulong), ("error", c_ulong)]


class Module:
    """C functions by name. Integers go as CK_ULONG, everything else as a pointer."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: object) -> int:
        function = getattr(self._library, name)
        function.restype = c_ulong
        return int(function(*[c_ulong(a) if isinstance(a, int) else a for a in arguments]))

    def slots(self) -> list[int]:
        count = c_ulong(64)
        slots = (c_ulong * 64)()
        assert self("C_GetSlotList", 0, slots, byref(count)) == OK
        return list(slots[: count.value])

    def open(self, slot: int) -> int:
        session = c_ulong()
        rv = self("C_OpenSession", slot, 4, None, None, byref(session))
        assert rv == OK, hex(rv)
        return session.value

    def session_info(self, session: int) -> int:
        return self("C_GetSessionInfo", session, byref(SessionInfo()))


@contextmanager
def initialized(module: Module, args: InitArgs | None = None) -> Iterator[Module]:
    rv = module("C_Initialize", byref(args) if args is not None else None)
    assert rv == OK, hex(rv)
    try:
        yield module
    finally:
        module("C_Finalize", None)


class Template(list[Attribute]):
    """Attributes, and the array of them to be passed."""

    def __init__(self, array: ctypes.Array[Attribute], kept: list[object]) -> None:
        super().__init__(array)
        self._as_parameter_ = array
        self._kept = kept


def attributes(*wanted: tuple[int, bytes | int | None]) -> Template:
    """(type, value): bytes are given, an integer is room for so many bytes, None asks for the size."""
    template = (Attribute * len(wanted))()
    kept: list[object] = []
    for entry, (kind, value) in zip(template, wanted, strict=True):
        entry.type = kind
        if value is None:
            continue
        data = ctypes.create_string_buffer(value, len(value)) if isinstance(value, bytes) else None
        room = data if data is not None else ctypes.create_string_buffer(int(value))
        kept.append(room)
        entry.value = ctypes.cast(room, c_void_p)
        entry.length = ctypes.sizeof(room)
    return Template(template, kept)


def values(template: Sequence[Attribute]) -> list[bytes | None]:
    return [
        None if entry.length == UNAVAILABLE else ctypes.string_at(entry.value, entry.length) if entry.value else b""
        for entry in template
    ]


def interface_at(pointer: c_void_p) -> Interface:
    return ctypes.cast(pointer, POINTER(Interface)).contents


def in_thread(function: Callable[[], int]) -> tuple[threading.Thread, list[int]]:
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    return thread, result
