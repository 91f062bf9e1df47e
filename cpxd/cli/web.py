# SPDX-License-Identifier: Apache-2.0
"""`cpxd status --web`: the page "Ma carte" in the person's browser, by an address that is good once."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from cpxd import config, errors
from cpxd.api import listener
from cpxd.api.problems import NoPort
from cpxd.cli.common import show_json
from cpxd.errors import Exit
from cpxd.text import tr

_OPENERS = (("xdg-open",), ("gio", "open"), ("sensible-browser",))
_START_SECONDS = 8.0  # for a service that is started for this
_ASK_SECONDS = 10.0
_ANSWER = 65536  # bytes


def run(options: argparse.Namespace) -> int:
    """Raises NotServing, and what the service answers."""
    address = _address()
    opened = _opened(address)
    if options.json:
        show_json({"address": address, "opened": opened})
        return Exit.DONE
    print(address)
    if opened:
        print(tr("Le navigateur s'ouvre. Ce lien ne sert qu'une fois.", "The browser opens. This link works once."))
    else:
        print(
            tr(
                "Ouvrez ce lien dans un navigateur de ce poste, dans les deux minutes. Il ne sert qu'une fois.",
                "Open this link in a browser of this workstation within two minutes. It works once.",
            )
        )
    print(tr("Le navigateur avertit d'un risque ? cpxd doctor", "Does the browser warn of a risk? cpxd doctor"))
    return Exit.DONE


def _address() -> str:
    with _connected() as channel:
        asked = http.client.HTTPConnection("localhost", timeout=_ASK_SECONDS)
        asked.sock = channel
        try:
            asked.request("POST", "/v1/page", b"{}", {"Content-Type": "application/json", "X-Cpxd": "1"})
            answer = asked.getresponse()
            found = json.loads(answer.read(_ANSWER))
            if answer.status == 200:
                return str(found["address"])
            if found["error"]["code"] == NoPort.code:
                raise NoPort(port=config.load().api_port)
            raise errors.Internal(detail=found["error"]["code"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            raise errors.NotServing() from None


def _connected() -> socket.socket:
    """A connection to the service, which is started when it does not run, unless CPXD_NO_START says no."""
    channel = _tried()
    if channel is None and not os.environ.get("CPXD_NO_START"):
        command = [str(Path(sys.executable).with_name("cpxd")), "serve"]
        null = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")
        limit = time.monotonic() + _START_SECONDS
        while (channel := _tried()) is None and time.monotonic() < limit:
            time.sleep(0.05)
    if channel is None:
        raise errors.NotServing()
    return channel


def _tried() -> socket.socket | None:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    channel.settimeout(_ASK_SECONDS)
    try:
        channel.connect(str(listener.api_socket()))
    except OSError:
        channel.close()
        return None
    return channel


def _opened(address: str) -> bool:
    """Whether a program took the address to a browser. It is asked for no longer than a browser takes to start."""
    for words in _OPENERS:
        if found := shutil.which(words[0]):
            null = subprocess.DEVNULL
            try:
                process = subprocess.Popen(
                    [found, *words[1:], address], stdin=null, stdout=null, stderr=null, start_new_session=True
                )
            except OSError:
                continue
            try:
                if process.wait(3) == 0:
                    return True
            except subprocess.TimeoutExpired:
                return True  # a browser that was started by it
    return False
