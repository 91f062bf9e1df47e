# SPDX-License-Identifier: Apache-2.0
"""The bytes on the socket, in the three versions of the protocol, and answers that are none.

The mechanism bytes of versions 0 and 2 are those recorded from p11-kit-client 0.24.1 and 0.26.4.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from ctypes import byref, c_ulong
from pathlib import Path
from urllib.parse import unquote

import module_p11 as p11
import pytest
from module_attributes import NESTED, answered, valid
from module_p11 import Mechanism, Module, Pss, attributes, initialized
from module_standin import Link, Mute, OldHand, Request, Serve, StandIn, body, frame, number, refusal, simple_token, string
from module_stock import SOURCES

from cpxd import config

SIGN_INIT = 42
INIT_TOKEN = {0: 9, 1: 88, 2: 88}


def last(peer: StandIn, call: int) -> Request:
    return next(request for request in reversed(peer.requests) if request.call == call)


def mechanism(kind: int, parameter: ctypes.Structure | None = None) -> Mechanism:
    made = Mechanism(kind)
    if parameter is not None:
        made.parameter = ctypes.addressof(parameter)
        made.length = ctypes.sizeof(parameter)
    return made


def sign_init(module: Module, session: int, asked: Mechanism | None) -> int:
    return module("C_SignInit", session, byref(asked) if asked is not None else None, 7)


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        (0, 0x01, "00000001 ffffffff"),
        (1, 0x01, "00000001 ffffffff"),
        (2, 0x01, "00000001"),
        (0, 0x0D, "0000000d 0000000000000250 0000000000000002 0000000000000020"),
        (1, 0x0D, "0000000d 0000000000000250 0000000000000002 0000000000000020"),
        (2, 0x0D, "0000000d 01 0000000000000250 0000000000000002 0000000000000020"),
        # Version 0 knows no shape for CKM_SHA256_RSA_PKCS_PSS: the structure as its bytes.
        (0, 0x43, "00000043 00000018 5002000000000000 0200000000000000 2000000000000000"),
        (2, 0x43, "00000043 01 0000000000000250 0000000000000002 0000000000000020"),
    ],
)
def test_mechanism_by_answered_version(module: Module, socket_path: Path, version: int, kind: int, expected: str) -> None:
    with StandIn(socket_path, simple_token({SIGN_INIT: body(SIGN_INIT, b"")}), version=version) as peer:
        session = module.open(7)
        pss = Pss(0x250, 2, 32)
        assert sign_init(module, session, mechanism(kind, None if kind == 1 else pss)) == p11.OK
        sent = last(peer, SIGN_INIT)
        assert peer.offers == [2]
        assert sent.signature == b"uMu"
        assert sent.values == number(session) + bytes.fromhex(expected) + number(7)


def test_mechanism_parameters_that_cannot_be(module: Module, socket_path: Path) -> None:
    with StandIn(socket_path, simple_token({SIGN_INIT: body(SIGN_INIT, b"")})) as peer:
        session = module.open(7)
        short = mechanism(0x0D, Pss(0x250, 2, 32))
        short.length = 23
        assert sign_init(module, session, short) == p11.MECHANISM_PARAM_INVALID
        assert sign_init(module, session, Mechanism(0x0D, None, 24)) == p11.MECHANISM_PARAM_INVALID
        # An unknown structure may hold pointers, which mean nothing to another process.
        assert sign_init(module, session, mechanism(0x1087, Pss())) == p11.MECHANISM_INVALID
        assert sign_init(module, session, Mechanism(1 << 40)) == p11.MECHANISM_INVALID
        assert sign_init(module, session, Mechanism(0x80000001)) == p11.OK
        assert last(peer, SIGN_INIT).values[8:] == bytes.fromhex("80000001 00") + number(7)
        # What a mechanism without parameter is given is not looked at.
        assert sign_init(module, session, Mechanism(0x01, 0x1, 99)) == p11.OK


def test_cancelling(module: Module, socket_path: Path) -> None:
    answers = {SIGN_INIT: body(SIGN_INIT, b""), 67: body(67, b"")}
    with StandIn(socket_path, simple_token(answers)) as peer:
        session = module.open(7)
        assert sign_init(module, session, None) == p11.OK
        assert last(peer, SIGN_INIT).values == number(session) + b"\xff" * 4 + number(7)
        assert module("C_SessionCancel", session, 0x840) == p11.OK
        assert last(peer, 67).values == number(session) + number(0x840)


def test_cancelling_in_version_1_and_0(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    answers = {67: body(67, b""), 28: body(28, b"")}
    with initialized(module), StandIn(socket_path, simple_token(answers), version=1) as peer:
        session = module.open(7)
        assert sign_init(module, session, None) == p11.OK
        assert last(peer, 67).values == number(session) + number(0x800)  # C_SessionCancel(CKF_SIGN)
    with initialized(module), StandIn(socket_path, simple_token(answers), version=0) as peer:
        session = module.open(7)
        assert sign_init(module, session, None) == p11.ARGUMENTS_BAD
        assert module("C_SessionCancel", session, 0x840) == p11.OPERATION_CANCEL_FAILED
        assert module("C_SessionCancel", session, 0x40) == p11.OK
        assert peer.requests[-1].call == 28  # C_FindObjectsFinal


@pytest.mark.parametrize("version", [0, 1, 2])
def test_init_token_label(module: Module, socket_path: Path, version: int) -> None:
    call = INIT_TOKEN[version]
    with StandIn(socket_path, simple_token({call: body(call, b"")}), version=version) as peer:
        label = b"label".ljust(32)
        assert module("C_InitToken", 7, b"12345678", 8, label) == p11.OK
        sent = last(peer, call)
        assert sent.signature == (b"uayz" if version == 0 else b"uays")
        assert sent.values == number(7) + b"\1" + string(b"12345678") + string(label)


def test_handshake_and_options(module_path: Path, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0;rm=%41")
    monkeypatch.setenv("XAUTHORITY", "/home/zoé/.Xauthority")
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    monkeypatch.setenv("GPG_TTY", "x" * 5000)  # does not fit: left out, not cut
    with initialized(Module(module_path)) as module, StandIn(socket_path, simple_token({})) as peer:
        assert module.slots() == [7]
    first, second = peer.requests[:2]
    assert (first.call, first.signature, first.serial) == (1, b"ayyay", 0x10)
    magic = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
    assert first.values == b"\1" + string(magic) + b"\0" + b"\1" + string(b"\0")
    mark, *entries, end = first.options.decode("ascii").split(";")
    assert (mark, end) == ("cpx1", "")
    assert {k: unquote(v) for k, v in (entry.split("=") for entry in entries)} == {
        "DISPLAY": ":0;rm=%41",
        "XAUTHORITY": "/home/zoé/.Xauthority",
        "LANG": "fr_FR.UTF-8",
    }
    assert (second.serial, second.options) == (0x11, b"cpx1;")


def test_a_server_that_knows_no_versions_is_offered_0(module: Module, socket_path: Path) -> None:
    with OldHand(socket_path, simple_token({})) as peer:
        assert module.slots() == [7]
        assert peer.offers == [2, 0]


def test_mechanisms_that_cannot_be_carried_are_not_shown(module: Module, socket_path: Path) -> None:
    offered = [0x01, 0x1087, 0x0D, 0x1050, 0x80000001]
    answers = {
        7: body(7, b"au", b"\1" + struct.pack(">I", 5) + b"".join(map(number, offered))),
        8: body(8, b"uuu", number(0) * 3),
    }
    with StandIn(socket_path, simple_token(answers)):
        count = c_ulong()
        assert module("C_GetMechanismList", 7, None, byref(count)) == p11.OK
        assert count.value == 3
        listed = (c_ulong * 3)(9, 9, 9)
        count.value = 2
        assert module("C_GetMechanismList", 7, listed, byref(count)) == p11.BUFFER_TOO_SMALL
        assert (count.value, listed[2]) == (3, 9)
        assert module("C_GetMechanismList", 7, listed, byref(count)) == p11.OK
        assert list(listed) == [0x01, 0x0D, 0x80000001]
        info = (c_ulong * 3)()
        assert module("C_GetMechanismInfo", 7, 0x0D, info) == p11.OK
        assert module("C_GetMechanismInfo", 7, 0x1087, info) == p11.MECHANISM_INVALID


def test_data_longer_than_a_frame_of_the_daemon(module: Module, socket_path: Path) -> None:
    data = bytes(2 << 20)
    answers = {39: body(39, b""), 67: body(67, b"")}
    with StandIn(socket_path, simple_token(answers), options=b"cpx1;") as peer:
        session = module.open(7)
        length = c_ulong(16)
        assert module("C_Encrypt", session, data, len(data), bytes(16), byref(length)) == p11.DATA_LEN_RANGE
        assert last(peer, 67).values == number(session) + number(0x100)  # the daemon is told that it is over
        assert module("C_DigestUpdate", session, data, len(data)) == p11.OK
        pieces = [request for request in peer.requests if request.call == 39]
        assert [len(request.values) - 13 for request in pieces] == [512 * 1024] * 4


def test_room_for_bytes(module_path: Path, socket_path: Path) -> None:
    module = Module(module_path)
    for version, nothing in ((0, 1), (1, 0xFFFFFFFF), (2, 0xFFFFFFFF)):
        answers = {45: body(45, b"ay", b"\0" + struct.pack(">I", 64))}
        with initialized(module), StandIn(socket_path, simple_token(answers), version=version) as peer:
            session = module.open(7)
            room = ctypes.create_string_buffer(16)
            for buffer, capacity, sent, rv in (
                (None, 5, 0, p11.OK),
                (room, 0, nothing, p11.BUFFER_TOO_SMALL),
                (room, 16, 16, p11.BUFFER_TOO_SMALL),
                (room, 2**64 - 1, 16 << 20, p11.BUFFER_TOO_SMALL),
            ):
                length = c_ulong(capacity)
                assert module("C_SignFinal", session, buffer, byref(length)) == rv
                assert length.value == 64
                assert last(peer, 45).values == number(session) + struct.pack(">I", sent)


def nested(levels: int) -> bytes:
    value = struct.pack(">I", 0)
    for _ in range(levels):
        value = struct.pack(">I", 1) + valid(NESTED, 24, value)
    return value


BAD_ANSWERS = {
    "another call": body(14, b"", b""),
    "another signature": body(24, b"aA", b""),
    "no signature": struct.pack(">I", 24) + b"\xff" * 4,
    "a long signature": struct.pack(">II", 24, 0x7FFFFFFF) + b"aAu",
    "success as an error": refusal(0),
    "an error too large": refusal(1 << 40),
    "an error cut": body(0, b"u", b"\0\0"),
    "nothing": body(24, b"aAu"),
    "too many attributes": answered(valid(0x11, 0, string(b"")), valid(0x11, 0, string(b""))),
    "another attribute": answered(valid(0x03, 0, string(b""))),
    "an endless value": answered(valid(0x11, 5, struct.pack(">I", 0x7FFFFFFF))),
    "an endless list": answered(valid(0x11, 0, string(b"")))[:-8],
    "trailing bytes": answered(valid(0x11, 0, string(b""))) + b"\0",
    "one byte": b"\0",
}


@pytest.mark.parametrize("wrong", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_is_none_ends_the_connection(module: Module, socket_path: Path, wrong: bytes) -> None:
    with StandIn(socket_path, simple_token({24: wrong})) as peer:
        session = module.open(7)
        template = attributes((0x11, 8))
        assert module("C_GetAttributeValue", session, 5, template, 1) == p11.DEVICE_ERROR
        assert module.session_info(session) == p11.SESSION_HANDLE_INVALID
        assert module.slots() == [7]
        assert len(peer.links) == 2


def test_attribute_lists_without_end(module: Module, socket_path: Path) -> None:
    with StandIn(socket_path, simple_token({24: answered(valid(NESTED, 24, nested(40)))})):
        session = module.open(7)
        assert module("C_GetAttributeValue", session, 5, attributes((NESTED, None)), 1) == p11.DEVICE_ERROR


def send_raw(data: bytes) -> Serve:
    def serve(link: Link, request: Request) -> None:
        if request.call in (4, 10):
            simple_token({})(link, request)
        else:
            link.stream.sendall(data)

    return serve


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">III", 0x12, 0, 0x7FFFFFFF),
        struct.pack(">III", 0x12, 0x7FFFFFFF, 4),
        struct.pack(">III", 0x12, 0, 0),
        frame(0x99, body(13, b"uuuu", number(0) * 4)),  # an answer nobody asked for
    ],
    ids=["long body", "long options", "no body", "unknown serial"],
)
def test_a_frame_that_is_none(module: Module, socket_path: Path, data: bytes) -> None:
    with StandIn(socket_path, send_raw(data)):
        session = module.open(7)
        assert module.session_info(session) == p11.DEVICE_ERROR
        assert module.session_info(session) == p11.SESSION_HANDLE_INVALID


def test_an_answer_that_comes_byte_by_byte(module: Module, socket_path: Path) -> None:
    def serve(link: Link, request: Request) -> None:
        content = frame(request.serial, body(4, b"au", b"\1" + struct.pack(">I", 1) + number(7)), b"cpx1;option")
        for byte in content:
            link.stream.sendall(bytes([byte]))

    with StandIn(socket_path, serve):
        assert module.slots() == [7]


def test_the_peers_not_initialized_is_not_ours(module: Module, socket_path: Path) -> None:
    with StandIn(socket_path, simple_token({13: refusal(p11.NOT_INITIALIZED)})):
        session = module.open(7)
        assert module.session_info(session) == p11.DEVICE_ERROR
        assert module.session_info(session) == p11.DEVICE_ERROR  # the connection goes on


def test_socket_places(module_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module(module_path)
    monkeypatch.setenv("CPXD_NO_START", "1")
    monkeypatch.delenv("CPXD_PKCS11_SOCKET", raising=False)
    runtime = tmp_path / "run"
    (runtime / "cpxd").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with StandIn(runtime / "cpxd" / "pkcs11.sock", simple_token({})), initialized(module):
        assert module.slots() == [7]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    user = Path(f"/run/user/{os.getuid()}")
    place = user / "cpxd" if user.is_dir() else tmp_path / ".cache" / "cpxd" / "run"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "pkcs11.sock").exists():  # a daemon of this very user is not to be disturbed
        with StandIn(place / "pkcs11.sock", simple_token({})), initialized(module):
            assert module.slots() == [7]
    for useless in ("relative/path", "/" + "x" * 200):
        monkeypatch.setenv("CPXD_PKCS11_SOCKET", useless)
        with initialized(module):
            assert module.slots() == []


PROBE = (
    '#include "environment.h"\n#include <stdio.h>\nint main(void){struct environment e; environment_read(&e); puts(e.socket);}'
)


def test_without_a_runtime_folder_module_and_daemon_have_the_same_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "probe.c").write_text(PROBE)
    probe = str(tmp_path / "probe")
    line = ["gcc", "-std=c11", f"-I{SOURCES}", f"{probe}.c", str(SOURCES / "environment.c"), "-o", probe]
    subprocess.run(line, check=True)
    for name in ("CPXD_PKCS11_SOCKET", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for home in (None, str(tmp_path), "relative", ""):
        if home is not None:
            monkeypatch.setenv("HOME", home)
        found = subprocess.run([probe], capture_output=True, text=True, check=True).stdout.strip()
        ours = config.run_home() / config.PKCS11_SOCKET
        assert found == ("" if config.NO_HOME in ours.parents else str(ours)), home


def test_longest_path_is_107_bytes(module_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module(module_path)
    longest = tmp_path / ("x" * (107 - len(str(tmp_path)) - 1))
    monkeypatch.setenv("CPXD_PKCS11_SOCKET", str(longest))
    with StandIn(longest, simple_token({})), initialized(module):
        assert module.slots() == [7]


def test_mute_server_is_no_slot_and_is_then_left_alone(hasty: Module, socket_path: Path) -> None:
    with Mute(socket_path, simple_token({})) as peer:
        assert hasty.slots() == []
        assert hasty.slots() == []
        assert len(peer.links) == 1
