# SPDX-License-Identifier: Apache-2.0
"""The program that uses the card while `bench/soak.py` breaks things: a process of its own with the PKCS#11 module in it.

soak_client.py MODULE PIN; each line on stdin is one operation: open, login, certificate, signature, close. The answer is a line
of JSON: rv (CK_RV; -1: no key or certificate was found), where, ms, holder (SHA-256 of the certificate that the signature fits).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# places in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h)
PLACES = {
    "C_Initialize": 0,
    "C_GetSlotList": 4,
    "C_OpenSession": 12,
    "C_CloseAllSessions": 14,
    "C_Login": 18,
    "C_GetAttributeValue": 24,
    "C_FindObjectsInit": 26,
    "C_FindObjects": 27,
    "C_FindObjectsFinal": 28,
    "C_SignInit": 42,
    "C_Sign": 43,
}
CKF_SERIAL_SESSION, CKU_USER, CKM_SHA256_RSA_PKCS = 4, 1, 0x40
CKA_CLASS, CKA_LABEL, CKA_VALUE = 0, 3, 0x11
CKO_CERTIFICATE, CKO_PRIVATE_KEY = 1, 3
KEY, CERTIFICATE = b"CPS_PRIV_AUT", b"Certificat d'Authentification CPS"
NOT_FOUND, TOKEN_NOT_PRESENT = -1, 0xE0
_Ulong = ctypes.c_ulong


class Refused(Exception):
    def __init__(self, rv: int, where: str) -> None:
        super().__init__(f"{where}: {rv:#x}")
        self.rv, self.where = rv, where


class Attribute(ctypes.Structure):
    _fields_ = (("type", _Ulong), ("value", ctypes.c_void_p), ("length", _Ulong))


class Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _Ulong), ("parameter", ctypes.c_void_p), ("length", _Ulong))


class Module:
    """Calls by name. Raises Refused."""

    def __init__(self, path: str) -> None:
        library, pointer = ctypes.CDLL(path), ctypes.c_void_p()
        library.C_GetFunctionList.restype = _Ulong
        library.C_GetFunctionList(ctypes.byref(pointer))
        assert pointer.value is not None
        self._table = (ctypes.c_void_p * 68).from_address(pointer.value + ctypes.sizeof(ctypes.c_void_p))

    def __call__(self, name: str, *values: Any) -> None:
        address = self._table[PLACES[name]]
        assert address is not None
        rv = ctypes.CFUNCTYPE(_Ulong)(address)(*values)
        if rv:
            raise Refused(rv, name)

    def slot(self) -> _Ulong:
        """The first slot with a card in it."""
        found, count = (_Ulong * 16)(), _Ulong(16)
        self("C_GetSlotList", ctypes.c_ubyte(1), found, ctypes.byref(count))
        if not count.value:
            raise Refused(TOKEN_NOT_PRESENT, "C_GetSlotList")
        return _Ulong(found[0])

    def find(self, session: _Ulong, kind: int, label: bytes) -> _Ulong:
        value, name = _Ulong(kind), ctypes.create_string_buffer(label, len(label))
        template = (Attribute * 2)(
            Attribute(CKA_CLASS, ctypes.addressof(value), ctypes.sizeof(value)),
            Attribute(CKA_LABEL, ctypes.addressof(name), len(label)),
        )
        found, count = _Ulong(), _Ulong()
        self("C_FindObjectsInit", session, template, _Ulong(2))
        self("C_FindObjects", session, ctypes.byref(found), _Ulong(1), ctypes.byref(count))
        self("C_FindObjectsFinal", session)
        if not count.value:
            raise Refused(NOT_FOUND, f"no object {label.decode()}")
        return found

    def value(self, session: _Ulong, handle: _Ulong) -> bytes:
        room = ctypes.create_string_buffer(8192)
        attribute = Attribute(CKA_VALUE, ctypes.addressof(room), len(room))
        self("C_GetAttributeValue", session, handle, ctypes.byref(attribute), _Ulong(1))
        return room.raw[: attribute.length]

    def sign(self, session: _Ulong, key: _Ulong, data: bytes) -> bytes:
        mechanism, room, length = Mechanism(CKM_SHA256_RSA_PKCS, None, 0), ctypes.create_string_buffer(512), _Ulong(512)
        self("C_SignInit", session, ctypes.byref(mechanism), key)
        self("C_Sign", session, data, _Ulong(len(data)), room, ctypes.byref(length))
        return room.raw[: length.value]


def operation(module: Module, pin: bytes) -> str:
    """The holder. Raises Refused."""
    slot, session = module.slot(), _Ulong()
    module("C_OpenSession", slot, _Ulong(CKF_SERIAL_SESSION), None, None, ctypes.byref(session))
    try:
        module("C_Login", session, _Ulong(CKU_USER), pin, _Ulong(len(pin)))
        certificate = module.value(session, module.find(session, CKO_CERTIFICATE, CERTIFICATE))
        data = os.urandom(32)
        signature = module.sign(session, module.find(session, CKO_PRIVATE_KEY, KEY), data)
    finally:
        try:
            module("C_CloseAllSessions", slot)
        except Refused as error:
            if error.rv not in (3, 0x32, 0xE0):  # no daemon, or another one
                raise
    public = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(public, RSAPublicKey)
    public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    return hashlib.sha256(certificate).hexdigest()


def main() -> None:
    module, pin = Module(sys.argv[1]), sys.argv[2].encode("ascii")
    module("C_Initialize", None)
    for _ in sys.stdin:
        begin, said = time.perf_counter(), {"rv": 0, "where": "", "holder": ""}
        try:
            said["holder"] = operation(module, pin)
        except Refused as error:
            said |= {"rv": error.rv, "where": error.where}
        print(json.dumps(said | {"ms": (time.perf_counter() - begin) * 1000}), flush=True)


if __name__ == "__main__":
    main()
