# SPDX-License-Identifier: Apache-2.0
"""From a document and a signer to a signature of any format and level. What can fail is tried before the signer is asked."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cpxd import errors
from cpxd.signature import cms
from cpxd.signature.cms import Content
from cpxd.signature.evidence import Evidence
from cpxd.signature.options import Options
from cpxd.signature.signer import Signer
from cpxd.signature.trust import parsed

if TYPE_CHECKING:  # they cost time that a plain CMS does not need
    from cpxd.signature.fetch import Fetch
    from cpxd.signature.pades import Appearance
    from cpxd.signature.timestamp import Stamp
    from cpxd.signature.trust import TrustStore

MAX_DOCUMENT = 64 << 20  # bytes, where the document has to fit in memory


@dataclass(frozen=True)
class Document:
    """What is signed. `content` is None where the format needs its hash alone. `name`: of the file, as others will know it."""

    name: str
    hashed: Content
    content: bytes | None
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class _Validation:
    """What B-LT encloses: certificates above the signer and the time-stamping authority, and their revocation data."""

    roots: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    evidence: Evidence


class Signing:
    """One signer, one way to sign, any number of documents.

    Raises at once what would make every signature fail: SignerNotValid, SignerRevoked, UntrustedSigner, RevocationUnavailable,
    StampFailed, WrongClock.
    """

    def __init__(self, signer: Signer, options: Options, *, trust: TrustStore | None, fetch: Fetch | None, now: datetime) -> None:
        """`trust` is for levels LT and LTA, `fetch` for all above B."""
        self.signer, self._options, self._trust, self._fetch = signer, options, trust, fetch
        check_validity(signer.certificate, now)
        self._validation: _Validation | None = None
        if options.level != "b":
            probe = self._stamp(secrets.token_bytes(32))  # is the authority there, and the clock right?
            if options.level in ("lt", "lta"):
                self._validation = self._collect(probe, now)

    def sign(self, document: Document, *, appearance: Appearance | None = None) -> bytes:
        """The signature, or the signed document. Raises BadDocument, and what signer and authority raise."""
        form, content = self._options.chosen_form, document.content
        if self._options.format in ("cms", "cades"):
            if form == "detached":
                return self._complete(cms.sign_detached(document.hashed, self.signer))
            return self._complete(cms.sign_enclosed(_whole(content), self.signer))
        if self._options.format == "pades":
            return self._pades(_whole(content), appearance)
        if self._options.format == "xades":
            return self._xades(document)
        if self._options.format == "smime":
            return self._smime(_whole(content))
        if self._options.format == "jws":
            from cpxd.signature import jws

            return jws.sign(_whole(content), self.signer, kind=document.media_type)
        raise errors.Usage(detail=self._options.format)

    # --- formats

    def _complete(self, signature: bytes) -> bytes:
        """CMS: what levels T and LT add."""
        if self._options.level == "b":
            return signature
        stamp = self._stamp(hashlib.sha256(cms.signature_value(signature)).digest())
        stamped = cms.add_timestamp(signature, stamp.token)
        if self._validation is None:
            return stamped
        return cms.add_evidence(stamped, self._validation.certificates, self._validation.evidence)

    def _pades(self, document: bytes, appearance: Appearance | None) -> bytes:
        from cpxd.signature import pades, timestamp

        level = self._options.level
        long_term = None
        if self._validation is not None:
            data = self._validation
            long_term = pades.LongTerm(data.roots, data.certificates, data.evidence, level == "lta")
        return pades.sign(
            document,
            self.signer,
            appearance=appearance if self._options.visible else None,
            timestamper=timestamp.client(self._options.tsa, self._fetch) if self._fetch is not None else None,
            long_term=long_term,
        )

    def _xades(self, document: Document) -> bytes:
        from cpxd.signature import xades
        from cpxd.signature.xmlsafe import BadXml

        try:
            if self._options.chosen_form == "detached":
                signature = xades.sign_detached(document.name, document.hashed, document.media_type, self.signer)
            elif self._options.chosen_form == "enveloping":
                signature = xades.sign_enveloping(_whole(document.content), document.media_type, self.signer)
            else:
                signature = xades.sign_enveloped(_whole(document.content), self.signer)
            if self._options.level == "b":
                return signature
            stamp = self._stamp(hashlib.sha256(xades.stamped_content(signature)).digest())
            return xades.add_timestamp(signature, stamp.token)
        except BadXml as error:
            raise errors.BadDocument(format="XAdES", reason=error.args[0]) from None

    def _smime(self, mail: bytes) -> bytes:
        from cpxd.signature import smime

        return smime.sign(mail, self.signer, complete=self._complete)

    # --- levels

    def _stamp(self, digest: bytes) -> Stamp:
        from cpxd.signature import fetch, timestamp

        return timestamp.request(self._options.tsa, digest, self._fetch or fetch.offline)

    def _collect(self, probe: Stamp, now: datetime) -> _Validation:
        """Everything B-LT needs of the two chains; nothing stale, nothing unknown."""
        roots: tuple[bytes, ...] = ()
        certificates: tuple[bytes, ...] = ()
        evidence = Evidence()
        for certificate, more in ((self.signer.certificate, ()), (probe.signer, probe.certificates)):
            path, found = self._validated(certificate, more, now)
            roots += path[-1:]
            certificates += path[1:]
            evidence += found
        return _Validation(tuple(dict.fromkeys(roots)), tuple(dict.fromkeys(certificates)), evidence)

    def _validated(self, certificate: bytes, more: tuple[bytes, ...], now: datetime) -> tuple[tuple[bytes, ...], Evidence]:
        from cpxd.signature import chain, fetch, trust

        path = chain.build(certificate, self._trust or trust.load(), now, more)
        if not path.valid:
            raise errors.UntrustedSigner(issuer=path.problem or parsed(certificate).issuer.text)
        revoked = chain.revocation_of(path, Evidence(), self._fetch or fetch.offline, now, now)
        if revoked.state == "revoked":
            raise errors.SignerRevoked(since=f"{revoked.since:%Y-%m-%d}" if revoked.since else "?")
        if revoked.state == "unknown":
            raise errors.RevocationUnavailable(reason=revoked.reason)
        return path.certificates, revoked.evidence


def check_validity(certificate: bytes, now: datetime) -> None:
    """Raises SignerNotValid outside the validity of the certificate: an expired card, or a wrong clock."""
    card = parsed(certificate)
    if not card.not_before <= now <= card.not_after:
        raise errors.SignerNotValid(
            start=f"{card.not_before:%Y-%m-%d}", end=f"{card.not_after:%Y-%m-%d}", now=f"{now:%Y-%m-%d %H:%M} UTC"
        )


def _whole(content: bytes | None) -> bytes:
    if content is None:
        raise ValueError("this format needs the document itself")
    return content
