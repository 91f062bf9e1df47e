# SPDX-License-Identifier: Apache-2.0
"""A client of the provider, as practice software would be: starts the code flow, checks what comes back, shows who it is.

It learns from the provider by its public endpoints alone.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from simulator.psc import pages
from simulator.psc import web as common
from simulator.psc.oidc import Client
from simulator.psc.pages import Words
from simulator.psc.settings import ACR, SCOPES
from simulator.psc.store import Shelf

COOKIE = "__Host-lgc"
CALLBACK, LOGGED_OUT = "/callback", "/logged-out"
_SECONDS = 60.0
_LEEWAY = 30
_OWNER = "LGC"


class _NotRight(Exception):
    """What came back cannot be trusted. `str()` says it in French, `english` in English."""

    def __init__(self, french: str, english: str, code: str) -> None:
        super().__init__(french)
        self.french, self.english, self.code = french, english, code


@dataclass(frozen=True)
class _Asked:
    browser: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class _Known:
    """Who is logged in here."""

    claims: dict[str, Any]
    id_token: str


class RelyingSite:
    """origin: ours. discovery: the address of the provider's metadata. trust: verifies the provider's certificate."""

    def __init__(self, client: Client, origin: str, discovery: str, trust: ssl.SSLContext) -> None:
        self._client, self._origin, self._discovery, self._trust = client, origin, discovery, trust
        self._asked: Shelf[_Asked] = Shelf(600)
        self._known: Shelf[_Known] = Shelf(12 * 3600)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", _explained(self.home)),
            web.get("/login", _explained(self.login)),
            web.get(CALLBACK, _explained(self.callback)),
            web.post("/logout", _explained(self.logout)),
            web.get(LOGGED_OUT, self.logged_out),
        ]

    async def home(self, request: web.Request) -> web.Response:
        words, known = Words(request), self._known.get(common.cookie_of(request, COOKIE))
        if known is None:
            label = words("Se connecter avec Pro Santé Connect", "Log in with Pro Santé Connect")
            card = words("Carte et signature, par cpxd sur ce poste", "Card and signature, by cpxd on this workstation")
            links = pages.link("login", "/login", label) + pages.link("demo", "/carte", card, second=True)
            return pages.page(words, words("Logiciel de test", "Test software"), links, owner=_OWNER)
        provider = await self._call("GET", self._discovery)
        out = pages.form("logout-form", "/logout", pages.button("logout", words("Se déconnecter", "Log out")))
        title = words("Connecté", "Logged in")
        return pages.page(words, title, _identity(words, known.claims) + out, targets=[provider["issuer"]], owner=_OWNER)

    async def login(self, request: web.Request) -> web.Response:
        provider = await self._call("GET", self._discovery)
        browser = common.new_cookie_value()
        asked = _Asked(browser, secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._origin + CALLBACK,
            "scope": " ".join(SCOPES),
            "acr_values": ACR,
            "state": self._asked.put(asked),
            "nonce": asked.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        response = common.redirect(f"{provider['authorization_endpoint']}?{urlencode(query)}")
        common.set_cookie(response, COOKIE, browser)
        return response

    async def callback(self, request: web.Request) -> web.Response:
        query = request.query
        asked = self._asked.pop(query.get("state"))
        if asked is None or not common.same(asked.browser, common.cookie_of(request, COOKIE)):
            raise _NotRight("La réponse ne va avec aucune demande (state).", "The answer fits no request (state).", "state")
        if "error" in query:
            text = f"{query['error']} {query.get('error_description', '')}".strip()[:200]
            raise _NotRight(f"Connexion refusée : {text}", f"Login refused: {text}", query["error"][:50])
        known = await self._exchange(query.get("code", ""), asked)
        response = common.redirect(self._origin + "/")
        common.set_cookie(response, COOKIE, self._known.put(known))  # a new name, known to nobody before
        return response

    async def _exchange(self, code: str, asked: _Asked) -> _Known:
        """Code → tokens → identity, each checked. Raises _NotRight."""
        provider = await self._call("GET", self._discovery)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._origin + CALLBACK,
            "code_verifier": asked.verifier,
        }
        basic = base64.b64encode(f"{self._client.client_id}:{self._client.secret}".encode()).decode()
        tokens = await self._call("POST", provider["token_endpoint"], {"Authorization": f"Basic {basic}"}, form)
        id_token, access_token = str(tokens.get("id_token", "")), str(tokens.get("access_token", ""))
        claims = await self._verified(id_token, provider, asked.nonce)
        info = await self._call("GET", provider["userinfo_endpoint"], {"Authorization": f"Bearer {access_token}"})
        if info.get("sub") != claims["sub"]:
            raise _NotRight("userinfo parle de quelqu'un d'autre.", "userinfo tells of somebody else.", "subject")
        return _Known(info, id_token)

    async def _verified(self, id_token: str, provider: dict[str, Any], nonce: str) -> dict[str, Any]:
        """OpenID Connect Core, 3.1.3.7. Raises _NotRight."""
        try:
            keys = KeySet.import_key_set(await self._call("GET", provider["jwks_uri"]))  # type: ignore[arg-type]
            claims = dict(jwt.decode(id_token, keys, algorithms=["RS256"]).claims)
        except (JoseError, ValueError):
            raise _NotRight("Jeton d'identité : signature fausse.", "Identity token: wrong signature.", "signature") from None
        expected = {"iss": provider["issuer"], "aud": self._client.client_id, "nonce": nonce}
        for name, value in expected.items():
            if claims.get(name) != value:
                raise _NotRight(f"Jeton d'identité : {name} inattendu.", f"Identity token: unexpected {name}.", name)
        if claims.get("acr", ACR) != ACR:
            raise _NotRight("Jeton d'identité : acr insuffisant.", "Identity token: acr not sufficient.", "acr")
        if not isinstance(claims.get("exp"), int) or claims["exp"] + _LEEWAY < time.time():
            raise _NotRight("Jeton d'identité périmé.", "Expired identity token.", "exp")
        if not isinstance(claims.get("sub"), str):
            raise _NotRight("Jeton d'identité sans sub.", "Identity token without sub.", "sub")
        return claims

    async def logout(self, request: web.Request) -> web.Response:
        if not common.same_origin(request, self._origin):
            raise web.HTTPForbidden
        known = self._known.pop(common.cookie_of(request, COOKIE))
        if known is None:
            return common.redirect(self._origin + "/")
        provider = await self._call("GET", self._discovery)
        query = urlencode({"id_token_hint": known.id_token, "post_logout_redirect_uri": self._origin + LOGGED_OUT})
        return common.redirect(f"{provider['end_session_endpoint']}?{query}")

    async def logged_out(self, request: web.Request) -> web.Response:
        words = Words(request)
        body = f'<p id="logged-out">{words("Vous êtes déconnecté.", "You are logged out.")}</p>'
        body += pages.link("login", "/login", words("Se connecter de nouveau", "Log in again"))
        return pages.page(words, words("Déconnexion", "Logout"), body, owner=_OWNER)

    async def _call(
        self, method: str, address: str, headers: dict[str, str] | None = None, form: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that the provider answers. Raises _NotRight."""
        name = address.rsplit("/", 1)[1]
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as http,
                http.request(method, address, headers=headers, data=form, ssl=self._trust, allow_redirects=False) as response,
            ):
                status, answer = response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise _NotRight(f"Le fournisseur ne répond pas ({name}).", f"The provider does not answer ({name}).", name) from None
        if status != 200 or not isinstance(answer, dict):
            why = str(answer.get("error", status))[:50] if isinstance(answer, dict) else str(status)
            raise _NotRight(f"Le fournisseur refuse ({name} : {why}).", f"The provider refuses ({name}: {why}).", name)
        return answer


def _explained(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler, its refusals shown in words."""

    async def explained(request: web.Request) -> web.Response:
        words = Words(request)
        try:
            return await handler(request)
        except _NotRight as error:
            body = pages.error(words, error.french, error.english, error.code)
            body += pages.link("login", "/login", words("Recommencer", "Start again"))
            return pages.page(words, words("Connexion impossible", "Cannot log in"), body, status=403, owner=_OWNER)

    return explained


def _identity(words: Words, claims: dict[str, Any]) -> str:
    labels = {
        "preferred_username": words("Identifiant national", "National identifier"),
        "family_name": words("Nom", "Family name"),
        "given_name": words("Prénoms", "Given names"),
        "SubjectRole": words("Rôle", "Role"),
        "SubjectOrganization": words("Structure", "Organization"),
        "SubjectOrganizationID": words("Identifiant de structure", "Organization identifier"),
    }
    rows = ""
    for name, label in labels.items():
        value = claims.get(name)
        if value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows += f'<dt>{label}</dt><dd id="claim-{name}">{escape(text)}</dd>'
    return f'<dl id="identity">{rows}</dl>'
