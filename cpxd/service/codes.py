# SPDX-License-Identifier: Apache-2.0
"""What is done with the two codes of an open card, on behalf of a person: state, verify, change, unblock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cpxd import errors
from cpxd.apdu import Secret
from cpxd.card.application import Code
from cpxd.card.pin import check_counter, check_format, code_name
from cpxd.card.session import Begin, CardSession, CodeStates
from cpxd.dialog.secrets import CodeSource
from cpxd.reader.pinpad import NONE, Announce, PinPad
from cpxd.record.sdo import PinState
from cpxd.service.desk import OpenCard
from cpxd.text import tr, tries

T = TypeVar("T")


@dataclass(frozen=True)
class Consent:
    """How the codes are got, and whether the caller already said that the last try may be used."""

    source: CodeSource
    last_try: bool = False
    announce: Announce | None = None  # tells the person to type on the reader's keypad; None: its keypad is not to be used


def states(card: OpenCard) -> CodeStates:
    """Tries left of both codes; none is spent."""
    return card.run(lambda session, begin: session.code_states(begin))


def verify(card: OpenCard, consent: Consent) -> None:
    """Ask for the PIN and prove it to the card, which is then held until it is closed: nobody comes between."""
    pin_state = _pin_state(card)
    last = _allowed(Code.PIN, pin_state, consent)
    if consent.announce is not None and _keypad(card):
        _on_pad(card, consent.announce, 1, lambda s, begin, pad: s.verify(begin, pad, last_try=last, keep=True))
        return
    with consent.source.ask(_prompt(code_name(Code.PIN), pin_state)) as pin:
        card.run(lambda session, begin: session.verify(begin, pin, last_try=last, keep=True))


def change(card: OpenCard, consent: Consent) -> None:
    """Ask for the PIN and a new one, and replace it."""
    pin_state = _pin_state(card)
    last = _allowed(Code.PIN, pin_state, consent)
    if consent.announce is not None and _keypad(card):
        _on_pad(card, consent.announce, 3, lambda s, begin, pad: s.change(begin, pad, pad, last_try=last))
        return
    with consent.source.ask(_prompt(tr("Code porteur actuel", "Current PIN"), pin_state)) as old:
        check_format(Code.PIN, old)
        with _new_pin(consent.source) as new:
            card.run(lambda session, begin: session.change(begin, old, new, last_try=last))


def unblock(card: OpenCard, consent: Consent) -> PinState:
    """Ask for the unblock code and a new PIN, and set it; the state of the PIN afterwards, read from the card."""
    state = states(card).unblock
    last = _allowed(Code.UNBLOCK, state, consent)
    if consent.announce is not None and _keypad(card):
        return _on_pad(card, consent.announce, 3, lambda s, begin, pad: s.unblock(begin, pad, pad, last_try=last))
    with consent.source.ask(_prompt(code_name(Code.UNBLOCK), state)) as code:
        check_format(Code.UNBLOCK, code)
        with _new_pin(consent.source) as new:
            return card.run(lambda session, begin: session.unblock(begin, code, new, last_try=last))


def _keypad(card: OpenCard) -> bool:
    return card.run(card.keypad) != NONE


def _on_pad(card: OpenCard, announce: Announce, entries: int, work: Callable[[CardSession, Begin, PinPad], T]) -> T:
    return card.run(lambda session, begin: work(session, begin, card.pinpad(session, begin, announce)), entries=entries)


def _pin_state(card: OpenCard) -> PinState:
    """State of the PIN; PinBlockedForGood when the unblock code is blocked too: unblocking is no advice then."""
    both = states(card)
    if both.pin.blocked and both.unblock.blocked:
        raise errors.PinBlockedForGood()
    return both.pin


def _new_pin(source: CodeSource) -> Secret:
    new = source.ask(tr("Nouveau code porteur (4 chiffres)", "New PIN (4 digits)"))
    try:
        check_format(Code.PIN, new)
        source.confirm_new(tr("Nouveau code porteur, encore une fois", "New PIN, once more"), new)
    except BaseException:
        new.wipe()
        raise
    return new


def _allowed(code: Code, state: PinState, consent: Consent) -> bool:
    """Whether the last try may be used; raises PinBlocked, UnblockCodeBlocked or LastTry before any code is asked."""
    last = consent.last_try
    if state.tries_left == 1 and not state.blocked and not last:
        last = consent.source.confirm_last_try(code_name(code))
    check_counter(code, state, last_try=last)
    return last


def _prompt(name: str, state: PinState) -> str:
    return f"{name} ({tries(state.tries_left)})"
