# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, as other people's tests use it, and the control API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
THEIRS = """
import subprocess
import pytest

SELECT = bytes.fromhex("00A4040C0DE828BD080F8025000001FF0010")

def readers(lab):
    return lab.run(["opensc-tool", "-l"], capture_output=True, check=True).stdout

def test_a_card_in_a_reader(cpx_lab, cpx_card):
    assert readers(cpx_lab).count("Yes") == 1
    atr = cpx_lab.run(["opensc-tool", "-a"], capture_output=True, check=True).stdout
    assert atr.strip().replace(":", "").upper() == cpx_card.card.atr.hex().upper()
    assert cpx_card.apdu_count >= 0

@pytest.mark.cpx("cps-infirmier:cps4")
def test_another_one(cpx_lab, cpx_card):
    assert cpx_card.card.atr.hex().upper().startswith("3B9B1880")
    cpx_lab.insert(1, "cat-opticien")
    assert readers(cpx_lab).count("Yes") == 2

def test_nothing_is_left(cpx_lab):
    assert readers(cpx_lab).count("Yes") == 0

def test_the_environment_is_this_process_too(cpx_lab):
    import os
    assert os.environ["PCSCLITE_CSOCK_NAME"] == cpx_lab.env["PCSCLITE_CSOCK_NAME"]

@pytest.mark.cpx("cpa:cps4")
def test_without_any_reader(cpx_virtual_card):
    assert cpx_virtual_card.transmit(SELECT)[-2] in (0x61, 0x90)

@pytest.mark.cpx("cps-medecin", fault="sw@0-=6F00")
def test_a_card_that_fails(cpx_lab, cpx_card):
    failed = cpx_lab.run(["opensc-tool", "-s", "00A40000"], capture_output=True)
    assert "9000" not in failed.stdout.replace(" ", "")
"""


def others(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_theirs.py").write_text(tests)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "simulator.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_what_others_write(tmp_path: Path) -> None:
    done = others(tmp_path, THEIRS)
    assert re.search(r"^6 passed", done.stdout, re.MULTILINE), done.stdout + done.stderr


WRONG = """
import pytest

@pytest.mark.cpx("nobody")
def test_one(cpx_card): ...

@pytest.mark.cpx("cps-medecin", fault="often")
def test_two(cpx_card): ...

@pytest.mark.cpx("cps-medecin", faults="pull@3")
def test_three(cpx_card): ...

@pytest.mark.cpx(3)
def test_four(cpx_virtual_card): ...

@pytest.mark.cpx("nobody")
def test_five(cpx_virtual_card): ...
"""


def test_a_mark_that_is_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    done = others(tmp_path, WRONG)
    assert re.search(r"^5 errors", done.stdout, re.MULTILINE), done.stdout + done.stderr
    said = ["unknown persona: nobody", "fault not understood", "keyword argument 'faults'", "card=3", "unknown persona"]
    assert all(words in done.stdout for words in said) and "Traceback" not in done.stdout and "def _" not in done.stdout


def test_the_plugin_is_published() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"cpx_sim": "simulator.plugin"}


# --- cpx-sim serve --------------------------------------------------------------------------------------------------


class Client:
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(path)
        self._file = self._socket.makefile("rwb")

    def send(self, line: bytes) -> dict[str, Any]:
        self._file.write(line + b"\n")
        self._file.flush()
        answer: dict[str, Any] = json.loads(self._file.readline())
        return answer

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        return self.send(json.dumps({"do": do, **more}).encode())

    def done(self, do: str, **more: Any) -> dict[str, Any]:
        answer = self.ask(do, **more)
        assert answer["ok"], answer
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()


