# SPDX-License-Identifier: Apache-2.0
"""The command cpx-sim as people and scripts use it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scard import StubCard, ask
from test_lab_life import gone

from simulator import cli, personas
from simulator.lab import Lab

ROOT = Path(__file__).parents[2]
CPX_SIM = [sys.executable, "-m", "simulator.cli"]
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "LC_MESSAGES")}, "PYTHONPATH": str(ROOT)}


def sim(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**ENVIRONMENT, **options.pop("env", {})}
    return subprocess.run([*CPX_SIM, *words], env=environment, capture_output=True, text=True, check=False, timeout=60, **options)


def begin(*words: str | Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CPX_SIM, *words], env=ENVIRONMENT, text=True, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    )


def one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("cpx-sim: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


# -- personas, pki, usage ------------------------------------------------------------------------------------------


def test_personas() -> None:
    lines = sim("personas").stdout.splitlines()
    assert [line.split()[0] for line in lines] == personas.names() and len(lines) >= 15
    assert "médecin" in next(line for line in lines if line.startswith("cps-medecin "))
    assert "doctor" in sim("personas", "--lang", "en").stdout
    assert "doctor" in sim("personas", env={"LANG": "en_GB.UTF-8"}).stdout


def test_personas_for_programs() -> None:
    people = {person["name"]: person for person in json.loads(sim("personas", "--json").stdout)}
    assert sorted(people) == personas.names()
    assert people["cps-medecin"]["pin"] == "1234" and people["cps-medecin"]["unblock_code"] == "12345678"
    assert people["cpe-opposee"]["revoked"] and not people["cps-medecin"]["revoked"]
    assert len(people["cps-medecin-8"]["situations"]) == 8 and people["cps-retraite"]["situations"] == []
    assert people["cps-expiree"]["expires_in_days"] < 0 < people["cps-expire-bientot"]["expires_in_days"] <= 20


def test_pki(tmp_path: Path) -> None:
    assert sim("pki", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "ca.pem").exists()
    one_line(sim("pki", "/proc/nothing"), 40)


def test_version_and_help() -> None:
    assert sim("--version").stdout.startswith("cpx-sim ")
    assert "utilisation" in sim("lab", "--help").stdout and "usage" in sim("--lang", "en", "lab", "--help").stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 2),
        (["explode"], 2),
        (["run"], 2),
        (["run", "cps-medecin"], 2),
        (["run", "cps-medecin", "--slot", "a", "--vpcd", "h:1"], 2),
        (["run", "cps-medecin", "--vpcd", "35963"], 2),
        (["run", "cps-medecin", "--vpcd", "localhost:x"], 2),
        (["run", "cps-medecin", "--model", "cps9", "--slot", "/none"], 2),
        (["run", "cps-medecin", "--slot", "/none", "--fault", "boom@1"], 2),
        (["run", "cps-medecin", "--slot", "/none", "--timing", "slow"], 2),
        (["run", "nobody", "--slot", "/none"], 40),
        (["run", "cps-medecin", "--slot", "/none"], 40),
        (["run", "cps-medecin", "--slot", "/none/" + "x" * 200], 40),
        (["run", "cps-medecin", "--slot", "/none", "--trace", "/none/trace"], 40),
        (["run", "cps-medecin", "--slot", "/none", "--state", "/proc/none/state"], 40),
        (["personas", "--", "true"], 2),
        (["lab"], 2),
        (["lab", "--"], 2),
        (["lab", "--slots", "17", "--", "true"], 2),
        (["lab", "--slots", "1", "--card", "cpa", "--card", "cpa", "--", "true"], 2),
        (["lab", "--card", "cps-medecin:cps9", "--", "true"], 2),
        (["lab", "--card", "cpa", "--fault", "0:boom@1", "--", "true"], 2),
        (["lab", "--card", "cpa", "--fault", "1:mute@1", "--", "true"], 2),
        (["lab", "--card", "cpa", "--fault", "mute@1", "--", "true"], 2),
        (["lab", *["--card", "cpa"] * 17, "--", "true"], 2),
        (["lab", "--usb", "A*16", "--usb", "B", "--", "true"], 2),
        (["lab", "--pad-pin", "1234", "--", "true"], 2),
        (["lab", "--card", "cpa", "--card", "cpa:cps3", "--state", "never-made", "--", "true"], 2),
        (["lab", "--pinpad", "--pad-pin", "12a4", "--", "true"], 2),
        (["lab", "--pinpad", "--vpcd", "--", "true"], 2),
        (["lab", "--api-port", "80", "--", "true"], 2),
        (["lab", "--api-port", "65536", "--", "true"], 2),
        (["lab", "--api-consent", "0", "--", "true"], 2),
        (["lab", "--api-consent", "nan", "--", "true"], 2),
    ],
)
def test_what_is_refused(words: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.CompletedProcess(words, cli.main(words), *capsys.readouterr())
    one_line(done, status)
    assert done.stdout == ""


def test_what_is_refused_once_the_lab_is_begun() -> None:
    one_line(sim("lab", "--card", "nobody", "--", "true"), 40)
    one_line(sim("lab", "--trace", "/none/trace", "--", "true"), 40)


def test_terminals_by_their_names() -> None:
    code = "from smartcard.System import readers; print(*readers(), sep='|')"
    done = sim("lab", "--usb", "Ingenico TL TELIUM*2", "--usb", "XIRING Leo v2", "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Ingenico TL TELIUM 00 00|Ingenico TL TELIUM 00 01|XIRING Leo v2 01 00"


@pytest.mark.parametrize("more", [["--slots", "2"], ["--vpcd"], ["--galss"]])
def test_terminals_are_not_other_readers(more: list[str]) -> None:
    one_line(sim("lab", "--usb", "A", *more, "--", "true"), 2, "--usb")
    assert sim("lab", "--usb", "A*0", "--", "true").returncode == sim("lab", "--usb", "A*17", "--", "true").returncode == 2


def test_a_refusal_in_english() -> None:
    one_line(sim("--lang", "en", "run", "nobody", "--slot", "/none"), 40, "unknown persona: nobody")
    one_line(sim("run", "nobody", "--slot", "/none"), 40, "persona inconnu")
    one_line(sim("lab"), 2, "il manque")


def test_without_pcscd_the_line_says_what_to_install(tmp_path: Path) -> None:
    code = "import simulator.pcscd as p, simulator.cli as c, sys; p._PATH = '/none'; sys.exit(c.main(['lab', '--', 'true']))"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    one_line(done, 70, "pcscd")


def test_without_a_path_the_usual_folders_are_looked_in() -> None:
    tool = shutil.which("opensc-tool")
    done = subprocess.run(
        [*CPX_SIM, "lab", "--card", "cpa", "--", str(tool), "-n"], env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "IAS-ECC\n")


def test_what_the_system_refuses_is_said_in_french(tmp_path: Path) -> None:
    """And a state that cannot be reached is not called damaged: nobody is told to delete it."""
    (tmp_path / "file").touch()
    refused = sim("lab", "--card", "cpa", "--state", tmp_path / "file", "--", "true")
    one_line(refused, 40, "un nom du chemin n'est pas un dossier")
    assert "supprimez" not in refused.stderr and "Errno" not in refused.stderr
    one_line(sim("lab", "--trace", tmp_path, "--", "true"), 40, "c'est un dossier")
    one_line(sim("--lang", "en", "lab", "--trace", tmp_path, "--", "true"), 40, "Is a directory")
    one_line(sim("lab", "--", tmp_path / "file"), 126, "accès refusé")


# -- run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(slots=2) as opened:
        yield opened


def until_shown(lab: Lab, slot: int, present: bool) -> None:
    deadline = time.monotonic() + 10
    while lab.shown()[slot].present is not present:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_until_interrupted(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    state, trace = tmp_path / "card.json", tmp_path / "t.apdu"
    words: list[str | Path] = [
        "run",
        "cps-infirmier",
        "--model",
        "cps4",
        "--slot",
        lab.slot_path(1),
        "--state",
        state,
        "--trace",
        trace,
    ]
    with begin(*words) as process:
        until_shown(lab, 1, True)
        assert ask(lab, "say(transmit(connect(1)[0], '00A40400', connect(1)[1]))")[-4:] != ""
        process.send_signal(number)
        assert process.wait(10) == 0
    until_shown(lab, 1, False)
    assert json.loads(state.read_text())["version"] == 1
    assert trace.read_text().startswith("# ") and "\n> 00A40400\n" in trace.read_text()
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600


def test_run_ends_with_the_reader_and_with_a_fault(lab: Lab) -> None:
    with begin("run", "cpa", "--slot", lab.slot_path(1), "--fault", "pull@0") as process:
        until_shown(lab, 1, True)
        assert ask(lab, "say(transmit(connect(1)[0], '00A40400'))").startswith("error ")
        assert process.wait(10) == 0
    until_shown(lab, 1, False)
    with Lab(slots=1) as other, begin("run", "cpa", "--slot", other.slot_path(0)) as process:
        until_shown(other, 0, True)
        other.kill_pcscd()
        assert process.wait(10) == 0


def test_run_on_a_vpcd_address() -> None:
    """What vpcd would be, played here: the same wire over TCP."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))
    with server, begin("run", "cps-medecin", "--vpcd", f"127.0.0.1:{server.getsockname()[1]}") as process:
        link, _ = server.accept()
        with link:
            link.sendall(b"\x00\x01\x01" + b"\x00\x01\x04")
            assert link.recv(19, socket.MSG_WAITALL).hex() == "0011" + "3bac00402a001225006480000310009000"
        assert process.wait(10) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 1}', b"\xff"])
