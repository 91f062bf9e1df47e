# SPDX-License-Identifier: Apache-2.0
"""A test PKI shaped as IGC-Santé TEST, made on demand: nothing of it is in the repository, nothing real depends on it.

Only keys are kept on disk. Certificates and lists follow from the keys, the personas and the day: they are made each time,
byte for byte the same within a day, so there is no cache of them to go stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from .. import personas
from ..personas import Persona
from . import authorities, leaf
from .authorities import AUTHORITIES, Authority
from .leaf import Usage, issuer_of
from .store import KeyStore, PkiError, default_folder, write_whole

__all__ = ["AUTHORITIES", "Authority", "Credential", "PkiError", "TestPki", "Usage"]

_CRL_LIFE = timedelta(days=7)
# What the chip of a model holds. A CPS3 is one chip with two interfaces: both models of it share its keys.
_CHIPS: dict[str, tuple[Usage, ...]] = {
    "cps3": ("signature", "authentication", "technical"),
    "cps4": ("signature", "authentication"),
}


@dataclass(frozen=True)
class Credential:
    """A key of a card and its certificate, DER, as the card holds it."""

    key: RSAPrivateKey
    certificate: bytes


class TestPki:
    """The authorities and what they issue.

    folder: where the keys are kept; None: $XDG_CACHE_HOME/cpx-sim/pki or ~/.cache/cpx-sim/pki.
    today: the day certificates and lists are made for; None: this day, UTC.
    Raises PkiError when the folder cannot be used.
    """

    __test__ = False  # the name is not that of a test case

    def __init__(self, folder: str | Path | None = None, *, today: date | None = None) -> None:
        self._keys = KeyStore(Path(folder) if folder is not None else default_folder())
        self.folder = self._keys.folder
        self.today = today or datetime.now(UTC).date()
        self._authorities: dict[str, Authority] = {}

    def authority(self, name: str) -> Authority:
        """ "ELEMENTAIRE", "STANDARD", "FORT": the roots; "FORT PERSONNES", "FORT ORGANISATIONS"…: those under them."""
        if name not in AUTHORITIES:
            known = ", ".join(AUTHORITIES)
            raise PkiError(f"autorité inconnue : {name} (connues : {known})", f"unknown authority: {name} (known: {known})")
        if name not in self._authorities:
            identity = AUTHORITIES[name]
            self._prepare([name, identity.level])
            key, issuer_key = self._authority_key(name), self._authority_key(identity.level)
            certificate = authorities.authority_certificate(identity, key, issuer_key)
            self._authorities[name] = Authority(identity, certificate, key)
        return self._authorities[name]

    def chain(self, persona: Persona) -> tuple[Authority, Authority]:
        """The authority that issues the certificates of a persona, and its root."""
        issuer = self.authority(issuer_of(persona))
        return issuer, self.authority(issuer.name.level)

    def issue(self, persona: Persona, model: str, usage: Usage) -> Credential:
        """The key of a card for a usage, and its certificate for this day. `model`: "cps3", "cps4", "cps3cl"."""
        issuer_key = self._authority_key(issuer_of(persona))
        key = self._keys.key(_leaf_name(persona, model, usage), leaf.KEY_SIZE)
        certificate = leaf.leaf_certificate(persona, usage, key, issuer_key, self.today).public_bytes(Encoding.DER)
        return Credential(key, leaf.spoil_unused_bits(certificate) if persona.odd_signature_bits else certificate)

    def issue_all(self, persona: Persona, model: str) -> dict[Usage, Credential]:
        """All that a card of that model holds for that persona; what has to be made is made side by side."""
        usages = _CHIPS[_chip(model)]
        self._prepare([issuer_of(persona)], [(_leaf_name(persona, model, usage), leaf.KEY_SIZE) for usage in usages])
        return {usage: self.issue(persona, model, usage) for usage in usages}

    def revocation_list(self, name: str, holders: Iterable[Persona] | None = None) -> bytes:
        """The full CRL of an authority, DER, with the certificates of those of `holders` whose card is revoked.

        None: the personas that come with the simulator.
        """
        authority = self.authority(name)
        start = datetime.combine(self.today, time(), tzinfo=UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.certificate.subject)
            .last_update(start)
            .next_update(start + _CRL_LIFE)
            .add_extension(authorities.authority_identifier(authority.key), critical=False)
            .add_extension(x509.CRLNumber((self.today - date(2013, 6, 25)).days), critical=False)
        )
        for persona in _shipped() if holders is None else holders:
            if persona.revocation is not None and issuer_of(persona) == name:
                for entry in self._revoked(persona):
                    builder = builder.add_revoked_certificate(entry)
        return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def export(self, folder: str | Path, holders: Sequence[Persona] | None = None, *, complete: bool = False) -> None:
        """Write what a verifier needs: ca.pem (all authorities), and for each one its .cer and .crl, DER, under the names
        of the real site; and PERSONA.chain.pem, issuer then root, for each of `holders` (None: those that come with the
        simulator). Only the authorities of the holders, unless `complete`.
        """
        folder = Path(folder)
        people = _shipped() if holders is None else holders
        used = {name for persona in people for name in (issuer_of(persona), AUTHORITIES[issuer_of(persona)].level)}
        names = [name for name in AUTHORITIES if complete or name in used]
        self._prepare(names)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            bundle = b""
            for name in names:
                authority = self.authority(name)
                bundle += authority.certificate.public_bytes(Encoding.PEM)
                stem = authority.name.stem
                write_whole(folder / f"{stem}.cer", authority.certificate.public_bytes(Encoding.DER))
                write_whole(folder / f"{stem}.crl", self.revocation_list(name, people))
            write_whole(folder / "ca.pem", bundle)
            for persona in people:
                pem = b"".join(a.certificate.public_bytes(Encoding.PEM) for a in self.chain(persona))
                write_whole(folder / f"{persona.name}.chain.pem", pem)
        except OSError as error:
            raise PkiError(
                f"export impossible dans {folder} ({error.strerror})", f"cannot export to {folder} ({error.strerror})"
            ) from None

    def _authority_key(self, name: str) -> RSAPrivateKey:
        return self._keys.key(AUTHORITIES[name].stem, authorities.KEY_SIZE)

    def _prepare(self, names: Iterable[str], others: Iterable[tuple[str, int]] = ()) -> None:
        self._keys.prepare([*((AUTHORITIES[name].stem, authorities.KEY_SIZE) for name in set(names)), *others])

    def _revoked(self, persona: Persona) -> list[x509.RevokedCertificate]:
        """The certificates of this day and of the day before, for the card that was inserted before midnight."""
        revocation = persona.revocation
        if revocation is None:
            return []
        when = datetime.combine(self.today - timedelta(days=revocation.days_ago), time(12), tzinfo=UTC)
        reason = x509.CRLReason(x509.ReasonFlags(revocation.reason))
        issuer_key = self._authority_key(issuer_of(persona))
        entries = []
        for model, usages in _CHIPS.items():
            self._prepare([], [(_leaf_name(persona, model, usage), leaf.KEY_SIZE) for usage in usages])
            for usage, day in product(usages, (self.today, self.today - timedelta(days=1))):
                key = self._keys.key(_leaf_name(persona, model, usage), leaf.KEY_SIZE)
                serial = leaf.serial_number(persona, usage, key, issuer_key, day)
                builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
                if revocation.reason != "unspecified":  # then the reason is left out (RFC 5280, 5.3.1)
                    builder = builder.add_extension(reason, critical=False)
                entries.append(builder.build())
        return entries


def _chip(model: str) -> str:
    return "cps3" if model == "cps3cl" else model


def _leaf_name(persona: Persona, model: str, usage: Usage) -> str:
    return f"card-{persona.key_set or persona.card.number}-{_chip(model)}-{usage}"


def _shipped() -> list[Persona]:
    return [personas.load(name) for name in personas.names()]
