# SPDX-License-Identifier: Apache-2.0
"""Every persona of the catalogue, as a CPS3 and as a CPS4, through the stock pcscd: what is decoded is what its file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator import personalise, personas
from simulator.cardos import make_card
from simulator.image import Model
from simulator.lab import Lab
from simulator.personas import Persona
from simulator.pki import TestPki
from simulator.timing import delay_model

SLOTS = 16
NAMES = personas.catalogue_names()


class Reader:
    """A process that reads cards; see card_worker."""

    def __init__(self, lab: Lab, *words: str) -> None:
        worker = [sys.executable, str(Path(__file__).with_name("card_worker.py")), *words]
        self.process = subprocess.Popen(
            worker, env={**os.environ, **lab.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, readers: list[str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(readers) + "\n")
        self.process.stdin.flush()

    def answer(self) -> list[dict[str, Any]]:
        assert self.process.stdout is not None
        found: list[dict[str, Any]] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(10) == 0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(slots=SLOTS) as opened:
        yield opened


@pytest.fixture(scope="module")
def reader(lab: Lab) -> Iterator[Reader]:
    process = Reader(lab)
    yield process
    process.close()


@pytest.fixture(scope="module")
def pki() -> TestPki:
    return TestPki()


def warnings(persona: Persona) -> list[str]:
    if persona.category == "real":
        return ["contradiction"]  # with the name of the authority, which says TEST
    # nothing on a CPA without a level of responsibility tells it from a CDA
    return ["kind-uncertain"] if persona.kind == "CPA" and persona.holder.responsibility_level is None else []


def expected(persona: Persona, model: Model, pki: TestPki) -> dict[str, Any]:
    holder, card = persona.holder, persona.card
    return {
        "kind": persona.kind,
        "category": persona.category,
        "number": card.number,
        "serial": card.serial_cps4 if model == "cps4" else card.serial_cps3,
        "valid": [str(card.valid_from(pki.today)), str(card.valid_until(pki.today))],
        "holder": {
            "family_name": holder.family_name,
            "given_names": holder.given_names or None,
            "professional_name": holder.professional_name,
            "pseudonym": holder.pseudonym,
            "title": holder.title,
            "identifier": holder.identifier,
            "languages": list(holder.languages),
        },
        "profession": holder.profession,
        "future_profession": holder.future_profession,
        "specialty": holder.specialty,
        "pharmacist_table": holder.pharmacist_table,
        "responsibility_level": holder.responsibility_level,
        "situations": [
            [s.number, s.mode, s.status, s.sector, s.organization_name or None, s.organization_identifier, s.pharmacist_table]
            for s in persona.situations
        ],
        "keys": [True] * (1 + len(persona.situations)),
        "without_label": [],
        "unreadable": [],
        "warnings": warnings(persona),
    }


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_what_is_read_is_what_the_file_says(lab: Lab, reader: Reader, pki: TestPki, model: Model) -> None:
    wrong = []
    for start in range(0, len(NAMES), SLOTS):
        people = [personas.load(name) for name in NAMES[start : start + SLOTS]]
        for slot, persona in enumerate(people):
            lab.insert(slot, make_card(personalise.personalise(persona, model, pki=pki)))
        reader.ask(lab.readers[: len(people)])
        for persona, found in zip(people, reader.answer(), strict=True):
            wanted = expected(persona, model, pki)
            differing = {key: (value, found[key]) for key, value in wanted.items() if found[key] != value}
            if found["before_pin"] != {"holder": {**wanted["holder"]}, "situations": None}:
                differing["before_pin"] = ("the same holder, no situation", found["before_pin"])
            if differing:
                wrong.append((persona.name, differing))
    assert not wrong


# Seconds from the insertion of the new holder's card until identity, situations and usages are known, as the delays of
# `--timing real` add up. A CPS3 offers no faster line than 10.7 kbit/s: a certificate alone takes 2.5 s.
@pytest.mark.parametrize(("model", "again"), [("cps3", 2.5), ("cps4", 1.0)])
def test_a_new_holder_at_the_desk(model: Model, again: float) -> None:
    """Nothing is set up for them, and nothing of the holder before is left: not in what is read, not in a file."""
    with Lab([f"cps-medecin-8:{model}"]) as lab:
        reader = Reader(lab, "desk")
        delay = delay_model("real", personalise.ATRS[model])
        assert delay is not None
        try:
            reader.ask(lab.readers[:1])
            before = reader.answer()[0]
            assert len(before["situations"]) == 8 and before["sheets"]
            lab.insert(0, f"cps-remplacant:{model}")
            reader.ask(lab.readers[:1])
            after = reader.answer()[0]
            seconds = sum(delay(command, answer) for command, answer in lab.card(0).trace)
            lab.insert(0, f"cps-remplacant:{model}")
            reader.ask(lab.readers[:1])
            assert reader.answer()[0]["holder"] == after["holder"]
            known = sum(delay(command, answer) for command, answer in lab.card(0).trace)
        finally:
            reader.close()
        assert lab.folder is not None
        files = [path for path in lab.folder.rglob("*") if path.is_file() and "pki" not in path.parts]
        left = [path for path in files if b"MONTFICTIF" in path.read_bytes()]
    assert after["holder"]["family_name"] == "RELAISFICTIF-BEAUCHAMP"
    assert after["sheets"] == ["medecin_remplacant"]
    assert not [text for text in ("MONTFICTIF", "899700090022", before["number"], before["serial"]) if text in json.dumps(after)]
    assert files and left == []
    assert seconds + after["all_after"] < 5.0, (seconds, after["all_after"])
    assert known < again, "the second time the certificate is not read"
