# SPDX-License-Identifier: Apache-2.0
"""What a site is told of a card's state, levels of signatures, and where dialogs are shown."""

from __future__ import annotations

import base64
import os
import pty
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_lab import ApiLab, api_lab
from test_api_card import until, waiting

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "signature"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browsers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "galss"))
from authority import TSA_URL, Authority
from browser_display import Display
from test_galss_client import held

from cpxd.dialog import session
from simulator.pki import TestPki

NONCE = "n" * 44
TEXT = b"Ordonnance\n"
WANTED = {"documents": [{"name": "a.txt", "content": base64.b64encode(TEXT).decode()}]}


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


def states(lab: ApiLab) -> list[str]:
    return [reader["state"] for reader in lab.ask("GET", "/v1/readers").json["readers"]]


def test_revoked_expired_ready_without_any_network(listening: socket.socket) -> None:
    """The lists are those of the administrator's folder; the proxy through which servers would be asked hears nothing."""
    proxy = f'fetch = true\nproxy = "http://127.0.0.1:{listening.getsockname()[1]}"'
    cards = ["cpe-opposee:cps3", "cps-expiree:cps4", "cps-medecin:cps3", None]
    with api_lab(cards, settings={"revocation": proxy}) as lab:
        assert states(lab) == ["revoked", "expired", "ready", "no-card"]
        lab.lab.insert(3, "cpe-opposee:cps4")
        assert states(lab)[3] == "revoked"
        lab.lab.remove(0)
        lab.lab.insert(0, "cps-infirmier:cps3")
        assert states(lab)[0] == "ready"
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_terminal_that_another_program_holds_is_busy_not_empty() -> None:
    with api_lab([None], galss=True) as lab, lab.unix() as channel:
        channel.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert states(lab) == ["no-card"]
        with held(lab.lab, 60):
            lab.lab.insert(0, "cps-medecin:cps3")
            heard = b""
            while b'"busy"' not in heard:
                heard += channel.recv(4096)
            assert states(lab) == ["busy"]
            refused = lab.ask("POST", "/v1/authenticate", {"nonce": NONCE})
            assert (refused.status, refused.code) == (409, "CPX-118") and "occupe la carte" in refused.json["error"]["fr"]
        while b'"ready"' not in heard:
            heard += channel.recv(4096)
        assert states(lab) == ["ready"]


def test_one_card_seen_by_contact_and_without_is_told_to_be_one() -> None:
    def told(lab: ApiLab) -> list[int | None]:
        return [reader["same_card"] for reader in lab.ask("GET", "/v1/readers").json["readers"]]

    with api_lab(["cps-medecin:cps3cl", "cpa:cps3", "cps-medecin:cps3", None]) as lab:
        assert told(lab) == [2, None, 0, None]
        lab.lab.remove(2)
        lab.lab.insert(3, "cps-medecin:cps3")
        assert told(lab) == [3, None, None, 0]
        lab.lab.remove(0)
        assert told(lab) == [None] * 4


def test_events_tell_of_a_revoked_card_once_it_is_known() -> None:
    with api_lab(["cpe-opposee:cps3"]) as lab, lab.unix() as channel:
        channel.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = b""
        while b'"revoked"' not in heard:
            heard += channel.recv(4096)
        assert b'"ready"' not in heard


def test_codes_that_are_nearly_used_up() -> None:
    with api_lab(["cps-medecin:cps3"], ["pin 9999", "pin 9998", "ok", "pin 1234"]) as lab:
        for left, state in ((2, "ready"), (1, "pin-last-try")):
            assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-120"
            reader = lab.ask("GET", "/v1/readers").json["readers"][0]
            assert (reader["state"], reader["pin"]) == (state, {"tries_left": left, "blocked": False})
        assert lab.ask("POST", "/v1/authenticate", {"nonce": NONCE}).code == "CPX-106"  # the word was not typed


