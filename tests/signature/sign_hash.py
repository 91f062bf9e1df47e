# SPDX-License-Identifier: Apache-2.0
"""Bare hashes signed by the card, in a process of its own: sign_hash.py READER ALLOWED ORIGIN=HASH…, the PIN on standard input.

`ALLOWED`: the origins that the administrator named. On standard output, as JSON, for each: what was shown, and the signature or
the error.
"""

from __future__ import annotations

import json
import sys

from cpxd import errors
from cpxd.config import Settings
from cpxd.dialog.secrets import Descriptor
from cpxd.service import codes, signing
from cpxd.service.desk import OpenCard
from cpxd.signature import preview


def ask(card: OpenCard, origin: str, digest: str) -> dict[str, object]:
    shown: list[str] = []
    try:
        value = signing.sign_hash(card, bytes.fromhex(digest), origin, lambda seen: shown.extend(preview.text(seen)))
    except errors.CpxError as error:
        return {"error": error.code, "shown": shown}
    return {"signature": value.hex(), "shown": shown}


def main(reader: str, allowed: str, *questions: str) -> list[dict[str, object]]:
    with OpenCard(reader, Settings(sign_hash_origins=allowed)) as card:
        codes.verify(card, codes.Consent(Descriptor(0)))
        return [ask(card, *question.split("=")) for question in questions]


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
