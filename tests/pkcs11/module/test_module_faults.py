# SPDX-License-Identifier: Apache-2.0
"""A daemon that dies, comes back, or says nothing; forks; interruptions. The host must live and learn the right thing."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ctypes import byref, c_ulong
from pathlib import Path

import module_p11 as p11
import pytest
from module_p11 import InitArgs, Mechanism, Module, attributes, in_thread, initialized
from module_standin import Link, Request, StandIn, body, refusal, simple_token
from module_stock import PIN, Stock

HERE = Path(__file__).parent
OS_LOCKING = InitArgs(flags=2)


def test_slots_come_when_the_daemon_comes(module: Module, token_folder: Path, socket_path: Path) -> None:
    assert module.slots() == []
    server = Stock(token_folder, socket_path)
    server.start()
    try:
        assert len(module.slots()) == 2
    finally:
        server.stop()
    assert module.slots() == []


def test_no_slot_before_the_first_connection_and_a_removed_device_after(
    module: Module, token_folder: Path, socket_path: Path
) -> None:
    info = ctypes.create_string_buffer(256)
    assert module("C_GetTokenInfo", 17, info) == p11.SLOT_ID_INVALID
    assert module("C_OpenSession", 17, 4, None, None, byref(c_ulong())) == p11.SLOT_ID_INVALID
    assert module.session_info(1) == p11.SESSION_HANDLE_INVALID
    server = Stock(token_folder, socket_path)
    server.start()
    slot = module.slots()[0]
    server.stop()
    assert module("C_GetTokenInfo", slot, info) == p11.DEVICE_REMOVED
    assert module("C_GetSlotInfo", slot, info) == p11.DEVICE_REMOVED


def test_killed_while_idle(module: Module, stock: Stock) -> None:
    slot = module.slots()[0]
    session = module.open(slot)
    stock.kill()
    assert module.session_info(session) == p11.DEVICE_REMOVED
    assert module.session_info(session) == p11.SESSION_HANDLE_INVALID
    stock.start()
    assert module.session_info(session) == p11.SESSION_HANDLE_INVALID
    assert module.slots()[0] == slot
    renewed = module.open(slot)
    assert module.session_info(renewed) == p11.OK
    assert renewed != session
    assert module.session_info(session) == p11.SESSION_HANDLE_INVALID
    assert module("C_CloseSession", session) == p11.SESSION_HANDLE_INVALID


def test_slot_calls_survive_a_restart_unseen(module: Module, stock: Stock) -> None:
    slot = module.slots()[0]
    info = ctypes.create_string_buffer(256)
    for name, arguments in (
        ("C_GetTokenInfo", (info,)),
        ("C_GetSlotInfo", (info,)),
        ("C_GetMechanismList", (None, byref(c_ulong()))),
        ("C_OpenSession", (4, None, None, byref(c_ulong()))),
    ):
        stock.kill()
        stock.start()
        assert module(name, slot, *arguments) == p11.OK


def test_objects_of_before_the_restart_are_not_taken_for_others(module: Module, stock: Stock) -> None:
    def first_object() -> tuple[int, int]:
        session = module.open(module.slots()[0])
        objects, count = (c_ulong * 1)(), c_ulong()
        assert module("C_FindObjectsInit", session, None, 0) == p11.OK
        assert module("C_FindObjects", session, objects, 1, byref(count)) == p11.OK
        assert module("C_FindObjectsFinal", session) == p11.OK
        assert count.value == 1
        return session, objects[0]

    _, old = first_object()
    stock.kill()
    stock.start()
    session, new = first_object()
    assert new != old
    template = attributes((0, 8))
    assert module("C_GetAttributeValue", session, new, template, 1) == p11.OK
    assert module("C_GetAttributeValue", session, old, template, 1) == p11.OBJECT_HANDLE_INVALID
    assert module("C_SignInit", session, byref(Mechanism(1)), old) == p11.KEY_HANDLE_INVALID


def test_killed_in_a_call(module: Module, stock: Stock) -> None:
    session = c_ulong()
    assert module("C_OpenSession", module.slots()[0], 6, None, None, byref(session)) == p11.OK
    assert module("C_Login", session.value, 1, PIN.encode(), 4) == p11.OK
    public = attributes((0x121, struct.pack("@Q", 8192)), (0x122, b"\1\0\1"))
    private = attributes((0x01, b"\0"))
    timer = threading.Timer(0.2, stock.kill)
    timer.start()
    begun = time.monotonic()
    rv = module(
        "C_GenerateKeyPair", session.value, byref(Mechanism(0)), public, 2, private, 1, byref(c_ulong()), byref(c_ulong())
    )
    timer.join()
    assert rv == p11.DEVICE_REMOVED
    assert time.monotonic() - begun < 2
    stock.start()
    assert module.session_info(module.open(module.slots()[0])) == p11.OK


SILENT_CALLS: dict[str, tuple[float, Callable[[Module, int], int]]] = {
    "info": (0.3, lambda m, s: m.session_info(s)),
    "read": (0.5, lambda m, s: m("C_FindObjectsInit", s, None, 0)),
    "crypto": (0.9, lambda m, s: m("C_DigestInit", s, byref(Mechanism(0x250)))),
    "dialog": (1.3, lambda m, s: m("C_Login", s, 1, b"1234", 4)),
    "slot": (0.3, lambda m, s: m("C_GetMechanismInfo", 7, 1, byref((c_ulong * 3)()))),
}


@pytest.mark.parametrize("call", SILENT_CALLS)
def test_silence_ends_at_the_deadline_of_the_call(hasty: Module, socket_path: Path, call: str) -> None:
    limit, function = SILENT_CALLS[call]
    speak = simple_token({})

    def serve(link: Link, request: Request) -> None:
        if request.call in (4, 10):
            speak(link, request)

    with StandIn(socket_path, serve):
        session = hasty.open(7)
        begun = time.monotonic()
        assert function(hasty, session) == p11.DEVICE_ERROR
        assert limit - 0.05 < time.monotonic() - begun < limit + 0.5
        assert hasty.session_info(session) == p11.SESSION_HANDLE_INVALID
        assert hasty.slots() == [7]


def test_a_daemon_that_is_slow_once_keeps_its_sessions(hasty: Module, socket_path: Path) -> None:
    speak = simple_token({})
    slow = [0.5]

    def serve(link: Link, request: Request) -> None:
        if request.call == 13 and slow:
            time.sleep(slow.pop(0))
        speak(link, request)

    with StandIn(socket_path, serve, options=b"cpx1;") as peer:
        session = hasty.open(7)
        assert hasty.session_info(session) == p11.DEVICE_ERROR
        time.sleep(0.4)
        assert hasty.session_info(session) == p11.OK
        slow[:] = [1.0]
        assert hasty.session_info(session) == p11.DEVICE_ERROR
        assert hasty.session_info(session) == p11.DEVICE_ERROR  # nor did it answer the second
        assert hasty.session_info(session) == p11.SESSION_HANDLE_INVALID
        assert hasty.slots() == [7]
        assert len(peer.links) == 2


def test_a_server_that_does_not_read(hasty: Module, socket_path: Path) -> None:
    speak = simple_token({})

    def serve(link: Link, request: Request) -> None:
        speak(link, request)
        if request.call == 10:
            time.sleep(3)

    with StandIn(socket_path, serve):
        session = hasty.open(7)
        data = bytes(512 * 1024)  # more than a socket holds
        begun = time.monotonic()
        assert hasty("C_DigestUpdate", session, data, len(data)) == p11.DEVICE_ERROR
        assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("options", [b"cpx1;", b""], ids=["cpxd", "stock"])
def test_a_long_call_does_not_stop_the_others(hasty_path: Path, socket_path: Path, options: bytes) -> None:
    """cpxd answers out of order; behind a server that works in order the short call waits as long as the long one."""
    speak = simple_token({})
    held: list[Request] = []

    def serve(link: Link, request: Request) -> None:
        if request.call == 18:  # C_Login, as if a dialog stood open
            held.append(request)
            if not options:
                time.sleep(0.6)
                link.answer(held.pop(), refusal(0xA0))
        else:
            speak(link, request)

    with initialized(Module(hasty_path), OS_LOCKING) as module, StandIn(socket_path, serve, options=options) as peer:
        session = module.open(7)
        thread, result = in_thread(lambda: module("C_Login", session, 1, b"1234", 4))
        while not any(request.call == 18 for request in peer.requests):
            time.sleep(0.01)
        begun = time.monotonic()
        for _ in range(20):
            assert module.session_info(session) == p11.OK
        if options:
            assert time.monotonic() - begun < 0.2 and not result
            peer.links[0].answer(held.pop(), refusal(0xA0))
        thread.join()
        assert result == [0xA0]


def test_finalize_interrupts_a_call_in_another_thread(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    speak = simple_token({})

    def serve(link: Link, request: Request) -> None:
        if request.call != 18:
            speak(link, request)

    with StandIn(socket_path, serve) as peer:
        assert module("C_Initialize", byref(OS_LOCKING)) == p11.OK
        session = module.open(7)
        thread, result = in_thread(lambda: module("C_Login", session, 1, b"1234", 4))
        while not any(request.call == 18 for request in peer.requests):
            time.sleep(0.01)
        begun = time.monotonic()
        assert module("C_Finalize", None) == p11.OK
        thread.join()
        assert result == [p11.NOT_INITIALIZED]
        assert time.monotonic() - begun < 0.5


def run_preamble(module_path: Path) -> str:
    return f"import sys; sys.path.insert(0, {str(HERE)!r}); from module_p11 import *; m = Module({str(module_path)!r})\n"


def run_child(script: str, stock_environment: dict[str, str], module_path: Path) -> str:
    command = [sys.executable, "-c", run_preamble(module_path) + script]
    done = subprocess.run(command, env=stock_environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORK = """
