# SPDX-License-Identifier: Apache-2.0
"""Codes typed on a reader with a keypad: the stock pcscd, the reader driver, CPS3 and CPS4."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpxd_lab import (
    MODELS,
    PIN,
    UNBLOCK,
    Result,
    Terminal,
    Wrapped,
    card,
    card_with_codes,
    command,
    cpxd,
    fails,
    tries,
    value,
    with_codes,
)
from pcsc_tap import Tap

from simulator import pinentry
from simulator.lab import Lab
from simulator.transport import CANCEL, NOBODY, Pad
from simulator.usb import Terminal as UsbReader

ODD = ("bad-tlv", "cut-list", "exact", "swapped")  # and yet all of it works
TEMPLATE = b"\x08" + b"\xff" * 8


class Keys(Pad):
    """Somebody types when `go` is set. `asked` is set when the reader waits; `count`: how often it has."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked, self.count = threading.Event(), threading.Event(), 0
        self.go.set()
        self.pause = 0.0

    def next(self) -> bytes:
        self.count += 1
        self.asked.set()
        assert self.go.wait(30)
        time.sleep(self.pause)
        return super().next()


@pytest.fixture(scope="module")
def padlab() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3"], slots=1, pinpad=True, pad=Keys()) as lab:
        yield lab


@pytest.fixture
def pad(padlab: Lab) -> Iterator[Keys]:
    keys = padlab.pad
    assert isinstance(keys, Keys)
    keys.go.set()
    keys.asked.clear()
    keys.count = 0
    yield keys
    keys.go.set()


def typed(lab: Lab, *arguments: str, keys: tuple[str | bytes, ...] = (), **options: str) -> Result:
    lab.type_keys(*keys)
    return cpxd(lab, *arguments, env=options)


def done(result: Result) -> Result:
    """Done, and the person was told where to look."""
    assert result.code == 0, result.err
    assert result.err and all("lecteur" in line for line in result.err.splitlines()), result.err
    return result


def refused(result: Result, exit_code: int, code: str) -> None:
    assert result.code == exit_code, f"{result.code}: {result.err}"
    assert result.err.splitlines()[-1].startswith(f"cpxd : {code} "), result.err


@pytest.mark.parametrize("model", MODELS)
def test_verify_change_unblock(padlab: Lab, pad: Keys, model: str) -> None:
    virtual = card(model=model)
    handle = padlab.insert(0, virtual)
    done(typed(padlab, "pin", "verify", keys=(PIN,)))
    done(typed(padlab, "pin", "change", keys=(PIN, "2580", "2580")))
    assert (value(virtual), tries(virtual)) == ("2580", 3)
    refused(typed(padlab, "pin", "verify", keys=(PIN,)), 20, "CPX-120")
    assert tries(virtual) == 2
    said = done(typed(padlab, "unblock", "--json", keys=(UNBLOCK, "1470", "1470"))).json
    assert said["tries_left"] == 3
    assert (value(virtual), tries(virtual), tries(virtual, 2)) == ("1470", 3, 10)
    block = bytes.fromhex("31343730") + b"\xff" * 4
    assert any(sent.endswith(block) for sent in with_codes(handle.trace))  # the digits, and the card's padding


@pytest.mark.parametrize("model", MODELS)
def test_a_blocked_card_comes_back(padlab: Lab, pad: Keys, model: str) -> None:
    virtual = card_with_codes(model, pin={"tries_left": 0})
    padlab.insert(0, virtual)
    refused(typed(padlab, "pin", "verify", keys=(PIN,)), 21, "CPX-107")
    assert pad.count == 0
    done(typed(padlab, "unblock", keys=(UNBLOCK, "1470", "1470")))
    done(typed(padlab, "pin", "verify", keys=("1470",)))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("action", "keys", "exit_code", "code"),
    [
        ("verify", (CANCEL,), 30, "CPX-138"),
        ("verify", (NOBODY,), 30, "CPX-180"),
        ("verify", ("123",), 40, "CPX-122"),
        ("verify", ("12345",), 40, "CPX-122"),
        ("change", (PIN, CANCEL), 30, "CPX-138"),
        ("change", (PIN, "2580", NOBODY), 30, "CPX-180"),
        ("change", (PIN, "2580", "2581"), 40, "CPX-137"),
        ("change", (PIN, "258"), 40, "CPX-122"),
        ("unblock", (CANCEL,), 30, "CPX-138"),
        ("unblock", ("1234567",), 40, "CPX-122"),
    ],
)
def test_no_try_is_lost(
    padlab: Lab, pad: Keys, model: str, action: str, keys: tuple[str, ...], exit_code: int, code: str
) -> None:
    virtual = card(model=model)
    handle = padlab.insert(0, virtual)
    refused(typed(padlab, "pin", action, keys=keys), exit_code, code)
    assert (tries(virtual), tries(virtual, 2), value(virtual)) == (3, 10, PIN)
    assert len(with_codes(handle.trace)) == (
        1 if action == "change" and model != "cps3" else 0
    )  # CPS4: the PIN, then the new one


