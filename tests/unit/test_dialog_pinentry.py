# SPDX-License-Identifier: Apache-2.0
"""The dialogs, in front of a scripted pinentry program: what it is told, what becomes of every answer, and how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpxd import errors
from cpxd.card.application import Code
from cpxd.config import Settings
from cpxd.dialog.display import DisplayHints
from cpxd.dialog.pinentry import Dialog, Pinentry
from cpxd.secret import Secret
from simulator import pinentry as scripted

FRENCH = DisplayHints(lc_messages="fr_FR.UTF-8")
ENGLISH = DisplayHints(lc_messages="en_GB.UTF-8")
NEVER = [
    "hang",
    "endless",
    "chatter",
    "exit",
    "inquire",
    "error 7",
    "timeout",
    r"raw hello\n",
    r"raw D 12%zz\nOK\n",
    r"raw \x00\xff",
]

Make = Callable[..., Pinentry]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return scripted.install(tmp_path, [])


@pytest.fixture
def dialog(tmp_path: Path, script: Path) -> Make:
    """dialog(answer, …, hints=, timeout=): a Pinentry whose program gives these answers."""

    def make(*answers: str, hints: DisplayHints = FRENCH, timeout: float = 20.0, until: float | None = None) -> Pinentry:
        scripted.install(tmp_path, answers)
        return Pinentry(Settings(dialog_pinentry=str(script), dialog_timeout=timeout), hints, until=until)

    return make


def holds(secret: Secret, content: bytes) -> bool:
    return secret.digest(b"salt") == hashlib.sha256(b"salt" + content).digest()


def last_dialog(script: Path) -> dict[str, str]:
    """The commands of the last run, by name."""
    told = scripted.transcript(script)
    start = len(told) - 1 - told[::-1].index("--")
    return {line.split(" ", 1)[0]: line.partition(" ")[2].replace("%0A", "\n") for line in told[start + 1 :]}


# --- what the person reads


def test_pin(dialog: Make, script: Path) -> None:
    assert holds(dialog("pin 1234").pin("firefox-esr", "CPS 2800000001", 3), b"1234")
    told = last_dialog(script)
    assert told["SETDESC"] == "« firefox-esr » demande votre code porteur.\nCarte : CPS 2800000001\nEssais restants : 3"
    assert told["SETPROMPT"] == "Code (4 chiffres) :"
    assert (told["SETOK"], told["SETCANCEL"]) == ("_Valider", "_Annuler")
    assert told["SETTIMEOUT"] in ("19", "20")
    assert "SETERROR" not in told
    assert scripted.transcript(script).count("GETPIN") == 1


def test_pin_in_english_with_an_error(dialog: Make, script: Path) -> None:
    dialog("pin 1234", hints=ENGLISH).pin("ssh", "", 1, error="Wrong PIN.")
    told = last_dialog(script)
    assert told["SETDESC"] == "“ssh” asks for your PIN.\nLast try: a wrong PIN blocks the card."
    assert told["SETERROR"] == "Wrong PIN."


def test_unblock_code(dialog: Make, script: Path) -> None:
    assert holds(dialog("pin 12345678").unblock_code("cpxd", "CPE 1", 1), b"12345678")
    assert "définitivement inutilisable" in last_dialog(script)["SETDESC"]


def test_options_and_environment(dialog: Make, script: Path) -> None:
    dialog("pin 1234", hints=DisplayHints(display=":9", pid=os.getpid(), lc_messages="fr_FR.UTF-8")).pin("x", "y")
    options = [line for line in scripted.transcript(script) if line.startswith("OPTION ")]
    assert f"OPTION owner={os.getpid()}/{os.getuid()} {os.uname().nodename}" in options
    assert "OPTION lc-messages=fr_FR.UTF-8" in options
    assert "OPTION grab" in options


def test_names_cannot_write_the_dialog(dialog: Make, script: Path) -> None:
    dialog("pin 1234").pin("<b>x</b> »\nEssais restants : 3\x1b[2J %0A" + "z" * 500, "\u202ecarte\n" * 100, 2)
    said = last_dialog(script)["SETDESC"]
    assert said.count("\n") == 2
    assert said.endswith("\nEssais restants : 2")
    assert not {"<", ">", "\x1b", "\u202e"} & set(said)
    assert max(map(len, scripted.transcript(script))) < 900


# --- what the person types


def test_wrong_forms_are_asked_again(dialog: Make, script: Path) -> None:
    assert holds(dialog("pin 123", "ok", "pin 1234").pin("x", "y", 3), b"1234")
    assert last_dialog(script)["SETERROR"] == "4 chiffres exactement."
    assert scripted.transcript(script).count("GETPIN") == 3


@pytest.mark.parametrize("typed", ["ok", "pin 12a4", "pin 12345", "pin " + "1" * 65, "pin " + "1" * 300, r"raw D 1\nD %32\nOK\n"])
def test_three_wrong_forms(dialog: Make, typed: str) -> None:
    with pytest.raises(errors.BadPinFormat):
        dialog(*[typed] * 3).pin("x", "y", 3)


def test_new_pin(dialog: Make, script: Path) -> None:
    assert holds(dialog("pin 1111", "pin 1111").new_pin("x", "y"), b"1111")
    assert last_dialog(script)["SETPROMPT"] == "Encore une fois :"
    assert holds(dialog("pin 1111", "pin 2222", "pin 3333", "pin 3333").new_pin("x", "y"), b"3333")
    assert "SETERROR Les deux saisies diffèrent." in scripted.transcript(script)
    with pytest.raises(errors.PinsDiffer):
        dialog(*["pin 1111", "pin 2222"] * 3).new_pin("x", "y")
    with pytest.raises(errors.Refused):
        dialog("pin 1111", "cancel").new_pin("x", "y")


@pytest.mark.parametrize(
    ("answer", "expected"), [("ok", True), ("cancel", False), ("no", False), ("error 198", False), ("pin 1", True)]
)
def test_confirm(dialog: Make, script: Path, answer: str, expected: bool) -> None:
    assert dialog(answer).confirm("Signer <x> ?\nOui ou non") is expected
    told = last_dialog(script)
    assert told["SETDESC"] == "Signer ‹x› ?\nOui ou non"
    assert (told["SETOK"], told["SETCANCEL"]) == ("_Oui", "_Non")
    assert "SETPROMPT" not in told


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("pin dernier", True), ("pin DERNIER ", True), ("pin 1234", False), ("ok", False), ("pin derniere", False)],
)
def test_the_last_try(dialog: Make, script: Path, answer: str, expected: bool) -> None:
    assert dialog(answer).confirm_last_try("curl", "CPS 1") is expected
    assert "Tapez le mot « dernier »" in last_dialog(script)["SETDESC"]


def test_the_last_try_of_the_unblock_code(dialog: Make, script: Path) -> None:
    assert dialog("pin dernier").confirm_last_try("curl", "CPS 1", Code.UNBLOCK)
    assert "définitivement inutilisable" in last_dialog(script)["SETDESC"]
    with pytest.raises(errors.Refused):
        dialog("cancel").confirm_last_try("curl", "CPS 1")


def test_as_a_code_source(dialog: Make, script: Path) -> None:
    source = Dialog(dialog("pin 1234", "pin 1234", "pin 1", "pin dernier"), "cpxd")
    new = source.ask("Nouveau code porteur")
    assert last_dialog(script)["SETDESC"] == "« cpxd » demande :\nNouveau code porteur"
    source.confirm_new("Encore une fois", new)
    with pytest.raises(errors.PinsDiffer):
        source.confirm_new("Encore une fois", new)
    assert source.confirm_last_try("Code porteur")


# --- what a program may do instead of answering


@pytest.mark.parametrize("answer", ["cancel", "no", "error 198"])
def test_cancelled(dialog: Make, answer: str) -> None:
    for ask in (Pinentry.pin, Pinentry.unblock_code, Pinentry.new_pin):
        with pytest.raises(errors.Refused):
            ask(dialog(answer), "x", "y")


@pytest.mark.parametrize("answer", NEVER)
def test_a_program_that_fails(dialog: Make, answer: str, script: Path) -> None:
    start = time.monotonic()
    with pytest.raises(errors.NoPinSource) as caught:
        dialog(answer, timeout=0.3).pin("x", "y", 3)
    assert time.monotonic() - start < 0.3 + 1.0 + 1.5 + 2.0  # its time, our grace, the signals, a slow machine
    assert "1234" not in str(caught.value)
    assert scripted.transcript(script).count("GETPIN") == 1
    assert not running(script)


def test_confirm_without_an_answer(dialog: Make) -> None:
    with pytest.raises(errors.NoPinSource):
        dialog("hang", timeout=0.2).confirm("?")


def test_programs_that_do_not_speak(tmp_path: Path) -> None:
    for said, reason in (("exit 3", "s'est arrêté"), ("cat /dev/zero", "n'importe quoi"), ("exec sleep 60", "à temps")):
        path = tmp_path / "mute"
        path.write_text(f"#!/bin/sh\n{said}\n")
        path.chmod(0o700)
        with pytest.raises(errors.NoPinSource, match=reason):
            Pinentry(Settings(dialog_pinentry=str(path), dialog_timeout=0.2), FRENCH).pin("x", "y")


def test_a_program_that_cannot_start(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o700)
    with pytest.raises(errors.NoPinSource, match="broken"):
        Pinentry(Settings(dialog_pinentry=str(path)), FRENCH).pin("x", "y")


def test_nowhere_to_ask() -> None:
    with pytest.raises(errors.NoPinSource, match="ni écran ni terminal"):
        Pinentry(Settings(), DisplayHints()).pin("x", "y")


def test_what_the_program_inherits(tmp_path: Path) -> None:
    secret_fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret_fd, True)
    path = tmp_path / "curious"
    path.write_text(f"#!/bin/sh\nls -l /proc/self/fd >{tmp_path}/fds\nenv >{tmp_path}/env\npwd >{tmp_path}/pwd\n")
    path.chmod(0o700)
    with pytest.raises(errors.NoPinSource):
        Pinentry(Settings(dialog_pinentry=str(path)), FRENCH).pin("x", "y")
    os.close(secret_fd)
    descriptors = (tmp_path / "fds").read_text()
    assert "null" not in "".join(line for line in descriptors.splitlines() if " 2 -> " not in line)
    assert {line.split("=")[0] for line in (tmp_path / "env").read_text().splitlines()} <= {
        *("PATH", "LC_CTYPE", "LC_MESSAGES", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "PWD", "_", "OLDPWD", "SHLVL")
    }
    assert (tmp_path / "pwd").read_text() == "/\n"


# --- turns, threads, event loops


def running(script: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(script).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def asking(one: Pinentry) -> Iterator[list[BaseException]]:
    """A dialog that hangs in another thread, until the end of the block."""
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            one.pin("x", "y")
        except errors.CpxError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield raised
    finally:
        one.stop()
        thread.join()


def test_stopped_from_another_thread(dialog: Make, script: Path) -> None:
    one = dialog("* hang")
    with asking(one) as raised:
        wait_until(lambda: "GETPIN" in scripted.transcript(script))
        start = time.monotonic()
        one.stop()
        wait_until(lambda: raised)
        assert time.monotonic() - start < 5  # a program that ignores signals is killed
    assert isinstance(raised[0], errors.Refused)
    assert not running(script)
    with pytest.raises(errors.Refused):
        one.pin("x", "y")
    assert scripted.transcript(script).count("--") == 1


def test_one_dialog_at_a_time(dialog: Make, script: Path) -> None:
    first, second = dialog("* hang"), dialog("* hang", timeout=0.2)
    with asking(first):
        wait_until(lambda: "GETPIN" in scripted.transcript(script))
        with pytest.raises(errors.NoPinSource, match="attend déjà"):
            second.confirm("?")
        third = dialog("* hang")
        with asking(third) as raised:
            third.stop()
            wait_until(lambda: raised)
        assert isinstance(raised[0], errors.Refused)
    assert scripted.transcript(script).count("--") == 1
    assert holds(dialog("pin 1234").pin("x", "y"), b"1234")


def test_the_next_one_has_its_turn(dialog: Make, script: Path) -> None:
    first = dialog("hang", "pin 1234")
    second = Pinentry(Settings(dialog_pinentry=str(script)), FRENCH)
    with asking(first):
        wait_until(lambda: "GETPIN" in scripted.transcript(script))
        timer = threading.Timer(0.1, first.stop)
        timer.start()
        assert holds(second.pin("x", "y"), b"1234")
        timer.join()


def test_until_bounds_all_questions(dialog: Make) -> None:
    start = time.monotonic()
    one = dialog("pin 1234", "hang", until=start + 0.7)
    one.pin("x", "y").wipe()
    with pytest.raises(errors.NoPinSource, match="à temps"):
        one.pin("x", "y")
    with pytest.raises(errors.NoPinSource):
        one.pin("x", "y")
    assert time.monotonic() - start < 6


def test_from_an_event_loop(dialog: Make) -> None:
    async def ask() -> bool:
        one = dialog("pin 1234", "ok")
        with await one.run(one.pin, "x", "y", 3) as pin:
            assert holds(pin, b"1234")
        return await one.run(one.confirm, "?")

    assert asyncio.run(ask())


def test_cancelled_task(dialog: Make, script: Path) -> None:
    async def ask() -> None:
        one = dialog("* hang")
        task = asyncio.create_task(one.run(one.pin, "x", "y", 3))
        while "GETPIN" not in scripted.transcript(script):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running(script)  # the dialog is closed before the task ends

    asyncio.run(ask())


def test_an_error_from_an_event_loop(dialog: Make) -> None:
    async def ask() -> None:
        one = dialog("cancel")
        await one.run(one.pin, "x", "y")

    with pytest.raises(errors.Refused):
        asyncio.run(ask())


def test_no_descriptor_is_left(dialog: Make) -> None:
    dialog("pin 1234").pin("x", "y")
    gc.collect()  # what earlier tests left to it must not be counted
    before = len(os.listdir("/proc/self/fd"))
    for answer in ("pin 1234", "cancel", "exit", "endless"):
        with contextlib.suppress(errors.CpxError):
            dialog(answer).pin("x", "y")
    assert len(os.listdir("/proc/self/fd")) == before
