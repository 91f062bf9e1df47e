# SPDX-License-Identifier: Apache-2.0
"""A lab's own life: what it sets up, what it leaves alone, what is left of it afterwards (nothing)."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scard import StubCard, ask, start

from simulator import pcscd
from simulator.errors import InputError, UsageError
from simulator.lab import Lab, LabError

SYSTEM = Path("/run/pcscd")


def processes(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text:
            found.append(text)
    return found


def gone(folder: Path, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while folder.exists() or processes(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_environment_of_the_programs() -> None:
    with Lab(["cps-medecin"]) as lab:
        assert lab.folder is not None
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            place = Path(lab.env[name])
            assert place.is_relative_to(lab.folder) and stat.S_IMODE(place.stat().st_mode) == 0o700
        assert "HOME" not in lab.env
        pki = Path(lab.env["CPX_SIM_PKI"])
        config = tomllib.loads(Path(lab.env["XDG_CONFIG_HOME"], "cpxd", "config.toml").read_text())
        assert config.pop("record")["dictionary"].endswith("/simulator/invented-tags.json")
        assert config.pop("api") == {"port": lab.api_port}
        assert config == {"pkcs11": {"chain": str(pki)}, "sign": {"trust": str(pki)}, "revocation": {"folder": str(pki)}}
        assert b"BEGIN CERTIFICATE" in (pki / "ca.pem").read_bytes() and list(pki.glob("*.crl"))
        assert Path(lab.env["CPX_SIM_KEYS"]).is_dir()
        assert lab.run(["sh", "-c", "echo $PCSCLITE_CSOCK_NAME"], capture_output=True).stdout.strip() == str(
            lab.folder / "pcscd.comm"
        )
        assert lab.run(["sh", "-c", "echo $X"], capture_output=True, env={"X": "1"}).stdout == "1\n"
        assert lab.run(["false"]).returncode == 1
        with pytest.raises(subprocess.CalledProcessError):
            lab.run(["false"], check=True)


def test_independent_middleware_reads_the_card() -> None:
    with Lab(["cps-medecin:cps3"]) as lab:
        assert lab.run(["opensc-tool", "-n"], capture_output=True, check=True).stdout.strip() == "IAS-ECC"
        assert lab.card(0).apdu_count > 0


def test_several_side_by_side() -> None:
    def one(number: int) -> bool:
        atr = f"3B02{number:02X}AB"
        with Lab([StubCard(atr)], slots=2) as lab:
            got = ask(lab, f"h, _ = connect(); say([transmit(h, '00{number:02X}0000') for _ in range(50)])")
            return got == [f"00{number:02x}00009000"] * 50 and lab.shown()[0].atr == bytes.fromhex(atr)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(one, range(6)))


def test_what_the_card_remembers(tmp_path: Path) -> None:
    wrong = (
        "h, _ = connect(); transmit(h, '00A4040009E828BD080F8025000001FF0010'); say(transmit(h, '002000010831323335FFFFFFFF'))"
    )
    with Lab(["cps-medecin:cps3"], state_dir=tmp_path / "cards") as lab:
        assert ask(lab, wrong) == "63c2"
    (file,) = (tmp_path / "cards").iterdir()
    assert file.name == "cps-medecin-cps3.json" and json.loads(file.read_text())["codes"]["1"]["tries_left"] == 2
    with Lab(["cps-medecin:cps3"], state_dir=tmp_path / "cards") as lab:
        assert ask(lab, wrong) == "63c1"
    for damage in (b"", b"{", b"[]", b'{"version": 9}', b"\xff\xfe", file.read_bytes()[:-30]):
        file.write_bytes(damage)
        with pytest.raises(InputError), Lab(["cps-medecin:cps3"], state_dir=tmp_path / "cards"):
            pass
        assert file.read_bytes() == damage  # not overwritten


def test_trace_of_a_lab(tmp_path: Path) -> None:
    with Lab([StubCard(), StubCard()], trace=tmp_path / "t.apdu") as lab:
        ask(lab, "say([transmit(connect(n)[0], '00A40400') for n in (0, 1)])")
    lines = (tmp_path / "t.apdu").read_text().splitlines()
    assert lines.count("> 00A40400") == 2 and lines.count("< 00A404009000") == 2
    assert all(line[:2] in ("# ", "> ", "< ") for line in lines)


def test_real_timing_takes_its_time() -> None:
    with Lab([StubCard()], slots=1, timing="real") as lab:
        got, seconds = ask(lab, "h, _ = connect(); say(timed(h, '00D60000E7' + '00' * 231))")
        assert got.endswith("9000") and 0.4 < seconds < 2  # 236 bytes up, 233 down, 1.1 ms each


def test_nothing_listens_on_the_network_and_the_system_is_left_alone() -> None:
    before = sorted((p.name, p.stat().st_mtime_ns) for p in SYSTEM.glob("*")) if SYSTEM.is_dir() else None
    with Lab([StubCard()]) as lab:
        descriptors = Path(f"/proc/{lab.pcscd_pid}/fd")
        sockets = {os.readlink(p) for p in descriptors.iterdir()}
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                assert f"socket:[{line.split()[9]}]" not in sockets
        assert os.readlink(f"/proc/{lab.pcscd_pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    after = sorted((p.name, p.stat().st_mtime_ns) for p in SYSTEM.glob("*")) if SYSTEM.is_dir() else None
    assert before == after


def test_vpcd_as_second_path() -> None:
    with Lab([StubCard(), None, StubCard()], slots=3, vpcd=True) as lab:
        assert os.readlink(f"/proc/{lab.pcscd_pid}/ns/net") != os.readlink("/proc/self/ns/net")  # vpcd binds 0.0.0.0
        code = "h, _ = connect({}); t = [timed(h, '00A40400') for _ in range(100)]; say([t[0][0], [s for _, s in t]])"
        for slot in (0, 2):
            got, seconds = ask(lab, code.format(slot))
            assert got == "00a404009000"
            assert statistics.median(seconds) < 0.02  # a delayed ACK would make it 0.044
        lab.remove(0)
        lab.insert(1, StubCard())
        assert [reader.present for reader in lab.shown()] == [False, True, True]
        lab.restart_pcscd()
        assert ask(lab, "h, _ = connect(1); say(transmit(h, '00A40400'))") == "00a404009000"
        assert lab.folder is not None
        folder = lab.folder
    assert gone(folder)


def test_nothing_is_left_after_an_error_in_the_block() -> None:
    lab = Lab([StubCard()])
    with pytest.raises(ZeroDivisionError), lab:
        folder = lab.folder
        raise ZeroDivisionError
    assert folder is not None and gone(folder, 0)
    with pytest.raises(LabError):
        lab.shown()
    lab.close()


def test_closing_does_not_wait_for_a_busy_card() -> None:
    with Lab([StubCard()], faults={0: "delay@0=60s"}) as lab:
        client = start(lab, "h, _ = connect(); say(0); transmit(h, '00A40400')")
        client.stdout.readline()
        time.sleep(0.05)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    with client:
        client.kill()


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGKILL, ""), (signal.SIGTERM, ""), (signal.SIGKILL, "galss=True"), (signal.SIGKILL, "daemon=True")],
)
def test_nothing_is_left_of_a_lab_whose_process_dies(number: signal.Signals, options: str) -> None:
    code = f"""
