# SPDX-License-Identifier: Apache-2.0
"""Which user is at the other end of a loopback TCP connection, as the kernel knows it (sock_diag(7)), before a byte is read."""

from __future__ import annotations

import socket
import struct

_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NETLINK_SOCK_DIAG = 4
_ESTABLISHED = 1
_NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2, before its id
_PORTS = struct.Struct("!HH")
_ID_END = struct.Struct("=III")  # interface, cookie
_ID = 48  # bytes of struct inet_diag_sockid
_ANSWER = struct.Struct("=BBBB")  # struct inet_diag_msg: family, state, timer, retrans; then the id
_MAPPED = bytes(10) + b"\xff\xff"  # before the four bytes of an IPv4 address
_REST = struct.Struct("=IIIII")  # expires, rqueue, wqueue, uid, inode
_PATIENCE = 0.5  # seconds; the kernel answers within the call


def tcp_uid(connection: socket.socket) -> int | None:
    """User of the client of an accepted connection; None when the kernel does not name an open socket with exactly this
    4-tuple (closed meanwhile, no owner, another machine, no netlink): then nobody may be assumed."""
    try:
        near, far = connection.getsockname(), connection.getpeername()
        wanted = _PORTS.pack(far[1], near[1]) + _address(connection, far[0]) + _address(connection, near[0])
        return _found(_ask(connection.family, wanted), connection.family, wanted)
    except (OSError, struct.error, IndexError):
        return None


def unix_peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of an AF_UNIX connection. Raises OSError."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def _address(connection: socket.socket, text: str) -> bytes:
    return socket.inet_pton(connection.family, text).ljust(16, b"\x00")


def _ask(family: int, wanted: bytes) -> bytes:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _NO_COOKIE) + wanted + _ID_END.pack(0, _NO_COOKIE, _NO_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as channel:
        channel.settimeout(_PATIENCE)
        channel.bind((0, 0))
        channel.sendto(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body, (0, 0))
        answer, sender = channel.recvfrom(4096)
        if sender[0] != 0:
            raise OSError("not from the kernel")
    return answer


def _found(answer: bytes, family: int, wanted: bytes) -> int | None:
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None
    found_family, state, _, _ = _ANSWER.unpack_from(answer, _HEADER.size)
    start = _HEADER.size + _ANSWER.size
    same = answer[start : start + len(wanted)] == (_mapped(wanted) if found_family != family else wanted)
    _, _, _, uid, inode = _REST.unpack_from(answer, start + _ID)
    # without a connected socket the kernel answers with a listening one of that port; without an inode nobody owns it any more
    if found_family not in (family, socket.AF_INET6) or state != _ESTABLISHED or not same or inode == 0:
        return None
    return int(uid)


def _mapped(wanted: bytes) -> bytes:
    """The same IPv4 connection as a client's IPv6 socket has it (RFC 4291, 2.5.5.2): Java and .NET open no other."""
    ports, far, near = wanted[:4], wanted[4:8], wanted[20:24]
    return ports + _MAPPED + far + _MAPPED + near
