# SPDX-License-Identifier: Apache-2.0
"""`cpx-sim psc`."""

from __future__ import annotations

import argparse

from simulator.errors import UsageError
from simulator.psc import arguments


def run(parsed: argparse.Namespace) -> int:
    """Raises UsageError, InputError."""
    options = arguments.read(parsed)
    try:
        from simulator.psc.sandbox import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("simulator"):
            raise
        raise UsageError(
            f"il manque {error.name} : pip install '.[psc]', dans le dossier du projet",
            f"{error.name} is missing: pip install '.[psc]', in the folder of the project",
        ) from None
    return serve(options)
