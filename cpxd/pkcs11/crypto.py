# SPDX-License-Identifier: Apache-2.0
"""Digests, signatures and decryption. Hashes and public keys are worked here; private keys work on the card, in one
transaction at the end of the operation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Coroutine
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding

from cpxd import errors, log
from cpxd.card.application import Code
from cpxd.card.application import Mechanism as CardMechanism
from cpxd.pkcs11.application import Application, Session
from cpxd.pkcs11.ck import CKM, CKO, CKR
from cpxd.pkcs11.objects import Object
from cpxd.pkcs11.operations import (
    HASHES,
    Decryption,
    Digest,
    Encryption,
    Scheme,
    Signature,
    Signing,
    Verification,
    bare_hash,
)
from cpxd.pkcs11.rv import Failure
from cpxd.pkcs11.sessions import ask_and_prove
from cpxd.pkcs11.wire import Length, Mechanism, Room

Answer = tuple[Any, ...]
_SEED = 32  # random bytes asked of the card at most
_MOST_RANDOM = 1 << 19


def _given(data: bytes | None) -> bytes:
    if data is None:
        raise Failure(CKR.ARGUMENTS_BAD)
    return data


def _fits(room: Room, size: int) -> bool:
    return not room.null and room.capacity >= size


def _cancels(session: Session, kind: str, mechanism: Mechanism | None) -> bool:
    """The NULL mechanism ends the operation under way (v3.0, C_SignInit and others)."""
    if mechanism is None:
        session.operations.pop(kind, None)
        return True
    session.check_idle(kind)
    return False


# --- digests


def digest_init(app: Application, handle: int, mechanism: Mechanism | None) -> Answer:
    session = app.session(handle)
    if not _cancels(session, "digest", mechanism) and mechanism is not None:
        session.start("digest", Digest.start(mechanism))
    return ()


def digest(app: Application, handle: int, data: bytes | None, room: Room) -> Answer:
    session = app.session(handle)
    operation = session.operation("digest", Digest)
    if operation.begun:
        raise Failure(CKR.OPERATION_ACTIVE)
    if not _fits(room, operation.hash.digest_size):
        return (Length(operation.hash.digest_size),)
    del session.operations["digest"]
    operation.hash.update(_given(data))
    return (operation.hash.digest(),)


def digest_update(app: Application, handle: int, data: bytes | None) -> Answer:
    operation = app.session(handle).operation("digest", Digest)
    operation.begun = True
    operation.hash.update(data or b"")
    return ()


def digest_final(app: Application, handle: int, room: Room) -> Answer:
    session = app.session(handle)
    operation = session.operation("digest", Digest)
    if not _fits(room, operation.hash.digest_size):
        return (Length(operation.hash.digest_size),)
    del session.operations["digest"]
    return (operation.hash.digest(),)


# --- signatures


def _private_key(app: Application, session: Session, handle: int) -> Object:
    key = app.catalog(session).get(handle)
    if key is None:
        raise Failure(CKR.KEY_HANDLE_INVALID)
    if key.kind != CKO.PRIVATE_KEY:
        raise Failure(CKR.KEY_TYPE_INCONSISTENT if key.kind == CKO.PUBLIC_KEY else CKR.KEY_HANDLE_INVALID)
    if key.private and not app.sees_private(session):
        raise Failure(CKR.USER_NOT_LOGGED_IN)
    if key.usage is None:
        raise Failure(CKR.KEY_FUNCTION_NOT_PERMITTED)
    return key


def _public_key(app: Application, session: Session, handle: int) -> Object:
    key = app.object(session, handle, CKR.KEY_HANDLE_INVALID)
    if key.kind != CKO.PUBLIC_KEY:
        raise Failure(CKR.KEY_TYPE_INCONSISTENT if key.kind == CKO.PRIVATE_KEY else CKR.KEY_HANDLE_INVALID)
    return key


def sign_init(app: Application, handle: int, mechanism: Mechanism | None, key_handle: int) -> Answer:
    session = app.session(handle)
    if _cancels(session, "sign", mechanism) or mechanism is None:
        return ()
    key = _private_key(app, session, key_handle)
    scheme = Scheme.of(mechanism)
    _check_able(session, key, scheme)
    session.start("sign", Signature(key, scheme, scheme.collector()))
    return ()


def _check_able(session: Session, key: Object, scheme: Scheme) -> None:
    token = session.slot.token
    if token is None or key.usage is None:
        raise Failure(CKR.DEVICE_REMOVED)
    if scheme.padding == "pss" and not token.signs_pss:
        # TLS 1.3 wants PSS, which the CPS3 cannot compute: this line tells why a handshake failed
        log.write("mechanism-refused", operation="RSA-PSS (TLS 1.3)", generation=token.generation)
        raise Failure(CKR.MECHANISM_INVALID)
    if scheme.inner is None or scheme.by_card in token.mechanisms[key.usage]:
        return
    if scheme.padding == "pkcs1":
        raise Failure(CKR.KEY_TYPE_INCONSISTENT)
    room = (key.public_key.key_size if key.public_key else 0) // 8 - HASHES[scheme.inner].digest_size - 2
    if not (token.any_pss and key.usage == "authentication" and scheme.salt <= room):
        raise Failure(CKR.MECHANISM_PARAM_INVALID)


def sign(app: Application, handle: int, data: bytes | None, room: Room) -> Answer | Coroutine[Any, Any, Answer]:
    session = app.session(handle)
    operation = session.operation("sign", Signature)
    if operation.begun:
        raise Failure(CKR.OPERATION_ACTIVE)
    if not _fits(room, operation.size):
        return (Length(operation.size),)
    del session.operations["sign"]
    operation.collector.update(_given(data))
    return _sign(app, session, operation)


def sign_update(app: Application, handle: int, data: bytes | None) -> Answer:
    return _update(app, handle, "sign", data)


def _update(app: Application, handle: int, kind: str, data: bytes | None) -> Answer:
    session = app.session(handle)
    operation = session.operation(kind, Signing)
    operation.begun = True
    try:
        operation.collector.update(data or b"")
    except Failure:
        del session.operations[kind]
        raise
    return ()


def sign_final(app: Application, handle: int, room: Room) -> Answer | Coroutine[Any, Any, Answer]:
    session = app.session(handle)
    operation = session.operation("sign", Signature)
    if not _fits(room, operation.size):
        return (Length(operation.size),)
    del session.operations["sign"]
    return _sign(app, session, operation)


async def _sign(app: Application, session: Session, operation: Signature) -> Answer:
    data, scheme, usage = operation.scheme.collected(operation.collector), operation.scheme, operation.key.usage
    slot = session.slot
    if usage is None:
        raise Failure(CKR.KEY_FUNCTION_NOT_PERMITTED)
    if scheme.inner is not None:
        await _ready_to_use(app, session)
        able = session.slot.token.mechanisms[usage] if session.slot.token is not None else frozenset()
        if scheme.by_card is None or scheme.by_card not in able:
            return (await slot.sign_pss(app, scheme.inner, data, scheme.salt),)
        mechanism = scheme.by_card
    elif usage != "signature":
        await _ready_to_use(app, session)
        try:
            return (await slot.sign_content(app, data),)
        except errors.MechanismUnavailable:
            raise Failure(CKR.DATA_LEN_RANGE) from None
    else:
        mechanism, data = _of_signature_key(session, data)
    await _ready_to_use(app, session)
    return (await slot.sign(app, usage, mechanism, data),)


def _of_signature_key(session: Session, data: bytes) -> tuple[CardMechanism, bytes]:
    """CKM_RSA_PKCS with the key that signs nothing but hashes it knows by name."""
    found, token = bare_hash(data), session.slot.token
    if found is None:
        raise Failure(CKR.DATA_LEN_RANGE)
    if token is None or found[0] not in token.mechanisms["signature"]:
        raise Failure(CKR.DATA_INVALID)
    return found


async def _ready_to_use(app: Application, session: Session) -> None:
    """In the mode where nobody logs in, our dialog asks when a key is first used."""
    token = session.slot.token
    asks = app.settings.pkcs11_pin == "agent" and token is not None and not token.contactless
    if asks and session.slot.logged_in(app) is None:
        async with app.asking:  # two keys used at once are one question
            app.alive(session)
            if session.slot.logged_in(app) is None:
                await ask_and_prove(app, session, Code.PIN)
    app.alive(session)


def verify_init(app: Application, handle: int, mechanism: Mechanism | None, key_handle: int) -> Answer:
    session = app.session(handle)
    if _cancels(session, "verify", mechanism) or mechanism is None:
        return ()
    key = _public_key(app, session, key_handle)
    scheme = Scheme.of(mechanism)
    session.start("verify", Verification(key, scheme, scheme.collector()))
    return ()


def verify(app: Application, handle: int, data: bytes | None, signature: bytes | None) -> Answer:
    session = app.session(handle)
    operation = session.operation("verify", Verification)
    if operation.begun:
        raise Failure(CKR.OPERATION_ACTIVE)
    del session.operations["verify"]
    operation.collector.update(_given(data))
    operation.check(_given(signature))
    return ()


def verify_update(app: Application, handle: int, data: bytes | None) -> Answer:
    return _update(app, handle, "verify", data)


def verify_final(app: Application, handle: int, signature: bytes | None) -> Answer:
    session = app.session(handle)
    operation = session.operation("verify", Verification)
    del session.operations["verify"]
    operation.check(_given(signature))
    return ()


# --- encryption


def encrypt_init(app: Application, handle: int, mechanism: Mechanism | None, key_handle: int) -> Answer:
    session = app.session(handle)
    if _cancels(session, "encrypt", mechanism) or mechanism is None:
        return ()
    key = _public_key(app, session, key_handle)
    if mechanism.type != CKM.RSA_PKCS:
        raise Failure(CKR.MECHANISM_INVALID)
    session.start("encrypt", Encryption(key))
    return ()


def encrypt(app: Application, handle: int, data: bytes | None, room: Room) -> Answer:
    session = app.session(handle)
    key = session.operation("encrypt", Encryption).key.public_key
    if key is None:
        raise Failure(CKR.KEY_HANDLE_INVALID)
    size = key.key_size // 8
    if not _fits(room, size):
        return (Length(size),)
    del session.operations["encrypt"]
    if len(_given(data)) > size - 11:
        raise Failure(CKR.DATA_LEN_RANGE)
    return (key.encrypt(_given(data), padding.PKCS1v15()),)


def decrypt_init(app: Application, handle: int, mechanism: Mechanism | None, key_handle: int) -> Answer:
    session = app.session(handle)
    if _cancels(session, "decrypt", mechanism) or mechanism is None:
        return ()
    key = _private_key(app, session, key_handle)
    if mechanism.type != CKM.RSA_PKCS:
        raise Failure(CKR.MECHANISM_INVALID)
    if key.usage != "authentication":
        raise Failure(CKR.KEY_FUNCTION_NOT_PERMITTED)
    session.start("decrypt", Decryption(key))
    return ()


async def decrypt(app: Application, handle: int, data: bytes | None, room: Room) -> Answer:
    session = app.session(handle)
    operation = session.operation("decrypt", Decryption)
    if operation.begun:
        raise Failure(CKR.OPERATION_ACTIVE)
    if not room.null and operation.plain is None:
        operation.collected.update(_given(data))
    return await _decrypt(app, session, operation, room)


def decrypt_update(app: Application, handle: int, data: bytes | None, room: Room) -> Answer:
    """Collects; the plain text comes with C_DecryptFinal, whole."""
    session = app.session(handle)
    operation = session.operation("decrypt", Decryption)
    operation.begun = True
    if not room.null:
        operation.collected.update(_given(data))
    return (Length(0) if room.null else b"",)


async def decrypt_final(app: Application, handle: int, room: Room) -> Answer:
    session = app.session(handle)
    operation = session.operation("decrypt", Decryption)
    return await _decrypt(app, session, operation, room)


async def _decrypt(app: Application, session: Session, operation: Decryption, room: Room) -> Answer:
    key = operation.key.public_key
    if key is None:
        raise Failure(CKR.KEY_HANDLE_INVALID)
    if room.null:
        return (Length(key.key_size // 8 - 11),)
    if operation.plain is None:
        del session.operations["decrypt"]
        operation.plain = await _on_card(app, session, operation.collected.data, key.key_size // 8)
    if len(operation.plain) > room.capacity:
        session.operations["decrypt"] = operation
        return (Length(len(operation.plain)),)
    session.operations.pop("decrypt", None)
    return (operation.plain,)


async def _on_card(app: Application, session: Session, cryptogram: bytes, size: int) -> bytes:
    if len(cryptogram) != size:
        raise Failure(CKR.ENCRYPTED_DATA_LEN_RANGE)
    await _ready_to_use(app, session)
    try:
        return await session.slot.decrypt(app, cryptogram)
    except (ValueError, errors.CardRefused):
        raise Failure(CKR.ENCRYPTED_DATA_INVALID) from None


# --- random


async def generate_random(app: Application, handle: int, room: Room) -> Answer:
    """Of the card. What is wanted beyond 32 bytes grows out of 32 of the card and 32 of the kernel (SHAKE256)."""
    slot = app.session(handle).slot
    count = room.capacity
    if count > _MOST_RANDOM:
        raise Failure(CKR.ARGUMENTS_BAD)
    if count == 0:
        return (b"",)
    of_card = await slot.random(min(count, _SEED))
    if count <= _SEED:
        return (of_card,)
    return (hashlib.shake_256(of_card + os.urandom(_SEED)).digest(count),)
