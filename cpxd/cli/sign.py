# SPDX-License-Identifier: Apache-2.0
"""`cpxd sign FILE`: a detached CMS signature with the card's signature key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json
from cpxd.errors import Exit
from cpxd.files import check_output, write_new
from cpxd.service import codes, signing
from cpxd.text import printable, tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("signer un fichier (CMS détaché, SHA-256)", "sign a file (detached CMS, SHA-256)")
    parser = commands.add_parser("sign", parents=[common], help=text, description=text)
    parser.add_argument("file", metavar=tr("FICHIER", "FILE"), type=Path)
    parser.add_argument("-o", "--output", type=Path, metavar="P7S", help=tr("par défaut : FICHIER.p7s", "default: FILE.p7s"))
    add_reader(parser)
    add_json(parser)
    add_codes(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    content = signing.read_document(options.file)
    output = options.output or Path(f"{options.file}.p7s")
    target = check_output(options.file, output)
    with open_card(options) as card:
        codes.verify(card, consent(options))
        signature = signing.sign_cms(card, content)
    write_new(target, signature)
    if options.json:
        show_json({"reader": card.reader, "file": str(options.file), "output": str(output), "sha256": content.digest.hex()})
    else:
        name = printable(output)
        print(tr(f"Signé : {name} ({content.size} octets signés)", f"Signed: {name} ({content.size} bytes signed)"))
    return Exit.DONE
