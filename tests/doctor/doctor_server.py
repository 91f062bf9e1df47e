# SPDX-License-Identifier: Apache-2.0
"""Examinations, each in a process of its own, forked from one that has imported the doctor. Run as a script.

Request: JSON {environment, root, home, now, built, reader, browser, site, fix}. Answer: the JSON of `cpxd doctor --json`.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_WIRE = 1 << 18


class Server:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(40)
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _WIRE)
        with theirs:
            environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno(), env=environment)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._socket.send(json.dumps(request).encode())
        answer: dict[str, Any] = json.loads(self._socket.recv(_WIRE))
        return answer

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


def _examine(request: dict[str, Any]) -> dict[str, Any]:
    from cpxd.doctor.engine import examine
    from cpxd.doctor.machine import Machine
    from cpxd.doctor.report import as_json, lines
    from cpxd.doctor.visit import Options, Visit
    from cpxd.text import choose_language

    os.environ.clear()
    os.environ.update(request["environment"])
    choose_language("fr")
    clock = datetime.now(UTC) if request["now"] is None else datetime.fromisoformat(request["now"])
    built = datetime.fromisoformat(request["built"])
    machine = Machine(Path(request["root"]), Path(request["home"]), lambda: clock, lambda: built)
    options = Options(request["reader"], request["browser"], site=request["site"])
    found = examine(Visit(machine, options))
    repaired = []
    if request["fix"]:
        for finding in found.causes:
            if finding.fix is not None and finding.fix.automatic is not None:
                finding.fix.automatic()
                repaired.append(finding.code)
        found = examine(Visit(machine, options))
    answer = {**as_json(found), "repaired": repaired, "screen": list(lines(found, everything=True))}
    choose_language("en")
    return {**answer, "english": list(lines(found, everything=True))}


def _serve() -> None:
    import cpxd.doctor.engine
    import cpxd.doctor.report
    import cpxd.signature.chain  # noqa: F401  # what a first question would load

    gc.freeze()
    link = socket.socket(fileno=os.dup(0))
    while request := link.recv(_WIRE):
        child = os.fork()
        if child == 0:
            try:
                answer = json.dumps(_examine(json.loads(request)))
            except BaseException as error:
                answer = json.dumps({"defect": repr(error)})
            link.send(answer.encode())
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _serve()
