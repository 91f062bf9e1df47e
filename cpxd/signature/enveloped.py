# SPDX-License-Identifier: Apache-2.0
"""Opening what was encrypted for a card: S/MIME 4.0 mails (RFC 8551), CMS EnvelopedData (RFC 5652 §6) and AuthEnvelopedData
(RFC 5083), RSA PKCS#1 v1.5 and OAEP (RFC 4055 §4.1).

Everything that can be refused is refused before the key is asked. After that there is one answer for all that fails: which step
it was is what attacks on RSA PKCS#1 v1.5 live on (RFC 3218).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from asn1crypto import cms, core, pem, x509

from cpxd import errors
from cpxd.record.certificate import parse_certificate
from cpxd.signature import smime
from cpxd.text import tr

_CBC = {"aes128_cbc": 16, "aes192_cbc": 24, "aes256_cbc": 32, "tripledes_3key": 24}  # bytes of the key
_GCM = {"aes128_gcm": 16, "aes192_gcm": 24, "aes256_gcm": 32}
_HASHES = ("sha1", "sha256", "sha384", "sha512")
_MAIL = ("application/pkcs7-mime", "application/x-pkcs7-mime")


@dataclass(frozen=True)
class Oaep:
    """RSAES-OAEP without a label: the hash of the label, and that of MGF1."""

    hash: str = "sha1"
    mask: str = "sha1"


class Decrypter(Protocol):
    """A key that opens what was encrypted for its certificate."""

    @property
    def certificate(self) -> bytes:
        """DER of the X.509 certificate."""

    @property
    def opens_oaep(self) -> bool:
        """Whether it opens OAEP; PKCS#1 v1.5 it does."""

    def decrypt(self, cryptogram: bytes, scheme: Oaep | None) -> bytes:
        """The message in an RSA cryptogram, OAEP or (None) PKCS#1 v1.5. ValueError when there is none."""


@dataclass(frozen=True)
class Envelope:
    """What is encrypted for one certificate. `tag` None: CBC, which protects nothing against changes."""

    scheme: Oaep | None
    encrypted_key: bytes
    cipher: str
    parameters: bytes  # initialisation vector, or nonce
    encrypted: bytes
    tag: bytes | None
    attributes: bytes  # authenticated with the content

    @property
    def key_size(self) -> int:
        return (_CBC | _GCM)[self.cipher]


def read(content: bytes, key: Decrypter) -> Envelope:
    """What a mail, or a CMS in DER or PEM, holds for this key; the key is not asked.

    Raises CannotDecrypt, KeyUnavailable when its certificate does not allow it, MechanismUnavailable.
    """
    if "keyEncipherment" not in parse_certificate(key.certificate).key_usage:
        raise errors.KeyUnavailable(usage=tr("déchiffrement", "decryption"))
    try:
        envelope = _read(_der(content), x509.Certificate.load(key.certificate))
    except errors.CpxError:
        raise
    except Exception:  # see signeddata: many kinds, one meaning
        raise _unreadable() from None
    if envelope.scheme is not None and not key.opens_oaep:
        raise errors.MechanismUnavailable(mechanism="RSA OAEP")
    return envelope


def open_envelope(envelope: Envelope, key: Decrypter) -> bytes:
    """The content. Raises CannotDecrypt, and what the key raises when the card is not there."""
    session = _session_key(envelope, key)
    try:
        return _with_tag(envelope, session) if envelope.tag is not None else _with_padding(envelope, session)
    except Exception:  # one meaning, on purpose
        raise _unreadable() from None


def _unreadable() -> errors.CannotDecrypt:
    return errors.CannotDecrypt(reason=tr("abîmé, ou mal chiffré", "damaged, or wrongly encrypted"))


def _der(content: bytes) -> bytes:
    if len(content) > smime.MAX_MAIL:
        raise errors.CannotDecrypt(reason=tr("trop gros", "too large"))
    if content[:1] == b"\x30":
        return content
    if content.lstrip()[:10] == b"-----BEGIN":
        return bytes(pem.unarmor(content)[2])
    try:
        message = smime.parse_mail(content)
    except errors.BadDocument:
        raise errors.CannotDecrypt(reason=tr("ni un message, ni un CMS", "neither a mail nor a CMS")) from None
    payload = message.get_payload(decode=True)
    if message.get_content_type() not in _MAIL or not isinstance(payload, bytes):
        raise errors.CannotDecrypt(reason=tr("message non chiffré", "the message is not encrypted"))
    return payload


