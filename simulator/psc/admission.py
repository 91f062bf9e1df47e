# SPDX-License-Identifier: Apache-2.0
"""Who may pass the "Carte CPS" step: a certificate of the test PKI, in its dates, not on its CRL, made to authenticate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from simulator.pki import Authority, TestPki
from simulator.psc import holder as holders
from simulator.psc.holder import Holder

_ISSUERS = ("FORT PERSONNES", "STANDARD PERSONNES")  # of all cards, of every kind

# Verification errors of OpenSSL (X509_V_ERR_…) by our reason.
_REASONS = {2: "unknown-ca", 18: "unknown-ca", 19: "unknown-ca", 20: "unknown-ca", 21: "unknown-ca", 3: "unknown-ca"} | {
    9: "not-yet",
    10: "expired",
    23: "revoked",
}

WORDS: dict[str, tuple[str, str]] = {
    "no-card": (
        "Aucun certificat de carte n'a été présenté. Insérez la carte, vérifiez que le navigateur connaît son module, "
        "puis recommencez.",
        "No card certificate was presented. Insert the card, check that the browser knows its module, then try again.",
    ),
    "expired": ("Cette carte a expiré : elle ne permet plus de se connecter.", "This card has expired: it can no longer log in."),
    "not-yet": ("Cette carte n'est pas encore valable.", "This card is not valid yet."),
    "revoked": (
        "Cette carte est en opposition : elle ne permet plus de se connecter.",
        "This card has been revoked: it can no longer log in.",
    ),
    "unknown-ca": (
        "Ce certificat ne vient pas d'une autorité reconnue ici (IGC-Santé de test du simulateur).",
        "This certificate does not come from an authority known here (test IGC-Santé of the simulator).",
    ),
    "wrong-certificate": (
        "Ce certificat ne sert pas à s'authentifier : choisissez le certificat d'authentification de la carte.",
        "This certificate is not made to authenticate: choose the authentication certificate of the card.",
    ),
    "invalid": ("Ce certificat n'est pas valide.", "This certificate is not valid."),
    "anonymous": (
        "Cette carte de service ne nomme personne : seule une carte nominative peut activer une e-CPS.",
        "This service card names nobody: only a card that names its holder can activate an e-CPS.",
    ),
}


class Refusal(Exception):
    """`code` is a key of WORDS; `detail`, for the log, what OpenSSL or the decoder said."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code
        self.french, self.english = WORDS[code]


def today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class _Day:
    """Certificates and CRLs of the test PKI change with the day."""

    date: date
    authorities: tuple[Authority, ...]  # issuing ones, then roots
    store: crypto.X509Store


class Admission:
    """make_pki: the test PKI of this day. Raises PkiError when it cannot be made."""

    def __init__(self, make_pki: Callable[[], TestPki] = TestPki) -> None:
        self._make_pki = make_pki
        self._day = self._prepare()

    def _prepare(self) -> _Day:
        pki = self._make_pki()
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        issuers = [pki.authority(name) for name in _ISSUERS]
        roots = [pki.authority(issuer.name.level) for issuer in issuers]
        for authority in (*issuers, *roots):
            store.add_cert(crypto.X509.from_cryptography(authority.certificate))
        for name in _ISSUERS:
            store.add_crl(x509.load_der_x509_crl(pki.revocation_list(name)))
        return _Day(pki.today, (*issuers, *roots), store)

    def authorities(self, roots_only: bool) -> list[x509.Certificate]:
        """Those to name to the client."""
        return [a.certificate for a in self._day.authorities if not roots_only or a.name.side is None]

    def bundle(self) -> bytes:
        """All authorities, PEM."""
        return b"".join(a.certificate.public_bytes(Encoding.PEM) for a in self._day.authorities)

    def examine(self, certificate: x509.Certificate, chain: Sequence[x509.Certificate] = ()) -> Holder:
        """The holder of a certificate whose key was just used. Raises Refusal."""
        if self._day.date != today():
            self._day = self._prepare()
        others = [crypto.X509.from_cryptography(other) for other in chain]
        context = crypto.X509StoreContext(self._day.store, crypto.X509.from_cryptography(certificate), others)
        try:
            context.verify_certificate()
        except crypto.X509StoreContextError as error:
            code, depth, text = error.errors[:3]
            raise Refusal(_REASONS.get(code, "invalid"), f"{text} (depth {depth})") from None
        try:
            if not _authenticates(certificate):
                raise Refusal("wrong-certificate")
            return holders.read(certificate)
        except ValueError as error:
            raise Refusal("invalid", str(error)) from None


def _authenticates(certificate: x509.Certificate) -> bool:
    """digitalSignature and clientAuth, both stated. Raises ValueError when the extensions cannot be read."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return usage.digital_signature and ExtendedKeyUsageOID.CLIENT_AUTH in purposes
