# SPDX-License-Identifier: Apache-2.0
"""A PIN passes through a process and nothing of it is left. Another process looks, byte by byte, while it happens.

The child never gets the PIN as a Python object: this process makes it up and writes it to the child's standard input, from
where C reads it. The terminal at the end of the line is a few lines of C, for a callback in Python would see the bytes.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TERMINAL = r"""
#include <stddef.h>
#include <stdint.h>
static uint32_t sum;
int64_t answer_9000(void *channel, const uint8_t *sent, size_t n, uint8_t *received, size_t cap, size_t *received_len)
{
    (void)channel; (void)cap;
    sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + sent[i];
    received[0] = 0x90; received[1] = 0x00; *received_len = 2;
    return 0;
}
uint32_t sum_of_last(void) { return sum; }
"""

CHILD = """
import sys
from cffi import FFI
from cpxd._apdu_ffi import ffi
from cpxd.apdu import CallbackTransport, PcscTransport, PinBlock, Protocol, Secret, TransportError

plain = FFI()
plain.cdef("int64_t answer_9000(void *, const uint8_t *, size_t, uint8_t *, size_t, size_t *); uint32_t sum_of_last(void);")
terminal = plain.dlopen(sys.argv[1])
sent = []
transport = CallbackTransport(lambda _: b"", Protocol.T0, lambda s, r, ms: sent.append(s))
transport._channel.send = ffi.cast("apdu_send_fn *", int(plain.cast("intptr_t", terminal.answer_9000)))

def stage(name):
    print(name, flush=True)
    sys.stdin.readline()

secret = Secret.from_fd(0)
stage("read")
block = PinBlock(secret, 16, 0xFF, 12, 12)
assert transport.pin(0x00, 0x20, 0x00, 0x01, [block]).ok
assert sent == [bytes.fromhex("0020000110" + "2A" * 16)]
secret.is_digits(12)
secret.equals(secret)
secret.digest(b"salt")
stage(f"sent {terminal.sum_of_last()}")
try:
    PcscTransport(0x7FFFFFFF, Protocol.T0).pin(0x00, 0x20, 0x00, 0x01, [block])
except TransportError:
    stage("failed")
secret.wipe()
stage("wiped")
"""


def mappings(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
        assert found
        start, end = int(found[1], 16), int(found[2], 16)
        shadow = end - start > 1 << 36  # a sanitizer's book-keeping, terabytes of address space, no data of the program
        if "r" in found[3] and not shadow and found[4] not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
            yield start, end


def places(pid: int, needle: bytes) -> list[int]:
    """Every address at which another process holds the bytes."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in mappings(pid):
            at = start
            while at < end:
                memory.seek(at)
                try:
                    content = memory.read(min(end - at, 1 << 22) + len(needle))
                except OSError:  # a page without memory behind it: what a sanitizer reserves, a file that is shorter
                    break
                found += [at + m.start() for m in re.finditer(re.escape(needle), content) if at + m.start() < end]
                at += 1 << 22
    return sorted(set(found))


def flags_of_page(pid: int, address: int) -> list[str]:
    flags: list[str] = []
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            flags = line.split()[1:]
    return flags


def expected_flags(pid: int) -> set[str]:
    """Locked, not dumped, wiped on fork. AddressSanitizer turns mlock into nothing: under it that flag cannot be there."""
    sanitized = "libasan" in Path(f"/proc/{pid}/maps").read_text()
    return {"dd", "wf"} if sanitized else {"lo", "dd", "wf"}


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "terminal.c").write_text(TERMINAL)
    library = folder / "terminal.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "terminal.c"], check=True)
    return library


def test_nothing_of_a_pin_is_left(terminal: Path) -> None:
    pin = b"%012d" % secrets.randbelow(10**12)
    command = bytes.fromhex("0020000110") + pin + b"\xff" * 4
    expected = 0
    for byte in command:
        expected = (expected * 31 + byte) & 0xFFFFFFFF

    with subprocess.Popen(
        [sys.executable, "-c", CHILD, terminal], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as child:
        assert child.stdin
        assert child.stdout

        def go_on(line: bytes) -> str:
            assert child.stdin
            assert child.stdout
            child.stdin.write(line)
            child.stdin.flush()
            return child.stdout.readline().decode().strip()

        try:
            assert go_on(pin + b"\n") == "read"
            held = places(child.pid, pin)
            assert len(held) == 1  # the search does find it, in one place
            assert expected_flags(child.pid) <= set(flags_of_page(child.pid, held[0]))
            assert go_on(b"\n") == f"sent {expected}"  # what went out was right, to the last byte
            assert places(child.pid, pin) == held
            assert go_on(b"\n") == "failed"
            assert places(child.pid, pin) == held
            assert go_on(b"\n") == "wiped"
            assert places(child.pid, pin) == []
            assert places(child.pid, pin[:6]) == []
            go_on(b"\n")
            assert child.wait(20) == 0
        finally:
            child.kill()


LIMITED = """
import os, resource
from cpxd.secret import Secret, SecretError
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)  # root may lock whatever the limit says
try:
    print(len(Secret.from_fd(0)))
except SecretError as error:
    print(error.reason)
"""


def test_without_memory_that_can_be_locked_nothing_is_read() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], input=b"1234\n", capture_output=True, check=True)
    sanitized = "libasan" in Path("/proc/self/maps").read_text()  # see expected_flags
    assert done.stdout == (b"4\n" if sanitized else b"memory\n")
