# SPDX-License-Identifier: Apache-2.0
"""The service as a browser meets it: its certificate, proven by a real TLS handshake; which sites may ask; who trusts it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Literal

from cpxd.config import config_home, state_home
from cpxd.doctor.machine import Machine, tool
from cpxd.doctor.model import Fix, command
from cpxd.files import read_small

_SECONDS = 1.5  # the first connection makes the service load its HTTP library
_REGISTER_SECONDS = 60
_BROWSER_SECONDS = 20
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "brave-browser")
_LIMIT = 65536
_ORIGIN = re.compile(r"https://[a-z0-9.-]+(?::[0-9]{1,4})?|https://[a-z0-9.-]+:[1-5][0-9]{4}")
_MOST_SITES = 64
Shaken = Literal["trusted", "other certificate", "no TLS", "silent", "absent"]


def certificate_file() -> Path:
    return state_home() / "localhost.pem"


def leaf() -> bytes | None:
    """DER of the certificate that the service shows; None: none was made yet, or it cannot be read."""
    try:
        text = read_small(certificate_file(), _LIMIT)
        return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :].strip())
    except (OSError, ValueError):
        return None


def exposed() -> bool:
    """Whether others than this user may read or replace its key."""
    try:
        status = certificate_file().stat()
    except OSError:
        return False
    return bool(stat.S_IMODE(status.st_mode) & 0o077) or status.st_uid != os.getuid()


def shake(address: str, port: int, trusted: bytes) -> Shaken:
    """As a browser that trusts exactly this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(trusted))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            return "trusted" if link.getpeercert(binary_form=True) == trusted else "other certificate"
    except ssl.SSLCertVerificationError:
        return "other certificate"
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return "no TLS"
    except TimeoutError:
        return "silent"
    except OSError:
        return "absent"


def chromium(home: Path, port: int) -> bool | None:
    """Whether a real Chromium of this user, in a profile that is thrown away, takes the certificate; None: not to be tried."""
    program = next((found for name in _CHROMIUMS if (found := tool(name))), None)
    if program is None:
        return None
    root = ["--no-sandbox"] if os.getuid() == 0 else []  # it refuses to run as root with one
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="cpxd-", ignore_cleanup_errors=True) as profile:
        line = [program, "--headless=new", *root, "--disable-gpu", "--no-first-run", "--no-proxy-server"]
        line += [f"--user-data-dir={profile}", "--dump-dom", f"https://localhost:{port}/v1/info"]
        try:
            done = subprocess.run(
                line,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_BROWSER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    if "CPX-160" in done.stdout:  # the refusal that a page of no site gets: it came through
        return True
    return False if "ERR_CERT" in done.stderr + done.stdout else None


def knock(port: int) -> None:
    """Have the service make its certificate, which it does when the first client comes."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _SECONDS) as link:
        link.settimeout(_SECONDS)
        limit = time.monotonic() + _SECONDS
        while leaf() is None and time.monotonic() < limit:
            time.sleep(0.02)


def sites(machine: Machine) -> list[str]:
    """Origins that the person or the administrator lets ask for the card."""
    places = [config_home() / "origins.list"]
    folder = machine.at("/etc/cpxd/origins.d")
    places += sorted(folder.glob("*.list")) if folder.is_dir() else []
    texts = [machine.text(place).removeprefix("\N{BYTE ORDER MARK}") for place in places]
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if _ORIGIN.fullmatch(line)))[:_MOST_SITES]


def register(machine: Machine) -> Fix:
    """The command that tells every browser of this user of the module and of the certificate."""
    return command("cpxd register --browsers", partial(_register, machine.home))


def _register(home: Path) -> None:
    """Raises OSError when it does not succeed."""
    line = [str(Path(sys.executable).with_name("cpxd")), "register", "--browsers"]
    try:
        done = subprocess.run(
            line,
            env={**os.environ, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_REGISTER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError("cpxd register: timeout") from None
    if done.returncode:
        raise OSError(f"cpxd register: {done.returncode}")
