# SPDX-License-Identifier: Apache-2.0
"""The session on one inserted card: what a service may ask, each request one PC/SC transaction.

Used on the card's thread only. A reset by another program is noticed at the start of a request; the serial number is then read
again, so that a card swapped meanwhile is never taken for the one before (CardChanged).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpxd import errors
from cpxd.apdu import SW, Command, Response
from cpxd.card import cps2ter, pin, registry
from cpxd.card.application import Application, Code, Entry, FileMissing, Mechanism, NotAllowed, Usage
from cpxd.card.cps3 import Cps3
from cpxd.card.cps3cl import Cps3Contactless
from cpxd.card.cps4 import Cps4
from cpxd.card.oaep import remove_oaep
from cpxd.card.padding import pkcs1_type_1, remove_pkcs1_type_2
from cpxd.card.pss import emsa_pss
from cpxd.card.shelf import Shelf
from cpxd.card.tree import (
    Root,
    Tree,
    absolute,
    read_beginning,
    read_data_directory,
    read_holder,
    read_root,
    read_serial,
    read_tree,
    read_update,
)
from cpxd.reader import pinpad
from cpxd.reader.link import Link
from cpxd.record.certificate import CardCertificate, parse_certificate
from cpxd.record.errors import RecordError
from cpxd.record.pkcs15 import DataObject, PrivateKeyObject
from cpxd.record.sdo import PinState
from cpxd.text import tr

if TYPE_CHECKING:
    from cpxd.card.rsa import PublicKey

_LIKELY = 64  # bytes that a data object takes, as a rule, of a file that may be much longer
Begin = Callable[[], None]  # called when the card is held, before the first command; may raise
# answers of a card that shows the ATR of ours and has not its application
_NO_APPLICATION = (SW.INSTRUCTION_NOT_SUPPORTED, SW.CLASS_NOT_SUPPORTED, SW.CHANNEL_NOT_SUPPORTED, SW.FILE_NOT_FOUND)
_MOVED = (SW.DATA_NOT_FOUND, SW.CONDITIONS_NOT_SATISFIED, SW.CLASS_NOT_SUPPORTED, SW.CHANNEL_NOT_SUPPORTED, SW.WRONG_P1P2)


@dataclass(frozen=True)
class CodeStates:
    pin: PinState
    unblock: PinState


class CardSession:
    """`link` is open on a card whose ATR `registry.identify` knows. Raises UnsupportedCard, RetiredCard.

    `keeps`: certificates may be kept on disk (`card.kept`)."""

    def __init__(self, link: Link, *, keeps: bool = False) -> None:
        self.link = link
        self.card = _application(link)
        self._shelf = Shelf(self.card, keeps=keeps)
        self._root: Root | None = None
        self._tree: Tree | None = None
        self._data: dict[str, DataObject] | None = None
        self._data_warnings: list[str] = []
        self.unreadable: list[str] = []  # what the last `data` had to leave out
        self._seen_epoch = link.epoch
        self._pad: pinpad.Abilities | None = None

    @contextlib.contextmanager
    def _request(self, begin: Begin) -> Iterator[Application]:
        with self.link.transaction(begin):
            self.card.fresh()
            if self._root is not None and self._seen_epoch != self.link.epoch:
                if read_serial(self.card) != self._root.serial:
                    raise errors.CardChanged()
                if read_update(self.card) != self._root.update:
                    raise errors.CardUpdated()
                self._seen_epoch = self.link.epoch
            try:
                yield self.card
            except errors.WrongSignature:
                self._shelf.distrust()
                raise

    def _known(self, card: Application) -> Root:
        if self._root is None:
            try:
                self._root = read_root(self._shelf)
            except errors.CardRefused as error:
                if error.sw not in _NO_APPLICATION:
                    raise
                raise registry_error(self.link.atr, None) from None
            self._seen_epoch = self.link.epoch
        return self._root

    def _read(self, card: Application) -> Tree:
        if self._tree is None:
            self._tree = read_tree(self._shelf, self._known(card))
        return self._tree

    def root(self, begin: Begin) -> Root:
        """Serial number and codes, read from the card the first time."""
        with self._request(begin) as card:
            return self._known(card)

    def tree(self, begin: Begin) -> Tree:
        """Directories and certificates, read from the card the first time."""
        with self._request(begin) as card:
            found = self._read(card)
        self._shelf.save()
        return found

    def holder(self, begin: Begin) -> Tree:
        """As `tree`, with what says whose card it is alone, if that is enough: the quickest answer to a person who waits."""
        with self._request(begin) as card:
            found = self._tree or read_holder(self._shelf, self._known(card)) or self._read(card)
        self._shelf.save()
        return found

    def beginning(self, begin: Begin, most: int, *, kept: bool) -> bytes:
        """Of the authentication certificate, for who cannot wait: see `read_beginning`."""
        with self._request(begin) as card:
            return read_beginning(self._shelf, self._known(card), most, kept=kept)

    def code_states(self, begin: Begin) -> CodeStates:
        """Tries left of both codes; none is spent. ContactlessCard: there are none on that side."""
        with self._request(begin) as card:
            self._known(card)
            return CodeStates(card.pin_state(Code.PIN), card.pin_state(Code.UNBLOCK))

    def data(self, begin: Begin, *, private: bool, wanted: Callable[[str], bool] = lambda label: True) -> dict[str, bytes]:
        """Content of the wanted data objects by label; the PIN-protected ones only when asked, after `verify`.

        An object that cannot be read is left out and named in `unreadable`. CardReset when the proof of the PIN was lost.
        """
        with self._request(begin) as card:
            found: dict[str, bytes] = {}
            listed = self._listed(card)
            self.unreadable = list(self._data_warnings)
            for label, entry in listed.items():
                if not wanted(label) or (entry.private and not private):
                    continue
                read = card.read if entry.private or entry.modifiable else self._shelf.read
                try:
                    found[label] = read(absolute(entry.path), first=_LIKELY)
                except NotAllowed:
                    if entry.private:
                        raise errors.CardReset() from None
                    self.unreadable.append(label)
                except (FileMissing, errors.CardRefused, errors.DamagedCard):
                    self.unreadable.append(label)
            return found

    def labels(self, begin: Begin) -> tuple[str, ...]:
        """The data objects that the card lists, protected ones included, read or not."""
        with self._request(begin) as card:
            return tuple(self._listed(card))

    def data_objects(self, begin: Begin) -> tuple[DataObject, ...]:
        """The data objects that the card lists, in card order, none read."""
        with self._request(begin) as card:
            return tuple(self._listed(card).values())

    def content(self, begin: Begin, label: str) -> bytes:
        """One listed data object: its whole file, padding included. KeyError, FileMissing, NotAllowed."""
        with self._request(begin) as card:
            return card.read(absolute(self._listed(card)[label].path), padding=True)

    def cps2ter(self, begin: Begin, label: str) -> bytes:
        """An object of the CPS2ter view of a CPS3, whole. FileMissing for what has none, NotAllowed."""
        path = cps2ter.path_of(label)
        if path is None or self.card.generation != "CPS3" or self.card.contactless:
            raise FileMissing(label)
        with self._request(begin) as card:
            self._known(card)
            return cps2ter.read(card, path)

    def _listed(self, card: Application) -> dict[str, DataObject]:
        if self._data is None:
            self._data_warnings = []
            directory = read_data_directory(self._shelf, self._known(card), self._data_warnings)
            self._data = {entry.label: entry for entry in (directory.entries if directory else ()) if entry.path}
        return self._data

    # --- codes

    def only_verified(self, begin: Begin) -> Begin:
        """`begin`, with NotAllowed before the first command when a reset has ended the proof of the PIN.

        Another program may have proved it since: that is its proof, not ours.
        """

        def allowed() -> None:
            begin()
            self.card.fresh()
            if not (self.card.verified or self.card.contactless):
                raise NotAllowed

        return allowed

    def end_proof(self, begin: Begin) -> None:
        """Reset the card, which ends every proof of a code, and see that it is still the same card."""
        with self.link.transaction(begin):
            self.link.keep()
        self.link.release(reset=True)
        self.root(begin)

    def keypad(self, begin: Begin) -> pinpad.Abilities:
        """What the reader says that its keypad can do."""
        if self._pad is None:
            with self.link.transaction(begin):
                self._pad = pinpad.abilities(self.link)
        return self._pad

    def verify(self, begin: Begin, entry: Entry, *, last_try: bool = False, keep: bool = False) -> None:
        """Prove the PIN. Raises BadPinFormat, KnownWrongPin, LastTry, WrongPin, PinBlocked; as PinPad.

        With `keep` the card stays held for what the PIN was asked for, until the link is released or closed.
        """
        with self._request(begin) as card:
            pin.verify(card, self._serial(card), Code.PIN, entry, last_try=last_try)
            if keep:
                self.link.keep()

    def change(self, begin: Begin, old: Entry, new: Entry, *, last_try: bool = False) -> None:
        with self._request(begin) as card:
            pin.change(card, self._serial(card), old, new, last_try=last_try)

    def unblock(self, begin: Begin, code: Entry, new: Entry, *, last_try: bool = False) -> PinState:
        with self._request(begin) as card:
            return pin.unblock(card, self._serial(card), code, new, last_try=last_try)

    def verify_unblock_code(self, begin: Begin, code: Entry, *, last_try: bool = False) -> None:
        """Prove the unblock code alone (CKU_SO). Raises WrongUnblockCode, UnblockCodeBlocked, LastTry."""
        with self._request(begin) as card:
            pin.verify(card, self._serial(card), Code.UNBLOCK, code, last_try=last_try)

    def renew_pin(self, begin: Begin, new: Entry) -> PinState:
        """Set a new PIN after `verify_unblock_code`. NotAllowed when the card does not know of it any more."""
        with self._request(begin) as card:
            return pin.renew(card, self._serial(card), new)

    def _serial(self, card: Application) -> str:
        return self._known(card).serial.pan

    # --- signature

    def certificate(self, begin: Begin, usage: Usage) -> CardCertificate:
        """The certificate of a key. Raises KeyUnavailable, DamagedCard."""
        with self._request(begin) as card:
            return _certificate(self._read(card), usage)[1]

    def sign(self, begin: Begin, usage: Usage, mechanism: Mechanism, digest: bytes) -> bytes:
        """RSA signature of a finished hash, verified with the key of the card's certificate before it is returned.

        Raises KeyUnavailable, MechanismUnavailable, WrongSignature; NotAllowed when the PIN was not verified.
        """
        with self._request(begin) as card:
            reference, public_key = self._key(card, usage)
            if mechanism not in card.mechanisms(usage):
                raise errors.MechanismUnavailable(mechanism=mechanism)
            return _with_key(
                card,
                lambda: card.sign(reference, usage, mechanism, digest, public_key.size),
                lambda signature: public_key.right(mechanism, digest, signature),
            )

    def sign_content(self, begin: Begin, content: bytes) -> bytes:
        """PKCS#1 v1.5 signature of `content` as it stands, with the authentication key (CKM_RSA_PKCS) or the technical one.

        Raises as `sign`; MechanismUnavailable when the content is longer or shorter than the card takes.
        """
        with self._request(begin) as card:
            reference, public_key = self._key(card, "technical" if card.contactless else "authentication")
            size = public_key.size
            if not card.least_content <= len(content) <= card.content_limit(size):
                raise errors.MechanismUnavailable(mechanism=f"RSA PKCS#1 ({len(content)} octets)")
            block = pkcs1_type_1(content, size)
            return _with_key(
                card,
                lambda: card.sign_content(reference, content, size),
                lambda signature: public_key.apply(signature) == block,
            )

    def sign_pss(self, begin: Begin, hash_name: str, digest: bytes, salt_length: int) -> bytes:
        """RSA-PSS with the authentication key and padding made here, for cards that compute on a whole block; verified.

        Raises as `sign`; MechanismUnavailable on other cards, and for a salt that the modulus cannot hold.
        """
        with self._request(begin) as card:
            reference, public_key = self._key(card, "authentication")
            try:
                block = emsa_pss(hash_name, digest, salt_length, public_key.bits)
            except ValueError:
                block = b""
            if card.unpadded or not block:
                raise errors.MechanismUnavailable(mechanism=Mechanism("pss", hash_name))
            return _with_key(
                card,
                lambda: card.decrypt(reference, block),
                lambda signature: public_key.apply(signature) == block,
            )

    def decrypt(self, begin: Begin, cryptogram: bytes) -> bytes:
        """RSA PKCS#1 v1.5 decryption with the authentication key. Raises as `sign`; ValueError on a wrong cryptogram."""
        with self._request(begin) as card:
            reference, public_key = self._key(card, "authentication")
            if len(cryptogram) != public_key.size:
                raise ValueError("wrong length")
            plain = _with_key(card, lambda: card.decrypt(reference, cryptogram), lambda _: True)
            return plain if card.unpadded else remove_pkcs1_type_2(plain)

    def decrypt_oaep(self, begin: Begin, cryptogram: bytes, hash_name: str, mask_hash: str) -> bytes:
        """As `decrypt`, OAEP without a label, for cards that give the whole block; MechanismUnavailable on others."""
        with self._request(begin) as card:
            reference, public_key = self._key(card, "authentication")
            if card.unpadded:
                raise errors.MechanismUnavailable(mechanism="RSA OAEP")
            if len(cryptogram) != public_key.size:
                raise ValueError("wrong length")
            block = _with_key(card, lambda: card.decrypt(reference, cryptogram), lambda _: True)
            return remove_oaep(block.rjust(public_key.size, b"\x00"), hash_name, mask_hash)

    def random(self, begin: Begin, count: int) -> bytes:
        """Random bytes of the card."""
        with self._request(begin) as card:
            self._known(card)
            return card.random(count)

    def write(self, begin: Begin, label: str, content: bytes) -> None:
        """Replace the content of a data object that the card lets be written (CPS_DATA); the rest of the file becomes 00.

        Raises KeyError for an unknown object, ValueError when `content` is longer than the file, UpdateInterrupted.
        """
        with self._request(begin) as card:
            if self._known(card).update_interrupted:
                raise errors.UpdateInterrupted()
            path = absolute(self._listed(card)[label].path)
            size = len(card.read(path, padding=True))
            if len(content) > size:
                raise ValueError(f"{label} holds {size} bytes")
            card.update(path, content.ljust(size, b"\x00"))

    def _key(self, card: Application, usage: Usage) -> tuple[int, PublicKey]:
        from cpxd.card.rsa import PublicKey

        key, certificate = _certificate(self._read(card), usage)
        return key.key_reference or 0, PublicKey(certificate.spki, usage)


