# SPDX-License-Identifier: Apache-2.0
"""What the provider remembers, in memory and for a time: logins under way, sessions, codes, tokens."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from authlib.oauth2.rfc6749 import TokenMixin
from authlib.oidc.core import AuthorizationCodeMixin

from simulator.psc.admission import Refusal
from simulator.psc.holder import Holder, Means
from simulator.psc.settings import ACR

T = TypeVar("T")


class Shelf(Generic[T]):
    """Values by unguessable names, each gone after `life` seconds, the oldest gone when there are more than `most`."""

    def __init__(self, life: float, most: int = 10_000) -> None:
        self._life, self._most = life, most
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def put(self, value: T) -> str:
        name = secrets.token_urlsafe(32)
        self.put_as(name, value)
        return name

    def put_as(self, name: str, value: T) -> None:
        self._values[name] = (time.monotonic() + self._life, value)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def get(self, name: str | None) -> T | None:
        until, value = self._values.get(name or "", (0.0, None))
        if value is not None and time.monotonic() >= until:
            del self._values[name or ""]
            return None
        return value

    def pop(self, name: str | None) -> T | None:
        value = self.get(name)
        if value is not None:
            del self._values[name or ""]
        return value

    def items(self) -> list[tuple[str, T]]:
        now = time.monotonic()
        return [(name, value) for name, (until, value) in self._values.items() if now < until]


@dataclass
class Login:
    """A login under way in a browser. parameters: of the authorization request, checked; None: an e-CPS activation."""

    browser: str  # the cookie it is bound to
    parameters: tuple[tuple[str, str], ...] | None
    redirect_uri: str = ""
    back: str = "/auth/suite"  # where the card step sends the browser
    holder: Holder | None = None
    means: Means = "card"
    refusal: Refusal | None = None
    asked_phone: Holder | None = None  # whose e-CPS was asked to confirm
    denied: bool = False  # by the holder, on the telephone


@dataclass
class Session:
    """A holder logged in at a client."""

    holder: Holder
    means: Means
    client_id: str
    browser: str
    sid: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    auth_time: int = field(default_factory=lambda: int(time.time()))
    ended: bool = False


@dataclass
class Code(AuthorizationCodeMixin):
    client_id: str
    redirect_uri: str
    scope: str
    session: Session
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    used: bool = False

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.session.auth_time

    def get_acr(self) -> str:
        return ACR


@dataclass
class Token(TokenMixin):
    client_id: str
    scope: str
    session: Session
    issued_at: int
    expires_in: int

    def is_expired(self) -> bool:
        return time.time() >= self.issued_at + self.expires_in

    def is_revoked(self) -> bool:
        return self.session.ended

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Backchannel:
    """A login that a client asked for without a browser (CIBA). session: once the holder accepted."""

    client_id: str
    scope: str
    holder: Holder
    message: str
    expires_at: float
    session: Session | None = None
    refused: bool = False
    used: bool = False
    polled_at: float = 0.0
