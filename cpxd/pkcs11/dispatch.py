# SPDX-License-Identifier: Apache-2.0
"""From a frame to a function and back: the table of what is served, and the bytes of an answer."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from cpxd.pkcs11 import calls, crypto, general, search, sessions, wire
from cpxd.pkcs11.application import Application
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.frames import Frame
from cpxd.pkcs11.rv import Failure, rv_of

Answer = tuple[Any, ...]
_header = struct.Struct(">IIII")  # serial, length of options, length of body, call

# What is not in this table answers CKR_FUNCTION_NOT_SUPPORTED (docs/PKCS11.md says why).
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "C_Initialize": general.initialize,
    "C_Finalize": general.finalize,
    "C_GetInfo": general.info,
    "C_GetSlotList": general.slot_list,
    "C_GetSlotInfo": general.slot_info,
    "C_GetTokenInfo": general.token_info,
    "C_GetMechanismList": general.mechanism_list,
    "C_GetMechanismInfo": general.mechanism_info,
    "C_WaitForSlotEvent": general.wait_for_slot_event,
    "C_OpenSession": sessions.open_session,
    "C_CloseSession": sessions.close_session,
    "C_CloseAllSessions": sessions.close_all_sessions,
    "C_GetSessionInfo": sessions.session_info,
    "C_SessionCancel": sessions.session_cancel,
    "C_Login": sessions.login,
    "C_LoginUser": sessions.login_user,
    "C_Logout": sessions.logout,
    "C_InitPIN": sessions.init_pin,
    "C_SetPIN": sessions.set_pin,
    "C_FindObjectsInit": search.find_init,
    "C_FindObjects": search.find,
    "C_FindObjectsFinal": search.find_final,
    "C_GetAttributeValue": search.attributes,
    "C_SetAttributeValue": search.set_attributes,
    "C_DigestInit": crypto.digest_init,
    "C_Digest": crypto.digest,
    "C_DigestUpdate": crypto.digest_update,
    "C_DigestFinal": crypto.digest_final,
    "C_SignInit": crypto.sign_init,
    "C_Sign": crypto.sign,
    "C_SignUpdate": crypto.sign_update,
    "C_SignFinal": crypto.sign_final,
    "C_VerifyInit": crypto.verify_init,
    "C_Verify": crypto.verify,
    "C_VerifyUpdate": crypto.verify_update,
    "C_VerifyFinal": crypto.verify_final,
    "C_EncryptInit": crypto.encrypt_init,
    "C_Encrypt": crypto.encrypt,
    "C_DecryptInit": crypto.decrypt_init,
    "C_Decrypt": crypto.decrypt,
    "C_DecryptUpdate": crypto.decrypt_update,
    "C_DecryptFinal": crypto.decrypt_final,
    "C_GenerateRandom": crypto.generate_random,
}


@dataclass(frozen=True, slots=True)
class _Served:
    signature: bytes
    function: Callable[..., Any] | None
    read: tuple[Callable[[wire.Reader], Any], ...]
    write: tuple[Callable[[Any], bytes], ...]
    head: bytes  # of the answer, behind the call number: its signature


def _served(call: calls.Call) -> _Served:
    function = _FUNCTIONS.get(call.name)
    if function is None:
        return _Served(call.request.encode(), None, (), (), b"")
    read = () if call.number in calls.SECRET else wire.steps(call.request)
    return _Served(call.request.encode(), function, read, wire.writers(call.answer), _signed(call.answer))


def _signed(signature: str) -> bytes:
    return struct.pack(">I", len(signature)) + signature.encode()


_SERVED = {number: _served(call) for number, call in calls.CALLS.items()}
_REFUSED = _signed("u")


def start(app: Application, frame: Frame, *, new_dialect: bool) -> Answer | Coroutine[Any, Any, Answer]:
    """Begin a call. Its answer's values, or what will give them. Raises WireError, Failure, typed errors."""
    if frame.call in calls.MESSAGES:
        raise Failure(CKR.FUNCTION_NOT_SUPPORTED)
    served = _SERVED.get(frame.call)
    if served is None:
        raise wire.WireError("call")
    if frame.call in calls.SECRET:
        values: list[Any] = [*frame.values, *frame.pins]
    else:
        values = _values(served, frame.body, new_dialect)
    if served.function is None:
        raise Failure(CKR.FUNCTION_NOT_SUPPORTED)
    found: Answer | Coroutine[Any, Any, Answer] = served.function(app, *values)
    return found


def _values(served: _Served, body: bytes, new_dialect: bool) -> list[Any]:
    reader = wire.Reader(body, new_dialect=new_dialect, at=4)
    if reader.string() != served.signature:
        raise wire.WireError("signature")
    if served.function is None:
        return []
    values = [read(reader) for read in served.read]
    reader.end()
    return values


def is_pending(found: object) -> bool:
    return inspect.iscoroutine(found)


def answer(frame: Frame, values: Answer, options: bytes) -> bytes:
    served = _SERVED[frame.call]
    body = served.head + b"".join([write(value) for write, value in zip(served.write, values, strict=True)])
    return _framed(frame.serial, options, frame.call, body)


def refusal(frame: Frame, error: BaseException, options: bytes) -> bytes:
    return _framed(frame.serial, options, calls.ERROR, _REFUSED + wire.ulong.pack(rv_of(error)))


def _framed(serial: int, options: bytes, call: int, body: bytes) -> bytes:
    if not options:
        return _header.pack(serial, 0, len(body) + 4, call) + body
    return struct.pack(">III", serial, len(options), len(body) + 4) + options + struct.pack(">I", call) + body