@pytest.mark.parametrize(("model", "exit_code", "code"), [("cps3", 30, "CPX-138"), ("cps4", 14, "CPX-135")])
def test_unblocking_given_up_half_way(padlab: Lab, pad: Keys, model: str, exit_code: int, code: str) -> None:
    """A CPS4 gives the old PIN its tries back first, in a command of its own: that is said."""
    virtual = card_with_codes(model, pin={"tries_left": 0})
    padlab.insert(0, virtual)
    refused(typed(padlab, "unblock", keys=(UNBLOCK, CANCEL)), exit_code, code)
    assert (tries(virtual), tries(virtual, 2), value(virtual)) == (0 if model == "cps3" else 3, 10, PIN)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_no_code_passes_between_the_computer_and_the_reader(padlab: Lab, pad: Keys, model: str, tmp_path: Path) -> None:
    codes = (b"7391", b"40628175", b"8264")
    virtual = card_with_codes(model, pin={"value": b"7391"}, unblock={"value": b"40628175"})
    padlab.insert(0, virtual)
    with Tap(padlab, tmp_path) as tap:
        done(typed(padlab, "pin", "verify", keys=("7391",), **tap.env))
        done(typed(padlab, "pin", "change", keys=("7391", "8264", "8264"), **tap.env))
        done(typed(padlab, "unblock", keys=("40628175", "7391", "7391"), **tap.env))
        assert TEMPLATE in tap.seen  # it does see what is sent to the reader
        assert [code for code in codes if code in tap.seen] == []
        result = cpxd(padlab, "pin", "verify", codes=["7391"], env=tap.env)
        assert result.code == 0 and b"7391" in tap.seen  # and would have seen a code


def test_the_last_try_wants_the_word_before_the_reader_waits(padlab: Lab, pad: Keys) -> None:
    virtual = card_with_codes("cps3", pin={"tries_left": 1})
    padlab.insert(0, virtual)
    padlab.type_keys(PIN)
    refused(cpxd(padlab, "pin", "verify"), 22, "CPX-106")  # no terminal to ask on
    with Terminal(padlab, "pin", "verify") as terminal:
        terminal.expect("dernier")
        terminal.type("oui\n")
        assert terminal.finish() == 22
    assert (pad.count, tries(virtual)) == (0, 1)
    with Terminal(padlab, "pin", "verify") as terminal:
        terminal.expect("dernier")
        assert pad.count == 0
        terminal.type("dernier\n")
        assert terminal.finish() == 0
    assert (pad.count, tries(virtual)) == (1, 3)


def test_a_counter_that_falls_meanwhile_is_seen_in_the_same_transaction(padlab: Lab, pad: Keys) -> None:
    """The counter was 2 when the command began, and is 1 when the reader is about to be armed."""

    class Falls(Wrapped):
        looks = 0

        def transmit(self, apdu: bytes) -> bytes:
            if apdu[1] == 0xCB and b"\xbf\x81\x01" in apdu:
                self.looks += 1
                if self.looks == 2:
                    self.inner.transmit(bytes.fromhex("0020000108") + b"9999\xff\xff\xff\xff")
            return super().transmit(apdu)

    virtual = card_with_codes("cps3", pin={"tries_left": 2})
    padlab.insert(0, Falls(virtual))
    refused(typed(padlab, "pin", "verify", keys=(PIN,)), 22, "CPX-106")
    assert (pad.count, tries(virtual)) == (0, 1)


