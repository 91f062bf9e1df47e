# SPDX-License-Identifier: Apache-2.0
"""The card operating system: gives life to an image. `make_card` is the way in."""

from __future__ import annotations

from collections.abc import Callable

from simulator.cardos.card import State, StateError, VirtualCard
from simulator.cardos.contactless import Cps3Contactless
from simulator.cardos.cps3 import Cps3
from simulator.cardos.cps4 import Cps4
from simulator.image import Image

__all__ = ["State", "StateError", "VirtualCard", "make_card"]

_PERSONALITIES: dict[str, type[VirtualCard]] = {"cps3": Cps3, "cps4": Cps4, "cps3cl": Cps3Contactless}


def make_card(image: Image, state: State | None = None, *, rng: Callable[[int], bytes] | None = None) -> VirtualCard:
    """A card fresh in its slot. `state` is what `VirtualCard.state()` gave before; `StateError` when it is not.

    `rng` gives n random bytes, for tests that must repeat.
    """
    return _PERSONALITIES[image.model](image, state, rng=rng)