import sys, time
from scard import StubCard
from simulator.lab import Lab
with Lab([StubCard()], {options}) as lab:
    print(lab.folder, lab.daemon.process.pid if lab.daemon else 0, flush=True)
    time.sleep(60)
"""
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, str(Path(here).parents[1])])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        name, daemon = process.stdout.readline().split()
        folder = Path(name)
        assert folder.is_dir() and processes(folder)
        handle = os.pidfd_open(int(daemon)) if daemon != "0" else None
        process.send_signal(number)
        process.wait(10)
    assert gone(folder)
    if handle is not None:
        assert select.select([handle], [], [], 10)[0]
        os.close(handle)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: Lab(["nobody-of-that-name"]), InputError),
        (lambda: Lab(["cps-medecin:cps9"]), UsageError),
        (lambda: Lab([None] * 5), LabError),
        (lambda: Lab(slots=0), LabError),
        (lambda: Lab(slots=17), LabError),
        (lambda: Lab(vpcd=True, pinpad=True), LabError),
        (lambda: Lab(driver=Path("/nonexistent/driver.so")), LabError),
        (lambda: Lab(driver=Path(__file__)), LabError),  # no library: pcscd shows no reader
        (lambda: Lab(trace=f"{__file__}/t"), InputError),
        (lambda: Lab([StubCard()], faults={0: "nonsense"}), UsageError),
    ],
)
def test_what_cannot_be_built(build: Callable[[], Lab], error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcscd, "_START_SECONDS", 1.0)
    with pytest.raises(error) as caught, build():
        pass
    assert "\n" not in str(caught.value)


def test_without_pcscd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcscd, "_PATH", "/nonexistent")
    with pytest.raises(LabError, match="install the package pcscd"), Lab():
        pass


def test_wrong_slots() -> None:
    with Lab([StubCard()], slots=2) as lab:
        with pytest.raises(LabError):
            lab.insert(2, StubCard())
        with pytest.raises(LabError):
            lab.card(1)
        with pytest.raises(LabError):
            lab.remove(1)
        lab.insert(0, StubCard("3B02ABCD"))  # over the card that is there
        assert lab.shown()[0].atr.hex() == "3b02abcd"


def test_an_odd_place_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long for a socket's path, with a space in it: another place is found."""
    odd = tmp_path / ("long " * 20)
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with Lab([StubCard()]) as lab:
        assert len(lab.env["PCSCLITE_CSOCK_NAME"]) < 108
        assert ask(lab, "h, _ = connect(); say(transmit(h, '00A40400'))") == "00a404009000"
