# SPDX-License-Identifier: Apache-2.0
"""`cpxd api`: the description of the local API, and the certificate that browsers are told of."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cpxd import config
from cpxd.cli.common import show_json
from cpxd.errors import Exit
from cpxd.text import tr


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "décrire l'API locale (OpenAPI), ou donner son certificat", "describe the local API (OpenAPI), or give its certificate"
    )
    parser = commands.add_parser("api", parents=[common], help=text, description=text)
    parser.add_argument(
        "--certificate",
        action="store_true",
        help=tr(
            "le certificat de https://localhost (PEM), sans sa clé", "the certificate of https://localhost (PEM), without its key"
        ),
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.certificate:
        import ssl

        from cpxd.api import certificate

        sys.stdout.write(ssl.DER_cert_to_PEM_cert(certificate.leaf()))
    else:
        from cpxd.api import routes

        show_json(routes.openapi(config.load().api_port))
    return Exit.DONE
