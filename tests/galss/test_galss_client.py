# SPDX-License-Identifier: Apache-2.0
"""cpxd over the stand-in for GALSS: command line, daemon, PKCS#11; beside PC/SC; its errors. See tests/contract too."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cpxd
from simulator.galss.server import PCSC, SERIAL, Galss
from simulator.galss.terminal import Slot
from simulator.lab import Lab
from simulator.usb import Terminal

CPXD = str(Path(sys.executable).with_name("cpxd"))
PACKAGE = Path(cpxd.__file__).parent
MODULE = str(PACKAGE / "pkcs11" / "module" / "libcpxd-pkcs11.so")
ENGLISH = {"LANG": "en_US.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}
READER = "GALSS CPS (TRANSPA1)"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3"], slots=1, galss=True, timeout_ms=2000) as opened:
        yield opened


def run(lab: Lab, *arguments: str, pin: str | None = None, status: int = 0) -> str:
    """What cpxd printed; on an error, its one line, if any."""
    read, write = os.pipe()
    os.write(write, f"{pin}\n".encode())
    os.close(write)
    with_pin = ["--pin-fd", str(read)] if pin else []
    done = lab.run(
        [CPXD, *arguments, *with_pin], env=ENGLISH, capture_output=True, timeout=40, stdin=subprocess.DEVNULL, pass_fds=(read,)
    )
    os.close(read)
    assert done.returncode == status, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return str(done.stdout if status == 0 else done.stderr or done.stdout)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_the_command_line_works_unchanged(lab: Lab, tmp_path: Path) -> None:
    assert run(lab, "readers").strip() == f"{READER} : CPx card (CPS3)"
    assert "2600997001" in run(lab, "card", "--reader", "galss cps")
    assert "GALSS reaches the terminal" in run(lab, "doctor", "--all"), "and no pcscd is wanted"
    document, signed = tmp_path / "letter.txt", tmp_path / "letter.p7s"
    document.write_text("bonjour\n", encoding="ascii")
    run(lab, "sign", str(document), "-o", str(signed), pin="1234")
    assert "VALID : " in run(lab, "verify", str(signed), "--content", str(document))
    assert lab.galss is not None and lab.galss.sessions == 0


def test_every_proof_is_in_one_exclusive_section_and_ends_with_a_reset(lab: Lab, tmp_path: Path) -> None:
    assert lab.galss is not None
    slot, trace = lab.galss.slots[0], lab.card(0).trace
    slot.orders.clear()
    before = len(trace)
    document = tmp_path / "letter.txt"
    document.write_text("bonjour\n", encoding="ascii")
    run(lab, "sign", str(document), "-o", str(tmp_path / "out.p7s"), pin="1234")
    verify = [number for number, (sent, _) in enumerate(trace[before:]) if sent[1] == 0x20 and len(sent) > 5]
    assert len(verify) == 1, "the PIN was sent once"
    assert slot.orders[-2:] == [0x15, 0x14], "withdrawn and powered: nobody inherits the PIN"
    assert 0x02 not in slot.orders, "T=0: case 4 goes as case 3 and GET RESPONSE"


def test_a_wrong_pin_costs_one_try_and_says_so(lab: Lab) -> None:
    assert "2 tries left" in run(lab, "card", pin="9999", status=20)
    run(lab, "card", pin="1234")


@pytest.mark.parametrize("code", [0x0001, 0x8003, 0x8011])
def test_codes_of_galss_are_told(lab: Lab, code: int) -> None:
    assert lab.galss is not None
    lab.galss.error = code
    try:
        said = run(lab, "card", status=10)
    finally:
        lab.galss.error = None
    assert said.count("\n") == 1 and f"code {code:04X}" in said and "PC/SC mode" in said
    assert "GALSS" in run(lab, "explain", f"GALSS {code:04X}")
    run(lab, "card")


def test_a_service_that_never_answers_is_bounded(lab: Lab) -> None:
    assert lab.galss is not None
    lab.galss.silent.set()
    begin = time.monotonic()
    try:
        said = run(lab, "readers", status=10)
    finally:
        lab.galss.silent.clear()
    assert time.monotonic() - begin < 9 and said.count("\n") == 1 and "GALSS" in said
    run(lab, "readers")


HOLDER = """
import ctypes as c, sys, time
g, n, lad = c.CDLL("libgalcllux.so"), c.c_uint16(), c.c_uint8()
assert g.OuvrirSession(b"other", b"CPS", c.byref(n), c.byref(lad)) == 0 and g.DebutExclusivite(n) == 0
print("held", flush=True)
time.sleep(float(sys.argv[1]))
"""


@contextlib.contextmanager
def held(lab: Lab, seconds: float) -> Iterator[None]:
    """Another program's exclusive section, without FinExclusivite."""
    environment = {**os.environ, **lab.env}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(seconds)], env=environment, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == b"held\n"
            yield
        finally:
            other.kill()


