# SPDX-License-Identifier: Apache-2.0
"""C_Initialize to C_GetMechanismInfo, and C_WaitForSlotEvent. None of them sends a command to a card."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from cpxd.config import Settings
from cpxd.pkcs11.application import Application
from cpxd.pkcs11.ck import CKF_DONT_BLOCK, CKR, DIGESTS, HASH_RSA_PKCS, HASH_RSA_PSS, MechanismFlag, SlotFlag, TokenFlag
from cpxd.pkcs11.ck import CKM as M
from cpxd.pkcs11.ck import UNAVAILABLE as UNKNOWN
from cpxd.pkcs11.rv import Failure
from cpxd.pkcs11.wire import Length
from cpxd.reader.pinpad import NONE
from cpxd.service.hub import Slot
from cpxd.service.logins import MOST_PIN_TRIES, MOST_UNBLOCK_TRIES
from cpxd.service.token import Token
from cpxd.version import __version__

Answer = tuple[Any, ...]
_HANDSHAKE = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
_LOOK = 1.0  # seconds that a list of slots waits for PC/SC
_CRYPTOKI = (2, 40)
_NO_VERSION = (0, 0)
_MODEL = "IAS ECC"  # what the official library shows for all generations


def initialize(app: Application, handshake: bytes | None, reserved: int, text: bytes | None) -> Answer:
    if handshake != _HANDSHAKE:
        raise Failure(CKR.ARGUMENTS_BAD)
    if app.initialized:
        raise Failure(CKR.CRYPTOKI_ALREADY_INITIALIZED)
    app.initialized = True
    app.seen = {slot.id: slot.insertion for slot in app.hub.slots}
    return ()


async def finalize(app: Application) -> Answer:
    _check(app)
    app.initialized = False
    app.sessions.clear()
    for slot in app.hub.slots:
        app.asker.close(slot)
    await app.hub.drop(app)
    return ()


def info(app: Application) -> Answer:
    _check(app)
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return _CRYPTOKI, padded("cpxd", 32), 0, padded("Cartes CPS (cpxd)", 32), (major, minor)


async def slot_list(app: Application, only_present: int, capacity: int) -> Answer:
    _check(app)
    if not app.hub.service:
        await app.hub.looked(_LOOK)
    found = [slot.id for slot in app.hub.slots if not only_present or has_token(slot)]
    return (found if capacity and len(found) <= capacity else Length(len(found)),)


def has_token(slot: Slot) -> bool:
    return slot.present and (slot.token is not None or slot.error is None)


def slot_info(app: Application, number: int) -> Answer:
    slot = app.slot(number)
    flags = SlotFlag.REMOVABLE_DEVICE | SlotFlag.HW_SLOT | (SlotFlag.TOKEN_PRESENT if has_token(slot) else 0)
    name = slot.reader if len(slot.reader) <= 64 else f"{slot.reader[:30]}...{slot.reader[-30:]}"
    return padded(name, 64), padded("", 32), flags, _NO_VERSION, _NO_VERSION


def token_info(app: Application, number: int) -> Answer | Coroutine[Any, Any, Answer]:
    slot = app.slot(number)
    return _when_read(app, slot, lambda token: _token_info(app, slot, token))


def _token_info(app: Application, slot: Slot, token: Token) -> Answer:
    about, sessions = token.tree.information, app.open_on(slot)
    serial = padded(token.serial[-16:], 16)
    return (
        padded(about.label or f"{token.generation}-{token.serial}", 32),
        padded(about.manufacturer or "", 32),
        padded(_MODEL, 16),
        serial,
        _token_flags(app.settings, slot),
        0,  # as many sessions as wanted
        len(sessions),
        0,
        sum(session.writable for session in sessions),
        *((8, 4) if token.contactless else (4, 4)),  # longest and shortest PIN; there is none without contact
        UNKNOWN,
        UNKNOWN,
        UNKNOWN,
        UNKNOWN,
        _NO_VERSION,
        _NO_VERSION,
        b" " * 16,
    )


def _token_flags(settings: Settings, slot: Slot) -> int:
    codes = slot.codes
    if slot.token is not None and slot.token.contactless:
        return TokenFlag.TOKEN_INITIALIZED
    flags = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED
    if settings.pkcs11_pin != "agent":
        flags |= TokenFlag.LOGIN_REQUIRED
    if settings.pkcs11_pin == "protected" or (settings.pkcs11_pin == "host" and slot.keypad != NONE):
        flags |= TokenFlag.PROTECTED_AUTHENTICATION_PATH
    if codes is not None:
        low = TokenFlag.USER_PIN_COUNT_LOW, TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED
        flags |= _counter(codes.pin.tries_left, codes.pin.max_tries or MOST_PIN_TRIES, low, blocked=codes.pin.blocked)
        low = TokenFlag.SO_PIN_COUNT_LOW, TokenFlag.SO_PIN_FINAL_TRY, TokenFlag.SO_PIN_LOCKED
        unblock = codes.unblock
        flags |= _counter(unblock.tries_left, unblock.max_tries or MOST_UNBLOCK_TRIES, low, blocked=unblock.blocked)
    return flags


def _counter(left: int, most: int, flags: tuple[int, int, int], *, blocked: bool) -> int:
    low, final, locked = flags
    if blocked:
        return locked
    return (low if left < most else 0) | (final if left == 1 else 0)


def mechanisms(token: Token) -> dict[int, tuple[int, int, int]]:
    """What the inserted card and the daemon can do: smallest and largest key in bits, flags (CK_MECHANISM_INFO)."""
    sizes = [key.modulus_length or 2048 for key in token.tree.keys] or [2048]
    able = {(m.padding, m.hash) for found in token.mechanisms.values() for m in found}
    both = MechanismFlag.SIGN | MechanismFlag.VERIFY
    raw = MechanismFlag.HW | both
    decrypts = 0 if token.contactless else MechanismFlag.DECRYPT
    found: dict[int, int] = {M.RSA_PKCS: raw | MechanismFlag.ENCRYPT | decrypts}
    found |= {number: both for number, name in HASH_RSA_PKCS.items() if ("pkcs1", name) in able}
    pss: dict[int, int] = {number: both for number, name in HASH_RSA_PSS.items() if token.any_pss or ("pss", name) in able}
    if pss:
        found |= {M.RSA_PKCS_PSS: raw, **pss}
    listed = {number: (min(sizes), max(sizes), flags) for number, flags in found.items()}
    return listed | {number: (0, 0, int(MechanismFlag.DIGEST)) for number in DIGESTS}


def mechanism_list(app: Application, number: int, capacity: int) -> Answer | Coroutine[Any, Any, Answer]:
    def answer(token: Token) -> Answer:
        found = list(mechanisms(token))
        return (found if len(found) <= capacity else Length(len(found)),)

    return _when_read(app, app.slot(number), answer)


def mechanism_info(app: Application, number: int, kind: int) -> Answer | Coroutine[Any, Any, Answer]:
    def answer(token: Token) -> Answer:
        found = mechanisms(token).get(kind)
        if found is None:
            raise Failure(CKR.MECHANISM_INVALID)
        return found

    return _when_read(app, app.slot(number), answer)


async def wait_for_slot_event(app: Application, flags: int) -> Answer:
    _check(app)
    happened = asyncio.Event()
    unsubscribe = app.hub.subscribe(lambda slot: happened.set())
    try:
        while True:
            happened.clear()
            for slot in app.hub.slots:
                if app.seen.get(slot.id, 0) != slot.insertion:
                    app.seen[slot.id] = slot.insertion
                    return (slot.id,)
            if flags & CKF_DONT_BLOCK:
                raise Failure(CKR.NO_EVENT)
            await happened.wait()
            _check(app)
    finally:
        unsubscribe()


def _check(app: Application) -> None:
    if not app.initialized:
        raise Failure(CKR.CRYPTOKI_NOT_INITIALIZED)


def _when_read(app: Application, slot: Slot, answer: Callable[[Token], Answer]) -> Answer | Coroutine[Any, Any, Answer]:
    """At once when the card is known; else once it was read."""
    if slot.present and slot.token is not None:
        return answer(slot.token)

    async def later() -> Answer:
        return answer(await app.token(slot))

    return later()


@functools.lru_cache(maxsize=128)
def padded(text: str, size: int) -> bytes:
    """UTF-8, cut at a character, filled with blanks (PKCS#11 fixed-size strings)."""
    return text.encode()[:size].decode("utf-8", "ignore").encode().ljust(size)
