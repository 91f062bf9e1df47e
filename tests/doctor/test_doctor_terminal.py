# SPDX-License-Identifier: Apache-2.0
"""`cpxd unblock` and `cpxd rescue` at a real pseudo-terminal."""

from __future__ import annotations

import re
import time

import pytest
from cpxd_lab import MODELS, UNBLOCK, Terminal, card, card_with_codes, cpxd, tries, value, with_codes

from simulator.foreign import ForeignCard
from simulator.lab import Lab

NEW = "2580"
MOST_SCREENS, MOST_SECONDS, MOST_WORDS = 6, 90, 20


@pytest.mark.parametrize("words", [("unblock",), ("pin", "unblock")], ids=" ".join)
@pytest.mark.parametrize("model", MODELS)
def test_unblock(lab: Lab, model: str, words: tuple[str, ...]) -> None:
    virtual = card("cps-pin-bloque", model)
    lab.insert(0, virtual)
    with Terminal(lab, *words) as terminal:
        for prompt, typed in ((r"déblocage.*10 essais", UNBLOCK), (r"Nouveau", NEW), (r"encore", NEW)):
            terminal.expect_hidden(prompt)
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 0
    assert (value(virtual), tries(virtual), tries(virtual, 2)) == (NEW, 3, 10)
    assert "3 essais" in terminal.screen and UNBLOCK not in terminal.screen and NEW not in terminal.screen


@pytest.mark.parametrize(
    ("typed", "code"), [(("1234567",), 40), (("1234567a",), 40), ((UNBLOCK, "258"), 40), ((UNBLOCK, NEW, "2581"), 40)]
)
def test_weak_forms_never_reach_the_card(lab: Lab, typed: tuple[str, ...], code: int) -> None:
    virtual = card("cps-pin-bloque")
    handle = lab.insert(0, virtual)
    with Terminal(lab, "unblock") as terminal:
        for text in typed:
            terminal.expect_hidden(r"(?i)code")
            terminal.type(f"{text}\n")
        assert terminal.finish() == code
    assert with_codes(handle.trace) == [] and tries(virtual, 2) == 10


def test_wrong_unblock_codes_count_down_and_stop_before_the_last(lab: Lab) -> None:
    virtual = card_with_codes("cps3", pin={"tries_left": 0}, unblock={"tries_left": 3})
    lab.insert(0, virtual)
    for number, left in (("11111111", 2), ("22222222", 1)):
        with Terminal(lab, "unblock") as terminal:
            for text in (number, NEW, NEW):
                terminal.expect_hidden(r"(?i)code")
                terminal.type(f"{text}\n")
            assert terminal.finish() == 23
        assert tries(virtual, 2) == left
    for answer in ("oui", "1", ""):
        with Terminal(lab, "unblock") as terminal:
            terminal.expect("« dernier »")
            terminal.type(f"{answer}\n")
            assert terminal.finish() == 22
        assert tries(virtual, 2) == 1, "the last try was used without the word"


def sentences(screen: str) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    return [part for line in plain.splitlines() for part in re.split(r"[.!?;:]\s", line) if part.strip()]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_rescue_of_a_blocked_card(lab: Lab, model: str, language: str) -> None:
    virtual = card("cps-pin-bloque", model)
    lab.insert(0, virtual)
    started = time.monotonic()
    with Terminal(lab, "rescue", "--lang", language, environment={"TERM": "xterm"}) as terminal:
        terminal.expect(r"\[[OY]/n\]")
        terminal.type("o\n")
        for typed in (UNBLOCK, NEW, NEW):
            terminal.expect_hidden(r"caché|hidden")
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 0
    assert time.monotonic() - started < MOST_SECONDS
    assert (value(virtual), tries(virtual)) == (NEW, 3)
    assert 0 < len(re.findall(r"— (?:Écran|Screen) \d", terminal.screen)) <= MOST_SCREENS
    too_long = [line for line in sentences(terminal.screen) if len(line.split()) > MOST_WORDS]
    assert not too_long
    assert UNBLOCK not in terminal.screen and NEW not in terminal.screen


