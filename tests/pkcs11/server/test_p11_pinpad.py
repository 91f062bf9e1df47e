# SPDX-License-Identifier: Apache-2.0
"""C_Login(NULL) and its like on readers with a keypad: what programs see, and what others see meanwhile."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from p11_daemon import Daemon, refused, until
from p11_wire import Refused, Wire, decode
from test_p11_clients import run
from test_p11_memory import LEFT_AFTER, count

from cpxd.cli.path import MODULE
from simulator import pinentry, source
from simulator.lab import Lab
from simulator.transport import CANCEL, NOBODY, Pad

OPTIONS = b"cpx1;DISPLAY=%3A99;LANG=fr_FR.UTF-8;"
AUT = b"CPS_PRIV_AUT"
PROTECTED, COUNT_LOW = 0x100, 0x10000
CANCELED, FAILED, INCORRECT, LENGTH, REMOVED, REJECTED = 0x50, 0x6, 0xA0, 0xA2, 0x32, 0x200
NOT_LOGGED_IN, CODES = 0x101, (0x20, 0x24, 0x2C)
SETTINGS = "[reader]\nwait = 0.7\n[pinpad]\ntimeout = 5\n"


class Keys(Pad):
    """Somebody types when `go` is set. `asked` is set when the reader waits."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = threading.Event(), threading.Event()

    def next(self) -> bytes:
        self.asked.set()
        assert self.go.wait(30)
        return super().next()


class Card:
    """A virtual card that counts its resets."""

    def __init__(self, spec: str) -> None:
        self.inner: Any = source.make(spec, None)
        self.atr: bytes = self.inner.atr
        self.resets = 0

    def power_on(self) -> None:
        self.inner.power_on()

    def power_off(self) -> None:
        self.inner.power_off()

    def reset(self) -> None:
        self.resets += 1
        self.inner.reset()

    def transmit(self, apdu: bytes) -> bytes:
        answer: bytes = self.inner.transmit(apdu)
        return answer

    def tries(self, reference: int = 1) -> int:
        return int(self.inner.state()["codes"][str(reference)]["tries_left"])


@pytest.fixture(scope="module")
def padlab() -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3", "cps-medecin:cps4"], slots=2, pinpad=True, pad=Keys()) as lab:
        yield lab


