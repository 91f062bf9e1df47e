# SPDX-License-Identifier: Apache-2.0
"""The PKCS#11 module from a small C application: commands sent to the card, and the time of a call for information.

Beside it OpenSC 0.23 on the same virtual card, and a bare asyncio echo on a unix socket, in the same run. Counts are exact,
GET RESPONSE apart; of the times only the ratios mean something.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from simulator.lab import Lab

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
OPENSC = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")
INFORMATION = ("token-info", "session-info")
CALLS = 2000
ROUNDS = 5
_APPLICATION = "e828bd080f8025000001ff0010"
KEYS = {"cps3": ("01", "02"), "cps4": ("10", "20")}  # signature, authentication
# what each step may cost, commands of the card
BOUNDS = {
    "C_Initialize": 0,
    "C_GetTokenInfo": 0,
    "C_GetSessionInfo": 0,
    "second application up to its login": 0,
    "login": 2,
    "signature key": 2,
}
BOUNDS_OF = {
    "cps3": {"authentication key": 2, "authentication key, next": 1},
    "cps4": {
        "authentication key": 3,
        "authentication key, next": 2,
        "authentication key, PSS": 2,
        "authentication key, PSS, next": 2,
    },
}
RATIO = 2.0  # a call for information against an echo


class Failed(Exception):
    """The application was refused something."""


def build(folder: Path) -> Path:
    """The application in C."""
    program = folder / "pkcs11_client"
    command = ["gcc", "-std=c11", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{MODULE.parent}"]
    subprocess.run([*command, str(ROOT / "bench" / "pkcs11_client.c"), "-o", str(program), "-ldl"], check=True)
    return program


class Application:
    """One process with the module in it."""

    def __init__(self, program: Path, module: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [program, module], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.pid = self._process.pid

    def __enter__(self) -> Application:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def __call__(self, *words: str | int | Path) -> float:
        """Microseconds. Raises Failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        said = self._process.stdout.readline().split()
        if len(said) != 2 or said[0] != "ok":
            raise Failed(f"{words}: {' '.join(said)}")
        return float(said[1])


@dataclass
class Steps:
    """Counts what the card in slot 0 was sent during each step, GET RESPONSE apart."""

    lab: Lab
    counts: dict[str, int]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        trace = self.lab.card(0).trace
        start = len(trace)
        yield
        self.counts[name] = sum(command[1] != 0xC0 for command, _ in trace[start:])


def attach(application: Application) -> None:
    for word in ("initialize", "token", "open", "certificates"):
        application(word)
    application("token-info", 1)
    application("session-info", 1)


def reading(lab: Lab, program: Path) -> int:
    """The commands of the daemon's one reading, which starts when the card is inserted; it is over at the return."""
    with Application(program, MODULE, {**os.environ, **lab.env}) as application:
        attach(application)
        application("finalize")
    return sum(command[1] != 0xC0 for command, _ in lab.card(0).trace)