import os
m("C_Initialize", None)
slot = m.slots()[0]
session = m.open(slot)
read, write = os.pipe()
child = os.fork()
if child == 0:
    sockets = sum("socket:" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2
                  and os.path.islink(f"/proc/self/fd/{fd}"))
    result = [sockets, m.session_info(session), m("C_GetSlotList", 0, None, byref(c_ulong())), m("C_Finalize", None)]
    result += [m("C_Initialize", None), m.session_info(session), m.session_info(m.open(m.slots()[0]))]
    result += [m("C_Finalize", None)]
    os.write(write, repr(result).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(read, 1000).decode(), m.session_info(session))
m("C_Finalize", None)
"""


def test_fork(module_path: Path, stock: Stock) -> None:
    no, gone = p11.NOT_INITIALIZED, p11.SESSION_HANDLE_INVALID
    told = run_child(FORK, stock.environment, module_path)
    assert told == f"{[0, no, no, no, 0, gone, 0, 0]} 0\n"


CLONE = """
import os
libc = ctypes.CDLL(None)
m("C_Initialize", None)
session = m.open(m.slots()[0])
child = libc.syscall(56, 17, None, None, None, None)  # clone(SIGCHLD): no fork handler runs
if child == 0:
    ok = [m.session_info(session), m("C_Initialize", None), m.session_info(session)]
    os._exit(0 if ok == [NOT_INITIALIZED, OK, SESSION_HANDLE_INVALID] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), m.session_info(session))
