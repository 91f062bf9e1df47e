# SPDX-License-Identifier: Apache-2.0
"""A card in a reader, the daemon with one of its three ways of asking for the PIN, and a login to the sandbox."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from browser_display import Display
from browser_page import MODULE, Browser
from cryptography import x509
from cryptography.x509.oid import NameOID

from simulator import personalise, personas
from simulator.daemon import Daemon
from simulator.lab import Lab
from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options

PIN = "1234"
_ARTIFACTS = os.environ.get("CPX_TEST_ARTIFACTS")
_ERROR = r"(ERR_[A-Z0-9_]+|SSL_ERROR_[A-Z0-9_]+|SEC_ERROR_[A-Z0-9_]+|e=\w+|PR_[A-Z_]+)"


def artifact(name: str, kind: str = "png") -> Path:
    """Where a screenshot or a record goes: CPX_TEST_ARTIFACTS, or a folder of the temporary one that stays."""
    folder = Path(_ARTIFACTS) if _ARTIFACTS else Path(tempfile.gettempdir()) / f"cpxd-test-artifacts-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.{kind}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """holder: the national identifier that the relying page shows; else why there is none."""

    holder: str | None
    error: str = ""


class Bench:
    """cards: one at least. pin: host, protected or agent. self_starting: `module` starts the daemon when there is none."""

    def __init__(self, *cards: str, pin: str = "host", self_starting: bool = False) -> None:
        self.lab = Lab(list(cards), slots=1, dialog_pin=PIN)
        self._pin, self._self_starting = pin, self_starting
        self.module = MODULE

    def __enter__(self) -> Bench:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.lab)
            assert self.lab.folder is not None
            settings = self.lab.folder / "config" / "cpxd" / "config.toml"
            text = settings.read_text(encoding="utf-8")
            assert "[pkcs11]\n" in text
            settings.write_text(text.replace("[pkcs11]\n", f'[pkcs11]\npin = "{self._pin}"\n'), encoding="utf-8")
            self.environment = dict(self.lab.env)
            if self._self_starting:
                self.module = self._module_that_starts(self.lab.folder)
                stack.callback(self._end_started)
            else:
                self.environment["CPXD_NO_START"] = "1"
            self.daemon = Daemon({**os.environ, **self.lab.env}, self.lab.folder / "daemon.log")
            stack.callback(self.daemon.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @staticmethod
    def _module_that_starts(folder: Path) -> Path:
        """A copy of the module, with the daemon's path beside it."""
        module = Path(shutil.copy(MODULE, folder))
        module.with_suffix(".daemon").write_text(f"{Path(sys.executable).with_name('cpxd')}\n")
        return module

    def _end_started(self) -> None:
        """A daemon that a module has started is nobody's child; the socket tells its process."""
        with socket.socket(socket.AF_UNIX) as stream:
            if stream.connect_ex(str(self.daemon.socket)) != 0:
                return
            credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = int(struct.unpack("3i", credentials)[0])
        if pid != self.daemon.process.pid:
            ended = os.pidfd_open(pid)
            signal.pidfd_send_signal(ended, signal.SIGTERM)
            select.select([ended], [], [], 10)
            os.close(ended)

    def log(self) -> str:
        """What `cpxd logs` shows."""
        path = Path(self.lab.env["XDG_STATE_HOME"]) / "cpxd" / "cpxd.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def asked(self) -> int:
        """How often our own dialog has asked for a PIN."""
        assert self.lab.folder is not None
        transcript = self.lab.folder / "dialog" / "pinentry-scripted.transcript"
        return transcript.read_text().splitlines().count("GETPIN") if transcript.exists() else 0

    def verified(self) -> int:
        """VERIFY commands that brought a PIN to the card in slot 0."""
        return sum(command[1] == 0x20 and len(command) > 5 for command, _ in self.lab.card(0).trace)


@contextlib.contextmanager
def sandbox(tls: str = "1.2 and 1.3", ca_names: str = "issuers") -> Iterator[Addresses]:
    with running(Options(tls=tls, ca_names=ca_names)) as addresses:  # type: ignore[arg-type]
        yield addresses


_VISITS = itertools.count(1)


def start_login(browser: Browser, addresses: Addresses) -> None:
    """Up to the click on "Carte CPS"."""
    address = f"{addresses.relying}?{next(_VISITS)}"  # another one each time: what is there before is not taken for it
    browser.open(address)
    browser.wait(f"document.documentURI === {address!r} && document.readyState === 'complete'")
    if browser.evaluate("document.getElementById('logout') !== null"):
        browser.click("logout")
        browser.wait("document.getElementById('logged-out') !== null")
    browser.click("login")
    browser.click("login-card")


def type_pin(browser: Browser, display: Display, pin: str = PIN, shot: str | None = None) -> None:
    """In the browser's own window."""
    window = display.wait_window(browser.pin_window)
    if shot is not None:
        time.sleep(0.3)
        display.screenshot(artifact(shot))
    display.type(window, pin)
    display.wait_gone(window)


def finish_login(browser: Browser, seconds: float = 20) -> Outcome:
    """What came of it: the relying page with somebody's identity, or a page that says why not."""
    over = (
        "(document.getElementById('identity') !== null || document.getElementById('error') !== null"
        " || /^(about:neterror|about:certerror|chrome-error:)/.test(document.documentURI)) && document.readyState !== 'loading'"
    )
    browser.wait(over, seconds)
    holder = browser.evaluate(
        "document.getElementById('claim-preferred_username') === null ? null"
        " : document.getElementById('claim-preferred_username').textContent"
    )
    if holder is not None:
        return Outcome(str(holder))
    said = browser.where()
    code = browser.evaluate("(document.getElementById('error') || {dataset: {}}).dataset.code || ''")
    found = re.search(_ERROR, said)
    return Outcome(None, str(code) or (found[1] if found else said))


def holder_of(persona: str) -> str:
    """The national identifier, as the authentication certificate of its card has it."""
    image = personalise.personalise(personas.load(persona), "cps4")
    (content,) = (file.content for file in image.files if file.path == (0x0001, 0xA006))
    (name,) = x509.load_der_x509_certificate(content).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)
