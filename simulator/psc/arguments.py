# SPDX-License-Identifier: Apache-2.0
"""The arguments of `cpx-sim psc`."""

from __future__ import annotations

import argparse
from pathlib import Path

from simulator.psc.settings import FAILURES, Options, check_api, check_uris, parse_failures


def add(parser: argparse.ArgumentParser, english: bool) -> None:
    def tr(french: str, in_english: str) -> str:
        return in_english if english else french

    def port(text: str) -> int:
        if text == "0" or (text.isascii() and text.isdigit() and len(text) <= 5 and 1024 <= int(text) <= 65533):
            return int(text)
        raise argparse.ArgumentTypeError(tr("0, ou un nombre de 1024 à 65533", "0, or a number from 1024 to 65533"))

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = tr("Pannes de --fail :", "Failures of --fail:") + "".join(
        f"\n  {name:17} {words[english]}" for name, words in FAILURES.items()
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=port,
        default=0,
        help=tr(
            "port du fournisseur ; N+1 étape carte, N+2 page cliente (0 : ports libres)",
            "port of the provider; N+1 card step, N+2 relying page (0: any free)",
        ),
    )
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--tls12", action="store_true", help=tr("étape carte : TLS 1.2 au plus", "card step: TLS 1.2 at most"))
    version.add_argument("--tls13", action="store_true", help=tr("étape carte : TLS 1.3 exigé", "card step: TLS 1.3 required"))
    parser.add_argument(
        "--ca-names",
        choices=("issuers", "roots"),
        default="issuers",
        help=tr(
            "autorités nommées au client : émettrices et racines, ou racines seules",
            "authorities named to the client: issuing ones and roots, or roots only",
        ),
    )
    parser.add_argument(
        "--fail", metavar="SPEC", default="", help=tr("pannes, séparées par des virgules", "failures, separated by commas")
    )
    parser.add_argument("--client-id", metavar="ID", default=Options.client_id, help=tr("votre client", "your client"))
    parser.add_argument("--client-secret", metavar="TEXT", help=tr("son secret (tiré au sort sinon)", "its secret (else random)"))
    parser.add_argument(
        "--redirect-uri", metavar="URI", action="append", default=[], help=tr("son adresse de retour", "its redirect URI")
    )
    parser.add_argument(
        "--logout-uri", metavar="URI", action="append", default=[], help=tr("son retour de déconnexion", "its logout URI")
    )
    parser.add_argument(
        "--api",
        metavar="URL",
        default=Options().api,
        help=tr("le service cpxd que la page de démonstration interroge", "the cpxd service that the demonstration page asks"),
    )
    parser.add_argument("--strict", action="store_true", help=tr("exiger state, nonce et PKCE", "require state, nonce and PKCE"))
    parser.add_argument("--folder", metavar="DIR", type=Path, help=tr("où écrire ca.pem", "where to write ca.pem"))


def read(parsed: argparse.Namespace) -> Options:
    """Raises UsageError."""
    return Options(
        port=parsed.port,
        tls="1.2" if parsed.tls12 else "1.3" if parsed.tls13 else "1.2 and 1.3",
        ca_names=parsed.ca_names,
        failures=parse_failures(parsed.fail),
        client_id=parsed.client_id,
        client_secret=parsed.client_secret,
        redirect_uris=check_uris(parsed.redirect_uri),
        logout_uris=check_uris(parsed.logout_uri),
        strict=parsed.strict,
        api=check_api(parsed.api),
        folder=parsed.folder,
    )
