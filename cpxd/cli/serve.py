# SPDX-License-Identifier: Apache-2.0
"""`cpxd serve`: the daemon. `cpxd p11-bridge`: its PKCS#11 socket on standard input and output, for p11-kit."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
from typing import Any

from cpxd import config, errors
from cpxd.errors import Exit
from cpxd.text import tr

_BLOCK = 65536


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("le service : cartes et module PKCS#11, jusqu'à SIGTERM", "the service: cards and PKCS#11 module, until SIGTERM")
    parser = commands.add_parser("serve", parents=[common], help=text, description=text)
    parser.set_defaults(run=_serve)
    text = tr(
        "relier stdin et stdout au service (modules p11-kit « remote: »)",
        "join stdin and stdout to the service (“remote:” modules of p11-kit)",
    )
    parser = commands.add_parser("p11-bridge", parents=[common], help=text, description=text)
    parser.set_defaults(run=_bridge)


def _serve(options: argparse.Namespace) -> int:
    from cpxd import daemon

    daemon.serve(config.load())
    return Exit.DONE


def _bridge(options: argparse.Namespace) -> int:
    from cpxd import daemon

    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(str(daemon.pkcs11_socket()))
    except OSError:
        channel.close()
        raise errors.NotServing() from None
    with channel:
        threading.Thread(target=_outwards, args=(channel,), daemon=True).start()
        block = bytearray(_BLOCK)
        while count := os.readv(sys.stdin.fileno(), [block]):
            channel.sendall(memoryview(block)[:count])
            block[:count] = bytes(count)  # a PIN may have passed
        channel.shutdown(socket.SHUT_WR)
    return Exit.DONE


def _outwards(channel: socket.socket) -> None:
    target = sys.stdout.fileno()
    with contextlib.suppress(OSError):
        while data := channel.recv(_BLOCK):
            left = memoryview(data)
            while left:
                left = left[os.write(target, left) :]
    os._exit(Exit.DONE)  # the service has hung up, or our reader has left: nothing to wait for