def test_rescue_without_the_unblock_code(lab: Lab) -> None:
    virtual = card("cps-pin-bloque")
    handle = lab.insert(0, virtual)
    with Terminal(lab, "rescue") as terminal:
        terminal.expect(r"\[O/n\]")
        terminal.type("n\n")
        assert terminal.finish() == 2
    assert "F501" in terminal.screen and "e-CPS" in terminal.screen
    assert with_codes(handle.trace) == []
    assert all(len(line.split()) <= MOST_WORDS for line in sentences(terminal.screen))


def test_rescue_needs_a_card_first(lab: Lab) -> None:
    with Terminal(lab, "rescue") as terminal:
        terminal.expect("Insérez la carte")
        terminal.expect("Entrée pour continuer")
        lab.insert(0, card())
        terminal.type("\n")
        assert terminal.finish() == 0
    lab.remove(0)
    assert "marchent" in terminal.screen


def test_rescue_of_a_foreign_card_and_the_way_out(lab: Lab) -> None:
    other = ForeignCard(bytes.fromhex("3B6500002063CB6800"))
    lab.insert(0, other)
    with Terminal(lab, "rescue") as terminal:
        terminal.expect("ce n'est pas une CPx")
        terminal.expect("q pour quitter")
        terminal.type("q\n")
        assert terminal.finish() == 30
    assert other.seen == []


def test_one_of_two_cards_is_rescued_and_the_printed_command_names_it() -> None:
    with Lab(slots=2) as two:
        first, second = card("cps-pin-bloque", "cps4"), card("cps-pin-bloque", "cps3")
        two.insert(0, first)
        two.insert(1, second)
        reader = cpxd(two, "readers", "--json").json[1]["reader"]
        screen = cpxd(two, "doctor", "--reader", reader).out
        assert f"→ cpxd unblock --reader '{reader}'" in screen
        assert f"→ cpxd unblock --reader '{reader}'\n" in cpxd(two, "status", "--reader", reader).out
        with Terminal(two, "rescue") as terminal:
            terminal.expect(r"\[O/n\]")
            terminal.type("o\n")
            for typed in (UNBLOCK, NEW, NEW):
                terminal.expect_hidden(r"caché")
                terminal.type(f"{typed}\n")
            assert terminal.finish() == 1  # its authority is not known here
        assert sorted((tries(first), tries(second))) == [0, 3]


def test_rescue_of_a_lost_card_says_what_to_order(lab: Lab) -> None:
    lab.insert(0, card("cps-puk-bloque"))
    with Terminal(lab, "rescue") as terminal:
        assert terminal.finish() == 4
    assert "Nouvelle carte" in terminal.screen and "e-CPS" in terminal.screen
    assert all(len(line.split()) <= MOST_WORDS for line in sentences(terminal.screen))


def test_rescue_and_a_wrong_unblock_code(lab: Lab) -> None:
    virtual = card("cps-pin-bloque", "cps4")
    lab.insert(0, virtual)
    with Terminal(lab, "rescue") as terminal:
        terminal.expect(r"\[O/n\]")
        terminal.type("o\n")
        for typed in ("87654321", NEW, NEW):
            terminal.expect_hidden(r"caché")
            terminal.type(f"{typed}\n")
        terminal.expect("Il reste 9 essais")
        terminal.expect("Entrée pour continuer")
        terminal.type("\n")
        terminal.expect(r"\[O/n\]")
        terminal.type("o\n")
        for typed in (UNBLOCK, NEW, NEW):
            terminal.expect_hidden(r"caché")
            terminal.type(f"{typed}\n")
        assert terminal.finish() == 0
    assert (value(virtual), tries(virtual)) == (NEW, 3)