@pytest.mark.parametrize(("action", "exit_code", "code"), [("verify", 14, "CPX-126"), ("change", 14, "CPX-139")])
def test_the_card_is_pulled_while_the_reader_waits(padlab: Lab, pad: Keys, action: str, exit_code: int, code: str) -> None:
    virtual = card()
    handle = padlab.insert(0, virtual)
    pad.go.clear()
    watcher = threading.Thread(target=lambda: (pad.asked.wait(20), handle.session._link.shutdown(2), pad.go.set()))
    watcher.start()
    refused(typed(padlab, "pin", action, keys=(PIN,)), exit_code, code)
    watcher.join()
    assert (tries(virtual), value(virtual)) == (3, PIN)


def test_the_reader_is_unplugged_while_it_waits() -> None:
    keys, virtual = Keys(), card()
    with Lab([virtual], usb=[UsbReader("Lecteur Véga")], pinpad=True, pad=keys) as lab:
        keys.go.clear()
        puller = threading.Thread(target=lambda: (keys.asked.wait(20), threading.Timer(0.2, keys.go.set).start(), lab.unplug()))
        puller.start()
        result = typed(lab, "pin", "verify", keys=(PIN,))
        puller.join()
        refused(result, 14, "CPX-126")
        assert tries(virtual) == 3
        lab.plug()
        keys.go.set()
        done(typed(lab, "pin", "verify", keys=(PIN,)))


@pytest.mark.parametrize(("action", "exit_code", "code"), [("verify", 10, "CPX-101"), ("change", 14, "CPX-139")])
def test_pcscd_dies_while_the_reader_waits(action: str, exit_code: int, code: str) -> None:
    """What was being stored then nobody knows."""
    keys, virtual = Keys(), card()
    with Lab([virtual], slots=1, pinpad=True, pad=keys) as lab:
        keys.go.clear()
        killer = threading.Thread(target=lambda: (keys.asked.wait(20), lab.kill_pcscd(), keys.go.set()))
        killer.start()
        result = typed(lab, "pin", action, keys=(PIN,))
        killer.join()
        refused(result, exit_code, code)
        assert tries(virtual) == 3


def test_other_commands_are_told_that_a_code_is_being_typed(padlab: Lab, pad: Keys, tmp_path: Path) -> None:
    virtual = card()
    padlab.insert(0, virtual)
    config = settings(tmp_path, "[reader]\nwait = 0.7\n[card]\nsilence = 0.5\n")
    pad.go.clear()
    padlab.type_keys(PIN)
    with Terminal(padlab, "pin", "verify") as terminal:
        assert pad.asked.wait(15)
        other = cpxd(padlab, "pin", "status", env=config)
        assert "CPX-183" in fails(other, 14) and other.seconds < 5
        pad.go.set()
        assert terminal.finish() == 0
    assert cpxd(padlab, "pin", "status", env=config).code == 0


def test_ctrl_c_leaves_at_once_and_what_is_typed_then_proves_nothing(padlab: Lab, pad: Keys) -> None:
    class Resets(Wrapped):
        resets = 0

        def reset(self) -> None:
            self.resets += 1
            super().reset()

    virtual = Resets(card())
    handle = padlab.insert(0, virtual)
    pad.go.clear()
    padlab.type_keys(PIN)
    with Terminal(padlab, "pin", "verify") as terminal:
        assert pad.asked.wait(15)
        before, left = virtual.resets, time.monotonic()
        terminal.type("\x03")
        assert terminal.finish() != 0
        assert time.monotonic() - left < 5
    pad.go.set()
    deadline = time.monotonic() + 10
    while not (with_codes(handle.trace) and (virtual.resets > before or virtual.power_off_at > left)):
        assert time.monotonic() < deadline, "the card keeps a PIN that nobody asked for"
        time.sleep(0.01)
    assert tries(virtual.inner) == 3


