# SPDX-License-Identifier: Apache-2.0
"""C_WaitForSlotEvent: its own connection, its interruption, and a daemon that goes and comes."""

from __future__ import annotations

import time
from ctypes import byref, c_ulong
from pathlib import Path

import module_p11 as p11
from module_p11 import InitArgs, Module, in_thread, initialized
from module_standin import Link, Request, StandIn, body, number, refusal, simple_token

OS_LOCKING = InitArgs(flags=2)


def event_after(module: Module, flags: int = 0) -> tuple[int, int]:
    slot = c_ulong()
    rv = module("C_WaitForSlotEvent", flags, byref(slot), None)
    return rv, slot.value


def test_waiting_is_interrupted_by_finalize(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    speak = simple_token({})

    def serve(link: Link, request: Request) -> None:
        if request.call != 65:
            speak(link, request)

    for standing in (True, False):  # with a daemon that has no event, and without a daemon
        peer = StandIn(socket_path, serve) if standing else None
        assert module("C_Initialize", byref(OS_LOCKING)) == p11.OK
        thread, result = in_thread(lambda: event_after(module)[0])
        time.sleep(0.2)
        assert thread.is_alive()
        assert event_after(module, 1)[0] == p11.NO_EVENT
        begun = time.monotonic()
        assert module("C_Finalize", None) == p11.OK
        thread.join()
        assert result == [p11.NOT_INITIALIZED]
        assert time.monotonic() - begun < 0.3
        if peer is not None:
            peer.close()


def test_threads_that_begin_to_wait_at_once_see_no_event_in_each_other(module_path: Path, socket_path: Path) -> None:
    speak = simple_token({})
    held: list[Request] = []

    def serve(link: Link, request: Request) -> None:
        if request.call == 4:
            held.append(request)
            if len(held) == 2:  # both know of no slot yet
                for each in held:
                    speak(link, each)
        elif request.call != 65:
            speak(link, request)

    module = Module(module_path)
    with StandIn(socket_path, serve) as peer, initialized(module, OS_LOCKING):
        waiting = [in_thread(lambda: event_after(module)[0]) for _ in range(2)]
        until = time.monotonic() + 5
        while sum(request.call == 65 for request in peer.requests) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert [result for _, result in waiting] == [[], []]
    for thread, result in waiting:
        thread.join()
        assert result == [p11.NOT_INITIALIZED]


def test_events_have_their_own_connection(module: Module, socket_path: Path) -> None:
    with StandIn(socket_path, simple_token({65: body(65, b"u", number(7))})) as peer:
        session = module.open(7)
        assert event_after(module) == (p11.OK, 7)
        assert event_after(module, 1) == (p11.OK, 7)
        assert module.session_info(session) == p11.OK
        assert len(peer.links) == 2
        slot = c_ulong()
        assert module("C_WaitForSlotEvent", 0, None, None) == p11.ARGUMENTS_BAD
        assert module("C_WaitForSlotEvent", 0, byref(slot), byref(slot)) == p11.ARGUMENTS_BAD


def test_what_happened_before_the_first_wait_is_told(module: Module, socket_path: Path) -> None:
    """An event counts from C_Initialize on (PKCS#11 2.40, 5.5, C_WaitForSlotEvent), and waiting has a connection of its own."""
    speak = simple_token({})
    happened = [7]

    def serve(link: Link, request: Request) -> None:
        if request.call != 65:
            speak(link, request)
        elif link is peer.links[0] and happened:
            link.answer(request, body(65, b"u", number(happened.pop())))
        else:
            link.answer(request, refusal(p11.NO_EVENT))

    with StandIn(socket_path, serve, options=b"cpx1;") as peer:
        assert module.slots() == [7]
        assert event_after(module, 1) == (p11.OK, 7)
        assert event_after(module, 1)[0] == p11.NO_EVENT


def test_a_refusal_to_wait_is_handed_on(module: Module, socket_path: Path) -> None:
    with StandIn(socket_path, simple_token({65: refusal(p11.FUNCTION_NOT_SUPPORTED)})):
        assert event_after(module)[0] == p11.FUNCTION_NOT_SUPPORTED  # NSS then polls


def test_a_daemon_that_goes_and_comes_is_an_event_of_its_slots(module_path: Path, socket_path: Path) -> None:
    speak = simple_token({})

    def serve(link: Link, request: Request) -> None:
        if request.call != 65:
            speak(link, request)

    with initialized(Module(module_path), OS_LOCKING) as module:
        assert event_after(module, 1)[0] == p11.NO_EVENT
        peer = StandIn(socket_path, serve)
        assert event_after(module) == (p11.OK, 7)  # it came
        thread, result = in_thread(lambda: event_after(module)[0])
        while not any(request.call == 65 for request in peer.requests):
            time.sleep(0.01)
        peer.close()
        thread.join(2)
        assert result == [p11.OK]  # it went
        assert event_after(module, 1)[0] == p11.NO_EVENT
        with StandIn(socket_path, serve):
            assert event_after(module) == (p11.OK, 7)
