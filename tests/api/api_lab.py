# SPDX-License-Identifier: Apache-2.0
"""A lab whose daemon has a port of its own, one allowed site and a scripted dialog; and a raw client of its API."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator import pinentry
from simulator.daemon import Daemon
from simulator.lab import Lab

SITE = "https://lgc.example"
BROWSER = {
    "Origin": SITE,
    "X-Cpxd": "1",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass
class ApiLab:
    lab: Lab
    port: int
    daemon: Daemon
    dialog: Path

    @property
    def apdus(self) -> int:
        return sum(self.lab.card(slot).apdu_count for slot in range(len(self.lab._specs)))

    def dialogs(self) -> int:
        return pinentry.transcript(self.dialog).count("--")

    def said(self) -> str:
        return "\n".join(pinentry.transcript(self.dialog))

    def answers(self, *lines: str) -> None:
        """What the dialogs answer from now on."""
        pinentry.install(self.dialog.parent, lines, self.dialog.name)

    def state(self, *names: str) -> Path:
        return Path(self.lab.env["XDG_STATE_HOME"], "cpxd", *names)

    def wait(self) -> None:
        """For the door, which opens once the readers are known; then for the first card to be read."""
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            with contextlib.suppress(OSError):
                if all(r["state"] != "reading" for r in self.ask("GET", "/v1/readers", native=True).json["readers"]):
                    return
            time.sleep(0.02)
        raise AssertionError("the API does not answer")

    def tls(self, address: str = "127.0.0.1") -> ssl.SSLSocket:
        """The certificate is checked as a browser would that was told of exactly this leaf."""
        context = ssl.create_default_context(cadata=self.leaf())
        return context.wrap_socket(self.tcp(address), server_hostname=address)

    def leaf(self) -> str:
        limit = time.monotonic() + 20
        with self.tcp():  # it is made when the first client comes
            while not self.state("localhost.pem").exists() and time.monotonic() < limit:
                time.sleep(0.01)
        text = self.state("localhost.pem").read_text()
        return text[text.index("-----BEGIN CERTIFICATE") :]

    def tcp(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((address, self.port), timeout=20)

    def unix(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(20)
        try:
            channel.connect(str(Path(self.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock")))
        except OSError:
            channel.close()
            raise
        return channel

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        native: bool = False,
        address: str = "127.0.0.1",
    ) -> Answer:
        host = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        named: dict[str, str | None] = {"Host": host, **({} if native else BROWSER)}
        content = b"" if body is None else json.dumps(body).encode()
        if method == "POST":
            named |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        named |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in named.items() if v is not None), "Connection: close"]
        with self.unix() if native else self.tls(address) as channel:
            return answer(channel, "\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def answer(channel: socket.socket, request: bytes) -> Answer:
    channel.sendall(request)
    return parse(everything(channel))


def everything(channel: socket.socket) -> bytes:
    """Until the other side closes, in whatever way."""
    found = b""
    with contextlib.suppress(OSError):
        while block := channel.recv(65536):
            found += block
    return found


def parse(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]) if data else 0, headers, body)


@contextlib.contextmanager
def api_lab(
    cards: Sequence[Any],
    answers: Sequence[str] = ("* pin 1234",),
    settings: Mapping[str, str] | None = None,
    sites: Sequence[str] = (SITE,),
    wait: bool = True,
    **options: Any,
) -> Iterator[ApiLab]:
    """`settings`: lines of config.toml by section, beside those of the lab. `wait`: until its API answers."""
    options = {"api_consent": 0.001, "dialog_pin": "1234"} | options
    with Lab(cards, slots=max(1, len(cards)), **options) as lab:
        assert lab.folder is not None
        config = Path(lab.env["XDG_CONFIG_HOME"]) / "cpxd"
        text = (config / "config.toml").read_text()
        for section, lines in (settings or {}).items():
            known = f"[{section}]\n"
            text = text.replace(known, f"{known}{lines}\n") if known in text else f"{text}{known}{lines}\n"
        (config / "config.toml").write_text(text)
        (config / "origins.list").write_text("".join(f"{site}\n" for site in sites))
        dialog = lab.folder / "dialog" / "pinentry-scripted"
        daemon = Daemon({**os.environ, **lab.env}, lab.folder / "daemon.log")
        made = ApiLab(lab, lab.api_port, daemon, dialog)
        try:
            made.answers(*answers)
            if wait:
                made.wait()
            yield made
        finally:
            daemon.stop()