def _read(der: bytes, certificate: x509.Certificate) -> Envelope:
    info = cms.ContentInfo.load(der, strict=True)
    kind = info["content_type"].native
    if kind not in ("enveloped_data", "authenticated_enveloped_data"):
        raise errors.CannotDecrypt(reason=tr("message non chiffré", "the message is not encrypted"))
    authenticated, data = kind != "enveloped_data", info["content"]
    recipient = _recipient(data["recipient_infos"], certificate)
    encrypted = data["auth_encrypted_content_info" if authenticated else "encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    cipher = algorithm["algorithm"].native
    if cipher not in (_GCM if authenticated else _CBC):
        raise errors.CannotDecrypt(reason=tr(f"chiffrement {cipher} inconnu", f"unknown cipher {cipher}"))
    parameters, tag, attributes = algorithm["parameters"], None, b""
    if authenticated:
        gcm = list(parameters.native.values())  # nonce, and length of the tag, 12 when absent (RFC 5084 §3.2)
        tag, start = data["mac"].native, gcm[0]
        if not 12 <= len(tag) <= 16 or [len(tag)] != (gcm[1:] or [12]):
            raise _unreadable()
        if not isinstance(data["auth_attrs"], core.Void):
            attributes = data["auth_attrs"].untag().dump()
    else:
        start = parameters.native
    return Envelope(
        _scheme(recipient["key_encryption_algorithm"]),
        recipient["encrypted_key"].native,
        cipher,
        start,
        encrypted["encrypted_content"].native,
        tag,
        attributes,
    )


def _recipient(recipients: cms.RecipientInfos, certificate: x509.Certificate) -> cms.KeyTransRecipientInfo:
    for choice in recipients:
        if choice.name == "ktri" and _is_for(choice.chosen["rid"], certificate):
            return choice.chosen
    raise errors.CannotDecrypt(reason=tr("chiffré pour une autre carte", "encrypted for another card"))


def _is_for(recipient: cms.RecipientIdentifier, certificate: x509.Certificate) -> bool:
    if recipient.name == "subject_key_identifier":
        return bool(certificate.key_identifier == recipient.chosen.native)
    identifier = recipient.chosen
    return bool(
        identifier["issuer"].dump() == certificate.issuer.dump()
        and identifier["serial_number"].native == certificate.serial_number
    )


def _scheme(algorithm: Any) -> Oaep | None:
    name = algorithm["algorithm"].native
    if name in ("rsaes_pkcs1v15", "rsa"):
        return None
    if name != "rsaes_oaep":
        raise errors.CannotDecrypt(reason=tr(f"chiffrement de clé {name} inconnu", f"unknown key encryption {name}"))
    parameters = algorithm["parameters"]
    mask, source = parameters["mask_gen_algorithm"], parameters["p_source_algorithm"]
    found = Oaep(parameters["hash_algorithm"]["algorithm"].native, mask["parameters"]["algorithm"].native)
    plain = source["algorithm"].native == "p_specified" and source["parameters"].native == b""
    if not plain or mask["algorithm"].native != "mgf1" or found.hash not in _HASHES or found.mask not in _HASHES:
        raise errors.CannotDecrypt(reason=tr("paramètres OAEP inconnus", "unknown OAEP parameters"))
    return found


def _session_key(envelope: Envelope, key: Decrypter) -> bytes:
    """RFC 3218 §2.3.2: a wrong session key is replaced by a random one, so that nothing tells which step failed. Cards that take
    the padding off themselves say by a status word that it is wrong: that too.
    """
    substitute = secrets.token_bytes(envelope.key_size)
    try:
        found = key.decrypt(envelope.encrypted_key, envelope.scheme)
    except (ValueError, errors.CardRefused):
        return substitute
    return found if len(found) == envelope.key_size else substitute


def _with_tag(envelope: Envelope, session: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    tag = envelope.tag or b""
    decryptor = Cipher(algorithms.AES(session), modes.GCM(envelope.parameters, tag, min_tag_length=12)).decryptor()
    decryptor.authenticate_additional_data(envelope.attributes)
    return decryptor.update(envelope.encrypted) + decryptor.finalize()


def _with_padding(envelope: Envelope, session: bytes) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # what OpenSSL 3.0 still uses when it is told nothing
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes

    cipher: BlockCipherAlgorithm = algorithms.AES(session)
    if envelope.cipher == "tripledes_3key":
        cipher = TripleDES(session)
    decryptor = Cipher(cipher, modes.CBC(envelope.parameters)).decryptor()
    unpadder = padding.PKCS7(cipher.block_size).unpadder()
    return unpadder.update(decryptor.update(envelope.encrypted) + decryptor.finalize()) + unpadder.finalize()
