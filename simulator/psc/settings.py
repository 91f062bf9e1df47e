# SPDX-License-Identifier: Apache-2.0
"""What the sandbox was asked to be, and the failures it can be asked to play."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from simulator.errors import UsageError

REALM = "/auth/realms/esante-wallet"
PROTOCOL = f"{REALM}/protocol/openid-connect"
SCOPES = ("openid", "scope_all")
ACR = "eidas1"
SLOW_SECONDS = 5.0
API = "https://localhost:14443"

FAILURES: dict[str, tuple[str, str]] = {
    "no-card": ("étape carte : comme si aucun certificat n'était présenté", "card step: as if no certificate were presented"),
    "expired": ("étape carte : certificat dit expiré", "card step: certificate said to be expired"),
    "revoked": ("étape carte : carte dite en opposition", "card step: card said to be revoked"),
    "unknown-ca": ("étape carte : autorité dite inconnue", "card step: authority said to be unknown"),
    "handshake": ("étape carte : certificat refusé par une alerte TLS", "card step: certificate refused by a TLS alert"),
    "slow": ("chaque réponse après 5 s (slow=SECONDES)", "each answer after 5 s (slow=SECONDS)"),
    "unavailable": ("le fournisseur répond 503 à tout", "the provider answers 503 to everything"),
    "denied": ("le porteur refuse : access_denied", "the holder refuses: access_denied"),
    "state": ("le state revient faux", "the state comes back wrong"),
    "code-expired": ("code d'autorisation déjà périmé", "authorization code already expired"),
    "token-error": ("le point token répond invalid_grant", "the token endpoint answers invalid_grant"),
    "token-down": ("le point token répond 503", "the token endpoint answers 503"),
    "acr": ("jeton d'identité avec un autre acr", "identity token with another acr"),
    "nonce": ("jeton d'identité avec un autre nonce", "identity token with another nonce"),
    "audience": ("jeton d'identité destiné à un autre client", "identity token for another client"),
    "signature": ("jeton d'identité signé d'une clé non publiée", "identity token signed with a key that is not published"),
    "id-token-expired": ("jeton d'identité périmé", "expired identity token"),
    "token-expired": ("jeton d'accès déjà périmé", "access token already expired"),
    "userinfo-error": ("userinfo répond 500", "userinfo answers 500"),
    "subject": ("userinfo parle d'un autre sub", "userinfo tells of another sub"),
}


@dataclass(frozen=True)
class Failures:
    names: frozenset[str] = frozenset()
    delay: float = 0.0  # seconds before each answer

    def __contains__(self, name: str) -> bool:
        return name in self.names


def parse_failures(text: str) -> Failures:
    """ "acr,slow=2" and the like; the names are those of FAILURES. Raises UsageError."""
    names, delay = set(), 0.0
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = word.partition("=")
        if name not in FAILURES or (equals and name != "slow"):
            known = ", ".join(FAILURES)
            raise UsageError(f"panne inconnue : {word} (connues : {known})", f"unknown failure: {word} (known: {known})")
        if name == "slow":
            delay = _seconds(value) if equals else SLOW_SECONDS
        names.add(name)
    return Failures(frozenset(names), delay)


def _seconds(text: str) -> float:
    whole, _, part = text.partition(".")
    if not (whole + part).isascii() or not (whole + part).isdigit() or not whole or float(text) > 600:
        raise UsageError(f"slow={text} : des secondes, 600 au plus", f"slow={text}: seconds, 600 at most")
    return float(text)


@dataclass(frozen=True)
class Options:
    """port: of the provider; the card step takes the next one, the relying page the one after. 0: any three."""

    port: int = 0
    tls: Literal["1.2 and 1.3", "1.2", "1.3"] = "1.2 and 1.3"  # of the card step
    ca_names: Literal["issuers", "roots"] = "issuers"  # in the CertificateRequest of the card step
    failures: Failures = field(default_factory=Failures)
    client_id: str = "cpx-sim-lgc"
    client_secret: str | None = field(default=None, repr=False)  # None: drawn at each start
    redirect_uris: tuple[str, ...] = ()
    logout_uris: tuple[str, ...] = ()
    strict: bool = False  # refuse a request without state, nonce and PKCE
    api: str = field(
        default_factory=lambda: os.environ.get("CPX_SIM_API") or API
    )  # the card's service that the demonstration asks
    folder: Path | None = None  # where ca.pem goes; None: a folder that goes away at the end


def check_api(address: str) -> str:
    """An https origin of this machine. Raises UsageError."""
    if not re.fullmatch(r"https://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", address):
        raise UsageError(f"pas l'adresse d'un service local : {address}", f"not the address of a local service: {address}")
    return address


def check_uris(uris: Iterable[str]) -> tuple[str, ...]:
    """Absolute, without fragment (RFC 6749, 3.1.2). Raises UsageError."""
    found = tuple(uris)
    for uri in found:
        try:
            parts = urlsplit(uri)
        except ValueError:
            parts = urlsplit("")
        printable = uri.isascii() and uri.isprintable() and not set(uri) & set(" \"'<>\\^`{|};")
        if not printable or not parts.scheme or parts.fragment or (parts.scheme in ("http", "https") and not parts.hostname):
            raise UsageError(f"pas une adresse absolue sans fragment : {uri}", f"not an absolute address without fragment: {uri}")
        if parts.scheme in ("javascript", "data"):
            raise UsageError(f"adresse dangereuse : {uri}", f"dangerous address: {uri}")
    return found
