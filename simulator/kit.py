# SPDX-License-Identifier: Apache-2.0
"""`cpx-sim make`: check a persona file, and write what its test cards are made of."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from simulator.errors import InputError, unusable
from simulator.image import Model

MODELS: tuple[Model, ...] = ("cps3", "cps4")


def make(path: Path, out: Path | None, models: tuple[Model, ...] = MODELS) -> dict[str, Any]:
    """What the persona is, and, with `out`, its files there: a card a model (`card-MODEL.json`: files, ATR, no key), its
    certificates (DER), and the authorities and lists that a verifier needs, the card on them when it is revoked.

    Raises InputError: no persona, keys that cannot be kept, a folder that cannot be written.
    """
    from simulator import imagefile, personalise, personas, source
    from simulator.pki import PkiError, TestPki

    try:
        persona = personas.load(path)
        pki = TestPki(source.key_folder())
        images = {model: personalise.personalise(persona, model, pki=pki) for model in models}
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            pki.export(out, [persona])
            for model, image in images.items():
                document = json.dumps(imagefile.to_json(image), indent=1) + "\n"
                (out / f"card-{model}.json").write_text(document, encoding="ascii")
                for usage, credential in pki.issue_all(persona, model).items():
                    (out / f"{model}-{usage}.cer").write_bytes(credential.certificate)
    except (personas.PersonaError, PkiError) as error:
        raise InputError(error.french, error.english) from None
    except OSError as error:
        raise unusable(out, error) from None
    return {
        "persona": persona.name,
        "kind": persona.kind,
        "identifier": persona.holder.identifier,
        "valid_from": persona.card.valid_from(pki.today).isoformat(),
        "valid_until": persona.card.valid_until(pki.today).isoformat(),
        "situations": [place.number for place in persona.situations],
        "revoked": persona.revocation is not None,
        "models": list(models),
        "pin": persona.codes.pin,
        "unblock_code": persona.codes.unblock,
        "folder": None if out is None else str(out),
    }


def run(options: argparse.Namespace, *, english: bool) -> int:
    found = make(options.persona, options.out, tuple(options.model or MODELS))
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    state = ("revoked" if english else "en opposition") if found["revoked"] else ("valid" if english else "bonne")
    print(f"{found['persona']}  {found['kind']}  {found['identifier']}  {found['valid_from']} – {found['valid_until']}  {state}")
    print(f"cpx-sim lab --card {options.persona}:{found['models'][0]} -- ...")
    return 0