@pytest.mark.parametrize("odd", ODD)
def test_readers_that_say_odd_things_and_work(odd: str) -> None:
    with Lab([card()], slots=1, pinpad=odd) as lab:
        done(typed(lab, "pin", "verify", keys=(PIN,)))
        done(typed(lab, "pin", "change", keys=(PIN, "2580", "2580")))
        done(typed(lab, "unblock", keys=(UNBLOCK, PIN, PIN)))


def test_a_keypad_that_only_verifies() -> None:
    virtual = card()
    with Lab([virtual], slots=1, pinpad="verify-only") as lab:
        done(typed(lab, "pin", "verify", keys=(PIN,)))
        for action, keys in (("change", (PIN, "2580", "2580")), ("unblock", (UNBLOCK, "2580", "2580"))):
            refused(typed(lab, "pin", action, keys=keys), 40, "CPX-181")
        assert (tries(virtual), tries(virtual, 2), value(virtual)) == (3, 10, PIN)
        assert cpxd(lab, "pin", "change", codes=[PIN, "2580"]).code == 0  # a program's codes pass as ever


@pytest.mark.parametrize("odd", ["refuses", "liar"])
def test_a_keypad_that_refuses(odd: str, tmp_path: Path) -> None:
    virtual = card()
    with Lab([virtual], slots=1, pinpad=odd) as lab:
        for action in ("verify", "change", "unblock"):
            refused(typed(lab, "pin", action, keys=(PIN,)), 40, "CPX-182")
        assert (tries(virtual), tries(virtual, 2)) == (3, 10)
        with Terminal(lab, "pin", "verify", "--no-pinpad") as terminal:
            terminal.expect_hidden()
            terminal.type(f"{PIN}\n")
            assert terminal.finish() == 0
        for setting in ('use = "never"', 'ignore = "other; PIN PAD"'):
            asked = typed(lab, "pin", "verify", keys=(PIN,), **settings(tmp_path, f"[pinpad]\n{setting}\n"))
            refused(asked, 40, "CPX-123")  # as with any other reader: there is no terminal here


def test_a_keypad_for_longer_codes_is_none() -> None:
    with Lab([card()], slots=1, pinpad="long") as lab:
        refused(typed(lab, "pin", "verify", keys=(PIN,)), 40, "CPX-123")


@pytest.mark.parametrize(("answers", "exit_code"), [([], 0), (["close"], 30)])
def test_without_a_terminal_a_dialog_says_what_to_type(
    padlab: Lab, pad: Keys, tmp_path: Path, answers: list[str], exit_code: int
) -> None:
    padlab.insert(0, card())
    script = pinentry.install(tmp_path / "dialog", answers)
    environment = {**settings(tmp_path, f'[dialog]\npinentry = "{script}"\n'), "DISPLAY": ":99"}
    padlab.type_keys(UNBLOCK, PIN, PIN)
    if answers:
        pad.go.clear()
    else:
        pad.pause = 0.5  # for the dialog to come up
    result = cpxd(padlab, "unblock", env=environment)
    pad.pause = 0.0
    assert result.code == exit_code, result.err
    said = "\n".join(pinentry.transcript(script))
    assert said.count("MESSAGE") == (1 if answers else 2) and "GETPIN" not in said
    assert "clavier du lecteur" in said


def test_sign_and_trace(padlab: Lab, pad: Keys, tmp_path: Path) -> None:
    padlab.insert(0, "cps-medecin:cps4")
    document, trace = tmp_path / "a.txt", tmp_path / "trace"
    document.write_text("to be signed")
    result = typed(padlab, "sign", str(document), keys=(PIN,))
    assert result.code == 0 and "clavier du lecteur" in result.err, result.err
    assert command(padlab, "verify", str(document) + ".p7s").code in (0, 51)  # the authority may not be known
    done(typed(padlab, "trace", str(trace), "--", "pin", "verify", keys=(PIN,)))
    text = trace.read_text().upper().replace(" ", "")
    assert "0120000108[8]" in text and "31323334" not in text


def settings(folder: Path, text: str) -> dict[str, str]:
    (folder / "cpxd").mkdir(exist_ok=True)
    (folder / "cpxd" / "config.toml").write_text(text)
    return {"XDG_CONFIG_HOME": str(folder)}
