# SPDX-License-Identifier: Apache-2.0
"""Sessions, logins and PINs. A PIN comes in as a Secret, is proved at once and kept for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from cpxd import errors
from cpxd.card.application import Code
from cpxd.pkcs11 import ck
from cpxd.pkcs11.application import Application, Session
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.frames import Pin
from cpxd.pkcs11.rv import Failure
from cpxd.reader.pinpad import NONE, Announce
from cpxd.secret import Secret
from cpxd.service.desk import OnReader
from cpxd.service.hub import Slot
from cpxd.service.keypad import Guard, at_the_reader

T = TypeVar("T")
Answer = tuple[Any, ...]
# CK_STATE by login and whether the session may write
_STATES = {(None, False): 0, ("user", False): 1, (None, True): 2, ("user", True): 3, ("so", True): 4, ("so", False): 0}
_MOST_SESSIONS = 4096  # of one application: one that never closes any must not fill our memory
_SHORTEST = 0.5  # seconds: Firefox never closes its own window when a login by our dialog ends sooner


async def open_session(app: Application, number: int, flags: int) -> Answer:
    slot = app.slot(number)
    if not flags & ck.CKF_SERIAL_SESSION:
        raise Failure(CKR.SESSION_PARALLEL_NOT_SUPPORTED)
    await app.token(slot)
    writable = bool(flags & ck.CKF_RW_SESSION)
    if not writable and slot.logged_in(app) == "so":
        raise Failure(CKR.SESSION_READ_WRITE_SO_EXISTS)
    if len(app.sessions) >= _MOST_SESSIONS:
        app.bury()
    if len(app.sessions) >= _MOST_SESSIONS:
        raise Failure(CKR.SESSION_COUNT)
    app.last_session += 1
    app.sessions[app.last_session] = Session(app.last_session, slot, slot.life, writable)
    return (app.last_session,)


def close_session(app: Application, handle: int) -> Answer | Coroutine[Any, Any, Answer]:
    session = app.session(handle)
    del app.sessions[handle]
    return _closed(app, session.slot)


def close_all_sessions(app: Application, number: int) -> Answer | Coroutine[Any, Any, Answer]:
    slot = app.slot(number)
    app.sessions = {h: s for h, s in app.sessions.items() if s.slot is not slot}
    return _closed(app, slot)


def _closed(app: Application, slot: Slot) -> Answer | Coroutine[Any, Any, Answer]:
    """With the last session on a token the login ends, and so do the dialogs for one."""
    if app.open_on(slot):
        return ()
    app.asker.close(slot)
    if slot.logged_in(app) is None:
        return ()

    async def end() -> Answer:
        await slot.drop(app)
        return ()

    return end()


def session_info(app: Application, handle: int) -> Answer:
    session = app.session(handle)
    flags = ck.CKF_SERIAL_SESSION | (ck.CKF_RW_SESSION if session.writable else 0)
    return session.slot.id, _STATES[session.slot.logged_in(app), session.writable], flags, 0


def session_cancel(app: Application, handle: int, flags: int) -> Answer:
    session = app.session(handle)
    for kind, flag in ck.CANCEL.items():
        if flags & flag:
            session.operations.pop(kind, None)
    return ()


async def login(app: Application, handle: int, user: int, pin: Pin) -> Answer:
    session = app.session_for_code(handle)
    slot = session.slot
    if user == ck.CKU_CONTEXT_SPECIFIC:  # no key of these cards wants to be asked for at each use
        raise Failure(CKR.OPERATION_NOT_INITIALIZED)
    if user not in (ck.CKU_SO, ck.CKU_USER):
        raise Failure(CKR.USER_TYPE_INVALID)
    _has_codes(slot)
    code = Code.PIN if user == ck.CKU_USER else Code.UNBLOCK
    role = slot.logged_in(app)
    if role is not None:
        same = (role == "user") == (code is Code.PIN)
        raise Failure(CKR.USER_ALREADY_LOGGED_IN if same else CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
    if code is Code.UNBLOCK and not all(session.writable for session in app.open_on(slot)):
        raise Failure(CKR.SESSION_READ_ONLY_EXISTS)
    if pin.unfit:
        raise Failure(CKR.PIN_INCORRECT)
    if (secret := _given(slot, pin)) is not None:
        await prove(app, session, code, secret)
    else:
        await _by_person(app, session, code)
    return ()


def _given(slot: Slot, pin: Pin) -> Secret | None:
    """The PIN that a program brings. An empty one for a reader with a keypad is none: not all programs can say NULL."""
    return None if pin.secret is not None and not len(pin.secret) and slot.keypad != NONE else pin.secret


def _has_codes(slot: Slot) -> None:
    """What the official library answers for a card without contact, before the card is asked anything."""
    if slot.token is not None and slot.token.contactless:
        raise Failure(CKR.USER_PIN_NOT_INITIALIZED)


async def login_user(app: Application, handle: int, user: int, pin: Pin, name: Pin) -> Answer:
    app.session_for_code(handle)
    if name.unfit or (name.secret is not None and len(name.secret)):  # the card has one holder, who has no user name
        raise Failure(CKR.FUNCTION_NOT_SUPPORTED)
    return await login(app, handle, user, pin)


async def _by_person(app: Application, session: Session, code: Code) -> None:
    if app.settings.pkcs11_pin == "host" and session.slot.keypad == NONE:
        raise Failure(CKR.ARGUMENTS_BAD)
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        await ask_and_prove(app, session, code)
    finally:
        await asyncio.sleep(max(0.0, _SHORTEST - (loop.time() - started)))


async def ask_and_prove(app: Application, session: Session, code: Code) -> None:
    """The keypad of the reader, or our dialog; then VERIFY."""
    if session.slot.keypad != NONE:
        log_in = session.slot.login if code is Code.PIN else session.slot.login_unblock

        def do(typed: OnReader, last: bool, guard: Guard) -> Coroutine[Any, Any, None]:
            return log_in(app, typed, last_try=last, guard=guard)

        await _on_reader(app, session, code, do, app.may_log_in)
        return
    with await _asked(app, session, app.asker.code(session.slot, code)) as secret:
        await prove(app, session, code, secret)


Typed = Callable[[OnReader, bool, Guard], Coroutine[Any, Any, None]]


async def _on_reader(app: Application, session: Session, code: Code, do: Typed, check: Callable[[Session], None]) -> None:
    """`do` with a code that is typed on the reader, while a dialog says so; the last try only as the settings or the person say.

    `check` raises when the session does not want it any more: asked as Slot.login asks its guard.
    """

    async def once(last: bool) -> None:
        def entry(announce: Announce, wanted: Guard) -> Coroutine[Any, Any, None]:
            def guard() -> None:
                wanted()
                check(session)

            return do(OnReader(announce), last, guard)

        await _asked(app, session, at_the_reader(entry, lambda ask: app.asker.on_pad(session.slot, ask)))

    await _careful(app, session, code, once)


async def _asked(app: Application, session: Session, question: Coroutine[Any, Any, T]) -> T:
    """What a person answers. A dialog that ends because the card left, or the session, says so."""
    try:
        return await question
    except errors.Refused:
        app.alive(session)
        raise


async def prove(app: Application, session: Session, code: Code, secret: Secret) -> None:
    """VERIFY at once; with one try left only as the settings or the person say.

    The code was typed for the card of the session: just before VERIFY, and again before the login counts, both must be there.
    """
    do = session.slot.login if code is Code.PIN else session.slot.login_unblock
    await _careful(app, session, code, lambda last: do(app, secret, last_try=last, guard=lambda: app.may_log_in(session)))


async def _careful(app: Application, session: Session, code: Code, do: Callable[[bool], Awaitable[None]]) -> None:
    try:
        await do(app.settings.pkcs11_last_try == "allow")
    except errors.LastTry:
        try:
            confirmed = await _asked(app, session, app.asker.confirm_last_try(session.slot, code))
        except (errors.Refused, errors.NoPinSource):
            confirmed = False
        if not confirmed:
            raise Failure(CKR.FUNCTION_REJECTED) from None
        await do(True)


async def logout(app: Application, handle: int) -> Answer:
    await app.session(handle).slot.logout(app)
    return ()


async def init_pin(app: Application, handle: int, pin: Pin) -> Answer:
    session = app.session_for_code(handle)
    if session.slot.logged_in(app) != "so":
        raise Failure(CKR.USER_NOT_LOGGED_IN)
    if session.slot.keypad != NONE and not pin.unfit and _given(session.slot, pin) is None:
        await _new_on_reader(app, session, lambda new, _, guard: session.slot.renew_pin(app, new, guard=guard))
        return ()
    with await _new(app, session, pin) as new:
        await session.slot.renew_pin(app, new, guard=lambda: app.alive(session))
    return ()


async def set_pin(app: Application, handle: int, old: Pin, new: Pin) -> Answer:
    session = app.session_for_code(handle)
    slot = session.slot
    if not session.writable:
        raise Failure(CKR.SESSION_READ_ONLY)
    _has_codes(slot)
    if slot.logged_in(app) == "so":  # the unblock code of a card cannot be changed
        raise Failure(CKR.FUNCTION_NOT_SUPPORTED)
    if slot.keypad != NONE and not old.unfit and not new.unfit and _given(slot, old) is None and _given(slot, new) is None:
        await _new_on_reader(app, session, lambda both, last, guard: slot.change_pin(app, both, both, last_try=last, guard=guard))
        return ()
    if new.secret is not None:
        _check_new(new)
    if old.unfit:
        raise Failure(CKR.PIN_INCORRECT)
    with await _old(app, session, old) as current, await _new(app, session, new) as wanted:
        await _careful(
            app,
            session,
            Code.PIN,
            lambda last: slot.change_pin(app, current, wanted, last_try=last, guard=lambda: app.alive(session)),
        )
    return ()


async def _new_on_reader(app: Application, session: Session, do: Typed) -> None:
    try:
        await _on_reader(app, session, Code.PIN, do, app.alive)
    except errors.BadPinFormat:
        raise Failure(CKR.PIN_LEN_RANGE) from None


async def _old(app: Application, session: Session, pin: Pin) -> Secret:
    if pin.secret is not None:
        return pin.secret
    if app.settings.pkcs11_pin == "host":
        raise Failure(CKR.ARGUMENTS_BAD)
    return await _asked(app, session, app.asker.code(session.slot, Code.PIN))


async def _new(app: Application, session: Session, pin: Pin) -> Secret:
    if pin.secret is not None:
        _check_new(pin)
        return pin.secret
    if app.settings.pkcs11_pin == "host":
        raise Failure(CKR.ARGUMENTS_BAD)
    return await _asked(app, session, app.asker.new_pin(session.slot))


def _check_new(pin: Pin) -> None:
    if pin.unfit or pin.secret is None or len(pin.secret) != Code.PIN.digits:
        raise Failure(CKR.PIN_LEN_RANGE)
    if not pin.secret.is_digits(Code.PIN.digits):
        raise Failure(CKR.PIN_INVALID)
