# SPDX-License-Identifier: Apache-2.0
"""The provider's endpoints and pages, and the card step, which only sends back to a page of the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Request

from simulator.psc import cardtls, pages
from simulator.psc import web as common
from simulator.psc.admission import Admission, Refusal
from simulator.psc.holder import Holder, user_info
from simulator.psc.oidc import Pairs, Provider, Reply, Request
from simulator.psc.pages import Words
from simulator.psc.settings import PROTOCOL, REALM, SCOPES
from simulator.psc.store import Login, Session, Shelf, Token

COOKIE = "__Host-psc"
LOGIN_SECONDS = 600
CARD_PATH = "/carte"


class ProviderSite:
    """origin, card_origin: "https://localhost:PORT"."""

    def __init__(self, provider: Provider, admission: Admission, origin: str, card_origin: str) -> None:
        self.provider, self.admission = provider, admission
        self.origin, self.card_origin = origin, card_origin
        self.failures = provider.failures
        self.logins: Shelf[Login] = Shelf(LOGIN_SECONDS)

    async def before(self) -> None:
        """Failures that touch every answer of the provider."""
        if self.failures.delay:
            await asyncio.sleep(self.failures.delay)
        if "unavailable" in self.failures:
            raise web.HTTPServiceUnavailable

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/auth", self.authorize),
            web.post("/auth", self.authorize),
            web.get("/auth/suite", self.resume),
            web.get("/auth/annulation", self.cancel),
            web.get(f"{REALM}/.well-known/wallet-openid-configuration", self.metadata),
            web.get(f"{PROTOCOL}/certs", self.certs),
            web.post(f"{PROTOCOL}/token", self.token),
            web.get(f"{PROTOCOL}/userinfo", self.userinfo),
            web.post(f"{PROTOCOL}/userinfo", self.userinfo),
            web.post(f"{PROTOCOL}/token/introspect", self.introspect),
            web.get(f"{PROTOCOL}/logout", self.logout),
            web.post(f"{PROTOCOL}/logout", self.logout),
        ]

    def card_routes(self) -> list[web.RouteDef]:
        return [web.get(CARD_PATH, self.card_step)]

    # the authorization endpoint and what follows it in the browser

    async def authorize(self, request: web.Request) -> web.Response:
        words = Words(request)
        pairs = await common.form_pairs(request) if request.method == "POST" else list(request.query.items())
        answer = self._check(words, pairs)
        if answer is not None:
            return answer
        asked = dict(pairs)
        browser = common.cookie_of(request, COOKIE) or common.new_cookie_value()
        name = self.logins.put(Login(browser, tuple(pairs), asked["redirect_uri"]))
        body = (
            pages.link("login-card", self.card_address(name), words("Carte CPS", "CPS card"))
            + pages.link("login-ecps", f"/ecps/connexion?login={name}", words("e-CPS", "e-CPS"), second=True)
            + pages.link("cancel", f"/auth/annulation?login={name}", words("Annuler", "Cancel"), second=True)
        )
        response = pages.page(words, _title(words), body)
        common.set_cookie(response, COOKIE, browser)
        return response

    def _check(self, words: Words, pairs: Pairs) -> web.Response | None:
        """None when the request is right. An error goes back to the client only at an address registered for it."""
        asked = dict(pairs)
        client = self.provider.query_client(asked.get("client_id", ""))
        if len(asked) != len(pairs):
            return _refused(
                words,
                "Demande d'autorisation inacceptable : un paramètre est donné deux fois.",
                "Bad authorization request: a parameter is given twice.",
            )
        if client is None:
            return _refused(
                words,
                "Demande d'autorisation inacceptable : client (client_id) inconnu.",
                "Bad authorization request: client (client_id) not known.",
            )
        if not client.check_redirect_uri(asked.get("redirect_uri", "")):
            return _refused(
                words,
                "Adresse de retour (redirect_uri) inconnue pour ce client : elle doit être exactement celle déclarée.",
                "Redirect URI (redirect_uri) not known for this client: it must be exactly the one registered.",
            )
        error = _unsupported(asked)
        if error is None:
            try:
                self.provider.get_consent_grant(self._request(pairs))
                return None
            except OAuth2Error as found:
                error = found
            except ValueError:  # Authlib quotes the request in its errors, and refuses to quote some characters
                error = InvalidRequestError()
        error.redirect_uri, error.state = asked["redirect_uri"], asked.get("state")
        return _answer(Reply(*error()))

    def _request(self, pairs: Pairs) -> Request:
        return Request("GET", f"{self.origin}/auth", pairs)

    def card_address(self, login: str) -> str:
        return f"{self.card_origin}{CARD_PATH}?login={login}"

    def login_of(self, request: web.Request, name: str | None = None) -> tuple[str, Login] | None:
        """The login that a request names, if it is that browser's own."""
        name = name if name is not None else request.query.get("login", "")
        login = self.logins.get(name)
        if login is None or not common.same(common.cookie_of(request, COOKIE), login.browser):
            return None
        return name, login

    async def card_step(self, request: web.Request) -> web.Response:
        """Over TLS with the card: writes down who came, and sends the browser back. Never a page, so one handshake in all."""
        found = self.login_of(request)
        if found is not None:
            name, login = found
            try:
                login.holder, login.means, login.refusal = self._examine(request), "card", None
                common.log(f"card step: admitted {login.holder.identifier}")
            except Refusal as refusal:
                login.holder, login.refusal = None, refusal
                common.log(f"card step: refused, {refusal.code}: {refusal}")
        back = f"{login.back}?login={name}" if found is not None else "/auth/suite"
        return common.redirect(self.origin + back)

    def _examine(self, request: web.Request) -> Holder:
        peer = cardtls.peer_of(request.transport)
        for code in ("no-card", "expired", "revoked", "unknown-ca"):
            if code in self.failures:
                raise Refusal(code, "scripted")
        if peer is None or peer.certificate is None:
            raise Refusal("no-card")
        return self.admission.examine(peer.certificate, peer.chain)

    async def resume(self, request: web.Request) -> web.Response:
        """After the card or the e-CPS: the code for the client, or why not."""
        words, found = Words(request), self.login_of(request)
        if found is None or found[1].parameters is None:
            return lost(words)
        name, login = found
        if login.denied:
            self.logins.pop(name)
            return self.finish(login, None)
        if login.holder is None:
            refusal = login.refusal or Refusal("no-card")
            body = pages.error(words, refusal.french, refusal.english, refusal.code)
            body += pages.link("login-card", self.card_address(name), words("Réessayer avec la carte", "Try again with the card"))
            body += pages.link("login-ecps", f"/ecps/connexion?login={name}", words("e-CPS", "e-CPS"), second=True)
            body += pages.link("cancel", f"/auth/annulation?login={name}", words("Annuler", "Cancel"), second=True)
            return pages.page(words, words("Connexion refusée", "Login refused"), body, status=403)
        self.logins.pop(name)
        session = Session(login.holder, login.means, dict(login.parameters or ())["client_id"], login.browser)
        return self.finish(login, None if "denied" in self.failures else session)

    def finish(self, login: Login, session: Session | None) -> web.Response:
        """Back to the client with a code, or with access_denied."""
        pairs = list(login.parameters or ())
        if "state" in self.failures:
            pairs = [(k, v + "x" if k == "state" else v) for k, v in pairs]
        request = self._request(pairs)
        try:
            grant = self.provider.get_consent_grant(request)
            return _answer(self.provider.create_authorization_response(request, grant_user=session, grant=grant))
        except OAuth2Error as error:
            error.redirect_uri = login.redirect_uri
            return _answer(Reply(*error()))

    async def cancel(self, request: web.Request) -> web.Response:
        found = self.login_of(request)
        if found is None or found[1].parameters is None:
            return lost(Words(request))
        self.logins.pop(found[0])
        return self.finish(found[1], None)

    # the endpoints that programs call

    async def metadata(self, _: web.Request) -> web.Response:
        return common.json(200, metadata(self.origin))

    async def certs(self, _: web.Request) -> web.Response:
        return common.json(200, self.provider.keys())

    async def token(self, request: web.Request) -> web.Response:
        pairs = await common.form_pairs(request)
        if "token-down" in self.failures:
            raise web.HTTPServiceUnavailable
        if "token-error" in self.failures:
            return common.json(400, {"error": "invalid_grant", "error_description": "scripted"})
        return self.called(request, pairs, self.provider.create_token_response)

    async def introspect(self, request: web.Request) -> web.Response:
        pairs = await common.form_pairs(request)
        return self.called(request, pairs, lambda r: self.provider.create_endpoint_response("introspection", r))

    def called(self, request: web.Request, pairs: Pairs, serve: Callable[[OAuth2Request], Any]) -> web.Response:
        try:
            return _answer(serve(Request(request.method, self.origin + request.path, pairs, request.headers)))
        except OAuth2Error as error:
            return _answer(Reply(*error()))
        except ValueError:
            return _answer(Reply(*InvalidRequestError()()))

    async def userinfo(self, request: web.Request) -> web.Response:
        if "userinfo-error" in self.failures:
            return common.json(500, {"error": "server_error"})
        token = self._bearer(request)
        if token is None or token.is_expired() or token.is_revoked():
            return common.json(401, {"error": "invalid_token"}, [("WWW-Authenticate", 'Bearer error="invalid_token"')])
        claims = user_info(token.session.holder, token.session.means)
        return common.json(200, claims | ({"sub": claims["sub"] + "0"} if "subject" in self.failures else {}))

    def _bearer(self, request: web.Request) -> Token | None:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        return self.provider.tokens.get(value.strip()) if kind.lower() == "bearer" else None

    async def logout(self, request: web.Request) -> web.Response:
        """RP-Initiated Logout 1.0. Without a proof of who asks, the person is asked."""
        words = Words(request)
        pairs = await common.form_pairs(request) if request.method == "POST" else list(request.query.items())
        asked = dict(pairs)
        if asked.get("confirm") == "yes" and request.method == "POST" and common.same_origin(request, self.origin):
            self.provider.end_sessions_of(common.cookie_of(request, COOKIE))
            return _logged_out(words)
        try:
            validated = self.provider.validate_endpoint_request(
                "end_session", Request(request.method, self.origin + request.path, pairs)
            )
        except (OAuth2Error, ValueError):
            return _refused(words, "Demande de déconnexion inacceptable.", "Bad logout request.")
        if validated.needs_confirmation:
            ask = pages.form(
                "logout-form", request.path, pages.button("logout", words("Se déconnecter", "Log out")), confirm="yes"
            )
            return pages.page(words, words("Se déconnecter ?", "Log out?"), ask)
        if asked.get("post_logout_redirect_uri") and validated.redirect_uri is None:
            return _refused(words, "Adresse de retour de déconnexion inconnue.", "Post-logout address not known.")
        reply = self.provider.create_endpoint_response("end_session", validated)
        return _answer(reply) if reply is not None else _logged_out(words)


