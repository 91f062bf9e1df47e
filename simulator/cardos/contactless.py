# SPDX-License-Identifier: Apache-2.0
"""CPS3 over the air (T=1): public files, the technical key without any code, no hash, no signature, no CPS2ter view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from simulator.cardos.card import State
from simulator.cardos.cps3 import Cps3
from simulator.cardos.environment import AUTHENTICATION
from simulator.cardos.ias_operations import ALGORITHMS
from simulator.image import Image


class Cps3Contactless(Cps3):
    contactless = True
    exact_le = False
    algorithms: ClassVar = {AUTHENTICATION: ALGORITHMS[AUTHENTICATION]}

    def __init__(self, image: Image, state: State | None = None, **options: Any) -> None:
        super().__init__(replace(image, pins=()), state, **options)