def test_a_terminal_that_another_program_holds_is_not_empty(lab: Lab, tmp_path: Path) -> None:
    """Nothing is told of it meanwhile: it is waited for with a bound, and nobody is asked to insert a card."""
    assert lab.folder is not None
    file = lab.folder / "config" / "cpxd" / "config.toml"
    before = file.read_text(encoding="utf-8")
    with held(lab, 60):
        assert run(lab, "readers").strip() == f"{READER} : held by another program"
        assert "CPX-118" in run(lab, "doctor", status=2)
        file.write_text(f"{before}\n[reader]\nwait = 1\n", encoding="utf-8")
        try:
            assert "CPX-118" in run(lab, "card", status=14)
        finally:
            file.write_text(before, encoding="utf-8")
    with held(lab, 1.5):
        assert "2600997001" in run(lab, "card")


def test_one_terminal_that_does_not_answer_hides_no_other() -> None:
    with Lab(["cps-medecin:cps3", "cps-infirmier:cps3"], slots=2, galss=True) as lab:
        assert lab.galss is not None
        for slot in lab.galss.slots:
            slot.answer = lambda frame: b"\x6b"  # type: ignore[method-assign]
        assert "terminal 6B" in run(lab, "card", status=10), "no card is asked for: there is one"
        del lab.galss.slots[1].answer
        assert run(lab, "readers").splitlines() == ["GALSS CPS2 (TRANSPA2) : CPx card (CPS3)"]
        assert "2600997003" in run(lab, "card")
        del lab.galss.slots[0].answer
        assert len(run(lab, "readers").splitlines()) == 2


@pytest.mark.parametrize("length", [0, 1, 34, 250])
def test_what_is_no_atr_is_a_mute_card(lab: Lab, length: int) -> None:
    assert lab.galss is not None
    slot = lab.galss.slots[0]
    slot.answer = lambda frame: b"\x00\x03\x63" + b"\x3b" * (length if frame[2] == 0x14 else 0)  # type: ignore[method-assign]
    try:
        assert run(lab, "readers").strip() == f"{READER} : mute card (upside down?)"
        assert "CPX-105" in run(lab, "card", status=14)
    finally:
        del slot.answer


def test_resources_that_nothing_tells_apart_are_one(lab: Lab) -> None:
    assert lab.galss is not None
    slot, again = lab.galss.slots[0], Slot(1, "CPS", "TRANSPA1", SERIAL, 2.0)
    lab.galss.slots.append(again)
    try:
        assert run(lab, "readers").strip() == f"{READER} : CPx card (CPS3)"
        again.alias = "TWO\x1b[1m"
        assert [line.partition(" : ")[0] for line in run(lab, "readers").splitlines()] == [READER, "GALSS CPS (TWO\ufffd[1m)"]
    finally:
        lab.galss.slots.remove(again)
    assert slot.orders