Served = tuple[dict[str, Any], subprocess.Popen[str]]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    command = [str(Path(sys.executable).with_name("cpx-sim")), "serve", "--card", "cps-medecin:cps4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process
        if process.poll() is None:
            process.terminate()
            assert process.wait(20) == 0


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    opened = Client(served[0]["socket"])
    yield opened
    opened.close()


def slot(client: Client, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = client.done("status")["slots"][number]
    return found


def cpxd(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **served[0]["environment"], "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("cpxd")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_socket_is_its_owners(served: Served) -> None:
    assert stat.S_IMODE(os.stat(served[0]["socket"]).st_mode) == 0o600
    assert len(served[0]["readers"]) == 4


def test_insert_swap_remove(served: Served, client: Client) -> None:
    assert slot(client)["persona"] == "cps-medecin"
    client.done("insert", slot=1, card="cps-infirmier:cps3")
    assert (slot(client, 1)["persona"], slot(client, 1)["model"]) == ("cps-infirmier", "cps3")
    client.done("swap", slot=1, card="cat-cde-taxi:cps4")
    assert (slot(client, 1)["persona"], slot(client, 1)["present"]) == ("cat-cde-taxi", True)
    client.done("insert", slot=2, card="trace-model:cps3")
    assert slot(client, 2)["present"]
    for number in (1, 2):
        client.done("remove", slot=number)
        assert not slot(client, number)["present"]
    assert not client.ask("remove", slot=1)["ok"]


def test_block_expire_revoke(served: Served, client: Client) -> None:
    client.done("swap", card="cps-medecin:cps4")
    client.done("block")
    assert slot(client)["tries_left"] == {"pin": 0, "unblock": 10}
    assert json.loads(cpxd(served, "card", "--json").stdout)["pin"]["blocked"] is True
    client.done("expire", days=-3)
    assert slot(client)["tries_left"]["pin"] == 0, "what the card remembers stays"
    assert "EXPIRÉE" in cpxd(served, "card").stdout
    client.done("expire", days=400)
    pki = served[0]["environment"]["CPX_SIM_PKI"]
    config = Path(served[0]["environment"]["XDG_CONFIG_HOME"], "cpxd", "config.toml")
    config.write_text(f'[sign]\ntrust = "{pki}"\n[revocation]\nfolder = "{pki}"\n')
    good = cpxd(served, "validity", "--json")
    assert (good.returncode, json.loads(good.stdout)["opposition"]["state"]) == (0, "good"), good.stderr
    client.done("revoke", reason="superseded", days_ago=2)
    bad = cpxd(served, "validity", "--json")
    opposition = json.loads(bad.stdout)["opposition"]
    assert (bad.returncode, opposition["state"], opposition["reason"]) == (50, "revoked", "superseded")


def test_faults(served: Served, client: Client) -> None:
    client.done("swap", card="cps-medecin:cps3")
    client.done("fault", fault="sw@0-=6F00")
    assert cpxd(served, "card").returncode != 0
    client.done("fault", fault="")
    client.done("swap", card="cps-medecin:cps3")
    assert cpxd(served, "card").returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 5000,
        b"{}",
        b'{"do": 3}',
        b'{"do": ["insert"]}',
        b'{"do": "insert"}',
        b'{"do": "insert", "card": "nobody"}',
        b'{"do": "insert", "card": "\\ud800"}',
        b'{"do": "insert", "card": "/dev/zero"}',
        b'{"do": "insert", "card": "\\u0000.toml"}',
        b'{"do": "insert", "card": "cpa:cps9"}',
        b'{"do": "insert", "card": "cpa", "slot": 4}',
        b'{"do": "insert", "card": "cpa", "slot": -1}',
        b'{"do": "insert", "card": "cpa", "slot": true}',
        b'{"do": "insert", "card": "cpa", "fault": "zz"}',
        b'{"do": "swap", "card": "cpa", "slot": 3}',
        b'{"do": "block", "code": "puk"}',
        b'{"do": "block", "slot": 3}',
        b'{"do": "expire", "days": "x"}',
        b'{"do": "revoke", "reason": "lost"}',
        b'{"do": "fault", "fault": "zz"}',
        b'{"do": "keys", "entries": "1234"}',
        b"\xff\xfe",
    ],
)
def test_a_wrong_request_is_told_and_changes_nothing(client: Client, line: bytes) -> None:
    before = slot(client)["persona"]
    answer = client.send(line)
    assert answer["ok"] is False and answer["error"]["fr"] and answer["error"]["en"]
    assert slot(client)["persona"] == before


def test_a_client_that_never_ends_its_line(served: Served, client: Client) -> None:
    flood = socket.socket(socket.AF_UNIX)
    flood.settimeout(10)
    flood.connect(served[0]["socket"])
    with flood:
        with contextlib.suppress(OSError):
            flood.sendall(b"x" * (1 << 20))
        with contextlib.suppress(ConnectionError):
            assert flood.recv(1) == b""
    client.done("status")


def test_stop(served: Served, client: Client) -> None:
    client.done("stop")
    assert served[1].wait(20) == 0
    assert not Path(served[0]["socket"]).parent.exists()


def test_the_socket_of_a_server_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    """That of one which lives is not."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    command = [str(Path(sys.executable).with_name("cpx-sim")), "serve", "--slots", "1", "--socket", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["socket"] == str(path)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 40 and str(path) in second.stderr
        process.terminate()
        assert process.wait(20) == 0
    assert not path.exists()
