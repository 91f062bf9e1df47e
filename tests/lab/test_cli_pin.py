# SPDX-License-Identifier: Apache-2.0
"""`cpxd pin` against virtual cards behind the stock pcscd: states, codes, counters, refusals. Typed: test_cli_pin_terminal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cpxd_lab import CPXD, MODELS, PIN, UNBLOCK, card, card_with_codes, command, cpxd, fails, succeeds, tries, value, with_codes

from simulator.lab import Lab

WRONG = "9876"
MALFORMED = {
    "letter": "12a4",
    "short": "123",
    "long": "12345",
    "empty": "",
    "space before": " 1234",
    "space inside": "12 4",
    "sign": "+123",
    "wide digits": "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT THREE}\N{FULLWIDTH DIGIT FOUR}",
    "superscripts": "12\N{SUPERSCRIPT TWO}4",
    "NUL": "123\0",
}
WITHOUT_CODE = {"nothing at all": b"", "half a line": b"12", "a huge line": b"1" * 40_000}


@pytest.mark.parametrize("model", MODELS)
def test_status_of_a_new_card(desk: Lab, model: str) -> None:
    handle = desk.insert(0, card(model=model))
    said = succeeds(cpxd(desk, "pin", "status", "--json")).json
    uses = 100 if model == "cps3" else None
    assert said == {
        "reader": desk.readers[0],
        "pin": {"tries_left": 3, "blocked": False},
        "unblock": {"tries_left": 10, "uses_left": uses},
    }
    text = succeeds(cpxd(desk, "pin", "status")).out
    assert re.search(r"porteur\D+3\b", text) and re.search(r"déblocage\D+10\b", text)
    english = succeeds(cpxd(desk, "--lang", "en", "pin", "status")).out
    assert re.search(r"PIN\D+3\b", english) and re.search(r"(?i)unblock\D+10\b", english)
    assert with_codes(handle.trace) == []


@pytest.mark.parametrize("model", MODELS)
def test_status_spends_nothing_and_follows_the_card(desk: Lab, model: str) -> None:
    virtual = card_with_codes(model, pin={"tries_left": 2}, unblock={"tries_left": 9})
    desk.insert(0, virtual)
    for _ in range(3):
        said = cpxd(desk, "pin", "status", "--json").json
        assert (said["pin"]["tries_left"], said["unblock"]["tries_left"]) == (2, 9)
    assert (tries(virtual, 1), tries(virtual, 2)) == (2, 9)


@pytest.mark.parametrize("model", MODELS)
def test_status_after_a_verification_by_someone_else(desk: Lab, model: str) -> None:
    """CPS3 answers 9000 to an empty VERIFY once its code is verified: the state must come from somewhere else."""
    virtual = card(model=model)
    desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "verify", codes=[PIN]))
    assert cpxd(desk, "pin", "status", "--json").json["pin"] == {"tries_left": 3, "blocked": False}
    fails(cpxd(desk, "pin", "verify", codes=[WRONG]), 20)
    assert cpxd(desk, "pin", "status", "--json").json["pin"] == {"tries_left": 2, "blocked": False}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("persona", "pin", "unblock"), [("cps-pin-bloque", 0, 10), ("cps-puk-bloque", 0, 0)])
def test_status_of_blocked_cards(desk: Lab, model: str, persona: str, pin: int, unblock: int) -> None:
    desk.insert(0, card(persona, model))
    said = succeeds(cpxd(desk, "pin", "status", "--json")).json
    assert said["pin"] == {"tries_left": pin, "blocked": True}
    assert said["unblock"]["tries_left"] == unblock
    assert "bloqué" in succeeds(cpxd(desk, "pin", "status")).out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("codes", [[PIN], PIN.encode(), b"1234\nrest of the file\n"], ids=["line", "no newline", "more lines"])
def test_verify(desk: Lab, model: str, codes: list[str] | bytes) -> None:
    handle = desk.insert(0, card(model=model))
    assert succeeds(cpxd(desk, "pin", "verify", codes=codes)).out.count("\n") == 1
    cla = "00" if model == "cps3" else "01"
    assert [command.hex() for command in with_codes(handle.trace)] == [f"{cla}2000010831323334ffffffff"]


@pytest.mark.parametrize("model", MODELS)
def test_verify_as_json(desk: Lab, model: str) -> None:
    desk.insert(0, card(model=model))
    assert isinstance(succeeds(cpxd(desk, "pin", "verify", "--json", codes=[PIN])).json, dict)


@pytest.mark.parametrize("model", MODELS)
def test_wrong_pin_down_to_the_blocked_card(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    handle = desk.insert(0, virtual)
    for left in (2, 1):
        before = len(handle.trace)
        message = fails(cpxd(desk, "pin", "verify", codes=[WRONG]), 20)
        assert re.search(rf"\b{left}\b", message), message
        assert len(with_codes(handle.trace[before:])) == 1, "a wrong code is not sent again"
        assert tries(virtual) == left

    before = len(handle.trace)
    assert "dernier" in fails(cpxd(desk, "pin", "verify", codes=[WRONG]), 22)
    assert with_codes(handle.trace[before:]) == [] and tries(virtual) == 1

    message = fails(cpxd(desk, "pin", "verify", "--last-try", codes=[WRONG]), 21)
    assert "bloqu" in message and "unblock" in message, "says what to do"
    assert tries(virtual) == 0
    for arguments, codes in ((["verify"], [PIN]), (["change"], [PIN, "4321"]), (["verify", "--last-try"], [PIN])):
        fails(cpxd(desk, "pin", *arguments, codes=codes), 21)
    assert value(virtual) == PIN


@pytest.mark.parametrize("model", MODELS)
def test_last_try_that_is_right(desk: Lab, model: str) -> None:
    virtual = card_with_codes(model, pin={"tries_left": 1})
    desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "verify", "--last-try", codes=[PIN]))
    assert tries(virtual) == 3


@pytest.mark.parametrize("model", MODELS)
def test_last_try_guards_the_change_too(desk: Lab, model: str) -> None:
    virtual = card_with_codes(model, pin={"tries_left": 1})
    handle = desk.insert(0, virtual)
    fails(cpxd(desk, "pin", "change", codes=[PIN, "4321"]), 22)
    assert with_codes(handle.trace) == [] and tries(virtual) == 1 and value(virtual) == PIN
    succeeds(cpxd(desk, "pin", "change", "--last-try", codes=[PIN, "4321"]))
    assert value(virtual) == "4321"


@pytest.mark.parametrize("model", MODELS)
def test_change(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    handle = desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "change", codes=[PIN, "0000"]))
    assert value(virtual) == "0000" and tries(virtual) == 3
    sent = [command.hex() for command in with_codes(handle.trace)]
    if model == "cps3":
        assert sent == ["002400011031323334ffffffff30303030ffffffff"]
    else:
        assert sent == ["012000010831323334ffffffff", "012401010830303030ffffffff"]
    fails(cpxd(desk, "pin", "verify", codes=[PIN]), 20)
    succeeds(cpxd(desk, "pin", "verify", codes=["0000"]))


@pytest.mark.parametrize("model", MODELS)
def test_change_with_a_wrong_old_code(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    handle = desk.insert(0, virtual)
    message = fails(cpxd(desk, "pin", "change", codes=[WRONG, "4321"]), 20)
    assert re.search(r"\b2\b", message)
    assert tries(virtual) == 2 and value(virtual) == PIN
    assert len(with_codes(handle.trace)) == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("persona", ["cps-medecin", "cps-pin-bloque"])
def test_unblock(desk: Lab, model: str, persona: str) -> None:
    virtual = card(persona, model)
    handle = desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "unblock", codes=[UNBLOCK, "7410"]))
    assert value(virtual) == "7410" and tries(virtual) == 3 and tries(virtual, 2) == 10
    states = [bytes.fromhex("01200001"), bytes.fromhex("01200002")]  # CPS4: VERIFY without data tells the tries left
    sent = [command[:4].hex() for command, _ in handle.trace if command[1] in (0x20, 0x24, 0x2C) and command not in states]
    assert sent == (["00200002", "002c0201"] if model == "cps3" else ["01200002", "012c0381", "01240101"])
    succeeds(cpxd(desk, "pin", "verify", codes=["7410"]))
    if model == "cps3":
        assert cpxd(desk, "pin", "status", "--json").json["unblock"]["uses_left"] == 99


@pytest.mark.parametrize("model", MODELS)
def test_wrong_unblock_code(desk: Lab, model: str) -> None:
    virtual = card("cps-pin-bloque", model)
    handle = desk.insert(0, virtual)
    message = fails(cpxd(desk, "pin", "unblock", codes=["00000000", "7410"]), 23)
    assert re.search(r"\b9\b", message), message
    assert tries(virtual, 2) == 9 and tries(virtual) == 0 and value(virtual) == PIN
    assert len(with_codes(handle.trace)) == 1, "neither sent again nor followed by a reset of the code"
    assert "9" in cpxd(desk, "pin", "status").out


@pytest.mark.parametrize("model", MODELS)
def test_blocked_unblock_code(desk: Lab, model: str) -> None:
    virtual = card("cps-puk-bloque", model)
    desk.insert(0, virtual)
    fails(cpxd(desk, "pin", "unblock", codes=[UNBLOCK, "7410"]), 24)
    assert tries(virtual) == 0 and value(virtual) == PIN


@pytest.mark.parametrize("model", MODELS)
def test_last_try_of_the_unblock_code(desk: Lab, model: str) -> None:
    """After it the card is lost for good: it wants the same confirmation."""
    virtual = card_with_codes(model, pin={"tries_left": 0}, unblock={"tries_left": 1})
    handle = desk.insert(0, virtual)
    fails(cpxd(desk, "pin", "unblock", codes=["00000000", "7410"]), 22)
    assert with_codes(handle.trace) == [] and tries(virtual, 2) == 1
    fails(cpxd(desk, "pin", "unblock", "--last-try", codes=["00000000", "7410"]), 24)
    assert tries(virtual, 2) == 0


def test_unblock_code_without_uses_left(desk: Lab) -> None:
    """CPS3 counts the uses of the unblock code; at 0 it is dead, whatever its tries."""
    virtual = card_with_codes("cps3", pin={"tries_left": 0}, unblock={"uses_left": 0})
    desk.insert(0, virtual)
    assert cpxd(desk, "pin", "status", "--json").json["unblock"] == {"tries_left": 10, "uses_left": 0}
    fails(cpxd(desk, "pin", "unblock", codes=[UNBLOCK, "7410"]), 24)
    assert value(virtual) == PIN


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_codes_cost_nothing(desk: Lab, model: str, kind: str) -> None:
    virtual = card(model=model)
    handle = desk.insert(0, virtual)
    bad = MALFORMED[kind]
    attempts = (("verify", [bad]), ("change", [bad, "4321"]), ("change", [PIN, bad]), ("unblock", [UNBLOCK, bad]))
    for action, codes in attempts:
        message = fails(cpxd(desk, "pin", action, codes=codes), 40)
        assert "4" in message, "says what a code is"
        if bad:
            assert bad not in message, "what was typed is a secret, even wrong"
    assert with_codes(handle.trace) == []
    assert (tries(virtual, 1), tries(virtual, 2), value(virtual)) == (3, 10, PIN)


@pytest.mark.parametrize("bad", ["1234567", "123456789", "1234567a", "", "1234"])
@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_malformed_unblock_codes_cost_nothing(desk: Lab, model: str, bad: str) -> None:
    virtual = card("cps-pin-bloque", model)
    handle = desk.insert(0, virtual)
    assert "8" in fails(cpxd(desk, "pin", "unblock", codes=[bad, "4321"]), 40)
    assert with_codes(handle.trace) == [] and tries(virtual, 2) == 10


@pytest.mark.parametrize("action", ["verify", "change", "unblock"])
@pytest.mark.parametrize("kind", WITHOUT_CODE)
def test_descriptor_without_a_code(desk: Lab, action: str, kind: str) -> None:
    handle = desk.insert(0, card())
    fails(cpxd(desk, "pin", action, codes=WITHOUT_CODE[kind]), 40)
    assert with_codes(handle.trace) == []


@pytest.mark.parametrize("action", ["change", "unblock"])
def test_descriptor_that_ends_after_the_first_code(desk: Lab, action: str) -> None:
    handle = desk.insert(0, card())
    fails(cpxd(desk, "pin", action, codes=[UNBLOCK if action == "unblock" else PIN]), 40)
    assert with_codes(handle.trace) == []


def test_descriptor_that_cannot_be_read(desk: Lab, tmp_path: Path) -> None:
    handle = desk.insert(0, card())
    fails(cpxd(desk, "pin", "verify", "--pin-fd", "97"), 40)
    with tmp_path.joinpath("w").open("w") as write_only:
        fails(command(desk, "pin", "verify", "--pin-fd", str(write_only.fileno()), pass_fds=(write_only.fileno(),)), 40)
    for nonsense in ("-1", "abc", "1234567890123", ""):
        assert cpxd(desk, "pin", "verify", f"--pin-fd={nonsense}").code in (2, 40)
    assert with_codes(handle.trace) == []


def test_code_on_standard_input(desk: Lab, tmp_path: Path) -> None:
    desk.insert(0, card())
    (tmp_path / "code").write_text("1234\n")
    with (tmp_path / "code").open() as stdin:
        succeeds(command(desk, "pin", "verify", "--pin-fd", "0", stdin=stdin))


def test_code_is_never_an_argument_nor_in_the_environment(desk: Lab) -> None:
    handle = desk.insert(0, card())
    for arguments in (["verify", PIN], ["verify", "--pin", PIN], ["verify", f"--pin={PIN}"], ["change", PIN, "4321"]):
        assert cpxd(desk, "pin", *arguments).code == 2
    environment = {"PIN": PIN, "CPXD_PIN": PIN, "CPX_PIN": PIN}
    fails(command(desk, "pin", "verify", env=environment), 40)
    assert with_codes(handle.trace) == []


@pytest.mark.parametrize("model", MODELS)
def test_state_stays_with_the_card(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    desk.insert(0, virtual)
    succeeds(cpxd(desk, "pin", "change", codes=[PIN, "5555"]))
    fails(cpxd(desk, "pin", "verify", codes=[WRONG]), 20)
    desk.remove(0)
    fails(cpxd(desk, "pin", "status"), 12)
    desk.insert(1, virtual)
    said = cpxd(desk, "pin", "status", "--json").json
    assert said["reader"] == desk.readers[1] and said["pin"]["tries_left"] == 2
    succeeds(cpxd(desk, "pin", "verify", codes=["5555"]))


@pytest.mark.parametrize("model", ["cps4", "cps4-t0"])
@pytest.mark.parametrize(("language", "word"), [("fr", "ancien"), ("en", "old")])
@pytest.mark.parametrize("fault", ["pull-before", "pull", "sw"])
def test_cps4_unblock_interrupted_before_the_new_code(desk: Lab, model: str, language: str, word: str, fault: str) -> None:
    """VERIFY and 2C 03 81 done, 24 01 01 not: the old code has its tries back, and the person is told."""
    rehearsal = desk.insert(0, card("cps-pin-bloque", model))
    succeeds(cpxd(desk, "pin", "unblock", codes=[UNBLOCK, "7410"]))
    last = next(n for n, (command, _) in enumerate(rehearsal.trace) if command[1] == 0x24)
    virtual = card("cps-pin-bloque", model)
    desk.insert(0, virtual, f"{fault}@{last}" + ("=6F00" if fault == "sw" else ""))
    message = fails(
        cpxd(desk, "--lang", language, "pin", "unblock", codes=[UNBLOCK, "7410"]), (14, 50, 70) if fault == "sw" else 14
    )
    assert tries(virtual) == 3
    assert value(virtual) == ("7410" if fault == "pull" else PIN)
    assert word in message.lower(), message


def test_two_readers_need_a_choice(desk: Lab) -> None:
    first, second = card(), card(model="cps4")
    handles = [desk.insert(0, first), desk.insert(1, second)]
    message = fails(cpxd(desk, "pin", "verify", codes=[WRONG]), 2)
    assert desk.readers[0] in message and desk.readers[1] in message and "--reader" in message
    assert [with_codes(handle.trace) for handle in handles] == [[], []]
    fails(cpxd(desk, "pin", "verify", "--reader", desk.readers[1], codes=[WRONG]), 20)
    assert (tries(first), tries(second)) == (3, 2)


def test_help_names_the_exit_codes(desk: Lab) -> None:
    for language in ("fr", "en"):
        text = subprocess.run([CPXD, "--lang", language, "--help"], capture_output=True, text=True, check=True).stdout
        found = {int(number) for number in re.findall(r"^\s+(\d+)  ", text, re.MULTILINE)}
        assert found >= {0, 2, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30, 40, 50, 70}
