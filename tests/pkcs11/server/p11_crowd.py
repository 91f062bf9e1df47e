# SPDX-License-Identifier: Apache-2.0
"""A host that forks in the middle of its work: p11_crowd.py MODULE CHILDREN SESSIONS. A child starts anew, a thread a session.

Says nothing when all is right; its exit status is the number of children for which it is not, 100 when not for the parent.
"""

from __future__ import annotations

import os
import sys
import threading
from ctypes import byref, c_ulong, create_string_buffer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "module"))
from module_p11 import NOT_INITIALIZED, OK, Mechanism, Module, attributes

CLASS, VALUE, LABEL = 0x0, 0x11, 0x3
CERTIFICATE, PRIVATE_KEY = (number.to_bytes(8, "little") for number in (1, 3))
ROUNDS = 6


def find(module: Module, session: int, *wanted: tuple[int, bytes]) -> int:
    found, count = (c_ulong * 8)(), c_ulong()
    assert module("C_FindObjectsInit", session, attributes(*wanted), len(wanted)) == OK
    assert module("C_FindObjects", session, found, 8, byref(count)) == OK and count.value
    assert module("C_FindObjectsFinal", session) == OK
    return int(found[0])


def look(module: Module, session: int, right: list[int]) -> None:
    for _ in range(ROUNDS):
        assert module.session_info(session) == OK
        certificate = find(module, session, (CLASS, CERTIFICATE))
        assert module("C_GetAttributeValue", session, certificate, attributes((VALUE, 4096)), 1) == OK
    right.append(session)


def login(module: Module, session: int) -> None:
    assert module("C_Login", session, 1, create_string_buffer(b"1234"), 4) == OK


def signs(module: Module, session: int) -> bool:
    key = find(module, session, (CLASS, PRIVATE_KEY), (LABEL, b"CPS_PRIV_AUT"))
    signature, length = create_string_buffer(256), c_ulong(256)
    assert module("C_SignInit", session, byref(Mechanism(0x40, None, 0)), key) == OK
    return module("C_Sign", session, b"text", 4, signature, byref(length)) == OK


def child(module: Module, inherited: int, sessions: int) -> bool:
    assert module.session_info(inherited) == NOT_INITIALIZED, "what the parent opened is not the child's"
    assert module("C_Initialize", None) == OK
    right: list[int] = []
    opened = [module.open(0) for _ in range(sessions)]
    threads = [threading.Thread(target=look, args=(module, session, right)) for session in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    login(module, opened[0])
    done = signs(module, opened[-1])
    assert module("C_CloseAllSessions", 0) == OK and module("C_Finalize", None) == OK
    return done and len(right) == sessions


def main() -> int:
    module, children, sessions = Module(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    assert module("C_Initialize", None) == OK
    session = module.open(0)
    login(module, session)
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if child(module, session, sessions) else 1)
            finally:
                os._exit(2)
        pids.append(pid)
    wrong = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    return wrong if signs(module, session) else 100


if __name__ == "__main__":
    sys.exit(main())