def test_a_level_above_b(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(TestPki(), tmp_path)
    try:
        for name, value in authority.env.items():
            monkeypatch.setenv(name, value)
        with api_lab(["cps-medecin:cps3"], ["no", "* pin 1234"], settings={"sign": f'tsa = "{TSA_URL}"'}) as lab:
            assert lab.ask("POST", "/v1/sign", WANTED | {"level": "t"}).code == "CPX-138"
            assert authority.asked == []  # nobody is asked for what a person refuses
            made = lab.ask("POST", "/v1/sign", WANTED | {"level": "t", "format": "cades"}).json["signatures"][0]
            (tmp_path / "a.p7s").write_bytes(base64.b64decode(made["content"]))
            shown = ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "a.p7s"]
            text = subprocess.run(shown, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
            assert TSA_URL in authority.asked and "id-smime-aa-timeStampToken" in text
            wrong = lab.ask("POST", "/v1/sign", WANTED | {"level": "lta", "format": "cades"})
            assert (wrong.status, lab.ask("POST", "/v1/sign", WANTED | {"level": "x"}).status) == (400, 400)
            authority.down = {"http"}
            dialogs = lab.dialogs()
            assert lab.ask("POST", "/v1/sign", WANTED | {"level": "t"}).status == 502
            assert lab.dialogs() == dialogs + 1  # the document, and no PIN for nothing
    finally:
        authority.close()


@pytest.mark.parametrize("path", ["/v1/identity", "/v1/sign"])
def test_a_card_put_in_while_the_text_is_read(path: str) -> None:
    with api_lab(["cps-medecin:cps3"]) as lab, ThreadPoolExecutor(1) as pool:
        reader = lab.dialog.with_name(f"{lab.dialog.name}.reader")
        opened, go = waiting(lab, reader)
        asked = pool.submit(lab.ask, "POST", path, WANTED if path == "/v1/sign" else {})
        until(opened)
        new = lab.lab.insert(0, "cps-pharmacien:cps3")
        lab.wait()
        go.touch()
        assert asked.result(30).code in ("CPX-126", "CPX-128")
        assert not [sent for sent, _ in new.trace if sent[1] in (0x20, 0x2A, 0x88)]  # no code, no signature
        assert not lab.state("consents.json").exists()


PEER = """
import http.client, json, socket, sys
link = http.client.HTTPConnection("localhost")
link.sock = socket.socket(socket.AF_UNIX)
link.sock.connect(sys.argv[1])
body = {"nonce": "n" * 44, "origin": "https://lgc.example"} if sys.argv[2] == "authenticate" else {}
link.request("POST", "/v1/" + sys.argv[2], json.dumps(body), {"Content-Type": "application/json"})
answer = link.getresponse()
print(answer.status, json.loads(answer.read()).get("error", {}).get("code"))
"""


@pytest.fixture(scope="module")
def stock() -> Iterator[ApiLab]:
    """A daemon without a display, whose dialogs are those of the distribution."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY"):
            patch.delenv(name, raising=False)
        with api_lab(["cps-medecin:cps3"], dialog_pin=None) as lab:
            yield lab


def sock(lab: ApiLab) -> str:
    return str(Path(lab.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock"))


def peer(lab: ApiLab, operation: str = "authenticate", **more: str) -> str:
    """Status and code that a program of another session hears."""
    environment, nothing = {"PATH": "/usr/bin:/bin", **more}, subprocess.DEVNULL
    command = ["setsid", sys.executable, "-c", PEER, sock(lab), operation]
    done = subprocess.run(command, env=environment, stdin=nothing, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_neither_display_nor_terminal_is_a_typed_error(stock: ApiLab) -> None:
    apdus = stock.apdus
    assert peer(stock) == "503 CPX-123"
    assert peer(stock, DISPLAY=":77") == "503 CPX-123"
    answer = stock.ask("POST", "/v1/authenticate", {"nonce": NONCE})
    assert (answer.status, answer.code) == (503, "CPX-123")
    assert stock.ask("POST", "/v1/identity", {}).code == "CPX-123"
    assert stock.apdus - apdus < 20  # at most the counter was read
    assert not [sent for sent, _ in stock.lab.card(0).trace if sent[1] == 0x20 and len(sent) > 5]


def test_a_dialog_on_the_display_of_who_asks(stock: ApiLab) -> None:
    with Display() as display, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(peer, stock, "identity", DISPLAY=display.name)
        limit = time.monotonic() + 20
        while display.find_window("Votre accord") is None:
            assert time.monotonic() < limit
            time.sleep(0.05)
        time.sleep(0.3)
        subprocess.run(["xdotool", "key", "Escape"], env={**os.environ, "DISPLAY": display.name}, check=True, timeout=20)
        assert asked.result(30) == "403 CPX-138"


def test_a_dialog_on_the_terminal_of_who_asks(stock: ApiLab) -> None:
    """Its controlling terminal, whatever its variables say."""
    script = ["script", "-qec", shlex.join([sys.executable, "-c", PEER, sock(stock), "identity"]), "/dev/null"]
    environment = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "fr_FR.UTF-8"}
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(script, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        heard = b""
        while b"Tapez" not in heard:
            heard += os.read(master, 4096)
        assert "votre identité" in heard.decode(errors="replace")
        os.write(master, b"oui\n")
        while b"200 None" not in heard:
            heard += os.read(master, 4096)
        assert process.wait(20) == 0
    finally:
        os.close(master)
        os.close(slave)


def test_what_the_desktop_told_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nprintf 'DISPLAY=:7\\nLD_PRELOAD=/evil.so\\nXAUTHORITY=/a=b\\n'\n")
    program.chmod(0o700)
    monkeypatch.setattr(session, "SYSTEMCTL", program)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    assert "DISPLAY" not in session.environment()
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    found = session.environment()
    assert (found["DISPLAY"], found["XAUTHORITY"]) == (":7", "/a=b") and "LD_PRELOAD" not in found
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert "DISPLAY" not in session.environment()
    monkeypatch.delenv("WAYLAND_DISPLAY")
    program.write_text("#!/bin/sh\nexit 1\n")
    assert "DISPLAY" not in session.environment()
