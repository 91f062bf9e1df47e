# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: running cpxd as a person does, cards with a wrapper round them, a real terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pty
import re
import select
import subprocess
import sys
import sysconfig
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import fork_server
from jsonschema import Draft202012Validator

import cpxd as product
from simulator import personalise, personas
from simulator.cardos import VirtualCard, make_card
from simulator.image import ElementaryFile, Image, Model
from simulator.lab import Lab

SCRIPTS = Path(sysconfig.get_path("scripts"))
CPXD = str(SCRIPTS / "cpxd")
PIN, UNBLOCK = "1234", "12345678"
ATR_CPS4_T0 = bytes.fromhex("3BDC18FF0000122500648000040100 9000")
ATR_CPS4_RC = bytes.fromhex("3B9B1880010012250064800004010090 44")
ATR_CPS2TER = bytes.fromhex("3BAC00402A001225006480820212009000")
MODELS = ("cps3", "cps4", "cps4-t0")  # cps4-t0: the CPS4 as terminals without T=1 show it
PERSONAS = tuple(sorted(path.stem for path in Path(personas.__file__).parent.glob("*.toml")))
Item = TypeVar("Item")
_WITH_CODE = (0x20, 0x24, 0x2C)  # VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER


@functools.cache
def image(persona: str = "cps-medecin", model: str = "cps3") -> Image:
    made = personalise.personalise(personas.load(persona), cast(Model, model.removesuffix("-t0")))
    return dataclasses.replace(made, atr=ATR_CPS4_T0) if model == "cps4-t0" else made


def card(persona: str = "cps-medecin", model: str = "cps3") -> VirtualCard:
    return make_card(image(persona, model))


def card_with_codes(model: str, *, pin: dict[str, Any] | None = None, unblock: dict[str, Any] | None = None) -> VirtualCard:
    """Changes of the fields of `simulator.image.Pin`: tries_left, uses_left, value."""
    made = image(model=model)
    changes = {1: pin or {}, 2: unblock or {}}
    return make_card(dataclasses.replace(made, pins=tuple(dataclasses.replace(p, **changes[p.reference]) for p in made.pins)))


def with_files(base: Image, changes: dict[int, bytes | None]) -> Image:
    """By last file identifier: another content, or None for no file at all. Only DF 0001 and the MF are touched."""

    def changed(file: ElementaryFile) -> ElementaryFile:
        content = changes.get(file.path[-1], file.content)
        return file if content is file.content or content is None else dataclasses.replace(file, content=content, size=None)

    mine = [file for file in base.files if file.path[0] != 0x0002]
    assert set(changes) <= {file.path[-1] for file in mine}, "no such file to change"
    gone = {number for number, content in changes.items() if content is None}
    files = tuple(changed(f) if f in mine else f for f in base.files if f not in mine or f.path[-1] not in gone)
    return dataclasses.replace(base, files=files)


def content(base: Image, number: int) -> bytes:
    """Of a file of the contact application or of the MF."""
    return next(file.content for file in base.files if file.path[-1] == number and file.path[0] != 0x0002)


