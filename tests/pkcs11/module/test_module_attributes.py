# SPDX-License-Identifier: Apache-2.0
"""Attributes on the wire: each value by the kind of its type, sizes, room, and templates within templates."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import module_p11 as p11
from module_attributes import ALLOWED, NESTED, answered, valid
from module_p11 import Module, attributes, values
from module_standin import Request, StandIn, body, number, simple_token, string


def last(peer: StandIn, call: int) -> Request:
    return next(request for request in reversed(peer.requests) if request.call == call)


def test_attribute_values(module: Module, socket_path: Path) -> None:
    native = struct.pack("@Q", 1)
    wire = [
        valid(0x00, 8, number(3)),  # CKA_CLASS
        valid(0x01, 1, b"\1"),  # CKA_TOKEN
        valid(0x11, 5, string(b"value")),  # CKA_VALUE
        valid(0x601, 8, string(native)),  # CKA_PROFILE_ID: bytes in the order of the machine
        valid(0x110, 8, string(b"20261124")),  # CKA_START_DATE
        valid(0x111, 0, string(None)),  # CKA_END_DATE, empty
        valid(ALLOWED, 16, struct.pack(">I", 2) + number(1) + number(0x40)),
        struct.pack(">IB", 0x123, 0),  # sensitive
        valid(0x102, 9, string(None)),  # a size alone
    ]
    template = attributes(
        (0x00, 8), (0x01, 1), (0x11, 9), (0x601, 8), (0x110, 8), (0x111, 8), (ALLOWED, 16), (0x123, 99), (0x102, None)
    )
    with StandIn(socket_path, simple_token({24: answered(*wire, rv=0x11)})) as peer:
        session = module.open(7)
        assert module("C_GetAttributeValue", session, 5, template, len(template)) == p11.ATTRIBUTE_SENSITIVE
        query = last(peer, 24).values[16:]
    expected = struct.pack("@Q", 3), b"\1", b"value", native, b"20261124", b"", struct.pack("@QQ", 1, 0x40), None
    assert tuple(values(template)[:8]) == expected
    assert template[8].length == 9
    rooms = (8, 1, 9, 8, 8, 8, 4096, 99, 0)
    assert query == struct.pack(">I", 9) + b"".join(
        struct.pack(">II", entry.type, room) for entry, room in zip(template, rooms, strict=True)
    )


def test_attribute_that_does_not_fit(module: Module, socket_path: Path) -> None:
    wire = [valid(0x11, 5, string(b"value")), valid(0x03, 2, string(b"ok")), valid(ALLOWED, 8, b"\0\0\0\1" + number(1))]
    template = attributes((0x11, 4), (0x03, 2), (ALLOWED, None))
    with StandIn(socket_path, simple_token({24: answered(*wire)})):
        session = module.open(7)
        assert module("C_GetAttributeValue", session, 5, template, 3) == p11.BUFFER_TOO_SMALL
    assert template[0].length == p11.UNAVAILABLE
    assert values(template)[1] == b"ok"
    assert template[2].length == 8


def test_attribute_lists_in_version_2(module: Module, socket_path: Path) -> None:
    inner = attributes((0, 8), (0, 4))
    template = (p11.Attribute * 1)(p11.Attribute(NESTED, ctypes.addressof(inner[0]), 48))
    nested = struct.pack(">I", 2) + valid(0x100, 8, number(0)) + valid(0x102, 2, string(b"id"))
    with StandIn(socket_path, simple_token({24: answered(valid(NESTED, 48, nested))})) as peer:
        session = module.open(7)
        assert module("C_GetAttributeValue", session, 5, template, 1) == p11.OK
        sent = last(peer, 24).values[16:]
    assert sent == struct.pack(">III", 1, NESTED, 48) + struct.pack(">IIIII", 2, 0, 8, 0, 4)
    assert [entry.type for entry in inner] == [0x100, 0x102]
    assert values(inner) == [b"\0" * 8, b"id"]
    assert template[0].length == 48


def test_attribute_lists_before_version_2_are_not_asked_for(module: Module, socket_path: Path) -> None:
    template = attributes((NESTED, 48))
    wire = struct.pack(">IB", 0xFFFFFFFF, 0)
    with StandIn(socket_path, simple_token({24: answered(wire, rv=0x12)}), version=1) as peer:
        session = module.open(7)
        assert module("C_GetAttributeValue", session, 5, template, 1) == p11.ATTRIBUTE_TYPE_INVALID
        assert last(peer, 24).values[16:] == struct.pack(">III", 1, 0xFFFFFFFF, 0)
    assert (template[0].type, template[0].length) == (NESTED, p11.UNAVAILABLE)


def test_template_encoding(module: Module, socket_path: Path) -> None:
    template = attributes(
        (0x00, struct.pack("@Q", 2)), (0x01, b"\0"), (0x102, b"\1\2"), (0x110, b"20261124"),
        (ALLOWED, struct.pack("@Q", 0x250)),
    )  # fmt: skip
    with StandIn(socket_path, simple_token({26: body(26, b"")})) as peer:
        session = module.open(7)
        assert module("C_FindObjectsInit", session, template, len(template)) == p11.OK
        sent = last(peer, 26).values
    assert sent == number(session) + struct.pack(">I", 5) + b"".join([
        valid(0x00, 8, number(2)),
        valid(0x01, 1, b"\0"),
        valid(0x102, 2, string(b"\1\2")),
        valid(0x110, 8, string(b"20261124")),
        valid(ALLOWED, 8, struct.pack(">I", 1) + number(0x250)),
    ])  # fmt: skip
