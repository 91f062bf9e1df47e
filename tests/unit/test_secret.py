# SPDX-License-Identifier: Apache-2.0
"""Secrets from a descriptor, and what may be asked about them."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpxd.secret import Secret, SecretError


@contextlib.contextmanager
def written(content: bytes) -> Iterator[int]:
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)


def secret(content: bytes) -> Secret:
    with written(content) as fd:
        return Secret.from_fd(fd)


def holds(one: Secret, content: bytes) -> bool:
    return one.digest(b"salt") == hashlib.sha256(b"salt" + content).digest()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1234\n", b"1234"),
        (b"1234\r\n", b"1234"),
        (b"1234", b"1234"),
        (b"1234\r", b"1234"),
        (b"\n", b""),
        (b"\r\n", b""),
        (b"\r1\n", b"\r1"),
        (b"1\r\r\n", b"1\r"),
        (b"1\x002\n", b"1\x002"),
        (b"9" * 64 + b"\r\n", b"9" * 64),
        (b"9" * 64, b"9" * 64),
    ],
)
def test_one_line(content: bytes, expected: bytes) -> None:
    read = secret(content)
    assert len(read) == len(expected)
    assert holds(read, expected)


def test_several_lines_from_one_descriptor() -> None:
    with written(b"12345678\r\n\n1234\nleft") as fd:
        assert holds(Secret.from_fd(fd), b"12345678")
        assert holds(Secret.from_fd(fd), b"")
        assert holds(Secret.from_fd(fd), b"1234")
        assert os.read(fd, 9) == b"left"  # not a byte more than the line
        with pytest.raises(SecretError, match="eof"):
            Secret.from_fd(fd)


@pytest.mark.parametrize("content", [b"9" * 65, b"9" * 65 + b"\n", b"9" * 65 + b"\r\n", b"9" * 1000])
def test_too_long(content: bytes) -> None:
    with written(content) as fd, pytest.raises(SecretError) as caught:
        Secret.from_fd(fd)
    assert caught.value.reason == "too-long"


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    path.write_bytes(b"1234\n4321\n")
    with path.open("rb", buffering=0) as file:
        assert holds(Secret.from_fd(file.fileno()), b"1234")
        assert holds(Secret.from_fd(file.fileno()), b"4321")


@pytest.mark.parametrize("fd", [-1, 99999, 1 << 31, 1 << 70])
def test_no_descriptor(fd: int) -> None:
    with pytest.raises(SecretError) as caught:
        Secret.from_fd(fd)
    assert caught.value.reason == "system"


def test_a_folder_is_no_descriptor_to_read(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(SecretError) as caught:
            Secret.from_fd(fd)
    finally:
        os.close(fd)
    assert caught.value.reason == "system"


@pytest.mark.parametrize("timeout", [-5.0, 0.0, 0.05])
def test_timeout(timeout: float) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"12")
    start = time.monotonic()
    with pytest.raises(SecretError) as caught:
        Secret.from_fd(reader, timeout=timeout)
    assert caught.value.reason == "timeout"
    assert timeout - 0.01 <= time.monotonic() - start < 5
    os.close(reader)
    os.close(writer)


def test_a_timeout_beyond_all_clocks() -> None:
    with written(b"1234\n") as fd:
        assert len(Secret.from_fd(fd, timeout=1e300)) == 4


def test_a_signal_does_not_lose_the_beginning_of_the_line() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"12")
    ran: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: ran.append(number))

    def later() -> None:
        for _ in range(3):
            time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.02)
        os.write(writer, b"34\n")

    thread = threading.Thread(target=later)
    thread.start()
    try:
        read = Secret.from_fd(reader, timeout=20)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(reader)
        os.close(writer)
    assert holds(read, b"1234")
    assert ran


def test_a_blocked_read_lets_other_threads_run() -> None:
    reader, writer = os.pipe()
    timer = threading.Timer(0.05, lambda: os.write(writer, b"1234\n"))
    timer.start()
    assert holds(Secret.from_fd(reader, timeout=20), b"1234")
    timer.join()
    os.close(reader)
    os.close(writer)


def test_digits() -> None:
    assert secret(b"1234").is_digits(4)
    assert secret(b"12345678").is_digits(4, 8)
    assert secret(b"0909").is_digits(4, 4)
    for content in (b"123", b"12345", b"12a4", b"12:4", b"12/4", b"\n"):
        assert not secret(content).is_digits(4)
    assert not secret(b"1234").is_digits(5, 4)
    assert not secret(b"1234").is_digits(-1)


def test_equals() -> None:
    assert secret(b"1234").equals(secret(b"1234\r\n"))
    assert secret(b"\n").equals(secret(b"\n"))
    for other in (b"1235", b"123", b"12345", b"\n", b"1234\x00"):
        assert not secret(b"1234").equals(secret(other))
        assert not secret(other).equals(secret(b"1234"))


@pytest.mark.parametrize("size", [0, 1, 16, 55, 60, 64, 200])
def test_digest_is_salted_sha256(size: int) -> None:
    salt = os.urandom(size)
    assert secret(b"1234").digest(salt) == hashlib.sha256(salt + b"1234").digest()


def test_wiped() -> None:
    one = secret(b"1234")
    one.wipe()
    assert len(one) == 0
    assert one.equals(secret(b"\n"))
    with secret(b"1234") as two:
        assert len(two) == 4
    assert len(two) == 0


def test_shows_and_gives_nothing() -> None:
    one = secret(b"1234")
    assert (repr(one), str(one), f"{one}") == ("<Secret>", "<Secret>", "<Secret>")
    assert not hasattr(one, "__dict__")
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, bytes, memoryview, list):
        with pytest.raises(TypeError):
            attempt(one)
    assert bool(secret(b"\n")) is True


def test_a_fork_inherits_nothing() -> None:
    one = secret(b"1234")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(len(one)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 9) == b"0"
    assert len(one) == 4
    os.close(reader)
    os.close(writer)