def test_other_programs_find_the_stand_in_by_its_name(lab: Lab) -> None:
    """A program written for GALSS: its own prototypes, the table, a context, a wrong session."""
    program = """
import ctypes as c
g, i = c.CDLL("libgalcllux.so"), c.CDLL("libgalinlux.so")
for f in (g.OuvrirSession, g.FermerSession, g.Echange):
    f.restype = c.c_uint16
version = c.create_string_buffer(32)
assert g.LireVersion(version) == 0 and version.value
count, table = c.c_uint16(), c.create_string_buffer(24 * 8)
assert i.DonneNombreRessources(c.byref(count)) == 0 and count.value == 1
assert i.DonneTableRessources(c.byref(count), table) == 0
assert table.raw[:24] == b"TRANSPA1\\0" + b"CPS".ljust(9, b"\\0") + bytes((1, 0, 1, 1, 0, 0))
n, lad = c.c_uint16(), c.c_uint8()
assert g.OuvrirSession(b"other", b"NONE", c.byref(n), c.byref(lad)) == 0x0001
assert g.OuvrirSession(b"other", b"CPS", c.byref(n), c.byref(lad)) == 0 and lad.value == 1
assert g.EcritContexte(n, b"mine", 4) == 0
room, length = c.create_string_buffer(16), c.c_uint16(16)
assert g.LitContexte(n, room, c.byref(length)) == 0 and room.raw[:length.value] == b"mine"
def ask(frame, size=300):
    sent, got, out = c.c_uint16(len(frame)), c.c_uint16(size), c.create_string_buffer(size)
    code = g.Echange(n, 2000, frame, c.byref(sent), out, c.byref(got))
    return code or out.raw[:got.value]
present = ask(b"\\x00\\x01\\x16")
assert present[0] == 0 and present[1] in (1, 3)
powered = ask(b"\\x00\\x01\\x14")
assert powered[:2] == b"\\x00\\x03" and powered[3:].hex() == "3bac00402a001225006480000310009000"
assert ask(b"\\x00\\x01\\x00" + bytes([(powered[2] + 1) % 256]) + bytes.fromhex("00a4000c023f00")) == b"\\x11"
assert ask(b"\\x00\\x01\\x00" + powered[2:3] + bytes.fromhex("00a4000c023f00"))[3:] == b"\\x90\\x00"
assert ask(b"\\x00\\x01\\x01" + powered[2:3] + bytes.fromhex("00a4000c023f00")) == b"\\x13"
assert ask(b"\\x00\\x01\\x14", 4) == 0x0001
assert g.FermerSession(n) == 0 and g.FermerSession(n) == 0x0001
"""
    done = lab.run([sys.executable, "-c", program], capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr


def test_both_headers_assume_the_same_types() -> None:
    """The product and the stand-in do not share a line: what they assume of GALSS must still be the same."""

    def prototypes(text: str) -> dict[str, str]:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"typedef uint16_t galss_echange\((.*?)\);", r"uint16_t Echange(\1);", text, flags=re.S)
        found = re.findall(r"uint16_t ([A-Z]\w+)\(([^)]*)\);", text)
        return {name: " ".join(arguments.replace("galss_ressource *", "uint8_t *").split()) for name, arguments in found}

    ours = prototypes((PACKAGE / "_galss.h").read_text(encoding="ascii"))
    folder = Path(__file__).parents[2] / "simulator" / "galss"
    theirs = prototypes("".join((folder / name).read_text(encoding="ascii") for name in ("client.c", "information.c")))
    assert len(ours) == 7 and ours == {name: theirs[name] for name in ours}


def test_the_command_cpx_sim_starts_it() -> None:
    sim = [str(Path(sys.executable).with_name("cpx-sim")), "--lang", "en", "lab", "--galss"]

    def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **ENGLISH}
        return subprocess.run([*sim, *arguments], env=environment, capture_output=True, text=True, timeout=40, check=False)

    done = simulate("--card", "cps-medecin", "--card", "cpa", "--", CPXD, "readers")
    shown = ["GALSS CPS1 (TRANSPA1) : CPx card (CPS3)", "GALSS CPS2 (TRANSPA2) : CPx card (CPS3)"]
    assert (done.returncode, done.stdout.splitlines()) == (0, shown), done.stderr
    for other in ("--vpcd", "--pinpad"):
        refused = simulate(other, "--", "true")
        assert refused.returncode == 2 and "--galss" in refused.stderr


# -- beside PC/SC ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def both(kind: int, reader: str, name: str = "") -> Iterator[tuple[Lab, Galss]]:
    """A PC/SC reader with a card, and a terminal behind GALSS without one."""
    with Lab(["cps-medecin:cps3"], slots=1, usb=[Terminal(name)] if name else ()) as lab:
        assert lab.folder is not None
        galss = Galss(lab.folder, kind=kind, reader=reader)
        lab.env |= galss.environment
        with (lab.folder / "config" / "cpxd" / "config.toml").open("a", encoding="utf-8") as file:
            file.write(galss.settings)
        try:
            yield lab, galss
        finally:
            galss.close()


@pytest.mark.parametrize(("kind", "reader"), [(PCSC, "cpx-sim 00 00"), (SERIAL, "cpx-sim 00 00")])
def test_a_reader_that_both_reach_is_shown_once(kind: int, reader: str) -> None:
    with both(kind, reader) as (lab, galss):
        assert run(lab, "readers").splitlines() == ["cpx-sim 00 00 : CPx card (CPS3)"]
        assert galss.slots[0].orders == [], "and what PC/SC reaches is not asked for a second time"


def test_a_pcsc_reader_with_the_name_of_galss_is_one() -> None:
    with both(SERIAL, "", "GALSS CPS") as (lab, galss):
        assert run(lab, "readers").splitlines() == ["GALSS CPS 00 00 : CPx card (CPS3)"]
        assert "2600997001" in run(lab, "card")
        assert galss.slots[0].orders == []