def counted(lab: Lab, program: Path, module: Path, model: str) -> dict[str, int]:
    """Of each step, by its name. A step that the module cannot do is left out."""
    environment, steps = {**os.environ, **lab.env}, Steps(lab, {})
    signature, authentication = (_APPLICATION + key for key in KEYS[model])
    with Application(program, module, environment) as first, Application(program, module, environment) as second:
        with steps.step("C_Initialize"):
            first("initialize")
        with steps.step("find the token, read its certificates"):
            for word in ("token", "open", "certificates"):
                first(word)
        with steps.step("login"):
            first("login", "1234")
        with steps.step("C_GetTokenInfo"):
            first("token-info", 1)
        with steps.step("C_GetSessionInfo"):
            first("session-info", 1)
        first("key", authentication)
        for how, name in (("pkcs1", "authentication key"), ("pss", "authentication key, PSS")):
            if how == "pss" and model == "cps3":
                continue
            for turn in ("", ", next"):
                with steps.step(name + turn):
                    first("sign", how)
        try:
            first("key", signature)
            with steps.step("signature key"):
                first("sign", "pkcs1")
        except Failed:
            steps.counts.pop("signature key", None)
        with steps.step("second application up to its login"):
            attach(second)
        for application in (second, first):
            application("close")
            application("finalize")
    return steps.counts


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@contextmanager
def echoing(path: Path) -> Iterator[int]:
    """A bare asyncio echo, in a process of its own as the daemon is: its process id."""
    process = subprocess.Popen([sys.executable, __file__, "--echo", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()  # it holds nothing
        process.wait()
        process.stdout.close()


def echo_server(path: str) -> None:
    async def serve() -> None:
        await asyncio.get_running_loop().create_unix_server(Echo, path)
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


def latencies(lab: Lab, program: Path, folder: Path) -> dict[str, float]:
    """Microseconds: a bare echo, and the module's two calls for information. Rounds alternate, each has its median; the least
    of them is what the work takes when the machine does nothing else.

    The client, the echo and the daemon share one processor: to wake an idle other one costs three times an echo, and which of the
    pairs the scheduler then parts is chance.
    """
    assert lab.daemon is not None
    environment, path = {**os.environ, **lab.env}, folder / "echo.sock"
    path.unlink(missing_ok=True)
    found: dict[str, list[float]] = {name: [] for name in ("echo", *(f"cpxd {call}" for call in INFORMATION))}
    with echoing(path) as echo, Application(program, MODULE, environment) as ours:
        processor = {min(os.sched_getaffinity(0))}
        for pid in (echo, ours.pid, lab.daemon.process.pid):
            os.sched_setaffinity(pid, processor)
        attach(ours)
        ours("login", "1234")
        for _ in range(ROUNDS):
            found["echo"].append(ours("echo", path, CALLS))
            for call in INFORMATION:
                found[f"cpxd {call}"].append(ours(call, CALLS))
    return {name: min(times) for name, times in found.items()}


def bounds(model: str) -> dict[str, int]:
    return BOUNDS | BOUNDS_OF[model]


def limit_of(name: str) -> str:
    return f" (bound: {RATIO:.0f})" if name.startswith("cpxd") else ""


def report(model: str, program: Path, folder: Path) -> None:
    # the two middlewares one after the other: OpenSC takes the card for itself
    with Lab([f"cps-medecin:{model}"], slots=1, daemon=True) as lab:
        read = reading(lab, program)
        ours = counted(lab, program, MODULE, model)
        times = latencies(lab, program, folder)
    theirs: Mapping[str, int] = {}
    if model == "cps3":  # OpenSC 0.23 does not know the CPS4
        with Lab([f"cps-medecin:{model}"], slots=1) as lab:
            theirs = counted(lab, program, OPENSC, model)
            with Application(program, OPENSC, {**os.environ, **lab.env}) as application:
                attach(application)
                application("login", "1234")
                times |= {f"OpenSC {call}": application(call, 20) for call in INFORMATION}
    print(f"  {'PKCS#11, commands sent to the card':<58}{'cpxd':>7}{'bound':>7}{'OpenSC':>8}")
    limit = bounds(model)
    print(f"  {'inserted: read once, in the background':<58}{read:>7}")
    for name, count in ours.items():
        print(f"  {name:<58}{count:>7}{limit.get(name, ''):>7}{theirs.get(name, '-'):>8}")
        if count > limit.get(name, count):
            raise SystemExit(f"{name}: {count} commands, bound {limit[name]}")
    print(f"  {'PKCS#11, one call for information, microseconds (median)':<58}")
    for name, time in times.items():
        print(f"  {name:<58}{time:>7.1f}   {time / times['echo']:.2f} of an echo{limit_of(name)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name))
        for model in ("cps3", "cps4"):
            print(f"{model.upper()}, persona cps-medecin, C application, daemon, own reader driver, stock pcscd", flush=True)
            report(model, program, Path(name))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--echo"]:
        echo_server(sys.argv[2])
    else:
        main()
