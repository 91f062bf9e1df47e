# SPDX-License-Identifier: Apache-2.0
"""The C side of a conversation with a pinentry, over bare pipes: what any program might write there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from cpxd._apdu_ffi import ffi, lib
from hypothesis import given, settings
from hypothesis import strategies as st

from cpxd.secret import Secret

GREETING = b"OK hello\n"


@dataclass
class Talk:
    """Both ends of a conversation; `theirs` are what the pinentry would read from and write to."""

    to: int
    back: int
    reads: int
    writes: int
    wake: int = -1


@contextlib.contextmanager
def pipes() -> Iterator[Talk]:
    reads, to = os.pipe()
    back, writes = os.pipe()
    os.set_blocking(to, False)
    os.set_blocking(back, False)
    talk = Talk(to, back, reads, writes)
    try:
        yield talk
    finally:
        for fd in (talk.to, talk.back, talk.reads, talk.writes):
            with contextlib.suppress(OSError):
                os.close(fd)


def run(talk: Talk, commands: bytes, secret: Secret | None = None, seconds: float = 10.0) -> int:
    kept = ffi.from_buffer(commands)
    memory = lib.assuan_new(talk.to, talk.back, talk.wake, kept, len(commands), int((time.monotonic() + seconds) * 1000))
    assert memory != ffi.NULL
    try:
        while (code := lib.assuan_run(memory, ffi.NULL if secret is None else secret._handle)) == lib.APDU_E_INTERRUPTED:
            pass
        return int(code)
    finally:
        lib.assuan_free(memory)


def answered(said: bytes, *, wanted: bool = True, commands: bytes = b"GETPIN\n", closed: bool = True) -> tuple[int, Secret]:
    """The outcome when all of `said` is there at once, after the greeting."""
    secret = Secret()
    with pipes() as talk:
        os.write(talk.writes, GREETING + said)
        if closed:
            os.close(talk.writes)
        return run(talk, commands, secret if wanted else None), secret


def holds(secret: Secret, content: bytes) -> bool:
    return len(secret) == len(content) and secret.digest(b"salt") == hashlib.sha256(b"salt" + content).digest()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"D 1234\nOK\n", b"1234"),
        (b"D 1234\r\nOK\r\n", b"1234"),
        (b"D 12\nD 34\nOK done\n", b"1234"),
        (b"D 1%25%0a%0D2\nOK\n", b"1%\n\r2"),
        (b"D \nOK\n", b""),
        (b"D\nOK\n", b""),
        (b"OK\n", b""),
        (b"D  1 \nOK\n", b" 1 "),
        (b"D 1\x00\xff2\nOK\n", b"1\x00\xff2"),
        (b"S PASSWORD_FROM_CACHE\n# a word\n#\nS\nD 1234\nOK\n", b"1234"),
        (b"D " + b"9" * 64 + b"\nOK\n", b"9" * 64),
        (b"D " + b"%39" * 64 + b"\nOK\n", b"9" * 64),
        (b"D 1234\nOK\nD 9999\nOK\n", b"1234"),
    ],
)
def test_answers(said: bytes, expected: bytes) -> None:
    code, secret = answered(said)
    assert code == 0
    assert holds(secret, expected)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b"ERR 83886179 cancelled\n", 99),
        (b"ERR 83886179\n", 99),
        (b"ERR 99\r\n", 99),
        (b"D 1234\nERR 83886142 Timeout <Pinentry>\n", 62),
        (b"ERR\n", lib.APDU_E_RESPONSE),
        (b"ERR \n", lib.APDU_E_RESPONSE),
        (b"ERR 0\n", lib.APDU_E_RESPONSE),
        (b"ERR 65536\n", lib.APDU_E_RESPONSE),
        (b"ERR ninety\n", lib.APDU_E_RESPONSE),
        (b"ERR -99 no\n", lib.APDU_E_RESPONSE),
        (b"ERR 99999999999999999999999\n", lib.APDU_E_RESPONSE),
        (b"\n", lib.APDU_E_RESPONSE),
        (b"hello\n", lib.APDU_E_RESPONSE),
        (b"OKAY\n", lib.APDU_E_RESPONSE),
        (b"ok\n", lib.APDU_E_RESPONSE),
        (b"D1234\nOK\n", lib.APDU_E_RESPONSE),
        (b"INQUIRE QUALITY 1234\n", lib.APDU_E_RESPONSE),
        (b"D 12%\nOK\n", lib.APDU_E_RESPONSE),
        (b"D 12%3\nOK\n", lib.APDU_E_RESPONSE),
        (b"D 12%3g\nOK\n", lib.APDU_E_RESPONSE),
        (b"D 1234\n", lib.APDU_E_EOF),
        (b"D 1234\nOK", lib.APDU_E_EOF),
        (b"", lib.APDU_E_EOF),
        (b"D " + b"9" * 65 + b"\nOK\n", lib.APDU_E_PIN),
        (b"D " + b"9" * 64 + b"\nD 9\nOK\n", lib.APDU_E_PIN),
        (b"D " + b"9" * 998 + b"\nOK\n", lib.APDU_E_PIN),
        (b"D " + b"9" * 1001 + b"\nOK\n", lib.APDU_E_LONG),
        (b"x" * 5000, lib.APDU_E_LONG),
    ],
)
def test_refusals(said: bytes, outcome: int) -> None:
    code, secret = answered(said)
    assert code == outcome
    assert len(secret) == 0


def test_data_where_none_was_asked_for() -> None:
    assert answered(b"D 1\nOK\n", wanted=False)[0] == lib.APDU_E_RESPONSE
    assert answered(b"D 1\nOK\nOK\n", commands=b"SETDESC x\nGETPIN\n")[0] == lib.APDU_E_RESPONSE
    assert answered(b"OK\n", wanted=False)[0] == 0


def test_commands_go_out_one_by_one_and_some_may_be_refused() -> None:
    said = b"ERR 174 unknown\nOK\nD 1234\nOK\n"
    with pipes() as talk:
        os.write(talk.writes, GREETING + said)
        secret = Secret()
        assert run(talk, b"-OPTION grab\nSETDESC x\nGETPIN\n", secret) == 0
        assert holds(secret, b"1234")
        assert os.read(talk.reads, 999) == b"OPTION grab\nSETDESC x\nGETPIN\n"
    with pipes() as talk:
        os.write(talk.writes, GREETING + said)
        assert run(talk, b"OPTION grab\nSETDESC x\nGETPIN\n", Secret()) == 174
        assert os.read(talk.reads, 999) == b"OPTION grab\n"


def test_no_greeting_no_command() -> None:
    with pipes() as talk:
        os.write(talk.writes, b"ERR 5\n")
        assert run(talk, b"GETPIN\n", Secret()) == 5
        os.close(talk.to)
        assert os.read(talk.reads, 9) == b""


@pytest.mark.parametrize("commands", [b"GETPIN", b"SETDESC " + b"x" * 1000 + b"\n"])
def test_a_command_that_is_no_line(commands: bytes) -> None:
    assert answered(b"OK\n", commands=commands)[0] == lib.APDU_E_ARGUMENT


def test_talk_without_end_is_cut() -> None:
    with pipes() as talk:
        stop = threading.Event()

        def chatter() -> None:
            os.write(talk.writes, GREETING)
            with contextlib.suppress(BrokenPipeError):
                while not stop.is_set():
                    os.write(talk.writes, b"# still here\n" * 64)

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            assert run(talk, b"GETPIN\n", Secret()) == lib.APDU_E_LIMIT
        finally:
            stop.set()
            os.close(talk.back)
            thread.join()


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.1])
def test_silence(seconds: float) -> None:
    with pipes() as talk:
        os.write(talk.writes, GREETING + b"D 12")
        start = time.monotonic()
        assert run(talk, b"GETPIN\n", Secret(), seconds) == lib.APDU_E_TIMEOUT
        assert time.monotonic() - start < 5


def test_a_program_that_never_reads() -> None:
    with pipes() as talk:
        os.write(talk.writes, b"OK\n" * 200)
        commands = b"SETDESC %b\n" % (b"x" * 900) * 150
        assert run(talk, commands, Secret(), 0.2) == lib.APDU_E_TIMEOUT
    with pipes() as talk:
        os.write(talk.writes, b"OK\n" * 2)
        os.close(talk.reads)
        assert run(talk, b"GETPIN\n", Secret()) == lib.APDU_E_EOF


def test_woken() -> None:
    with pipes() as talk:
        os.write(talk.writes, GREETING)
        talk.wake = os.eventfd(0)
        timer = threading.Timer(0.05, lambda: os.eventfd_write(talk.wake, 1))
        timer.start()
        assert run(talk, b"GETPIN\n", Secret()) == lib.APDU_E_CANCELLED
        timer.join()
        os.close(talk.wake)


def test_signals_lose_nothing() -> None:
    ran: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: ran.append(number))
    with pipes() as talk:

        def slowly() -> None:
            for piece in (b"OK\n", b"O", b"K\nD 1", b"%", b"32", b"34\n", b"OK", b"\n"):
                os.write(talk.writes, piece)
                time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.01)

        thread = threading.Thread(target=slowly)
        thread.start()
        try:
            secret = Secret()
            assert run(talk, b"SETDESC x\nGETPIN\n", secret) == 0
            assert holds(secret, b"1234")
            assert os.read(talk.reads, 99) == b"SETDESC x\nGETPIN\n"
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, before)
    assert ran


WORDS = [b"OK", b"D 1234", b"D %", b"D %41", b"ERR 83886179 x", b"ERR", b"S x", b"#", b"INQUIRE A", b"D " + b"7" * 70]
LINES = st.one_of(st.binary(max_size=40), st.sampled_from(WORDS))


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=12), st.sampled_from([b"\n", b"\r\n", b""]))
def test_any_bytes_have_an_outcome(lines: Sequence[bytes], end: bytes) -> None:
    code, secret = answered(b"".join(line + end for line in lines), commands=b"-OPTION a=b\nSETDESC x\nGETPIN\n")
    known = {lib.APDU_E_EOF, lib.APDU_E_RESPONSE, lib.APDU_E_PIN, lib.APDU_E_LONG}
    assert code in known or 0 <= code <= 0xFFFF
    assert code == 0 or len(secret) == 0


@pytest.mark.parametrize("typed", [b"dernier", b"DERNIER", b" Dernier  "])
def test_the_word(typed: bytes) -> None:
    _, secret = answered(b"D " + typed + b"\nOK\n")
    assert secret.equals_word(b"dernier")


@pytest.mark.parametrize(
    "typed", [b"", b"   ", b"dernie", b"dernierr", b"der nier", b"1234", b"d\xe9rnier", b"dernier\x00", b"DERN\xc9ER"]
)
def test_other_words(typed: bytes) -> None:
    _, secret = answered(b"D " + typed + b"\nOK\n")
    assert not secret.equals_word(b"dernier")


def test_locales() -> None:
    assert lib.assuan_locale_is_utf8(b"C.UTF-8")
    for name in (b"C", b"POSIX", b"xx_YY.UTF-8", b"../../etc"):
        assert not lib.assuan_locale_is_utf8(name)
