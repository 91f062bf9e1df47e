# SPDX-License-Identifier: Apache-2.0
"""`cpxd doctor --essai`: with one PIN, one operation a key. "The PIN works, the signature does not" is then told apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cpxd import errors
from cpxd.card.application import Mechanism, NotAllowed, Usage
from cpxd.doctor.model import Verdict
from cpxd.service import codes
from cpxd.service.codes import Consent
from cpxd.service.desk import OpenCard
from cpxd.text import Text

FAILED = Verdict.REPLACE_CARD
_WORDS = hashlib.sha256(b"cpxd doctor --essai").digest()  # what is signed: of no use to anybody
_NAMES: dict[Usage, Text] = {
    "signature": Text("La clé de signature", "The signature key"),
    "authentication": Text("La clé d'authentification", "The authentication key"),
}


@dataclass(frozen=True)
class Result:
    operation: str  # "pin", "signature", "authentication"
    done: bool
    code: str | None
    words: Text


def run(card: OpenCard, consent: Consent) -> list[Result]:
    """One VERIFY, then one signature by each key, checked. Raises what the PIN raises: nothing is tried without it."""
    codes.verify(card, consent)
    found = [Result("pin", True, None, Text("Le code porteur marche.", "The PIN works."))]
    found += [_key(card, usage) for usage in _NAMES]
    return found


def _key(card: OpenCard, usage: Usage) -> Result:
    name = _NAMES[usage]
    try:
        card.run(lambda session, begin: session.sign(begin, usage, Mechanism("pkcs1", "sha256"), _WORDS))
    except errors.CpxError as error:
        what = Text(error.what.fr.format_map(_details(error)), error.what.en.format_map(_details(error)))
        return Result(
            usage, False, error.code, Text(f"{name.fr} ne marche pas. {what.fr}", f"{name.en} does not work. {what.en}")
        )
    except NotAllowed:
        words = Text(f"{name.fr} refuse le code qui vient d'être vérifié.", f"{name.en} refuses the PIN that was just verified.")
        return Result(usage, False, "CPX-127", words)
    return Result(usage, True, None, Text(f"{name.fr} marche.", f"{name.en} works."))


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _details(error: errors.CpxError) -> _Blank:
    return _Blank({name: str(value) for name, value in error.details.items()})