def test_a_damaged_state_is_told_and_kept(lab: Lab, tmp_path: Path, damage: bytes) -> None:
    state = tmp_path / "card.json"
    state.write_bytes(damage)
    one_line(sim("run", "cpa", "--slot", lab.slot_path(1), "--state", state), 40, str(state))
    assert state.read_bytes() == damage


# -- lab -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_status_of_the_command(command: list[str], status: int) -> None:
    assert sim("lab", "--slots", "1", "--", *command).returncode == status


def test_streams_and_descriptors_are_the_commands(tmp_path: Path) -> None:
    """As `cpx-sim lab -- cpxd … --pin-fd 3 3<<<1234` needs it."""
    data = bytes(range(256)) * 300
    (tmp_path / "pin").write_text("1234\n")
    inner = ["sh", "-c", 'read pin <&3; echo "$pin" >&2; cat']
    outer: list[str | Path] = ["sh", "-c", 'exec "$@" 3<"$0"', tmp_path / "pin", *CPX_SIM, "lab", "--slots", "1", "--", *inner]
    done = subprocess.run(outer, input=data, capture_output=True, env=ENVIRONMENT, check=True, timeout=30)
    assert done.stdout == data and done.stderr == b"1234\n"


def test_no_descriptor_of_the_lab_reaches_the_command() -> None:
    done = sim("lab", "--card", "cpa", "--", "sh", "-c", "ls /proc/self/fd")
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is ls's own


