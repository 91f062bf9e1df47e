# SPDX-License-Identifier: Apache-2.0
"""python-pkcs11 and PyKCS11, in processes of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from client_card import MODULE, PIN, Card

_FIRST = r"""
import json, sys
from pathlib import Path
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
module, label, identifier, folder = sys.argv[1:]
library = pkcs11.lib(module)
with library.get_token(token_label=label).open(user_pin="1234") as session:
    find = lambda kind: next(iter(session.get_objects({Attribute.CLASS: kind, Attribute.ID: bytes.fromhex(identifier)})))
    key, public, certificate = map(find, (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE))
    mechanisms = [Mechanism.SHA1_RSA_PKCS, Mechanism.SHA256_RSA_PKCS, Mechanism.SHA512_RSA_PKCS]
    signed = {m.name: public.verify(b"data", key.sign(b"data", mechanism=m), mechanism=m) for m in mechanisms}
    plain = key.decrypt(Path(folder, "cryptogram").read_bytes(), mechanism=Mechanism.RSA_PKCS)
    (data,) = session.get_objects({Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: "CPS_NAME_PS"})
    print(json.dumps({"signed": signed, "certificate": certificate[Attribute.VALUE].hex(), "plain": plain.decode(),
                      "data": len(data[Attribute.VALUE])}))
"""
_SECOND = r"""
import json, sys
from pathlib import Path
import PyKCS11
from PyKCS11 import LowLevel as low
module, label, identifier, folder = sys.argv[1:]
library = PyKCS11.PyKCS11Lib()
library.load(module)
(slot,) = [s for s in library.getSlotList(tokenPresent=True) if library.getTokenInfo(s).label.strip() == label]
session = library.openSession(slot)
session.login("1234")
find = lambda kind: session.findObjects([(low.CKA_CLASS, kind), (low.CKA_ID, tuple(bytes.fromhex(identifier)))])[0]
key, public, certificate = map(find, (low.CKO_PRIVATE_KEY, low.CKO_PUBLIC_KEY, low.CKO_CERTIFICATE))
signed = {}
for name in ("SHA1_RSA_PKCS", "SHA256_RSA_PKCS", "SHA512_RSA_PKCS"):
    mechanism = PyKCS11.Mechanism(getattr(low, f"CKM_{name}"), None)
    signature = session.sign(key, b"data", mechanism)
    signed[name] = bool(session.verify(public, b"data", signature, mechanism))
cryptogram = Path(folder, "cryptogram").read_bytes()
plain = bytes(session.decrypt(key, cryptogram, PyKCS11.Mechanism(low.CKM_RSA_PKCS, None)))
(data,) = session.findObjects([(low.CKA_CLASS, low.CKO_DATA), (low.CKA_LABEL, "CPS_NAME_PS")])
values = [bytes(session.getAttributeValue(o, [low.CKA_VALUE])[0]) for o in (certificate, data)]
session.logout()
session.closeSession()
print(json.dumps({"signed": signed, "certificate": values[0].hex(), "plain": plain.decode(), "data": len(values[1])}))
"""


def test_python_pkcs11(card: Card) -> None:
    check(card, _FIRST)


def test_pykcs11(card: Card) -> None:
    check(card, _SECOND)


def check(card: Card, script: str) -> None:
    key = card.authentication
    (card.folder / "secret").write_bytes(b"un secret")
    encrypt: list[str | Path] = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", key.public, "-in", "secret"]
    card.run(*encrypt, "-out", "cryptogram")
    said = card.run(sys.executable, "-W", "error", "-c", script, MODULE, card.token, key.id, card.folder)
    card.run("openssl", "x509", "-in", key.certificate, "-outform", "DER", "-out", "certificate.der")
    assert json.loads(said) == {
        "signed": {"SHA1_RSA_PKCS": True, "SHA256_RSA_PKCS": True, "SHA512_RSA_PKCS": True},
        "certificate": (card.folder / "certificate.der").read_bytes().hex(),
        "plain": "un secret",
        "data": json.loads(said)["data"],
    }
    assert json.loads(said)["data"] > 0 and PIN not in card.log()
