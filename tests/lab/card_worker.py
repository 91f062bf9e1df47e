# SPDX-License-Identifier: Apache-2.0
"""Reads cards through pcscd with the product's own code, in a process of its own (libpcsclite keeps its first socket).

A line of JSON in, a list of reader names; a line out, what each card says, all that a persona file can say. With the word
"desk": what a person waits for alone, as `cpxd card` and `cpxd usages` read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from cpxd import config
from cpxd.dialog.secrets import Descriptor
from cpxd.record.model import CardRecord, Coded, Identifier
from cpxd.service import codes, identity
from cpxd.service.desk import OpenCard
from cpxd.usages.holder import matches


def read(reader: str, *, whole: bool) -> dict[str, Any]:
    started = time.process_time()  # our own work: the card's time is added up elsewhere, and other programs' is nobody's
    with OpenCard(reader, config.load()) as card:
        public = identity.read(card, private=False, whole=whole)
        identified = time.process_time()
        source, pin = os.pipe()
        os.write(pin, b"1234\n")
        os.close(pin)
        codes.verify(card, codes.Consent(Descriptor(source), last_try=False))
        os.close(source)
        found = identity.read(card, private=True, whole=whole)
        sheets = [match.sheet.id for match in matches(found.record)]
    said = {**described(found.record), "unreadable": found.unreadable, "sheets": sheets}
    said["warnings"] = [notice.code for notice in found.record.warnings]
    said["before_pin"] = {"holder": described(public.record)["holder"], "situations": public.record.situations}
    return {**said, "identity_after": identified - started, "all_after": time.process_time() - started}


def described(record: CardRecord) -> dict[str, Any]:
    card, holder = record.card, record.holder
    return {
        "kind": card.kind,
        "category": card.category,
        "number": card.number,
        "serial": card.serial,
        "valid": [str(card.valid_from), str(card.valid_until)],
        "holder": {
            "family_name": holder.family_name,
            "given_names": holder.given_names,
            "professional_name": holder.professional_name,
            "pseudonym": holder.pseudonym,
            "title": code(holder.title),
            "identifier": number(holder.identifier),
            "languages": [item.code for item in holder.languages],
        },
        "profession": code(record.profession),
        "future_profession": code(record.future_profession),
        "specialty": code(record.specialty),
        "pharmacist_table": code(record.pharmacist_table),
        "responsibility_level": code(record.responsibility_level),
        "situations": [
            [
                place.number,
                code(place.practice_mode),
                place.practice_status,
                code(place.activity_sector),
                place.organization_name,
                number(place.organization_identifier),
                code(place.pharmacist_table),
            ]
            for place in record.situations or ()
        ],
        "keys": [holder.identifier and holder.identifier.key_ok]
        + [place.organization_identifier and place.organization_identifier.key_ok for place in record.situations or ()],
        "without_label": [
            item.code
            for item in (holder.title, record.profession, record.future_profession, record.specialty, record.pharmacist_table)
            if item is not None and item.label is None
        ],
    }


def code(value: Coded | None) -> str | None:
    return None if value is None else value.code


def number(value: Identifier | None) -> str | None:
    return None if value is None else value.type + value.number


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps([read(reader, whole=sys.argv[1:] != ["desk"]) for reader in json.loads(line)]), flush=True)
