# SPDX-License-Identifier: Apache-2.0
"""`cpxd path`: where the module is that programs load, and the socket that it uses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cpxd.errors import Exit
from cpxd.text import tr

MODULE = Path(__file__).parents[1] / "pkcs11" / "module" / "libcpxd-pkcs11.so"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("afficher le chemin du module PKCS#11, ou de sa socket", "show the path of the PKCS#11 module, or of its socket")
    parser = commands.add_parser("path", parents=[common], help=text, description=text)
    parser.add_argument(
        "what",
        metavar="pkcs11|module|socket",
        choices=("pkcs11", "module", "socket"),
        help=tr("pkcs11 = module", "pkcs11 = module"),
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd import daemon

    print(daemon.pkcs11_socket() if options.what == "socket" else MODULE)
    return Exit.DONE
