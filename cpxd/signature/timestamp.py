# SPDX-License-Identifier: Apache-2.0
"""Time stamps (RFC 3161): asked of an authority, and checked before they are used."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from asn1crypto import cms, tsp

from cpxd import errors
from cpxd.signature.fetch import Fetch, FetchError
from cpxd.signature.revocation import now_utc
from cpxd.signature.signeddata import HASHES, BadSignature, DigestOf, SignedPart, unusual, verify_signed_data
from cpxd.signature.trust import asn1, parsed
from cpxd.text import tr

if TYPE_CHECKING:  # it is slow to import
    from pyhanko.sign.timestamps import TimeStamper

_KIND = "application/timestamp-query"
CLOCK_SKEW = 300  # seconds between this workstation and the authority


@dataclass(frozen=True)
class Stamp:
    """A token that is right: what it is over is what was asked, and it is signed by `signer`, a time-stamping certificate."""

    time: datetime
    signer: bytes  # DER
    certificates: tuple[bytes, ...]  # in the token, DER
    token: bytes


def request(url: str, digest: bytes, fetch: Fetch) -> Stamp:
    """A time stamp over a SHA-256 hash. Raises StampFailed, WrongClock."""
    if not url:
        raise errors.StampFailed(reason=tr("aucune autorité configurée", "no authority configured"))
    return checked(asyncio.run(client(url, fetch).async_timestamp(digest, "sha256")).dump(), digest)


def checked(token: bytes, digest: bytes) -> Stamp:
    """A token just received, refused when it is wrong. Raises StampFailed, WrongClock."""
    try:
        stamp = verify(token, lambda name: digest if name == "sha256" else b"")
    except BadSignature as error:
        raise errors.StampFailed(reason=error) from None
    authority = parsed(stamp.signer)
    if not authority.not_before <= stamp.time <= authority.not_after:
        why = tr(
            "certificat de l'autorité expiré, ou pas encore valable",
            "the authority's certificate has expired, or is not yet valid",
        )
        raise errors.StampFailed(reason=why)
    now = now_utc()
    if abs((stamp.time - now).total_seconds()) > CLOCK_SKEW:
        raise errors.WrongClock(now=_minute(now), stamped=_minute(stamp.time))
    return stamp


def client(url: str, fetch: Fetch) -> TimeStamper:
    """pyHanko's client of an authority, over our network. It checks status, nonce and imprint."""
    from pyhanko.sign.timestamps import TimeStamper

    class Client(TimeStamper):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # pyHanko types its methods, not this one

        async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
            return tsp.TimeStampResp.load(fetch(url, req.dump(), _KIND))

        async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
            try:
                token = await super().async_timestamp(message_digest, md_algorithm)
                checked(token.dump(), message_digest)
            except errors.CpxError:
                raise
            except Exception as error:  # pyHanko and asn1crypto raise many kinds on what a server answers
                raise errors.StampFailed(reason=_short(error)) from None
            return token

    return Client()


def verify(token: bytes, digest_of: DigestOf) -> Stamp:
    """The time of a token over what has these hashes. Raises BadSignature.

    Trust in the authority is not judged here.
    """
    part = verify_signed_data(token, None, content_type="tst_info")
    try:
        info = tsp.TSTInfo.load(part.content or b"", strict=True)
        imprint = info["message_imprint"]
        algorithm, hashed = imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native
        time = info["gen_time"].native
    except (ValueError, TypeError, KeyError) as error:
        raise BadSignature(f"TSTInfo: {type(error).__name__}") from None
    if algorithm not in HASHES:
        raise unusual(algorithm)
    if hashed != digest_of(algorithm):
        raise BadSignature("message imprint")
    _check_usage(part)
    return Stamp(time, part.certificate, part.certificates, token)


def verify_over(token: bytes, content: bytes) -> Stamp:
    """As `verify`, over content."""
    return verify(token, lambda name: hashlib.new(name, content).digest())


def _check_usage(part: SignedPart) -> None:
    """RFC 3161 §2.3: the key is for time stamping alone, and the extension that says so is critical."""
    for extension in asn1(part.certificate)["tbs_certificate"]["extensions"]:
        if extension["extn_id"].native == "extended_key_usage":
            if extension["critical"].native and extension["extn_value"].parsed.native == ["time_stamping"]:
                return
            break
    raise BadSignature("TSA certificate: extendedKeyUsage")


def _short(error: Exception) -> str:
    if isinstance(error, FetchError):
        return str(error)
    return (
        tr("réponse illisible, ou à une autre question", "unreadable answer, or to another question")
        + f" ({type(error).__name__})"
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
