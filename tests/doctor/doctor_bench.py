# SPDX-License-Identifier: Apache-2.0
"""A workstation and a card to make ill: what each fault changes is a field of `Case`, so that faults combine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cpxd_lab import with_codes
from doctor_server import Server

from simulator.lab import Lab, LabError
from simulator.pcscd import PrivatePcscd, Setup

MODULE = Path(__file__).resolve().parents[2] / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"


@dataclass
class Case:
    """One illness, or several. `folder`: with root/, home/, run/, config/, cache/, state/ of the workstation."""

    folder: Path
    card: Any = "cps-medecin:cps3"  # None: no card
    card_fault: str | None = None
    pcscd: Path | None = None  # another socket than the lab's
    reader: str | None = None
    now: datetime | None = None
    built: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    config: list[str] = field(default_factory=list)  # replaces the lab's when it is not empty
    exclusive: bool = False  # another program holds the card
    site: str | None = None  # a teleservice that is examined too
    authorities: Path | None = None  # of teleservices, instead of the system's
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def put(self, path: str, content: str | bytes = "") -> Path:
        """A file below the folder."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return place

    def usb(self, vendor: str, product: str, *, ccid: bool = True, control: str = "on") -> None:
        device = "root/sys/bus/usb/devices/1-2"
        self.put(f"{device}/idVendor", f"{vendor}\n")
        self.put(f"{device}/idProduct", f"{product}\n")
        self.put(f"{device}/product", "A reader\n")
        self.put(f"{device}/power/control", f"{control}\n")
        self.put(f"{device}:1.0/bInterfaceClass".replace("1-2:", "1-2:"), "0b\n" if ccid else "ff\n")

    def process(self, pid: int, name: str) -> None:
        self.put(f"root/proc/{pid}/comm", f"{name}\n")

    def firefox(self, *modules: tuple[str, str]) -> Path:
        """A profile whose database has these modules (name, library)."""
        base = self.home / ".mozilla" / "firefox"
        profile = base / "abcd1234.default-esr"
        if not profile.exists():
            profile.mkdir(parents=True)
            (base / "profiles.ini").write_text("[Profile0]\nName=default\nIsRelative=1\nPath=abcd1234.default-esr\n")
            subprocess.run(["certutil", "-N", "-d", f"sql:{profile}", "--empty-password"], check=True, capture_output=True)
        with (profile / "pkcs11.txt").open("a") as file:
            file.writelines(f"library={library}\nname={name}\n\n" for name, library in modules)
        return profile

    def certificate(self, place: str = "state/cpxd/localhost.pem", mode: int = 0o600) -> Path:
        """A key and a certificate as the service makes them."""
        path = self.put(place)
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        made += ["-subj", "/CN=localhost"]
        made += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        done = subprocess.run([*made, "-keyout", "-"], check=True, capture_output=True)
        path.write_bytes(done.stdout)
        path.chmod(mode)
        return path

    def serving(self, pem: Path | None) -> int:
        """A port that our service seems to hold: with TLS and this certificate; None: it hangs up on everybody."""
        import ssl

        server = socket.create_server(("127.0.0.1", 0))
        port, self.inode = server.getsockname()[1], 9000
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        rest = "0A 00000000:00000000 00:00000000 00000000  1000        0"
        self.put("root/proc/net/tcp", f"{head}   0: 0100007F:{port:04X} 00000000:0000 {rest} {self.inode} 1\n")
        self.process(77, "cpxd")
        self.put("root/proc/77/cmdline", "/usr/bin/python3\0/usr/bin/cpxd\0serve\0")
        fds = self.root / "proc/77/fd"
        fds.mkdir()
        (fds / "5").symlink_to(f"socket:[{self.inode}]")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if pem is not None:
            context.load_cert_chain(pem)

        def serve() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link, contextlib.suppress(OSError, ValueError):
                    if pem is not None:
                        with context.wrap_socket(link, server_side=True):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        self.stack.callback(server.close)
        self.stack.callback(lambda: server.shutdown(socket.SHUT_RDWR))
        return port

    def allowed(self, origin: str) -> None:
        """The person lets it ask for the card."""
        self.put("config/cpxd/origins.list", f"{origin}\n")

    def listening(self, path: Path, answer: Callable[[socket.socket], None] | None = None) -> socket.socket:
        """A socket that somebody listens on, and never answers unless `answer` does."""
        server = socket.socket(socket.AF_UNIX)
        self.stack.callback(server.close)
        path.parent.mkdir(parents=True, exist_ok=True)
        server.bind(str(path))
        server.listen(8)
        if answer is not None:

            def serve() -> None:
                while True:
                    try:
                        link, _ = server.accept()
                    except OSError:
                        return
                    with link:
                        answer(link)

            threading.Thread(target=serve, daemon=True).start()
            self.stack.callback(lambda: server.shutdown(socket.SHUT_RDWR))
        return server


