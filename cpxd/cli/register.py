# SPDX-License-Identifier: Apache-2.0
"""`cpxd register`, `cpxd unregister`: the browsers of this user are told of the module and of the certificate of localhost."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpxd import config
from cpxd.cli.common import raise_all, show_lines
from cpxd.errors import Exit, Usage
from cpxd.text import tr

if TYPE_CHECKING:
    from cpxd.browsers.registration import Told

_CHANGED, _SAME = "✓", "·"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "déclarer cpxd aux navigateurs : module PKCS#11 et certificat", "tell browsers of cpxd: PKCS#11 module and certificate"
    )
    parser = commands.add_parser("register", parents=[common], help=text, description=text)
    parser.add_argument(
        "--browsers", action="store_true", help=tr("Firefox, Chromium, Thunderbird", "Firefox, Chromium, Thunderbird")
    )
    _machine(parser)
    parser.set_defaults(run=_register)
    text = tr("défaire cpxd register", "undo cpxd register")
    parser = commands.add_parser("unregister", parents=[common], help=text, description=text)
    _machine(parser)
    parser.set_defaults(run=_unregister)


def _machine(parser: argparse.ArgumentParser) -> None:
    words = tr("les règles de toute la machine (administrateur)", "the policies of the whole machine (administrator)")
    parser.add_argument("--machine", action="store_true", help=words)


def _register(options: argparse.Namespace) -> int:
    from cpxd.api import certificate, origins
    from cpxd.browsers import policies, registration

    if not options.browsers:
        raise Usage(detail=tr("cpxd register --browsers", "cpxd register --browsers"))
    if options.machine:
        _show_files(policies.register(origins.by_administrator()))
        raise_all(origins.faults(machine_only=True))
        return Exit.DONE
    return _show(registration.register(config.home(), certificate.leaf(), config.load().api_port))


def _unregister(options: argparse.Namespace) -> int:
    from cpxd.api import certificate
    from cpxd.browsers import policies, registration

    if options.machine:
        _show_files(policies.unregister())
        return Exit.DONE
    done = _show(registration.unregister(config.home()))
    certificate.forget()  # nobody accepts it any more
    return done


def _show_files(files: list[Path]) -> None:
    show_lines(f"{_CHANGED} {path}" for path in files)
    if files:
        show_lines([tr("Redémarrez les navigateurs.", "Restart the browsers.")])


def _show(found: Iterable[Told]) -> int:
    from cpxd.browsers.problems import BrowsersLeft

    count = failed = 0
    for told in found:
        count += 1
        name = f"{told.database.program} ({told.database.profile})"
        line = f"{_CHANGED if told.done == 'changed' else _SAME} {name}"
        if told.error is not None:
            failed += 1
            line = f"✗ {name}{tr(' : ', ': ')}{told.error}"
        elif told.restart:
            line += tr(" : ouvert en ce moment, redémarrez-le", ": open at the moment, restart it")
        if told.database.confined and told.error is None:
            line += tr(" (Snap ou Flatpak : certificat seul)", " (Snap or Flatpak: certificate only)")
        show_lines([line])
    if not count:
        show_lines([tr("Aucun profil de navigateur.", "No browser profile.")])
    if failed:
        raise BrowsersLeft(count=failed)
    return Exit.DONE
