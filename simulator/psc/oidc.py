# SPDX-License-Identifier: Apache-2.0
"""The OpenID Connect provider, without its pages: Authlib's server with our memory, claims and scripted failures."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, InvalidRequestError, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, BaseGrant, TokenEndpointMixin
from authlib.oauth2.rfc6749.hooks import hooked
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oidc.core.grants import OpenIDCode
from authlib.oidc.rpinitiated import EndSessionEndpoint, EndSessionRequest
from joserfc.jwk import KeySet, RSAKey

from simulator.psc.settings import ACR, SCOPES, Failures
from simulator.psc.store import Backchannel, Code, Session, Shelf, Token

CODE_SECONDS = 60
TOKEN_SECONDS = 300
POLL_SECONDS = 2
SECRET_METHODS = ["client_secret_basic", "client_secret_post"]
_OTHER_ACR = "eidas3"

Pairs = Sequence[tuple[str, str]]


class Reply(NamedTuple):
    status: int
    body: Any  # a mapping is JSON
    headers: list[tuple[str, str]]


@dataclass(frozen=True)
class Client(ClientMixin):
    client_id: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]
    logout_uris: tuple[str, ...] = ()

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        return None  # always named in the request (OpenID Connect Core, 3.1.2.1)

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(word for word in SCOPES if word in (scope or "").split())

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self.redirect_uris

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(self.secret.encode(), secret.encode("utf-8", "surrogateescape"))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in SECRET_METHODS

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True

    @property
    def client_metadata(self) -> dict[str, Any]:
        return {"post_logout_redirect_uris": self.logout_uris}


class _Payload(OAuth2Payload):
    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    @property
    def data(self) -> dict[str, str]:
        return dict(reversed(self._pairs))

    @property
    def datalist(self) -> dict[str, list[str]]:
        return {name: [value for other, value in self._pairs if other == name] for name, _ in self._pairs}


class Request(OAuth2Request):
    """uri: of the endpoint, without query. pairs: the parameters, from the query or the form."""

    def __init__(self, method: str, uri: str, pairs: Pairs, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(method, uri, headers=headers or {})
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):  # RFC 6749, 3.1 and 3.2
            raise InvalidRequestError("A parameter is given twice.")
        self.payload = _Payload(pairs)

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


class Provider(AuthorizationServer):
    def __init__(self, issuer: str, clients: Sequence[Client], failures: Failures, strict: bool) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.issuer, self.failures, self.strict = issuer, failures, strict
        self.clients = {client.client_id: client for client in clients}
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self.signing_key = self.key
        if "signature" in failures:
            kid = str(self.key.kid)
            self.signing_key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": kid})
        self.codes: Shelf[Code] = Shelf(600)  # longer than they are worth, to notice a replay
        self.tokens: Shelf[Token] = Shelf(3600)
        self.backchannel: Shelf[Backchannel] = Shelf(600)
        self.sessions: Shelf[Session] = Shelf(12 * 3600)
        life = 0 if "token-expired" in failures else TOKEN_SECONDS
        self.register_token_generator(
            "default", BearerTokenGenerator(lambda **_: secrets.token_urlsafe(32), None, lambda *_: life)
        )
        self.register_grant(_CodeGrant, [_Pkce(), _IdToken(self)])
        self.register_grant(_BackchannelGrant, [_IdToken(self)])
        self.register_endpoint(_Introspection)
        self.register_endpoint(_EndSession)

    def keys(self) -> dict[str, Any]:
        return dict(KeySet([self.key]).as_dict(private=False))

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def save_token(self, token: dict[str, Any], request: Request) -> None:
        session: Session = request.user
        value = Token(request.client.client_id, token["scope"], session, int(time.time()), token.get("expires_in", 0))
        self.tokens.put_as(token["access_token"], value)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Request) -> Request:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Reply:
        if isinstance(body, list):
            body = dict(body)
        return Reply(status, body, list(headers))

    def open_session(self, session: Session) -> None:
        self.sessions.put_as(session.sid, session)

    def end_sessions_of(self, browser: str) -> None:
        for _, session in self.sessions.items():
            if browser and secrets.compare_digest(session.browser, browser):
                session.ended = True


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = SECRET_METHODS
    server: Provider

    def save_authorization_code(self, code: str, request: Request) -> None:
        asked, session = request.payload.data, request.user
        self.server.open_session(session)
        value = Code(
            client_id=request.client.client_id,
            redirect_uri=asked["redirect_uri"],
            scope=request.scope,
            session=session,
            nonce=asked.get("nonce"),
            code_challenge=asked.get("code_challenge"),
            code_challenge_method=asked.get("code_challenge_method"),
        )
        self.server.codes.put_as(code, value)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        """A code serves one request, right or wrong; the second one ends what the first one opened (RFC 6749, 4.1.2)."""
        found = self.server.codes.get(code)
        if found is None or found.client_id != client.client_id:
            return None
        if found.used:
            found.session.ended = True
            return None
        found.used = True
        life = 0 if "code-expired" in self.server.failures else CODE_SECONDS
        return found if time.time() < found.session.auth_time + life else None

    def delete_authorization_code(self, code: Code) -> None:
        """Kept, used, until its shelf lets it go."""

    def authenticate_user(self, code: Code) -> Session | None:
        return None if code.session.ended else code.session


class _BackchannelGrant(BaseGrant, TokenEndpointMixin):
    """The token request of CIBA, by polling (CIBA Core 1.0, 10.1 and 11)."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRET_METHODS
    GRANT_TYPE = "urn:openid:params:grant-type:ciba"
    server: Provider

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        asked: Backchannel | None = self.server.backchannel.get(self.request.form.get("auth_req_id"))
        if asked is None or asked.used or asked.client_id != client.client_id:
            raise OAuth2Error(error="invalid_grant")
        now, last = time.time(), asked.polled_at
        asked.polled_at = now
        if asked.refused:
            raise OAuth2Error(error="access_denied")
        if now >= asked.expires_at:
            raise OAuth2Error(error="expired_token")
        if asked.session is None:
            raise OAuth2Error(error="slow_down" if now < last + POLL_SECONDS / 2 else "authorization_pending")
        self.request.client, self.request.user, self.request.scope = client, asked.session, asked.scope
        asked.used = True

    @hooked  # type: ignore[untyped-decorator]  # Authlib has no types
    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        self.server.open_session(self.request.user)
        token = self.generate_token(user=self.request.user, scope=self.request.scope, include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class _Pkce(CodeChallenge):
    """S256 or nothing (RFC 9700, 2.1.1); nothing is refused when the provider is strict."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - as Authlib declares it

    def validate_code_challenge(self, grant: _CodeGrant, redirect_uri: str) -> None:
        super().validate_code_challenge(grant, redirect_uri)
        asked = grant.request.payload.data
        if asked.get("code_challenge") and asked.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method must be S256.")
        if grant.server.strict:
            for name in ("state", "nonce", "code_challenge"):
                if not asked.get(name):
                    raise InvalidRequestError(f"Missing {name} (the provider is strict).")


class _IdToken(OpenIDCode):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def exists_nonce(self, nonce: str, request: Request) -> bool:
        return False  # nonces are the client's to check; the same request is validated twice here

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._provider.signing_key

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "typ": "JWT", "kid": str(self._provider.key.kid)}

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        failures, now = self._provider.failures, int(time.time())
        return {
            "iss": self._provider.issuer,
            "aud": "another-client" if "audience" in failures else client.client_id,
            "azp": client.client_id,
            "iat": now - 7200 if "id-token-expired" in failures else now,
            "exp": now - 3600 if "id-token-expired" in failures else now + TOKEN_SECONDS,
        }

    def generate_user_info(self, user: Session, scope: str) -> dict[str, Any]:
        """What else the identity token says; it comes last, over the code's own claims."""
        failures = self._provider.failures
        claims: dict[str, Any] = {
            "sub": user.holder.subject,
            "preferred_username": user.holder.identifier,
            "acr": _OTHER_ACR if "acr" in failures else ACR,
            "amr": None,
            "idp": "PSC",
            "sid": user.sid,
        }
        return claims | ({"nonce": secrets.token_urlsafe(16)} if "nonce" in failures else {})


class _Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = SECRET_METHODS

    def query_token(self, token: str, hint: str | None) -> Token | None:
        found: Token | None = self.server.tokens.get(token)
        return found

    def check_permission(self, token: Token, client: Client, request: Request) -> bool:
        return token.client_id == client.client_id

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {
            "active": True,
            "client_id": token.client_id,
            "username": token.session.holder.identifier,
            "sub": token.session.holder.subject,
            "scope": token.scope,
            "token_type": "Bearer",
            "iss": self.server.issuer,
            "aud": token.client_id,
            "iat": token.issued_at,
            "exp": token.issued_at + token.expires_in,
            "acr": ACR,
        }


class _EndSession(EndSessionEndpoint):
    def get_server_jwks(self) -> KeySet:
        return KeySet([self.server.key])

    def get_algorithms(self) -> list[str]:
        return ["RS256"]

    def end_session(self, end_session_request: EndSessionRequest) -> None:
        session = self.server.sessions.get((end_session_request.id_token_claims or {}).get("sid"))
        if session is not None:
            session.ended = True