m("C_Finalize", None)
"""


def test_a_child_that_no_fork_handler_saw(module_path: Path, stock: Stock) -> None:
    assert run_child(CLONE, stock.environment, module_path) == "0 0\n"


CLOSE_ALL = """
import os
m("C_Initialize", None)
session = m.open(m.slots()[0])
os.closerange(3, 100)
theirs = [os.open("/dev/zero", os.O_RDWR) for _ in range(20)]
rv = m.session_info(session)
again = m("C_Finalize", None)
print(rv, again, len([os.fstat(fd) for fd in theirs]), m("C_Initialize", None), len(m.slots()))
"""


def test_a_host_that_closes_what_it_did_not_open(module_path: Path, stock: Stock) -> None:
    """Nothing is sent to, and nothing closed of, the files that took our numbers."""
    rv, again, kept, initialize, slots = map(int, run_child(CLOSE_ALL, stock.environment, module_path).split())
    assert rv in (p11.DEVICE_REMOVED, p11.SESSION_HANDLE_INVALID, p11.NOT_INITIALIZED)
    assert (again, kept, initialize, slots) == (0, 20, 0, 2)


WITHOUT_STDIO = """
import os
out = os.dup(1)
os.closerange(0, 3)
m("C_Initialize", None)
session = m.open(m.slots()[0])
taken = [number for number in range(3) if os.path.exists(f"/proc/self/fd/{number}")]
rv = m.session_info(session)
os.dup2(out, 1)
print(rv, len(taken))
"""


def test_a_host_that_closed_its_standard_files(module_path: Path, stock: Stock) -> None:
    """What it prints then goes nowhere, not to the daemon."""
    assert run_child(WITHOUT_STDIO, stock.environment, module_path) == "0 0\n"


@pytest.mark.parametrize("rounds", [30])
def test_initialize_again_and_again_leaks_no_descriptor(module_path: Path, stock: Stock, rounds: int) -> None:
    module = Module(module_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(rounds):
        with initialized(module):
            module.open(module.slots()[0])
    assert len(os.listdir("/proc/self/fd")) == before


LOGIN = """
m("C_Initialize", None)
session = m.open(7)
pin = (ctypes.c_ubyte * 8)(*[byte ^ 0x55 for byte in bytes.fromhex(sys.argv[1])])
print(m("C_Login", session, 1, pin, 8), flush=True)
sys.stdin.readline()
"""


def count_in_memory(pid: int, needle: bytes) -> int:
    hits = 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            low, high = (int(end, 16) for end in span.split("-"))
            if mode.startswith("rw"):
                memory.seek(low)
                hits += memory.read(high - low).count(needle)
    return hits


def test_the_pin_is_wiped(module_path: Path, socket_path: Path) -> None:
    """After C_Login it stands in the memory of the host once: where the host itself put it."""
    pin = f"{secrets.randbelow(10**8):08}".encode()
    script = run_preamble(module_path) + LOGIN
    with StandIn(socket_path, simple_token({18: body(18, b"")})) as peer:
        child = subprocess.Popen(
            [sys.executable, "-c", script, bytes(byte ^ 0x55 for byte in pin).hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"0\n"
            hits = count_in_memory(child.pid, pin)
            child.communicate(b"\n", timeout=10)
        assert peer.requests[-1].values.endswith(pin)
    assert hits == 1


def test_sigpipe_is_never_raised(module_path: Path, stock: Stock) -> None:
    raised: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: raised.append(number))
    try:
        with initialized(Module(module_path)) as module:
            session = module.open(module.slots()[0])
            stock.kill()
            assert module.session_info(session) == p11.DEVICE_REMOVED
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert raised == []
