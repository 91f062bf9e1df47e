# SPDX-License-Identifier: Apache-2.0
"""The one place where an error becomes a CK_RV."""

from __future__ import annotations

from cpxd import errors
from cpxd.card.application import FileMissing, NotAllowed
from cpxd.pkcs11.ck import CKR
from cpxd.secret import SecretError


class Failure(Exception):
    """A call that ends with this CK_RV."""

    def __init__(self, rv: CKR) -> None:
        super().__init__(rv.name)
        self.rv = rv


_TABLE: dict[type[BaseException], CKR] = {
    NotAllowed: CKR.USER_NOT_LOGGED_IN,
    FileMissing: CKR.FUNCTION_FAILED,
    SecretError: CKR.HOST_MEMORY,
    MemoryError: CKR.HOST_MEMORY,
    errors.NoService: CKR.DEVICE_REMOVED,
    errors.NoReader: CKR.TOKEN_NOT_PRESENT,
    errors.UnknownReader: CKR.TOKEN_NOT_PRESENT,
    errors.NoCard: CKR.TOKEN_NOT_PRESENT,
    errors.UnsupportedCard: CKR.TOKEN_NOT_RECOGNIZED,
    errors.RetiredCard: CKR.TOKEN_NOT_RECOGNIZED,
    errors.ContactlessCard: CKR.USER_PIN_NOT_INITIALIZED,
    errors.DamagedCard: CKR.TOKEN_NOT_RECOGNIZED,
    errors.ReaderBusy: CKR.FUNCTION_FAILED,
    errors.CardMute: CKR.DEVICE_ERROR,
    errors.CardRemoved: CKR.DEVICE_REMOVED,
    errors.CardChanged: CKR.DEVICE_REMOVED,
    errors.CardUpdated: CKR.ASIP_REINIT_NEEDED,
    errors.UpdateInterrupted: CKR.ASIP_BAD_EF_ACTUA,
    errors.CardReset: CKR.DEVICE_ERROR,
    errors.CardRefused: CKR.FUNCTION_FAILED,
    errors.KeyUnavailable: CKR.KEY_FUNCTION_NOT_PERMITTED,
    errors.MechanismUnavailable: CKR.MECHANISM_INVALID,
    errors.WrongSignature: CKR.DEVICE_ERROR,
    errors.WrongPin: CKR.PIN_INCORRECT,
    errors.KnownWrongPin: CKR.PIN_INCORRECT,
    errors.WrongUnblockCode: CKR.PIN_INCORRECT,
    errors.BadPinFormat: CKR.PIN_INCORRECT,
    errors.SamePin: CKR.PIN_INVALID,
    errors.PinBlocked: CKR.PIN_LOCKED,
    errors.UnblockCodeBlocked: CKR.PIN_LOCKED,
    errors.LastTry: CKR.FUNCTION_REJECTED,
    errors.Refused: CKR.FUNCTION_CANCELED,
    errors.PadTimeout: CKR.FUNCTION_CANCELED,
    errors.PadUnable: CKR.FUNCTION_NOT_SUPPORTED,
    errors.PadRefused: CKR.FUNCTION_FAILED,
    errors.CodeBeingTyped: CKR.FUNCTION_FAILED,
    errors.PinsDiffer: CKR.FUNCTION_CANCELED,
    errors.NoPinSource: CKR.FUNCTION_REJECTED,
    errors.UnblockInterrupted: CKR.DEVICE_ERROR,
    errors.CodeUncertain: CKR.DEVICE_ERROR,
}


def rv_of(error: BaseException) -> CKR:
    """The CK_RV of an error; CKR_GENERAL_ERROR for what has no row: a defect, or what never reaches this door."""
    if isinstance(error, Failure):
        return error.rv
    return next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), CKR.GENERAL_ERROR)
