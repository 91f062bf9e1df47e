# SPDX-License-Identifier: Apache-2.0
"""From "PERSONA[:MODEL]" to a living card, with what it keeps between two lives in a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast, get_args

from simulator.errors import InputError, UsageError, unusable
from simulator.image import Model
from simulator.transport import Card

MODELS: tuple[str, ...] = get_args(Model)


def split(spec: str) -> tuple[str, Model]:
    """ "PERSONA" or "PERSONA:MODEL" (default cps3). Raises UsageError for a model that does not exist."""
    persona, colon, model = spec.rpartition(":")
    if not colon:
        persona, model = spec, "cps3"
    if model not in MODELS:
        known = ", ".join(MODELS)
        raise UsageError(f"modèle inconnu : {model} (connus : {known})", f"unknown model: {model} (known: {known})")
    return persona, cast(Model, model)


def state_name(spec: str) -> str:
    """The file of `--state` in which a card is kept. Raises UsageError."""
    name, model = split(spec)
    return f"{Path(name).stem}-{model}.json"


def make(spec: str, state_dir: Path | None = None, state_file: Path | None = None) -> Card:
    """Raises InputError: unknown persona, state file that is damaged or of another card, keys that cannot be kept."""
    from simulator import personalise, personas, tracemodel
    from simulator.cardos import StateError, make_card
    from simulator.pki import PkiError, TestPki

    name, model = split(spec)
    if state_file is None and state_dir is not None:
        state_file = state_dir / state_name(spec)
    try:
        if name in tracemodel.NAMES:
            image = tracemodel.image(name, model, key_folder())
        else:
            image = personalise.personalise(personas.load(name), model, pki=TestPki(key_folder()))
        state = read_state(state_file) if state_file is not None else None
        card = make_card(image, state)
    except (personas.PersonaError, PkiError) as error:
        raise InputError(error.french, error.english) from None
    except StateError as error:
        raise _damaged(state_file, error) from None
    if state_file is not None:
        card.on_state_change = keep_in(state_file)
        write_state(state_file, card.state())
    return card


def key_folder() -> Path | None:
    """Where the keys of the test PKI are: inside a lab, those of whoever opened it. None: their usual folder."""
    return Path(folder) if (folder := os.environ.get("CPX_SIM_KEYS")) else None


def export_pki(folder: Path, specs: Iterable[str] = ()) -> Path:
    """ca.pem and the revocation lists of the test PKI, in `folder`: of the personas that come with the simulator, and of
    these cards besides. Raises InputError.
    """
    from simulator import personas, tracemodel
    from simulator.pki import PkiError, TestPki

    shipped = personas.names()
    others = dict.fromkeys(name for spec in specs if (name := split(spec)[0]) not in (*shipped, *tracemodel.NAMES))
    try:
        TestPki(key_folder()).export(folder, [personas.load(name) for name in (*shipped, *others)])
    except (PkiError, personas.PersonaError) as error:
        raise InputError(error.french, error.english) from None
    return folder


def pki_environment(folder: Path, specs: Iterable[str] = ()) -> dict[str, str]:
    """For the programs of a lab: the exported PKI, and the keys, so that a nested cpx-sim issues from the same authorities."""
    from simulator.pki.store import default_folder

    export_pki(folder, specs)
    return {"CPX_SIM_PKI": str(folder), "CPX_SIM_KEYS": str((key_folder() or default_folder()).absolute())}


def read_state(path: Path) -> dict[str, Any] | None:
    """None when there is no file yet. Raises InputError."""
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from None
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(state, dict):
        raise _damaged(path, "not an object")
    return state


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all. Raises InputError."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump(state, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise unusable(path, error) from None


def keep_in(path: Path) -> Callable[[dict[str, Any]], None]:
    return lambda state: write_state(path, state)


def _damaged(path: Path | None, why: object) -> InputError:
    return InputError(
        f"état de carte inutilisable : {path} ({why}) ; supprimez-le pour repartir d'une carte neuve",
        f"unusable card state: {path} ({why}); delete it to start from a new card",
    )
