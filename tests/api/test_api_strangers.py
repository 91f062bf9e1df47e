# SPDX-License-Identifier: Apache-2.0
"""Cards that a page has no use of: each is told apart in words, none is asked for anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from api_lab import ApiLab, api_lab

from simulator.foreign import ForeignCard

CARDS = {
    "CPS2ter": ("3BAC00402A001225006480820212009000", "CPX-125", "demandez une nouvelle carte"),
    "Vitale": ("3B751300004309EA9000", "CPX-104", "n'est pas une carte CPx mais une carte Vitale."),
}


@pytest.fixture(scope="module")
def doctor() -> Iterator[ApiLab]:
    """A CPS3 in the first reader, and a reader for the others."""
    with api_lab(["cps-medecin:cps3", None]) as lab:
        yield lab


def states(lab: ApiLab) -> list[str]:
    return [reader["state"] for reader in lab.ask("GET", "/v1/readers").json["readers"]]


def shown(lab: ApiLab, slot: int, state: str) -> bool:
    deadline = time.monotonic() + 10
    while states(lab)[slot] != state:
        assert time.monotonic() < deadline, states(lab)
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("name", CARDS)
def test_a_card_of_another_kind(doctor: ApiLab, name: str) -> None:
    atr, code, words = CARDS[name]
    stranger: Any = ForeignCard(atr)
    doctor.lab.insert(1, stranger)
    try:
        assert shown(doctor, 1, "unsupported")
        refused = doctor.ask("POST", "/v1/identity", {"reader": 1})
        assert refused.code == code and words in refused.json["error"]["fr"]
        assert doctor.ask("POST", "/v1/certificates", {}).status == 200, "the card beside it is found without being named"
    finally:
        doctor.lab.remove(1)
    assert stranger.seen == []


def test_a_cps3_read_without_contact(doctor: ApiLab) -> None:
    """Its key is nobody's in particular: a page gets neither identity nor token of it, and the contact side is not in doubt."""
    handle = doctor.lab.insert(1, "cps-medecin:cps3cl")
    try:
        assert shown(doctor, 1, "unsupported")
        for path, body in (("/v1/identity", {}), ("/v1/authenticate", {"nonce": "aZ09+/" * 8})):
            refused = doctor.ask("POST", path, {"reader": 1, **body})
            assert refused.code == "CPX-148" and "sans contact" in refused.json["error"]["fr"]
        assert doctor.ask("POST", "/v1/certificates", {}).status == 200, "two doors of one card are not two cards"
    finally:
        doctor.lab.remove(1)
    assert all(command[1] not in (0x20, 0x88) for command, _ in handle.trace)
