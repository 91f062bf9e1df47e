# SPDX-License-Identifier: Apache-2.0
"""What the library shows of itself: symbols, dependencies, interfaces, C_Initialize."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from ctypes import byref, c_ulong, c_void_p
from pathlib import Path

import module_p11 as p11
import pytest
from module_p11 import InitArgs, Interface, Module, Version, initialized

HEADER = Path(__file__).parents[3] / "cpxd" / "pkcs11" / "module" / "pkcs11_functions.h"
FUNCTIONS = re.findall(r"X\((C_\w+),", HEADER.read_text())
CALLBACK = ctypes.CFUNCTYPE(c_ulong, c_void_p)


def readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", "-W", option, str(path)], check=True, capture_output=True, text=True).stdout


def test_only_the_functions_of_the_standard_are_exported(module_path: Path) -> None:
    table = subprocess.run(["nm", "-D", "--defined-only", str(module_path)], check=True, capture_output=True, text=True).stdout
    assert len(FUNCTIONS) == 92
    assert sorted(line.split()[2] for line in table.splitlines()) == sorted(FUNCTIONS)


def test_only_libc_is_needed_and_nothing_is_unloaded(module_path: Path) -> None:
    dynamic = readelf("-d", module_path)
    assert re.findall(r"Shared library: \[(.*)\]", dynamic) == ["libc.so.6"]
    assert "NODELETE" in dynamic


def test_no_thread_is_made(module_path: Path) -> None:
    undefined = subprocess.run(["nm", "-D", "-u", str(module_path)], check=True, capture_output=True, text=True).stdout
    assert not re.search(r"pthread_create|clone3|thrd_create", undefined)


def function_list(pointer: int, count: int) -> list[int]:
    """Version, then so many pointers after the padding of a pointer's size."""
    return list((c_void_p * (count + 1)).from_address(pointer))[1:]


def test_lists_hold_the_exported_functions_in_order(module_path: Path) -> None:
    library = ctypes.CDLL(str(module_path))
    addresses = {name: ctypes.cast(getattr(library, name), c_void_p).value for name in FUNCTIONS}
    module = Module(module_path)
    pointer = c_void_p()
    assert module("C_GetFunctionList", byref(pointer)) == p11.OK
    assert Version.from_address(pointer.value or 0).minor == 40
    assert function_list(pointer.value or 0, 68) == [addresses[name] for name in FUNCTIONS[:68]]

    found = c_void_p()
    assert module("C_GetInterface", None, None, byref(found), 0) == p11.OK
    listed = function_list(p11.interface_at(found).list or 0, 92)
    for name, address in zip(FUNCTIONS, listed, strict=True):
        assert address == addresses[name] or name == "C_GetInfo"  # each list tells its own version


def ask(module: Module, name: bytes | None, version: tuple[int, int] | None, flags: int = 0) -> tuple[int, int] | int:
    found = c_void_p()
    asked = byref(Version(*version)) if version else None
    rv = module("C_GetInterface", name, asked, byref(found), flags)
    if rv != p11.OK:
        return rv
    interface = p11.interface_at(found)
    assert interface.name == b"PKCS 11" and interface.flags == 0
    given = Version.from_address(interface.list or 0)
    return given.major, given.minor


@pytest.mark.parametrize(
    ("name", "version", "flags", "expected"),
    [
        (None, None, 0, (3, 0)),
        (b"PKCS 11", None, 0, (3, 0)),
        (None, (3, 0), 0, (3, 0)),
        (None, (2, 40), 0, (2, 40)),
        (b"PKCS 11", (3, 1), 0, (3, 0)),  # same layout
        (b"PKCS 11", (3, 2), 0, p11.ARGUMENTS_BAD),  # a longer list: no harm by an answer that is too short
        (None, (2, 20), 0, p11.ARGUMENTS_BAD),
        (None, (4, 0), 0, p11.ARGUMENTS_BAD),
        (b"PKCS 11", None, 1, p11.ARGUMENTS_BAD),  # CKF_INTERFACE_FORK_SAFE, which is not true
        (b"Vendor NSS FIPS Interface", None, 0, p11.ARGUMENTS_BAD),
        (b"", None, 0, p11.ARGUMENTS_BAD),
    ],
)
def test_interface(
    module_path: Path, name: bytes | None, version: tuple[int, int] | None, flags: int, expected: tuple[int, int] | int
) -> None:
    assert ask(Module(module_path), name, version, flags) == expected