def test_cards_and_pin_pad() -> None:
    done = sim("lab", "--card", "cps-medecin", "--card", "cps-infirmier:cps4", "--pinpad", "--", "opensc-tool", "-l")
    assert [line.split()[1] for line in done.stdout.splitlines() if "cpx-sim" in line] == ["Yes", "Yes", "No", "No"]
    assert done.stdout.count("PIN pad   cpx-sim PIN pad 00 0") == 4
    words = ["lab", "--card", "cps-medecin", "--pinpad", "--pad-pin"]
    assert sim(*words, "1234", "--", "pkcs15-tool", "--verify-pin").returncode == 0
    assert sim(*words, "9999", "--", "pkcs15-tool", "--verify-pin").returncode != 0


def test_the_api_of_a_lab() -> None:
    show = ["--", "sh", "-c", "cat $XDG_CONFIG_HOME/cpxd/config.toml; echo $CPX_SIM_API"]
    said = sim("lab", "--api-port", "15443", "--api-consent", "0.5", *show).stdout
    assert "[api]\nport = 15443\nconsent = 0.5\n" in said and said.endswith("https://localhost:15443\n")
    assert sim("lab", *show).stdout != sim("lab", *show).stdout  # a port of its own


def test_faults_traces_and_states_of_a_lab(tmp_path: Path) -> None:
    common: list[str | Path] = ["lab", "--card", "cps-medecin", "--trace", tmp_path / "t", "--state", tmp_path / "s"]
    assert sim(*common, "--", "opensc-tool", "-n").stdout.strip() == "IAS-ECC"
    assert "> 00A4" in (tmp_path / "t").read_text() and (tmp_path / "s" / "cps-medecin-cps3.json").exists()
    assert "IAS" not in sim(*common, "--fault", "0:sw@*=6D00", "--", "opensc-tool", "-n").stdout
    (tmp_path / "s" / "cps-medecin-cps3.json").write_text("{")
    one_line(sim(*common, "--", "true"), 40)


