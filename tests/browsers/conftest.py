# SPDX-License-Identifier: Apache-2.0
"""One display for all; both browsers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_chromium import Chromium
from browser_display import Display
from browser_firefox import Firefox
from browser_page import Browser

sys.path += [str(Path(__file__).parents[1] / name) for name in ("clients", "api")]  # the TLS server; the API's lab, the validator
BROWSERS: list[type[Browser]] = [Firefox, Chromium]


@pytest.fixture(scope="session")
def display() -> Iterator[Display]:
    with Display() as display:
        yield display


@pytest.fixture(params=BROWSERS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Browser]:
    found: type[Browser] = request.param
    return found
