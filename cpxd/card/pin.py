# SPDX-License-Identifier: Apache-2.0
"""The rules of the two codes, whatever the generation: what is checked before the card is asked, and what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpxd import errors
from cpxd.apdu import SW, Secret, tries_from_sw
from cpxd.card.application import Application, Code, Entry, NotAllowed
from cpxd.reader.pinpad import PinPad
from cpxd.record.sdo import PinState
from cpxd.secret import RefusedSecrets


@dataclass
class _Refused:
    tries_left: int  # after the last refusal
    secrets: RefusedSecrets = field(default_factory=RefusedSecrets)


class RefusedCodes:
    """The codes that a card has refused, as salted digests: they are never sent to it again by this process."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, Code], _Refused] = {}

    def add(self, serial: str, code: Code, secret: Secret, tries_left: int) -> None:
        known = self._codes.setdefault((serial, code), _Refused(tries_left))  # counts down only: `see` drops what grew
        known.tries_left = tries_left
        known.secrets.add(secret)

    def holds(self, serial: str, code: Code, secret: Secret) -> bool:
        known = self._codes.get((serial, code))
        return known is not None and known.secrets.holds(secret)

    def see(self, serial: str, code: Code, tries_left: int) -> None:
        """A counter that was read. It grows when somebody else proved, changed or unblocked the code: then all is open again."""
        known = self._codes.get((serial, code))
        if known is not None and tries_left > known.tries_left:
            del self._codes[serial, code]

    def forget(self, serial: str, code: Code | None = None) -> None:
        """After a right code, a change, an unblock or a removal: the same digits may be right now."""
        for entry in [e for e in self._codes if e[0] == serial and code in (None, e[1])]:
            del self._codes[entry]


REFUSED = RefusedCodes()


def check_format(code: Code, secret: Secret) -> None:
    """Exactly 4 or 8 ASCII digits, else BadPinFormat: nothing was sent."""
    if not secret.is_digits(code.digits):
        raise errors.BadPinFormat(name=code_name(code), digits=code.digits)


def _check(code: Code, entry: Entry) -> None:
    """As `check_format`; of a keypad, whether it takes so many digits (PadUnable): it counts them by itself."""
    if isinstance(entry, PinPad):
        entry.check_verify(code.digits)
    else:
        check_format(code, entry)


def _check_new(new: Entry) -> None:
    if isinstance(new, PinPad):
        new.check_modify(Code.PIN.digits)
    else:
        check_format(Code.PIN, new)


def code_name(code: Code) -> str:
    return code.words


def check_counter(code: Code, state: PinState, *, last_try: bool) -> None:
    """Refuse to send when the code is blocked, or when it is the last try and the person did not ask for it."""
    if state.blocked:
        raise errors.PinBlocked() if code is Code.PIN else errors.UnblockCodeBlocked()
    if state.tries_left == 1 and not last_try:
        raise errors.LastTry()


def refused(code: Code, sw: int) -> errors.CpxError:
    """What a status word other than 9000 means after VERIFY, CHANGE REFERENCE DATA or RESET RETRY COUNTER."""
    tries = tries_from_sw(sw)
    blocked = errors.PinBlocked() if code is Code.PIN else errors.UnblockCodeBlocked()
    if tries is not None:
        if tries == 0:
            return blocked
        return errors.WrongPin(tries_left=tries) if code is Code.PIN else errors.WrongUnblockCode(tries_left=tries)
    if sw in (SW.AUTHENTICATION_BLOCKED, SW.REFERENCE_DATA_UNUSABLE, SW.CONDITIONS_NOT_SATISFIED):
        return blocked
    return errors.CardRefused(operation="VERIFY", sw=sw)


def verify(card: Application, serial: str, code: Code, entry: Entry, *, last_try: bool) -> None:
    """Prove a code to the card: format, counter, then one VERIFY. A PIN the card has refused before is not sent."""
    _check(code, entry)
    _prepare(card, serial, code, entry, last_try=last_try)
    _judge(serial, code, entry, card.verify(code, entry))


def change(card: Application, serial: str, old: Entry, new: Entry, *, last_try: bool) -> None:
    """Replace the PIN. Both are checked before anything is sent; the old one must be right. On a keypad: both, or none."""
    _check(Code.PIN, old)
    _check_new(new)
    if isinstance(old, Secret) and isinstance(new, Secret) and old.equals(new):
        raise errors.SamePin()
    _prepare(card, serial, Code.PIN, old, last_try=last_try)
    _judge(serial, Code.PIN, old, card.change_pin(old, new))


def unblock(card: Application, serial: str, unblock_code: Entry, new: Entry, *, last_try: bool) -> PinState:
    """Prove the unblock code, then set a new PIN; its state, read afterwards as proof.

    Raises UnblockInterrupted or CodeUncertain when the card is lost once the unblock code was accepted.
    """
    _check_new(new)
    verify(card, serial, Code.UNBLOCK, unblock_code, last_try=last_try)
    return renew(card, serial, new)


def renew(card: Application, serial: str, new: Entry) -> PinState:
    """Set a new PIN, the unblock code being verified; its state, read afterwards as proof."""
    _check_new(new)
    sw = card.renew_pin(new)
    if sw == SW.SECURITY_STATUS_NOT_SATISFIED:
        raise NotAllowed
    if sw != SW.OK:
        raise errors.CardRefused(operation="RESET RETRY COUNTER", sw=sw)
    REFUSED.forget(serial)
    return card.pin_state(Code.PIN)


def _prepare(card: Application, serial: str, code: Code, entry: Entry, *, last_try: bool) -> None:
    state = card.pin_state(code)
    REFUSED.see(serial, code, state.tries_left)
    if not state.blocked and isinstance(entry, Secret) and REFUSED.holds(serial, code, entry):
        raise errors.KnownWrongPin()
    check_counter(code, state, last_try=last_try)


def _judge(serial: str, code: Code, entry: Entry, sw: int) -> None:
    if sw == SW.OK:
        REFUSED.forget(serial, code)
        return
    error = refused(code, sw)
    if isinstance(entry, Secret) and not isinstance(error, errors.CardRefused):
        REFUSED.add(serial, code, entry, tries_from_sw(sw) or 0)
    raise error