class Bench:
    """A lab of one reader, a pcscd without any, and a server of examinations."""

    def __init__(self, folder: Path, timing: str = "none") -> None:
        self.folder, self._timing = folder, timing
        self._stack = contextlib.ExitStack()
        self._count = 0
        self._readerless: Path | None = None

    def __enter__(self) -> Bench:
        self.lab = self._stack.enter_context(Lab(["cps-medecin:cps3"], slots=1, timeout_ms=3000, timing=self._timing))
        self.server = Server()
        self._stack.callback(self.server.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def readerless(self) -> Path:
        """The socket of a pcscd that has no reader."""
        if self._readerless is None:
            folder = Path(self._stack.enter_context(_short()))
            pcscd = _Readerless(Setup(folder, slots=0))
            self._stack.callback(pcscd.close)
            pcscd.start()
            self._readerless = pcscd.socket
        return self._readerless

    @contextlib.contextmanager
    def case(self) -> Iterator[Case]:
        self._count += 1
        folder = self.folder / f"c{self._count}"
        case = Case(folder)
        for name in ("root/usr/sbin", "home", "run", "config/cpxd", "cache", "state"):
            (folder / name).mkdir(parents=True)
        case.put("root/usr/sbin/pcscd")
        case.put("root/usr/lib/pcsc/drivers/ifd-ccid.bundle/Info.plist")
        try:
            with case.stack:
                yield case
        finally:
            with contextlib.suppress(LabError):
                self.lab.remove(0)
            shutil.rmtree(folder, ignore_errors=True)

    def insert(self, case: Case) -> None:
        with contextlib.suppress(LabError):
            self.lab.remove(0)
        if case.card is not None:
            self.lab.insert(0, case.card, case.card_fault)
        if case.exclusive:
            case.stack.enter_context(_holder(self.lab))

    def environment(self, case: Case) -> dict[str, str]:
        text = "\n".join(case.config) or (Path(self.lab.env["XDG_CONFIG_HOME"]) / "cpxd" / "config.toml").read_text()
        if case.config != ["-"]:
            case.put("config/cpxd/config.toml", text)
        names = {"RUNTIME_DIR": "run", "CONFIG_HOME": "config", "CACHE_HOME": "cache", "STATE_HOME": "state"}
        return {
            **{name: os.environ[name] for name in ("PATH",)},
            **self.lab.env,
            **{f"XDG_{name}": str(case.folder / place) for name, place in names.items()},
            "HOME": str(case.home),
            **({"SSL_CERT_FILE": str(case.authorities)} if case.authorities else {}),
            **({"PCSCLITE_CSOCK_NAME": str(case.pcscd)} if case.pcscd else {}),
        }

    def examine(self, case: Case, *, fix: bool = False, browser: bool = False) -> dict[str, Any]:
        """What the doctor says. No command with a code may reach the card, whatever is wrong."""
        answer = self.server.ask(
            {
                "environment": self.environment(case),
                "root": str(case.root),
                "home": str(case.home),
                "now": case.now and case.now.isoformat(),
                "built": case.built.isoformat(),
                "reader": case.reader,
                "fix": fix,
                "browser": browser,
                "site": case.site,
            }
        )
        assert "defect" not in answer, answer
        with contextlib.suppress(LabError):
            assert with_codes(self.lab.card(0).trace) == [], "a command with a code was sent"
        return answer


class _Readerless(PrivatePcscd):
    def _stanzas(self) -> list[str]:
        return []


@contextlib.contextmanager
def _short() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cpx-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


_HOLD = """
import sys
from smartcard.scard import *
context = SCardEstablishContext(SCARD_SCOPE_USER)[1]
reader = SCardListReaders(context, [])[1][0]
code, card, _ = SCardConnect(context, reader, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
print(code, flush=True)
sys.stdin.read()
SCardDisconnect(card, SCARD_LEAVE_CARD)
SCardReleaseContext(context)
"""


@contextlib.contextmanager
def _holder(lab: Lab) -> Iterator[None]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD], env={**os.environ, **lab.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdin is not None
    try:
        assert holder.stdout.readline().strip() == "0", "the card is held"
        yield
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()


def days(count: float) -> timedelta:
    return timedelta(days=count)
