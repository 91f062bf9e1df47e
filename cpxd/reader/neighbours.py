# SPDX-License-Identifier: Apache-2.0
"""Which other programs are connected to pcscd: one of them holds the card when it cannot be had.

Linux tells which sockets are the peers of pcscd's (sock_diag(7), unix_diag), and /proc whose they are; of other users' programs
only root is told. pcscd itself tells nobody which of its clients holds a card.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from cpxd import errors
from cpxd.reader.galss import PREFIX
from cpxd.text import Text, visible

_DEFAULT = "/run/pcscd/pcscd.comm"
_SOCK_DIAG, _BY_FAMILY = 4, 20  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHOW_NAME_AND_PEER = 0x5
_NAME, _PEER = 0, 2  # UNIX_DIAG_NAME, UNIX_DIAG_PEER
_HEADER = struct.Struct("=IHHII")
_ASK = struct.Struct("=BBHIIIII")
_TOLD = struct.Struct("=BBBBIII")
_SECONDS = 0.5
_MOST = 8


def neighbours() -> list[str]:
    """Each program but this one that this user may see, as "name (pid)"; none when the system does not tell."""
    try:
        peers = _peers(os.environ.get("PCSCLITE_CSOCK_NAME") or _DEFAULT)
    except (OSError, struct.error):
        return []
    found = {pid: name for pid, name in _owners(peers) if pid != os.getpid()} if peers else {}
    return [f"{name} ({pid})" for pid, name in sorted(found.items())][:_MOST]


def words() -> Text:
    """A sentence about them for the person at this machine, or nothing. It is no business of a web page."""
    names = [name for name in neighbours() if not name.startswith("cpxd ")] or neighbours()
    if not names:
        return Text("", "")
    who = ", ".join(names)
    return Text(f" Programmes reliés au service de cartes : {who}.", f" Programs connected to the card service: {who}.")


def after(error: errors.CpxError) -> Text:
    """`words`, if one of them may be why a card could not be had. The terminals of GALSS are not pcscd's."""
    if isinstance(error, errors.ReaderBusy) and not str(error.details.get("reader", "")).startswith(PREFIX):
        return words()
    return Text("", "")


def _peers(path: str) -> set[int]:
    """Inodes of the sockets that are connected to the one bound at `path`."""
    wanted, found = os.fsencode(path), set[int]()
    for told in _unix_sockets():
        name, peer = told.get(_NAME, b"").rstrip(b"\0"), told.get(_PEER, b"")
        if name == wanted and len(peer) == 4:
            found.add(int(struct.unpack("=I", peer)[0]))
    return found


def _unix_sockets() -> Iterator[dict[int, bytes]]:
    """The attributes of each AF_UNIX socket of this machine (or container)."""
    ask = _ASK.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME_AND_PEER, 0xFFFFFFFF, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as link:
        link.settimeout(_SECONDS)
        link.send(_HEADER.pack(_HEADER.size + len(ask), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + ask)
        while True:
            data = link.recv(1 << 16)
            while len(data) >= _HEADER.size:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                if kind == _BY_FAMILY:
                    yield _attributes(data[_HEADER.size + _TOLD.size : length])
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _owners(inodes: set[int]) -> Iterator[tuple[int, str]]:
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(_link(entry) in links for entry in (process / "fd").iterdir()):
                yield int(process.name), visible((process / "comm").read_text(errors="replace").strip())
        except OSError:  # another user's, or it has just ended
            continue


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""
