# SPDX-License-Identifier: Apache-2.0
"""Codes typed at a real pseudo-terminal: no echo, second thoughts, the last try, Ctrl-C."""

from __future__ import annotations

import os
import signal
import time

import pytest
from cpxd_lab import MODELS, PIN, UNBLOCK, Terminal, card, card_with_codes, command, fails, tries, value, with_codes

from simulator.lab import Lab

INTERRUPT, END_OF_FILE, BACKSPACE, KILL_LINE = "\x03", "\x04", "\x7f", "\x15"


@pytest.mark.parametrize("model", MODELS)
def test_verify(desk: Lab, model: str) -> None:
    handle = desk.insert(0, card(model=model))
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden(r"Code porteur.*3")
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 0
    assert PIN not in terminal.screen
    assert len(with_codes(handle.trace)) == 1


def test_wrong_code_is_not_shown_either(desk: Lab) -> None:
    virtual = card()
    handle = desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        terminal.type("9876\n")
        assert terminal.finish() == 20
    assert "9876" not in terminal.screen and tries(virtual) == 2
    assert len(with_codes(handle.trace)) == 1


@pytest.mark.parametrize("typed", ["12a4", "123", "12345", "", "1234567890" * 30])
def test_malformed_code(desk: Lab, typed: str) -> None:
    handle = desk.insert(0, card())
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        terminal.type(f"{typed}\n")
        assert terminal.finish() == 40
    assert with_codes(handle.trace) == []
    assert not typed or typed not in terminal.screen


@pytest.mark.parametrize("typed", [f"99{BACKSPACE * 2}{PIN}", f"999{KILL_LINE}{PIN}"], ids=["backspace", "kill line"])
def test_slip_of_the_finger_can_be_taken_back(desk: Lab, typed: str) -> None:
    desk.insert(0, card())
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        terminal.type(f"{typed}\n")
        assert terminal.finish() == 0


@pytest.mark.parametrize("model", MODELS)
def test_change(desk: Lab, model: str) -> None:
    virtual = card(model=model)
    desk.insert(0, virtual)
    with Terminal(desk, "pin", "change") as terminal:
        for prompt, typed in ((r"actuel", PIN), (r"Nouveau", "2580"), (r"encore|confirm", "2580")):
            terminal.expect_hidden(prompt)
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 0
    assert value(virtual) == "2580"
    assert PIN not in terminal.screen and "2580" not in terminal.screen


def test_change_with_two_different_new_codes(desk: Lab) -> None:
    virtual = card()
    handle = desk.insert(0, virtual)
    with Terminal(desk, "pin", "change") as terminal:
        for prompt, typed in ((r"actuel", PIN), (r"Nouveau", "2580"), (r"encore|confirm", "2581")):
            terminal.expect_hidden(prompt)
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 40
    assert value(virtual) == PIN and with_codes(handle.trace) == []


@pytest.mark.parametrize("model", MODELS)
def test_unblock_in_english(desk: Lab, model: str) -> None:
    virtual = card("cps-pin-bloque", model)
    desk.insert(0, virtual)
    with Terminal(desk, "--lang", "en", "pin", "unblock") as terminal:
        for prompt, typed in ((r"Unblock code.*10", UNBLOCK), (r"New PIN", "2580"), (r"again|once more|confirm", "2580")):
            terminal.expect_hidden(prompt)
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 0
    assert (value(virtual), tries(virtual)) == ("2580", 3)
    assert UNBLOCK not in terminal.screen and "2580" not in terminal.screen


@pytest.mark.parametrize("model", MODELS)
def test_last_try_with_the_word(desk: Lab, model: str) -> None:
    virtual = card_with_codes(model, pin={"tries_left": 1})
    desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect("« dernier »")
        terminal.type("dernier\n")
        terminal.expect_hidden(r"Code porteur")
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 0
    assert tries(virtual) == 3


