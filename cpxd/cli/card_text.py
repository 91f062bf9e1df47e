# SPDX-License-Identifier: Apache-2.0
"""A card for a person to read: who, what, where, until when, how many tries."""

from __future__ import annotations

from typing import Any


def lines(found: Any) -> list[str]:
    return [repr(found)]