def _with_key(card: Application, operation: Callable[[], Response], right: Callable[[bytes], bool]) -> bytes:
    """Run a private-key operation and check what it gives.

    Another program's handle can have moved the current DF and the environment without our knowing: on a wrong result, or a
    status word that says so, both are sent once more.
    """
    answer = operation()
    if (answer.sw == SW.OK and not right(answer.data)) or answer.sw in _MOVED:
        card.forget_selection()
        answer = operation()
    if answer.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
        card.verified = False
        raise NotAllowed
    if answer.sw != SW.OK:
        raise errors.CardRefused(operation="RSA", sw=answer.sw)
    if not right(answer.data):
        raise errors.WrongSignature()
    return answer.data


def _certificate(tree: Tree, usage: Usage) -> tuple[PrivateKeyObject, CardCertificate]:
    key = tree.key(usage)
    der = tree.certificate(key) if key else None
    if key is None or der is None:
        raise errors.KeyUnavailable(usage=usage)
    try:
        return key, parse_certificate(der)
    except RecordError:
        raise errors.DamagedCard(part=tr(f"certificat ({usage})", f"certificate ({usage})")) from None


def _application(link: Link) -> Application:
    kind = registry.identify(link.atr)
    if kind is registry.Kind.UNKNOWN_VERSION:
        return _probe(link)
    if kind is registry.Kind.CPS3:
        return Cps3(link)
    if kind is registry.Kind.CPS4:
        return Cps4(link)
    if kind is registry.Kind.CPS3_CONTACTLESS:
        return Cps3Contactless(link)
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
    if kind is registry.Kind.CPS2TER:
        return errors.RetiredCard()
    hint = ""
    if kind is registry.Kind.VITALE:
        hint = tr(" mais une carte Vitale", " but a Vitale card")
    return errors.UnsupportedCard(atr=atr.hex(" ").upper(), hint=hint)