def test_the_vpcd_path() -> None:
    done = sim("lab", "--vpcd", "--slots", "2", "--card", "cps-medecin", "--", "opensc-tool", "-n")
    assert done.stdout.strip() == "IAS-ECC", done.stderr


def test_another_card_from_within() -> None:
    """A script may put cards in and out by itself; they come from the same test PKI."""
    script = f"""
        {sys.executable} -m simulator.cli run cpa --slot "$CPX_SIM_SLOT.1" 2>/dev/null & card=$!
        until opensc-tool -l | grep -q '^1 *Yes'; do sleep 0.05; done
        kill $card; wait $card; echo "$?"
        ls "$XDG_CACHE_HOME"
    """
    done = sim("lab", "--card", "cps-medecin", "--", "sh", "-c", script)
    assert done.stdout == "0\n", done.stderr  # and no second set of keys in the lab's cache


TRAP = "trap 'echo term; exit 5' TERM; trap 'echo int; exit 6' INT; echo $XDG_RUNTIME_DIR; while :; do sleep 0.05; done"


@pytest.mark.parametrize(("number", "word", "status"), [(signal.SIGTERM, "term", 5), (signal.SIGINT, "int", 6)])
def test_signals_reach_the_command(number: signal.Signals, word: str, status: int) -> None:
    with begin("lab", "--slots", "1", "--", "sh", "-c", TRAP) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip()).parent
        assert folder.is_dir()
        process.send_signal(number)
        assert process.communicate(timeout=10)[0] == word + "\n"
        assert process.returncode == status
    assert gone(folder, 0)


def test_an_untrapped_signal_shows_in_the_status() -> None:
    with begin("lab", "--slots", "1", "--", "sh", "-c", "echo $XDG_RUNTIME_DIR; exec sleep 60") as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip()).parent
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    assert gone(folder, 0)


def test_an_interrupt_at_the_terminal_arrives_once() -> None:
    count = "n=0; trap 'n=$((n+1))' INT; echo ready; sleep 0.3; sleep 0.3; sleep 0.3; echo got $n"
    words = [*CPX_SIM, "lab", "--slots", "1", "--", "sh", "-c", count]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(words[0], words, ENVIRONMENT)  # noqa: S606
    said = b""
    while b"got" not in said or not said.endswith(b"\n"):
        said += os.read(terminal, 1000)
        if b"ready" in said and b"^C" not in said:
            os.write(terminal, b"\x03")
            said += b"^C"
    assert b"got 1\r\n" in said
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)


AS_NOBODY = """
import sys
sys.path[:0] = [sys.argv[1]]
from scard_stub import StubCard
from simulator import command
from simulator.lab import Lab
command.hold_signals()
with Lab([StubCard()], vpcd=sys.argv[2] == "vpcd") as lab:
    print(lab.folder, flush=True)
    sys.exit(command.run(sys.argv[3:], {"PATH": "/usr/bin:/bin", **lab.env}))
"""


@pytest.mark.parametrize("path", ["driver", "vpcd"])
def test_as_an_ordinary_user(path: str) -> None:
    """With no right but user namespaces, from files such a user can read (the checkout need not be)."""
    place = Path(tempfile.mkdtemp(prefix="cpx-nobody-", dir="/tmp"))
    try:
        shutil.copytree(ROOT / "simulator", place / "simulator", ignore=shutil.ignore_patterns("__pycache__"))
        stub = (Path(__file__).parent / "scard.py").read_text().split("class StubCard:")[1].split("\ndef ask")[0]
        (place / "scard_stub.py").write_text("class StubCard:" + stub)
        subprocess.run(["chmod", "-R", "go+rX", place], check=True)
        words = ["/usr/bin/python3", "-I", "-c", AS_NOBODY, str(place), path, "opensc-tool", "-l"]
        if os.geteuid() == 0:
            words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *words]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd="/")
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    folder, *listed = done.stdout.splitlines()
    assert [line.split()[1] for line in listed if " 00 0" in line] == ["Yes", "No", "No", "No"]
    assert gone(Path(folder), 1)


def test_start_up_is_quick() -> None:
    """What is not needed is not imported: no cryptography for a help text, a version or a refusal."""
    heavy = ("cryptography", "ctypes", "json", "subprocess")
    code = f"import sys, simulator.cli as c; c.main(['lab']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_stub_is_a_card() -> None:
    from simulator.transport import Card

    card: Card = StubCard()
    assert card.transmit(bytes(4)) == bytes(4) + b"\x90\x00"