@pytest.mark.parametrize("answer", ["", "oui", "o", "derniere", "non", "1234", END_OF_FILE])
def test_last_try_without_the_word(desk: Lab, answer: str) -> None:
    virtual = card_with_codes("cps3", pin={"tries_left": 1})
    handle = desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect("dernier")
        terminal.type(answer if answer == END_OF_FILE else f"{answer}\n")
        assert terminal.finish() in ((22, 30) if answer == END_OF_FILE else (22,))
    assert tries(virtual) == 1 and with_codes(handle.trace) == []


def test_last_try_by_option_asks_for_no_word(desk: Lab) -> None:
    virtual = card_with_codes("cps4", pin={"tries_left": 1})
    desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify", "--last-try") as terminal:
        terminal.expect_hidden(r"Code porteur")
        terminal.type("9876\n")
        assert terminal.finish() == 21
    assert tries(virtual) == 0


@pytest.mark.parametrize("arguments", [("pin", "verify"), ("pin", "change"), ("pin", "unblock"), ("card", "--pin")], ids=" ".join)
@pytest.mark.parametrize("typed", ["", "12"])
def test_interrupt_at_the_prompt(desk: Lab, arguments: tuple[str, ...], typed: str) -> None:
    handle = desk.insert(0, card())
    with Terminal(desk, *arguments) as terminal:
        terminal.expect_hidden()
        terminal.type(typed)
        terminal.type(INTERRUPT)
        assert terminal.finish() == 30
    assert with_codes(handle.trace) == []


def test_interrupt_at_the_last_try(desk: Lab) -> None:
    virtual = card_with_codes("cps3", pin={"tries_left": 1})
    desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect("dernier")
        terminal.type(INTERRUPT)
        assert terminal.finish() == 30
    assert tries(virtual) == 1


def test_interrupt_at_the_second_code(desk: Lab) -> None:
    handle = desk.insert(0, card())
    with Terminal(desk, "pin", "change") as terminal:
        terminal.expect_hidden(r"actuel")
        terminal.type(f"{PIN}\n")
        terminal.expect_hidden(r"Nouveau")
        terminal.type(INTERRUPT)
        assert terminal.finish() == 30
    assert with_codes(handle.trace) == []


def test_end_of_file_at_the_prompt(desk: Lab) -> None:
    """Ctrl-D: the person closes the entry. There is a terminal, so nothing may say that there is none."""
    handle = desk.insert(0, card())
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        terminal.type(END_OF_FILE)
        assert terminal.finish() in (30, 40)
    assert "pas de terminal" not in terminal.screen
    assert with_codes(handle.trace) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
def test_terminal_is_restored_when_the_program_is_ended(desk: Lab, number: signal.Signals) -> None:
    desk.insert(0, card())
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        os.kill(terminal.process.pid, number)
        assert terminal.finish() != 0


def test_card_pulled_while_the_code_is_typed(desk: Lab) -> None:
    virtual = card()
    desk.insert(0, virtual)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        desk.remove(0)
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 14
    assert tries(virtual) == 3


def test_card_exchanged_while_the_code_is_typed(desk: Lab) -> None:
    """The code of one card must not be spent on another."""
    mine, other = card(), card_with_codes("cps3", pin={"value": b"9999"})
    desk.insert(0, mine)
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        desk.remove(0)
        handle = desk.insert(0, other)
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 14
    assert with_codes(handle.trace) == [] and tries(other) == 3


def test_another_program_is_not_kept_waiting_while_the_person_types(desk: Lab) -> None:
    desk.insert(0, card())
    with Terminal(desk, "pin", "verify") as terminal:
        terminal.expect_hidden()
        started = time.monotonic()
        assert command(desk, "pin", "status").code == 0
        assert time.monotonic() - started < 3
        terminal.type(f"{PIN}\n")
        assert terminal.finish() == 0


def test_neither_terminal_nor_descriptor(desk: Lab) -> None:
    handle = desk.insert(0, card())
    for action in ("verify", "change", "unblock"):
        assert "--pin-fd" in fails(command(desk, "pin", action), 40)
    assert with_codes(handle.trace) == []