@functools.cache
def card_schema() -> Draft202012Validator:
    """The published schema of `cpxd card --json`."""
    text = json.loads((Path(product.__file__).parent / "schema" / "card.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(text)
    return Draft202012Validator(text)


class Wrapped:
    """A card with something between it and the reader. `power_off_at`, `last_command_at`: time.monotonic."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.power_off_at = 0.0
        self.last_command_at = 0.0

    @property
    def atr(self) -> bytes:
        atr: bytes = self.inner.atr
        return atr

    def power_on(self) -> None:
        self.inner.power_on()

    def power_off(self) -> None:
        self.power_off_at = time.monotonic()
        self.inner.power_off()

    def reset(self) -> None:
        self.inner.reset()

    def transmit(self, apdu: bytes) -> bytes:
        self.last_command_at = time.monotonic()
        answer: bytes = self.inner.transmit(apdu)
        return answer


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str
    started: float  # time.monotonic
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def cpxd(
    lab: Lab,
    *arguments: str,
    codes: Sequence[str] | bytes | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 30,
) -> Result:
    """A cpxd process without a terminal, forked (see fork_server). codes: what --pin-fd yields, one a line (bytes: as is)."""
    environment = {**os.environ, **lab.env, **plain_environment(), **(env or {})}
    with contextlib.ExitStack() as stack:
        descriptor = None if codes is None else stack.enter_context(pin_pipe(codes))
        started = time.monotonic()
        code, out, err = fork_server.of_this_thread().run(_asked(arguments, descriptor), environment, descriptor, timeout)
        return Result(code, out, err, started, time.monotonic())


def command(lab: Lab, *arguments: str, codes: Sequence[str] | bytes | None = None, **options: Any) -> Result:
    """The console script itself, run as a shell would. options: of subprocess.run."""
    with contextlib.ExitStack() as stack:
        descriptor = None if codes is None else stack.enter_context(pin_pipe(codes))
        line = [*options.pop("prefix", ()), CPXD, *_asked(arguments, descriptor)]
        if descriptor is not None:
            options["pass_fds"] = (descriptor,)
        defaults: dict[str, Any] = {"stdin": subprocess.DEVNULL, "timeout": 30, "start_new_session": True}
        options = {**defaults, **options, "env": {**plain_environment(), **(options.get("env") or {})}}
        started = time.monotonic()
        done = lab.run(line, capture_output=True, encoding="utf-8", errors="surrogateescape", **options)
        return Result(done.returncode, done.stdout, done.stderr, started, time.monotonic())


def _asked(arguments: Sequence[str], descriptor: int | None) -> list[str]:
    """With --pin-fd, before what follows a "--"."""
    if descriptor is None:
        return list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:end], "--pin-fd", str(descriptor), *arguments[end:]]


def plain_environment() -> dict[str, str]:
    """The language of the machine must not decide what a test sees."""
    return {"LANG": "C.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "LANGUAGE": ""}


@contextlib.contextmanager
def pin_pipe(codes: Sequence[str] | bytes) -> Iterator[int]:
    reader, writer = os.pipe()
    os.write(writer, codes if isinstance(codes, bytes) else "".join(f"{code}\n" for code in codes).encode())
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)


def fails(result: Result, code: int | tuple[int, ...]) -> str:
    """The line of an error, once it is seen to be one: that exit code, one line, nothing on stdout, no traceback."""
    wanted = (code,) if isinstance(code, int) else code
    assert result.code in wanted, f"exit {result.code}, not {code}: {result.err}{result.out}"
    assert "Traceback" not in result.err
    assert result.err.endswith("\n") and result.err.count("\n") == 1, f"not one line: {result.err!r}"
    assert len(result.err.strip()) > 20, f"says nothing: {result.err!r}"
    assert result.out == "", f"an error is no result: {result.out!r}"
    return result.err


def succeeds(result: Result) -> Result:
    assert result.code == 0, f"exit {result.code}: {result.err}"
    assert result.err == "", f"done, and yet: {result.err!r}"
    return result


def degraded(result: Result) -> Result:
    """Done, with or without warnings of a line each about what could not be read."""
    assert result.code == 0, f"exit {result.code}: {result.err}"
    assert all(line.startswith("cpxd : ") for line in result.err.splitlines()), result.err
    return result


def with_codes(trace: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The commands of a trace that carry a secret code."""
    return [command for command, _ in trace if command[1] in _WITH_CODE and len(command) > 5]


def tries(virtual: VirtualCard, reference: int = 1) -> int:
    """What the card itself holds."""
    return _code(virtual, reference)["tries_left"]


def value(virtual: VirtualCard, reference: int = 1) -> str:
    return str(_code(virtual, reference)["value"])


def _code(virtual: VirtualCard, reference: int) -> Any:
    return virtual.state()["codes"][str(reference)]


_threads = ThreadPoolExecutor(2)  # the same ones for all tests: each keeps a fork server


def in_parallel(labs: Sequence[Lab], work: Callable[[Lab, Item], list[str]], items: Sequence[Item]) -> list[str]:
    """What `work` says of each item, each lab in a thread of its own."""

    def share(number: int) -> list[str]:
        return [trouble for item in items[number :: len(labs)] for trouble in work(labs[number], item)]

    return list(itertools.chain(*_threads.map(share, range(len(labs)))))


class Terminal:
    """cpxd at a real pseudo-terminal that is its controlling one."""

    def __init__(self, lab: Lab, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        env = {**os.environ, **lab.env, **plain_environment(), **(environment or {})}
        command = ["setsid", "--ctty", CPXD, *arguments]
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=env)
        self.screen = ""
        self._read = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def expect(self, pattern: str, seconds: float = 15) -> None:
        """Waits until what is new on the screen has `pattern`."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.screen[self._read :])) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen: {self.screen!r}"
            self._pump(0.05)
        self._read += found.end()

    def type(self, text: str | bytes) -> None:
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def expect_hidden(self, pattern: str = r"(?i)code|pin") -> None:
        """A prompt, with the echo already off when it can be answered."""
        self.expect(pattern)
        deadline = time.monotonic() + 5
        while termios.tcgetattr(self.slave)[3] & termios.ECHO:
            assert time.monotonic() < deadline, "the terminal echoes what is typed"
            time.sleep(0.005)

    def finish(self, seconds: float = 15) -> int:
        """Waits for the end; the screen is then complete, and the terminal must be as it was."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end: {self.screen!r}"
            self._pump(0.02)
        while self._pump(0.02):
            pass
        assert "Traceback" not in self.screen, self.screen
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return self.process.returncode

    def _pump(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.screen += os.read(self.master, 65536).decode("utf-8", "replace")
        return True


class Mover:
    """Another program with a SHARED handle on the same card, that sends `commands` again and again until the block is left."""

    def __init__(self, lab: Lab, reader: str, commands: Sequence[bytes], *, reset: bool = False) -> None:
        self._command = [sys.executable, "-c", _MOVER, reader, str(int(reset)), *(command.hex() for command in commands)]
        self._env = {**os.environ, **lab.env}

    def __enter__(self) -> Mover:
        self.process = subprocess.Popen(self._command, env=self._env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert int(self.process.stdout.readline()) > 0, "the other program reaches the card"
        return self

    def __exit__(self, *_: object) -> None:
        still_there = self.process.poll() is None
        self.process.kill()
        self.process.communicate()
        assert still_there, "the other program ended by itself"


_MOVER = """
import sys
from smartcard.scard import *
context = SCardEstablishContext(SCARD_SCOPE_USER)[1]
commands = [bytes.fromhex(word) for word in sys.argv[3:]]
while True:
    failed, card, protocol = SCardConnect(context, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
    if failed:
        continue
    done = sum(SCardTransmit(card, protocol, list(command))[0] == 0 for _ in range(50) for command in commands)
    SCardDisconnect(card, SCARD_RESET_CARD if sys.argv[2] == "1" else SCARD_LEAVE_CARD)
    if done:
        print(done, flush=True)
"""
