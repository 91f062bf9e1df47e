# SPDX-License-Identifier: Apache-2.0
"""The module starts the daemon when none listens: which program, in what state, and never against the host's will."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import module_p11 as p11
import pytest
from module_p11 import Module

HERE = Path(__file__).parent

# In the place of `cpxd serve`: tells what it was given, serves one slot, leaves when its last client has.
DAEMON = f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
from module_standin import StandIn, simple_token
folder = Path(os.environ["XDG_RUNTIME_DIR"])
pid, group, session = os.getpid(), os.getpgrp(), os.getsid(0)
told = {{
    "arguments": sys.argv,
    "environment": dict(os.environ),
    "descriptors": {{fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd") if fd in "012"}},
    "surplus": [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 3],
    "leader": pid in (group, session),
    "folder": os.getcwd(),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "ignored": [n for n in range(1, 32) if n not in (9, 13, 19, 25) and signal.getsignal(n) is signal.SIG_IGN],
    "parent": os.getppid(),
}}
(folder / "told").write_text(json.dumps(told))
peer = StandIn(folder / "cpxd" / "pkcs11.sock", simple_token({{}}))
end = time.monotonic() + 10
while time.monotonic() < end and not (peer.links and all(link.stream.fileno() < 0 for link in peer.links)):
    time.sleep(0.02)
"""


def program(path: Path, text: str = DAEMON) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "cpxd").mkdir(parents=True)
    return folder


HOST = """
import os, signal, sys
sys.path.insert(0, {here!r})
from module_p11 import *
children = []
signal.signal(signal.SIGCHLD, lambda *_: children.append(1))
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
kept = os.open("/dev/null", os.O_RDWR); os.set_inheritable(kept, True)
m = Module({module!r})
m("C_Initialize", None)
slots = m.slots()
again = m.slots()
try:
    os.waitpid(-1, os.WNOHANG)
    child = True
except ChildProcessError:
    child = False
m("C_Finalize", None)
print(slots, again, children, child)
"""


def run_host(module: Path, runtime: Path, **extra: str) -> tuple[str, float]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CPXD_")}
    environment |= {"XDG_RUNTIME_DIR": str(runtime), "LD_LIBRARY_PATH": "/nowhere", "PYTHONPATH": "/nowhere", **extra}
    begun = time.monotonic()
    script = HOST.format(here=str(HERE), module=str(module))
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), time.monotonic() - begun


def noted(module_path: Path, folder: Path, target: str) -> Path:
    """The module in a folder of its own, with a note that names the daemon."""
    folder.mkdir()
    module = folder / "libcpxd-pkcs11.so"
    shutil.copy(module_path, module)
    (folder / "libcpxd-pkcs11.daemon").write_text(target + "\n")
    return module


def test_the_daemon_of_the_note_is_started_and_detached(module_path: Path, tmp_path: Path, runtime: Path) -> None:
    daemon = program(tmp_path / "bin" / "any-name")
    module = noted(module_path, tmp_path / "module", str(daemon))
    told, took = run_host(module, runtime, DISPLAY=":7")
    assert told == "[7] [7] [] False"
    assert took < 4
    seen = json.loads((runtime / "told").read_text())
    assert seen["arguments"] == [str(daemon), "serve"]
    assert set(seen["descriptors"].values()) == {"/dev/null"}
    assert seen["surplus"] == []
    assert (seen["leader"], seen["folder"], seen["blocked"], seen["ignored"]) == (False, "/", [], [])
    assert seen["environment"]["DISPLAY"] == ":7"
    assert not [name for name in seen["environment"] if name.startswith(("LD_", "PYTHON"))]
    assert seen["environment"]["PATH"] == "/usr/local/bin:/usr/bin:/bin"


def test_the_daemon_of_the_installation(module_path: Path, tmp_path: Path, runtime: Path) -> None:
    prefix = tmp_path / "prefix"
    daemon = program(prefix / "bin" / "cpxd")
    folder = prefix / "lib" / "python3.11" / "site-packages" / "cpxd" / "pkcs11" / "module"
    folder.mkdir(parents=True)
    shutil.copy(module_path, folder / "libcpxd-pkcs11.so")
    elsewhere = tmp_path / "elsewhere.so"  # as a link in a folder of PKCS#11 modules
    elsewhere.symlink_to(folder / "libcpxd-pkcs11.so")
    assert run_host(elsewhere, runtime)[0] == "[7] [7] [] False"
    assert json.loads((runtime / "told").read_text())["arguments"] == [str(daemon), "serve"]


@pytest.mark.parametrize("why", ["CPXD_NO_START", "CPXD_PKCS11_SOCKET"])
def test_not_started_when_the_host_says_so(module_path: Path, tmp_path: Path, runtime: Path, why: str) -> None:
    module = noted(module_path, tmp_path / "module", str(program(tmp_path / "bin" / "cpxd")))
    told, took = run_host(module, runtime, **{why: str(tmp_path / "nothing")})
    assert told == "[] [] [] False"
    assert took < 1.5
    assert not (runtime / "told").exists()


@pytest.mark.parametrize("fault", ["relative", "missing", "writable by others", "not executable", "a folder"])
def test_a_program_that_is_not_to_be_trusted(module_path: Path, tmp_path: Path, runtime: Path, fault: str) -> None:
    daemon = program(tmp_path / "bin" / "cpxd")
    target = str(daemon)
    if fault == "relative":
        target = "bin/cpxd"
    elif fault == "missing":
        daemon.unlink()
    elif fault == "writable by others":
        daemon.chmod(0o777)
    elif fault == "not executable":
        daemon.chmod(0o644)
    else:
        target = str(daemon.parent)
    assert stat.S_ISDIR((tmp_path / "bin").stat().st_mode)
    told, took = run_host(noted(module_path, tmp_path / "module", target), runtime)
    assert told == "[] [] [] False"
    assert took < 1.5
    assert not (runtime / "told").exists()


def test_a_program_that_never_listens_costs_the_host_two_seconds_once(module_path: Path, tmp_path: Path, runtime: Path) -> None:
    marks = tmp_path / "marks"
    daemon = program(tmp_path / "bin" / "cpxd", f"#!/bin/sh\necho started >> {marks}\n")
    told, took = run_host(noted(module_path, tmp_path / "module", str(daemon)), runtime)
    assert told == "[] [] [] False"
    assert 1.9 < took < 3
    assert marks.read_text() == "started\n"


def test_initialize_alone_starts_nothing(
    module_path: Path, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = noted(module_path, tmp_path / "module", str(program(tmp_path / "bin" / "cpxd")))
    monkeypatch.delenv("CPXD_PKCS11_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    library = Module(module)
    begun = time.monotonic()
    with p11.initialized(library):
        assert time.monotonic() - begun < 0.05
        assert library.session_info(1) == p11.SESSION_HANDLE_INVALID
    time.sleep(0.2)
    assert not (runtime / "told").exists()