@pytest.fixture(scope="module")
def service(padlab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(padlab, SETTINGS, folder=tmp_path_factory.mktemp("pad")) as daemon:
        yield daemon


@pytest.fixture
def pad(padlab: Lab) -> Iterator[Keys]:
    keys = padlab.pad
    assert isinstance(keys, Keys)
    keys.asked.clear()
    keys.go.set()
    yield keys
    keys.go.set()


@pytest.fixture
def cards(padlab: Lab, service: Daemon, pad: Keys) -> tuple[Card, Card]:
    made = Card("cps-medecin:cps3"), Card("cps-medecin:cps4")
    with service.client() as client:
        for slot, card in enumerate(made):
            with contextlib.suppress(Refused):
                before = client.open(slot)
                padlab.remove(slot)
                until(lambda before=before: dead(client, before))
            padlab.insert(slot, card)
        until(lambda: all(shown(client, slot) for slot in (0, 1)))
    return made


def dead(client: Wire, session: int) -> bool:
    try:
        client.GetSessionInfo(session)
    except Refused:
        return True
    return False


def shown(client: Wire, slot: int) -> bool:
    try:
        return bool(client.GetTokenInfo(slot))
    except Refused:
        return False


def sent(lab: Lab, slot: int = 0) -> list[bytes]:
    """The commands that carried a code."""
    return [command for command, _ in lab.card(slot).trace if command[1] in CODES and len(command) > 5]


@contextlib.contextmanager
def asking(lab: Lab, folder: Path, answers: Sequence[str], more: str = "") -> Iterator[tuple[Daemon, Path]]:
    script = pinentry.install(folder / "dialog", answers)
    with Daemon(lab, f'{SETTINGS}[dialog]\npinentry = "{script}"\n{more}', folder=folder) as daemon, daemon.client() as client:
        until(lambda: all(shown(client, slot) for slot in (0, 1)))
        yield daemon, script


def waiting(pad: Keys) -> None:
    assert pad.asked.wait(10), "the reader is not asked"


@pytest.mark.parametrize("slot", [0, 1])
def test_login_and_sign(padlab: Lab, service: Daemon, cards: tuple[Card, Card], slot: int) -> None:
    padlab.type_keys("1234")
    with service.client() as client:
        assert client.GetTokenInfo(slot)[4] & PROTECTED
        session = client.open(slot)
        started = time.monotonic()
        client.Login(session, 1, None)
        assert time.monotonic() - started >= 0.5  # as with our own dialog: Firefox
        assert len(client.sign(session, client.private_key(session, AUT), 0x40, b"data")) == 256
        client.Logout(session)
        refused(NOT_LOGGED_IN, client.Logout, session)
        client.login(session)  # a PIN that the program brings is taken
        client.Logout(session)
        client.login(session, b"")  # and none at all is typed
        assert client.GetSessionInfo(session)[1] == 3
    assert len(sent(padlab, slot)) == 3


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize(
    ("keys", "rv", "left"), [(CANCEL, CANCELED, 3), (NOBODY, CANCELED, 3), ("123", INCORRECT, 3), ("9999", INCORRECT, 2)]
)
def test_login_that_fails(
    padlab: Lab, service: Daemon, cards: tuple[Card, Card], slot: int, keys: str | bytes, rv: int, left: int
) -> None:
    padlab.type_keys(keys)
    with service.client() as client:
        session = client.open(slot)
        refused(rv, client.Login, session, 1, None)
        assert cards[slot].tries() == left
        assert bool(client.GetTokenInfo(slot)[4] & COUNT_LOW) == (left < 3)
        padlab.type_keys("1234")
        client.Login(session, 1, None)


@pytest.mark.parametrize("slot", [0, 1])
def test_change_and_unblock(padlab: Lab, service: Daemon, cards: tuple[Card, Card], slot: int) -> None:
    with service.client() as client:
        session = client.open(slot)
        for keys, rv in ((("1234", "2580", "2581"), CANCELED), (("1234", "258"), LENGTH), (("9999", "2580", "2580"), INCORRECT)):
            padlab.type_keys(*keys)
            resets = cards[slot].resets
            refused(rv, client.SetPIN, session, None, None)
            assert cards[slot].resets > resets  # a CPS4 has proved the PIN by then, and nobody is logged in
        assert cards[slot].tries() == 2
        padlab.type_keys("1234", "2580", "2580")
        client.SetPIN(session, None, None)
        assert client.GetSessionInfo(session)[1] == 2  # a change is no login
        padlab.type_keys("12345678", "1470", "1470")
        client.Login(session, 0, None)
        client.InitPIN(session, None)
        client.Logout(session)
        client.login(session, b"1470")
    assert cards[slot].tries() == 3


def test_others_meanwhile(padlab: Lab, service: Daemon, cards: tuple[Card, Card], pad: Keys) -> None:
    """Nobody waits behind a person at the reader for longer than for any other program."""
    padlab.type_keys("1234")
    with service.client() as first, service.client() as second, service.client() as third:
        theirs, key = second.open(0), 0
        second.Login(theirs, 1, None)
        key = second.private_key(theirs, AUT)
        other = third.open(0)
        third.Login(other, 1, None)
        pad.asked.clear()
        pad.go.clear()
        serial = first.send("Login", first.open(0), 1, None)
        waiting(pad)
        assert quickly(second.GetTokenInfo, 0) and quickly(second.GetSessionInfo, theirs)
        for pin in (None, b"1234"):
            refused(FAILED, lambda pin=pin: quickly(service_login, service, pin))
        elsewhere = second.open(1)  # the other slot of the same reader
        quickly(second.Login, elsewhere, 1, b"1234", within=5.0)
        second.Logout(elsewhere)
        refused(FAILED, lambda: quickly(second.sign, theirs, key, 0x40, b"data", within=5.0))  # after [reader] wait
        quickly(third.Logout, other)
        pad.go.set()
        assert answered(first, "Login", serial) is None
        assert len(second.sign(theirs, key, 0x40, b"data")) == 256  # its login is what it was


def quickly(call: Callable[..., Any], *values: Any, within: float = 1.5) -> Any:
    started = time.monotonic()
    try:
        return call(*values)
    finally:
        assert time.monotonic() - started < within


def service_login(service: Daemon, pin: bytes | None) -> None:
    with service.client() as client:
        client.Login(client.open(0), 1, pin)


def answered(client: Wire, name: str, serial: int) -> Any:
    got, _, body = client.answer()
    assert got == serial
    return decode(name, body)


@pytest.mark.parametrize("slot", [0, 1])
def test_a_program_that_dies_while_the_reader_waits(
    padlab: Lab, service: Daemon, cards: tuple[Card, Card], pad: Keys, slot: int
) -> None:
    padlab.type_keys("1234")
    pad.go.clear()
    client = service.client()
    client.send("Login", client.open(slot), 1, None)
    waiting(pad)
    client.close()
    resets = cards[slot].resets
    pad.go.set()
    until(lambda: len(sent(padlab, slot)) == 1 and cards[slot].resets > resets)  # what was typed proves nothing
    with service.client() as other:
        session = other.open(slot)
        assert other.GetSessionInfo(session)[1] == 2
        padlab.type_keys("1234")
        until(lambda: logged_in(other, session))


def logged_in(client: Wire, session: int) -> bool:
    try:
        client.Login(session, 1, None)
    except Refused as error:
        assert error.rv == FAILED  # the reader is still being put in order
        return False
    return True


def test_the_daemon_ends_while_the_reader_waits(padlab: Lab, cards: tuple[Card, Card], pad: Keys, short: Path) -> None:
    with Daemon(padlab, SETTINGS, folder=short) as daemon, daemon.client() as client:
        until(lambda: shown(client, 0))
        padlab.type_keys("1234")
        pad.go.clear()
        client.send("Login", client.open(0), 1, None)
        waiting(pad)
        resets = cards[0].resets
        daemon.process.terminate()
        started = time.monotonic()
        daemon.process.wait(15)
        assert time.monotonic() - started < 5
        pad.go.set()
        until(lambda: len(sent(padlab)) == 1 and cards[0].resets > resets)


@pytest.mark.parametrize("call", ["Login", "SetPIN"])
def test_the_card_is_pulled_while_the_reader_waits(
    padlab: Lab, service: Daemon, cards: tuple[Card, Card], pad: Keys, call: str
) -> None:
    padlab.type_keys("1234")
    pad.go.clear()
    with service.client() as client:
        values = (client.open(0), *((1, None) if call == "Login" else (None, None)))
        serial = client.send(call, *values)
        waiting(pad)
        padlab.card(0).session._link.shutdown(2)
        pad.go.set()
        with pytest.raises(Refused) as caught:
            answered(client, call, serial)
        assert caught.value.rv in (REMOVED, 0x30)  # of a change nobody knows whether it was made: CKR_DEVICE_ERROR
        assert cards[0].tries() == 3 and sent(padlab) == []


def test_the_dialog_says_where_to_type(padlab: Lab, cards: tuple[Card, Card], pad: Keys, short: Path) -> None:
    with asking(padlab, short, []) as (daemon, script), daemon.client(options=OPTIONS) as client:
        padlab.type_keys("1234")
        pad.go.clear()
        serial = client.send("Login", client.open(1), 1, None)
        waiting(pad)
        until(lambda: "MESSAGE" in pinentry.transcript(script))
        pad.go.set()
        assert answered(client, "Login", serial) is None
        told = "\n".join(pinentry.transcript(script))
        assert "clavier du lecteur" in told and "CPS4v1-" in told and "Essais restants : 3" in told


def test_other_dialogs_have_their_turn_meanwhile(padlab: Lab, cards: tuple[Card, Card], pad: Keys, short: Path) -> None:
    with asking(padlab, short, ["pin dernier"]) as (daemon, script), daemon.client(options=OPTIONS) as client:
        for _ in range(2):
            cards[1].inner.transmit(bytes.fromhex("01A4040C088025000001FF0100"))
            cards[1].inner.transmit(bytes.fromhex("0120000108") + b"9999\xff\xff\xff\xff")
        padlab.type_keys("1234")
        pad.go.clear()
        serial = client.send("Login", client.open(0), 1, None)
        waiting(pad)
        until(lambda: "MESSAGE" in pinentry.transcript(script))
        with daemon.client(options=OPTIONS) as other:
            quickly(other.Login, other.open(1), 1, b"1234", within=8.0)  # its last try, and so a dialog
        pad.go.set()
        assert answered(client, "Login", serial) is None


def test_closing_the_dialog_gives_up(padlab: Lab, cards: tuple[Card, Card], pad: Keys, short: Path) -> None:
    with asking(padlab, short, ["close"]) as (daemon, _), daemon.client(options=OPTIONS) as client:
        padlab.type_keys("1234")
        pad.go.clear()
        session, resets = client.open(0), cards[0].resets
        refused(CANCELED, lambda: quickly(client.Login, session, 1, None, within=5.0))  # the reader still waits
        assert client.GetSessionInfo(session)[1] == 2
        refused(FAILED, client.Login, session, 1, b"1234")  # and is said to
        pad.go.set()
        until(lambda: len(sent(padlab)) == 1 and cards[0].resets > resets)
        assert client.GetSessionInfo(session)[1] == 2
        assert cards[0].tries() == 3


def test_the_last_try(padlab: Lab, cards: tuple[Card, Card], pad: Keys, short: Path) -> None:
    for _ in range(2):
        cards[0].inner.transmit(bytes.fromhex("0020000108") + b"9999\xff\xff\xff\xff")
    assert cards[0].tries() == 1
    with asking(padlab, short, ["pin oui", "pin dernier"]) as (daemon, _), daemon.client(options=OPTIONS) as client:
        padlab.type_keys("1234")
        session = client.open(0)
        refused(REJECTED, client.Login, session, 1, None)
        assert not pad.asked.is_set() and cards[0].tries() == 1
        client.Login(session, 1, None)
        assert cards[0].tries() == 3


def test_where_the_keypad_is_not_used(padlab: Lab, cards: tuple[Card, Card], short: Path) -> None:
    with asking(padlab, short, [], '[pkcs11]\npin = "agent"\n') as (daemon, _), daemon.client(options=OPTIONS) as client:
        padlab.type_keys("1234")
        session = client.open(1)
        assert not client.GetTokenInfo(1)[4] & PROTECTED
        assert len(client.sign(session, client.private_key(session, AUT), 0x40, b"data")) == 256  # typed at the first use
    (short / "never").mkdir()
    with Daemon(padlab, '[pinpad]\nuse = "never"\n', folder=short / "never") as daemon, daemon.client() as client:
        until(lambda: shown(client, 0))
        assert not client.GetTokenInfo(0)[4] & PROTECTED
        refused(0x7, client.Login, client.open(0), 1, None)


def test_programs(padlab: Lab, service: Daemon, cards: tuple[Card, Card], short: Path) -> None:
    padlab.type_keys("1234")
    (short / "data").write_bytes(b"data")
    for slot in "01":
        tool = ["pkcs11-tool", "--module", MODULE, "--slot", slot, "--login"]
        files = ["-i", short / "data", "-o", short / "signature"]
        run(service, [*tool, "--sign", "-m", "SHA256-RSA-PKCS", "--label", "CPS_PRIV_AUT", *files])
        assert (short / "signature").stat().st_size == 256
    said = run(service, ["p11tool", "--provider", MODULE, "--login", "--list-privkeys", "pkcs11:token=CPS3v3-2600997001"])
    assert said.count("type=private") == 2
    padlab.type_keys("1234", "1234", "2580", "2580")  # the tool logs in first
    run(service, ["pkcs11-tool", "--module", MODULE, "--slot", "0", "--login", "--change-pin"])
    padlab.type_keys("2580")
    run(service, ["pkcs11-tool", "--module", MODULE, "--slot", "0", "--login", "-O"])


def test_no_code_is_ever_in_the_daemon(padlab: Lab, service: Daemon, cards: tuple[Card, Card]) -> None:
    pid = service.process.pid
    with service.client() as client:
        session, current = client.open(1), b"1234"
        for _ in range(4):
            new = b"%04d" % secrets.randbelow(10_000)
            while count(pid, new) != [0] or new == current:
                new = b"%04d" % secrets.randbelow(10_000)
            padlab.type_keys(current, new, new)
            client.SetPIN(session, None, None)
            padlab.type_keys(new)
            client.Login(session, 1, None)
            client.Logout(session)
            time.sleep(LEFT_AFTER)
            assert count(pid, new) == [0]
            assert f'"{new.decode()}"' not in service.log.read_text()
            current = new
