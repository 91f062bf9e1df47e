# SPDX-License-Identifier: Apache-2.0
"""What a person reads of a card, where the number decides the words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from cpxd.card.session import CodeStates
from cpxd.cli import card_text, pin
from cpxd.record.sdo import PinState
from cpxd.text import choose_language

TODAY = date(2026, 11, 30)


@pytest.fixture(autouse=True)
def french() -> Iterator[None]:
    choose_language("fr")
    yield
    choose_language(None)


@pytest.mark.parametrize(
    ("days", "end"),
    [
        (-1, "EXPIRÉE : demandez une nouvelle carte"),
        (0, "expire aujourd'hui"),
        (1, "expire demain"),
        (2, "expire dans 2 jours"),
        (30, "expire dans 30 jours"),
    ],
)
def test_validity(days: int, end: str) -> None:
    assert card_text.validity(None, TODAY + timedelta(days=days), TODAY).endswith(f" – {end}")
    assert "–" not in card_text.validity(None, TODAY + timedelta(days=31), TODAY)


@pytest.mark.parametrize(
    ("tries", "unblock", "uses", "said"),
    [
        (3, 10, 100, "10 essais, 100 utilisations"),
        (0, 1, 1, "1 essai, 1 utilisation"),
        (3, 9, None, "9 essais"),
        (3, 0, 90, "bloqué : si le code porteur se bloque, il faudra une nouvelle carte"),
        (0, 0, 90, "bloqué"),
        (0, 10, 0, "bloqué"),
    ],
)
def test_unblock_code(tries: int, unblock: int, uses: int | None, said: str) -> None:
    states = CodeStates(PinState(1, 3, tries, None), PinState(2, 10, unblock, uses))
    assert pin.lines(states)[1].split(maxsplit=3)[3] == said