def test_a_terminal_of_its_own_is_shown_beside(tmp_path: Path) -> None:
    with both(SERIAL, "") as (lab, galss):
        assert run(lab, "readers").splitlines() == ["cpx-sim 00 00 : CPx card (CPS3)", f"{READER} : empty"]
        galss.silent.set()
        assert run(lab, "readers").splitlines() == ["cpx-sim 00 00 : CPx card (CPS3)"], "its trouble hides no other reader"
        galss.silent.clear()
        galss.ini.write_bytes(b"[CONFIG]\r")
        assert run(lab, "readers").splitlines() == ["cpx-sim 00 00 : CPx card (CPS3)"]


CONNECTED = """
import sys
from smartcard.scard import SCardEstablishContext
print(SCardEstablishContext(0)[0], flush=True)
sys.stdin.read()
"""


def test_programs_connected_to_pcscd_are_not_accused_of_holding_a_terminal_of_galss() -> None:
    with both(SERIAL, "") as (lab, _):
        pipe, environment = subprocess.PIPE, {**os.environ, **lab.env}
        with subprocess.Popen([sys.executable, "-c", CONNECTED], env=environment, stdin=pipe, stdout=pipe) as innocent:
            assert innocent.stdout is not None and innocent.stdout.readline() == b"0\n"
            assert lab.folder is not None
            with (lab.folder / "config" / "cpxd" / "config.toml").open("a", encoding="utf-8") as file:
                file.write("\n[reader]\nwait = 1\n")
            with held(lab, 60):
                for words in (("card", "--reader", READER), ("status", "--reader", READER)):
                    said = run(lab, *words, status=14)
                    assert "CPX-118" in said and str(innocent.pid) not in said, said
            innocent.communicate()


def test_a_wrong_galss_ini_is_refused_in_words(lab: Lab) -> None:
    assert lab.galss is not None
    whole = lab.galss.ini.read_bytes()
    lab.galss.ini.write_bytes(b"[CONFIG]\r")
    try:
        said = run(lab, "readers", status=40)
    finally:
        lab.galss.ini.write_bytes(whole)
    assert "galss.ini" in said and "CANAL1" in said and said.count("\n") == 1


# -- the daemon --------------------------------------------------------------------------------------------------------


def test_a_command_beside_the_daemon_resets_no_card() -> None:
    with Lab(["cps-medecin:cps3"], slots=1, galss=True, daemon=True) as lab:
        assert lab.galss is not None
        orders = lab.galss.slots[0].orders
        until(lambda: lab.card(0).apdu_count > 10)
        assert orders.count(0x14) == 1
        assert "2600997001" in run(lab, "card") and READER in run(lab, "readers")
        assert orders.count(0x14) == 1, "the ATR is known, and the card is on"
        lab.remove(0)
        lab.insert(0, "cps-infirmier:cps3")
        assert "2600997003" in run(lab, "card"), "and is not taken for another card's"
        assert lab.folder is not None
        for kept in (lab.folder / "run" / "cpxd").glob("galss-*"):
            kept.write_bytes(b"\xff nonsense")
        lab.remove(0)
        lab.insert(0, "cps-medecin:cps3")
        assert "2600997001" in run(lab, "card")


def test_daemon_and_pkcs11_module(tmp_path: Path) -> None:
    """A login and a signature, the card exchanged for another, GALSS restarted: each is noticed by asking."""
    with Lab(["cps-medecin:cps3"], slots=1, galss=True, daemon=True) as lab:
        assert lab.galss is not None

        def tool(*arguments: str) -> str:
            done = lab.run(["pkcs11-tool", "--module", MODULE, *arguments], capture_output=True, timeout=30)
            return str(done.stdout + done.stderr)

        until(lambda: "2600997001" in tool("-L"))
        data = tmp_path / "data"
        data.write_bytes(b"hello")
        sign = ["--login", "--pin", "1234", "--sign", "-m", "SHA256-RSA-PKCS", "--label", "CPS_PRIV_AUT", "-i", str(data)]
        out = tmp_path / "signature"
        assert "Using signature algorithm" in tool(*sign, "-o", str(out)) and out.stat().st_size == 256
        orders = len(lab.galss.slots[0].orders)
        tool(*sign, "-o", str(out))
        assert 0x14 in lab.galss.slots[0].orders[orders:], "the last login out resets the card"
        lab.remove(0)
        until(lambda: "token not present" in tool("-L") or "empty" in tool("-L"))
        lab.insert(0, "cps-infirmier:cps3")
        until(lambda: "2600997003" in tool("-L"))
        lab.galss.kill()
        until(lambda: "2600997003" not in tool("-L"))
        lab.galss.restart()
        until(lambda: "2600997003" in tool("-L"))
        assert lab.daemon is not None and lab.daemon.process.poll() is None
