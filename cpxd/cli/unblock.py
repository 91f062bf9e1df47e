# SPDX-License-Identifier: Apache-2.0
"""`cpxd unblock`, which is `cpxd pin unblock` too: from a blocked card to three tries, with the unblock code."""

from __future__ import annotations

import _thread
import argparse
import contextlib
import os
from typing import Any

from cpxd import errors
from cpxd.cli.common import add_codes, add_json, add_reader, consent, open_card, show_json
from cpxd.errors import CpxError, Exit
from cpxd.service import codes
from cpxd.service.codes import Consent
from cpxd.service.desk import OpenCard
from cpxd.text import Text, tr, tries


class NoWayBack(errors.UnblockCodeBlocked):
    """The unblock code is gone: what to order, and what works meanwhile."""

    what = Text(
        "Code de déblocage bloqué : cette carte ne peut plus être débloquée. Nouvelle carte : {contacts}."
        " Codes perdus, pour une autre carte : formulaire F501. {ecps}",
        "Unblock code blocked: this card cannot be unblocked any more. New card: {contacts}."
        " Lost codes, of another card: form F501. {ecps}",
    )


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("débloquer la carte avec le code à 8 chiffres", "unblock the card with the code of 8 digits")
    parser = commands.add_parser("unblock", parents=[common], help=text, description=text)
    add_reader(parser)
    add_json(parser)
    add_codes(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask, unblock, and show the counter that the card then has."""
    with open_card(options) as card, contextlib.ExitStack() as stack:
        try:
            state = codes.unblock(card, asked_of(options, card, stack))
        except errors.UnblockCodeBlocked:
            raise no_way_back(card) from None
    if options.json:
        show_json({"reader": card.reader, "unblocked": True, "tries_left": state.tries_left})
    else:
        most = f" sur {state.max_tries}" if state.max_tries else ""
        of = f" of {state.max_tries}" if state.max_tries else ""
        left = tries(state.tries_left)
        print(
            tr(f"Code porteur débloqué et remplacé : {left.fr}{most}.", f"PIN unblocked and replaced: {left.en}{of}."),
        )
    return Exit.DONE


def asked_of(options: argparse.Namespace, card: OpenCard, stack: contextlib.ExitStack) -> Consent:
    """The codes come from the descriptor, the terminal, or without one from a dialog on the display, open until `stack` ends."""
    if options.pin_fd is not None or _has_terminal():
        return consent(options)
    from cpxd.dialog.display import DisplayHints
    from cpxd.dialog.pinentry import Dialog, OnPad, Pinentry

    hints = DisplayHints.from_environ(os.environ)
    if not hints.graphical:
        return consent(options)
    shown = OnPad(lambda: Pinentry(card.settings, hints), "cpxd", _thread.interrupt_main)
    stack.callback(shown.close)
    return Consent(Dialog(Pinentry(card.settings, hints), "cpxd"), options.last_try, None if options.no_pinpad else shown)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def no_way_back(card: OpenCard) -> NoWayBack:
    """The error that tells whom to ask, by the kind of card where it can be read."""
    from cpxd.doctor import contacts
    from cpxd.service import identity

    kind, anonymous = None, False
    try:
        record = identity.read(card, private=False).record
        kind, anonymous = record.card.kind, record.holder.pseudonym is not None
    except CpxError:
        pass
    return NoWayBack(contacts=contacts.advise("new_card", kind, anonymous=anonymous), ecps="" if anonymous else contacts.ECPS)
