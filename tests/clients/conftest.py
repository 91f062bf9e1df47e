# SPDX-License-Identifier: Apache-2.0
"""A CPS3 and a CPS4, each alone in a lab with its daemon, and servers of both versions of TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from client_card import Card, card_of
from client_tls import MutualTls

from simulator.image import Model
from simulator.lab import Lab


@pytest.fixture(scope="session", params=["cps3", "cps4"])
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    model: Model = request.param
    with Lab([f"cps-medecin:{model}"], slots=1, daemon=True, dialog_pin="1234") as lab:
        card = card_of(model, lab, tmp_path_factory.mktemp(model))
        yield card
        assert card.tries_left() == 3, "a program spent a try of the PIN"
        assert '"defect"' not in card.log(), card.log()


@pytest.fixture(scope="session")
def servers(card: Card) -> Iterator[dict[str, MutualTls]]:
    with ExitStack() as stack:
        yield {v: stack.enter_context(MutualTls(v, card.authorities, card.folder)) for v in ("1.2", "1.3")}