def test_interface_list(module_path: Path) -> None:
    module = Module(module_path)
    count = c_ulong(9)
    assert module("C_GetInterfaceList", None, byref(count)) == p11.OK
    assert count.value == 2
    interfaces = (Interface * 2)()
    count.value = 1
    assert module("C_GetInterfaceList", interfaces, byref(count)) == p11.BUFFER_TOO_SMALL
    assert count.value == 2
    assert module("C_GetInterfaceList", interfaces, byref(count)) == p11.OK
    assert [Version.from_address(i.list or 0).major for i in interfaces] == [3, 2]
    assert module("C_GetInterfaceList", None, None) == p11.ARGUMENTS_BAD
    assert module("C_GetInterface", None, None, None, 0) == p11.ARGUMENTS_BAD
    assert module("C_GetFunctionList", None) == p11.ARGUMENTS_BAD


def test_information_without_a_daemon(module: Module) -> None:
    info = ctypes.create_string_buffer(88)
    assert module("C_GetInfo", info) == p11.OK
    assert info.raw[:2] == bytes([2, 40])
    assert info.raw[2:34] == b"cpxd".ljust(32)
    found = c_void_p()
    module("C_GetInterface", None, None, byref(found), 0)
    get_info = ctypes.CFUNCTYPE(c_ulong, c_void_p)(function_list(p11.interface_at(found).list or 0, 3)[2])
    assert get_info(ctypes.addressof(info)) == p11.OK
    assert info.raw[:2] == bytes([3, 0])


def test_initialize_and_finalize(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    assert module("C_Finalize", None) == p11.NOT_INITIALIZED
    assert module("C_Initialize", None) == p11.OK
    assert module("C_Initialize", None) == p11.ALREADY_INITIALIZED
    assert module("C_Finalize", byref(c_ulong())) == p11.ARGUMENTS_BAD
    assert module("C_Finalize", None) == p11.OK
    assert module("C_GetInfo", None) == p11.NOT_INITIALIZED


def test_initialize_arguments(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    nothing = CALLBACK(lambda _: 0)
    pointer = ctypes.cast(nothing, c_void_p)
    assert module("C_Initialize", byref(InitArgs(reserved=1))) == p11.ARGUMENTS_BAD
    assert module("C_Initialize", byref(InitArgs(create=pointer, destroy=pointer, lock=pointer))) == p11.ARGUMENTS_BAD
    for args in (InitArgs(), InitArgs(flags=2), InitArgs(flags=1), InitArgs(flags=3)):
        with initialized(module, args):
            assert module.slots() == []


class Callbacks:
    """A host's mutex functions that count, and fail on demand."""

    def __init__(self) -> None:
        self.calls = {"create": 0, "destroy": 0, "lock": 0, "unlock": 0}
        self.fail: str | None = None
        self.functions = {name: CALLBACK(self._make(name)) for name in self.calls}

    def _make(self, name: str) -> Callable[[object], int]:
        def called(_: object) -> int:
            self.calls[name] += 1
            return 5 if self.fail == name else 0

        return called

    def arguments(self, flags: int = 0) -> InitArgs:
        return InitArgs(flags=flags, **{name: ctypes.cast(f, c_void_p) for name, f in self.functions.items()})


def test_the_hosts_mutexes_are_used_when_it_gave_them(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    host = Callbacks()
    with initialized(module, host.arguments()):
        module.slots()
    assert host.calls["create"] == host.calls["destroy"] > 0
    assert host.calls["lock"] == host.calls["unlock"] > 0


def test_the_mutexes_of_the_system_are_used_when_the_host_allows(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    host = Callbacks()
    with initialized(module, host.arguments(flags=2)):
        module.slots()
    assert host.calls == {"create": 0, "destroy": 0, "lock": 0, "unlock": 0}


def test_a_mutex_that_fails_is_an_error_of_the_call(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    host = Callbacks()
    host.fail = "create"
    assert module("C_Initialize", byref(host.arguments())) == 5
    host.fail = None
    with initialized(module, host.arguments()):
        host.fail = "lock"
        assert module("C_GetSlotList", 0, None, byref(c_ulong())) == 0x00A
        host.fail = None
        assert module.slots() == []
