# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_lab import ApiLab, api_lab


@pytest.fixture(scope="module")
def doctor() -> Iterator[ApiLab]:
    """One CPS3 of a doctor, and a dialog that always answers 1234 and yes."""
    with api_lab(["cps-medecin:cps3"]) as lab:
        yield lab