def metadata(origin: str) -> dict[str, Any]:
    methods = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": origin + REALM,
        "authorization_endpoint": f"{origin}/auth",
        "token_endpoint": f"{origin}{PROTOCOL}/token",
        "userinfo_endpoint": f"{origin}{PROTOCOL}/userinfo",
        "end_session_endpoint": f"{origin}{PROTOCOL}/logout",
        "jwks_uri": f"{origin}{PROTOCOL}/certs",
        "introspection_endpoint": f"{origin}{PROTOCOL}/token/introspect",
        "backchannel_authentication_endpoint": f"{origin}{PROTOCOL}/ext/ciba/auth",
        "backchannel_token_delivery_modes_supported": ["poll"],
        "grant_types_supported": ["authorization_code", "urn:openid:params:grant-type:ciba"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(SCOPES),
        "acr_values_supported": ["eidas1"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def _unsupported(asked: dict[str, str]) -> OAuth2Error | None:
    """What Authlib lets pass and this provider does not do (OpenID Connect Core, 3.1.2.1 and 6)."""
    if asked.get("response_type") != "code":
        return OAuth2Error(error="unsupported_response_type")
    for name, error in (("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")):
        if name in asked:
            return OAuth2Error(error=error)
    if asked.get("response_mode", "query") != "query":
        return InvalidRequestError("response_mode must be query.")
    if not set(SCOPES) <= set(asked.get("scope", "").split()):
        return OAuth2Error(error="invalid_scope", description="scope must be: openid scope_all")
    return None


def _title(words: Words) -> str:
    return "Log in with Pro Santé Connect" if words.language == "en" else "Se connecter avec Pro Santé Connect"


def lost(words: Words) -> web.Response:
    return _refused(
        words,
        "Cette connexion n'existe plus ou n'est pas celle de ce navigateur. Recommencez depuis le logiciel.",
        "This login is gone or is not this browser's. Start again from the software.",
    )


def _refused(words: Words, french: str, english: str) -> web.Response:
    return pages.page(words, words("Refusé", "Refused"), pages.error(words, french, english, "request"), status=400)


def _logged_out(words: Words) -> web.Response:
    body = f'<p id="logged-out">{words("Vous êtes déconnecté.", "You are logged out.")}</p>'
    return pages.page(words, words("Déconnexion", "Logout"), body)


def _answer(reply: Reply) -> web.Response:
    location = dict(reply.headers).get("Location")
    if location is not None:
        return common.redirect(location)
    return common.json(reply.status, dict(reply.body) if isinstance(reply.body, list) else reply.body, reply.headers)
