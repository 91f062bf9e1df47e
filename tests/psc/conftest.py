# SPDX-License-Identifier: Apache-2.0
"""One sandbox for all the tests that need no failure of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psc_client import LOGOUT, OTHER, REDIRECT

from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options


@pytest.fixture(scope="session")
def psc() -> Iterator[Addresses]:
    with running(Options(redirect_uris=(REDIRECT, OTHER), logout_uris=(LOGOUT,))) as addresses:
        yield addresses
