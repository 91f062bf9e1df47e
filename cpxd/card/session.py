# SPDX-License-Identifier: Apache-2.0
"""The session on one inserted card: what a service may ask, each request one PC/SC transaction.

Used on the card's thread only. A reset by another program is noticed at the start of a request; the serial number is then read
again, so that a card swapped meanwhile is never taken for the one before (CardChanged).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.x509 import load_der_x509_certificate

from cpxd import errors
from cpxd.apdu import SW, Command, Secret
from cpxd.card import pin, registry
from cpxd.card.application import Application, Code, FileMissing, Mechanism, NotAllowed, Usage
from cpxd.card.cps3 import Cps3
from cpxd.card.cps4 import Cps4
from cpxd.card.tree import Root, Tree, absolute, read_data_directory, read_root, read_serial, read_tree
from cpxd.reader.pcsc import Link
from cpxd.record.certificate import repair_certificate
from cpxd.record.pkcs15 import DataObject, PrivateKeyObject
from cpxd.record.sdo import PinState

Begin = Callable[[], None]  # called when the card is held, before the first command; may raise
_HASHES: dict[str, HashAlgorithm] = {
    "sha1": SHA1(),
    "sha224": SHA224(),
    "sha256": SHA256(),
    "sha384": SHA384(),
    "sha512": SHA512(),
}
_MOVED = (SW.REFERENCE_NOT_FOUND, SW.CONDITIONS_NOT_SATISFIED, SW.WRONG_CLA, SW.CHANNEL_NOT_SUPPORTED, SW.WRONG_P1P2)


@dataclass(frozen=True)
class CodeStates:
    pin: PinState
    unblock: PinState


class CardSession:
    """`link` is open on a card whose ATR `registry.identify` knows. Raises UnsupportedCard, RetiredCard."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.card = _application(link)
        self._root: Root | None = None
        self._tree: Tree | None = None
        self._data: dict[str, DataObject] | None = None
        self._seen_epoch = link.epoch

    @contextlib.contextmanager
    def _request(self, begin: Begin) -> Iterator[Application]:
        with self.link.transaction(begin):
            self.card.fresh()
            if self._root is not None and self._seen_epoch != self.link.epoch:
                if read_serial(self.card) != self._root.serial:
                    raise errors.CardChanged()
                self._seen_epoch = self.link.epoch
            yield self.card

    def _known(self, card: Application) -> Root:
        if self._root is None:
            self._root = read_root(card)
            self._seen_epoch = self.link.epoch
        return self._root

    def _read(self, card: Application) -> Tree:
        if self._tree is None:
            self._tree = read_tree(card, self._known(card))
        return self._tree

    def root(self, begin: Begin) -> Root:
        """Serial number and codes, read from the card the first time."""
        with self._request(begin) as card:
            return self._known(card)

    def tree(self, begin: Begin) -> Tree:
        """Directories and certificates, read from the card the first time."""
        with self._request(begin) as card:
            return self._read(card)

    def code_states(self, begin: Begin) -> CodeStates:
        """Tries left of both codes; none is spent."""
        with self._request(begin) as card:
            self._known(card)
            return CodeStates(card.pin_state(Code.PIN), card.pin_state(Code.UNBLOCK))

    def data(self, begin: Begin, *, private: bool) -> dict[str, bytes]:
        """Content of the data objects by label; the PIN-protected ones only when asked and verified.

        An object that is listed but missing, or that the card keeps closed, is left out.
        """
        with self._request(begin) as card:
            found = {}
            for label, entry in self._listed(card).items():
                if entry.private and not private:
                    continue
                with contextlib.suppress(FileMissing, NotAllowed):
                    found[label] = card.read(absolute(entry.path))
            return found

    def _listed(self, card: Application) -> dict[str, DataObject]:
        if self._data is None:
            directory = read_data_directory(card, self._known(card))
            self._data = {entry.label: entry for entry in (directory.entries if directory else ()) if entry.path}
        return self._data

    # --- codes

    def verify(self, begin: Begin, secret: Secret, *, last_try: bool = False) -> None:
        """Prove the PIN. Raises BadPinFormat, KnownWrongPin, LastTry, WrongPin, PinBlocked."""
        with self._request(begin) as card:
            pin.verify(card, self._serial(card), Code.PIN, secret, last_try=last_try)

    def change(self, begin: Begin, old: Secret, new: Secret, *, last_try: bool = False) -> None:
        with self._request(begin) as card:
            pin.change(card, self._serial(card), old, new, last_try=last_try)

    def unblock(self, begin: Begin, code: Secret, new: Secret, *, last_try: bool = False) -> PinState:
        with self._request(begin) as card:
            return pin.unblock(card, self._serial(card), code, new, last_try=last_try)

    def _serial(self, card: Application) -> str:
        return self._known(card).serial.pan

    # --- signature

    def certificate(self, begin: Begin, usage: Usage) -> bytes:
        """DER of the certificate of a key, repaired where real cards have it wrong. Raises KeyUnavailable."""
        with self._request(begin) as card:
            tree = self._read(card)
            key = tree.key(usage)
            der = tree.certificate(key) if key else None
            if der is None:
                raise errors.KeyUnavailable(usage=usage)
            return repair_certificate(der)

    def sign(self, begin: Begin, usage: Usage, mechanism: Mechanism, digest: bytes) -> bytes:
        """RSA signature of a finished hash, verified with the key of the card's certificate before it is returned.

        Raises KeyUnavailable, MechanismUnavailable, WrongSignature; NotAllowed when the PIN was not verified.
        """
        with self._request(begin) as card:
            key, public_key = self._key(self._read(card), usage)
            if mechanism not in card.mechanisms(usage):
                raise errors.MechanismUnavailable(mechanism=mechanism)
            reference = key.key_reference or 0
            for attempt in (1, 2):
                answer = card.sign(reference, usage, mechanism, digest, public_key.key_size // 8)
                if answer.sw == SW.SECURITY_STATUS:
                    card.verified = False
                    raise NotAllowed(usage)
                if answer.sw == SW.OK and _right(public_key, mechanism, digest, answer.data):
                    return answer.data
                if attempt == 1 and (answer.sw == SW.OK or answer.sw in _MOVED):
                    card.forget_selection()
                    continue
                break
            if answer.sw == SW.OK:
                raise errors.WrongSignature()
            raise errors.CardRefused(operation="SIGN", sw=answer.sw)

    def _key(self, tree: Tree, usage: Usage) -> tuple[PrivateKeyObject, RSAPublicKey]:
        key = tree.key(usage)
        der = tree.certificate(key) if key else None
        if key is None or der is None:
            raise errors.KeyUnavailable(usage=usage)
        try:
            public_key = load_der_x509_certificate(repair_certificate(der)).public_key()
        except ValueError:
            raise errors.DamagedCard(part=f"certificate {usage}") from None
        if not isinstance(public_key, RSAPublicKey):
            raise errors.KeyUnavailable(usage=usage)
        return key, public_key


def _right(key: RSAPublicKey, mechanism: Mechanism, digest: bytes, signature: bytes) -> bool:
    algorithm = _HASHES[mechanism.hash]
    form: rsa_padding.AsymmetricPadding = rsa_padding.PKCS1v15()
    if mechanism.padding == "pss":
        form = rsa_padding.PSS(rsa_padding.MGF1(algorithm), rsa_padding.PSS.DIGEST_LENGTH)
    try:
        key.verify(signature, digest, form, Prehashed(algorithm))
    except InvalidSignature:
        return False
    return True


def _application(link: Link) -> Application:
    kind = registry.identify(link.atr)
    if kind is registry.Kind.UNKNOWN_VERSION:
        return _probe(link)
    if kind is registry.Kind.CPS3:
        return Cps3(link)
    if kind is registry.Kind.CPS4:
        return Cps4(link)
    raise registry_error(link.atr, kind)


def _probe(link: Link) -> Application:
    # Of the family by its historical bytes: the application of one generation answers, the other's class is refused
    with link.transaction(lambda: None):
        for application, select in (
            (Cps4, Command(0x01, 0xA4, 0x04, 0x0C, bytes.fromhex("8025000001FF0100"))),
            (Cps3, Command(0x00, 0xA4, 0x04, 0x0C, bytes.fromhex("E828BD080F8025000001FF0010"))),
        ):
            if link.transport.transmit(select).sw == SW.OK:
                return application(link)
    raise registry_error(link.atr, None)


def registry_error(atr: bytes, kind: registry.Kind | None) -> errors.CpxError:
    """Why a card with this ATR is not used."""
    from cpxd.text import tr

    if kind is registry.Kind.CPS2TER:
        return errors.RetiredCard()
    hint = ""
    if kind is registry.Kind.VITALE:
        hint = tr(" mais une carte Vitale", " but a Vitale card")
    elif kind is registry.Kind.CPS3_CONTACTLESS:
        hint = tr(" lisible ici sans contact", " that can be read here without contact")
    return errors.UnsupportedCard(atr=atr.hex(" ").upper(), hint=hint)
