# SPDX-License-Identifier: Apache-2.0
"""`cpxd decrypt FILE`: a mail (S/MIME) or a CMS encrypted for the card in the reader."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json
from cpxd.errors import Exit
from cpxd.files import check_beside, check_output, write_new
from cpxd.service import codes
from cpxd.text import printable, tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("déchiffrer un message (S/MIME) avec la carte", "decrypt a mail (S/MIME) with the card")
    parser = commands.add_parser("decrypt", parents=[common], help=text, description=text)
    parser.add_argument("file", metavar=tr("FICHIER", "FILE"), type=Path)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar=tr("SORTIE", "OUTPUT"),
        help=tr("par défaut : à côté du fichier", "default: beside the file"),
    )
    add_reader(parser)
    add_json(parser)
    add_codes(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.service import decrypting

    path: Path = options.file
    if options.output is None:
        check_beside(path)
    output = options.output or path.with_name((path.stem or path.name) + ".decrypted.eml")
    target = check_output(path, output)
    with open_card(options) as card:
        prepared = decrypting.prepare(card, path)
        codes.verify(card, consent(options))
        write_new(target, prepared.open(), mode=0o600)
    sure = prepared.envelope.tag is not None
    if options.json:
        show_json({"reader": card.reader, "file": str(path), "output": str(output), "protected": sure})
        return Exit.DONE
    name = printable(output)
    print(tr(f"Déchiffré : {name}", f"Decrypted: {name}"))
    if not sure:
        print(
            tr(
                "  ! rien ne protège ce chiffrement d'un changement : seule une signature à l'intérieur dit de qui il vient",
                "  ! nothing protects this encryption from changes: only a signature inside tells whom it comes from",
            )
        )
    return Exit.DONE
