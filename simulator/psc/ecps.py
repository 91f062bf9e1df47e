# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the e-CPS: activated with a card that names its holder, then a page that plays the telephone."""

from __future__ import annotations

import time
from html import escape

from aiohttp import web
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError

from simulator.psc import pages
from simulator.psc import web as common
from simulator.psc.admission import Refusal
from simulator.psc.holder import Holder
from simulator.psc.oidc import POLL_SECONDS, SECRET_METHODS, Reply, Request
from simulator.psc.pages import Words
from simulator.psc.provider import COOKIE, ProviderSite, lost
from simulator.psc.settings import PROTOCOL, SCOPES
from simulator.psc.store import Backchannel, Login, Session

_ACTIVATION, _LOGIN, _PHONE, _REQUESTS = "/ecps/activation", "/ecps/connexion", "/ecps/telephone", "/ecps/demandes"
_REQUEST_SECONDS = 120
_MOST_ACTIVATED = 1000
_MOST_MESSAGE = 100


class EcpsSite:
    def __init__(self, site: ProviderSite) -> None:
        self.site = site
        self.activated: dict[str, Holder] = {}  # by national identifier

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ecps", self.start),
            web.get(_ACTIVATION, self.activation),
            web.get(_LOGIN, self.ask_identifier),
            web.post(_LOGIN, self.ask_phone),
            web.post(_PHONE, self.answered),
            web.get(_REQUESTS, self.requests),
            web.post(_REQUESTS, self.request_answered),
            web.post(f"{PROTOCOL}/ext/ciba/auth", self.backchannel),
        ]

    async def start(self, request: web.Request) -> web.Response:
        words = Words(request)
        browser = common.cookie_of(request, COOKIE) or common.new_cookie_value()
        name = self.site.logins.put(Login(browser, None, back=_ACTIVATION))
        label = words("Activer mon e-CPS avec ma carte", "Activate my e-CPS with my card")
        response = pages.page(words, words("Activer une e-CPS", "Activate an e-CPS"), self._activate(name, label))
        common.set_cookie(response, COOKIE, browser)
        return response

    def _activate(self, name: str, label: str) -> str:
        return pages.link("activate", self.site.card_address(name), label)

    async def activation(self, request: web.Request) -> web.Response:
        """After the card step: activated, or why not."""
        words, found = Words(request), self.site.login_of(request)
        if found is None or found[1].back != _ACTIVATION:
            return lost(words)
        name, login = found
        refusal = login.refusal
        if login.holder is None:
            refusal = refusal or Refusal("no-card")
        elif login.holder.anonymous:
            refusal = Refusal("anonymous")
        if refusal is not None or login.holder is None:
            refusal = refusal or Refusal("no-card")
            body = pages.error(words, refusal.french, refusal.english, refusal.code)
            body += self._activate(name, words("Réessayer avec la carte", "Try again with the card"))
            return pages.page(words, words("e-CPS non activée", "e-CPS not activated"), body, status=403)
        self.site.logins.pop(name)
        if len(self.activated) >= _MOST_ACTIVATED:
            self.activated.pop(next(iter(self.activated)))
        self.activated[login.holder.identifier] = login.holder
        text = words("L'e-CPS est activée. Identifiant :", "The e-CPS is activated. Identifier:")
        shown = f'<p id="ecps-activated">{text} <strong>{escape(login.holder.identifier)}</strong></p>'
        return pages.page(words, words("e-CPS activée", "e-CPS activated"), shown)

    async def ask_identifier(self, request: web.Request) -> web.Response:
        words, found = Words(request), self.site.login_of(request)
        if found is None or found[1].parameters is None:
            return lost(words)
        return self._identifier_page(words, found[0])

    def _identifier_page(self, words: Words, name: str, refused: bool = False) -> web.Response:
        body = ""
        if refused:
            french = "Aucune e-CPS n'est activée pour cet identifiant."
            body += pages.error(words, french, "No e-CPS is activated for this identifier.", "ecps-unknown")
        label = words("Identifiant national (RPPS, ADELI…)", "National identifier (RPPS, ADELI…)")
        body += pages.form(
            "ecps-form",
            _LOGIN,
            f'<p><label for="ecps-identifier">{label}</label>'
            '<input id="ecps-identifier" name="identifier" autocomplete="off" required maxlength="64"></p>'
            + pages.button("ecps-submit", words("Continuer", "Continue")),
            login=name,
        )
        body += pages.link("ecps-activation", "/ecps", words("Activer une e-CPS", "Activate an e-CPS"), second=True)
        return pages.page(
            words, words("Se connecter avec l'e-CPS", "Log in with the e-CPS"), body, status=403 if refused else 200
        )

    async def _form(self, request: web.Request) -> tuple[dict[str, str], tuple[str, Login] | None]:
        fields = dict(await common.form_pairs(request))
        found = self.site.login_of(request, fields.get("login", ""))
        if found is None or found[1].parameters is None or not common.same_origin(request, self.site.origin):
            return fields, None
        return fields, found

    async def ask_phone(self, request: web.Request) -> web.Response:
        words = Words(request)
        fields, found = await self._form(request)
        if found is None:
            return lost(words)
        name, login = found
        login.asked_phone = self.activated.get(fields.get("identifier", "").strip())
        if login.asked_phone is None:
            return self._identifier_page(words, name, refused=True)
        question = words("Cette page joue le téléphone. Accepter la connexion ?", "This page plays the phone. Accept the login?")
        body = f"<p>{question}</p>" + pages.form("ecps-phone", _PHONE, _choice(words), login=name)
        title = words("Téléphone de l'e-CPS", "Phone of the e-CPS")
        return pages.page(words, title, body)

    async def answered(self, request: web.Request) -> web.Response:
        words = Words(request)
        fields, found = await self._form(request)
        if found is None or found[1].asked_phone is None:
            return lost(words)
        name, login = found
        login.denied = fields.get("answer") != "accept"
        if not login.denied:
            login.holder, login.means, login.refusal = login.asked_phone, "e-cps", None
        # A page and no redirect: browsers hold a form to the page's form-action over all redirects, the client's own included.
        then = f"/auth/suite?login={name}"
        body = pages.link("continue", then, words("Continuer", "Continue"))
        return pages.page(words, words("Réponse envoyée", "Answer sent"), body, then=then)

    # CIBA: the client asks, the telephone answers, the client polls

    async def backchannel(self, request: web.Request) -> web.Response:
        """The backchannel authentication endpoint (CIBA Core 1.0, 7 and 13)."""
        pairs = await common.form_pairs(request)
        return self.site.called(request, pairs, self._backchannel)

    def _backchannel(self, request: Request) -> Reply:
        provider = self.site.provider
        client = provider.authenticate_client(request, SECRET_METHODS, "ciba")
        asked = request.form
        if not set(SCOPES) <= set(asked.get("scope", "").split()):
            raise OAuth2Error(error="invalid_scope", description="scope must be: openid scope_all")
        if "request" in asked or not asked.get("login_hint"):
            raise InvalidRequestError("login_hint is required, and read from the form only.")
        message = asked.get("binding_message", "")
        if len(message) > _MOST_MESSAGE or not message.isprintable():
            raise OAuth2Error(error="invalid_binding_message")
        holder = self.activated.get(asked["login_hint"])
        if holder is None:
            raise OAuth2Error(error="unknown_user_id")
        wanted = Backchannel(client.client_id, " ".join(SCOPES), holder, message, time.time() + _REQUEST_SECONDS)
        name = provider.backchannel.put(wanted)
        return Reply(200, {"auth_req_id": name, "expires_in": _REQUEST_SECONDS, "interval": POLL_SECONDS}, [])

    async def requests(self, request: web.Request) -> web.Response:
        """The telephones' page: what waits for an answer."""
        words, now, items = Words(request), time.time(), ""
        for name, asked in self.site.provider.backchannel.items():
            if asked.session is None and not asked.refused and now < asked.expires_at:
                about = escape(f"{asked.holder.identifier}, {asked.client_id} : {asked.message}")
                items += f'<p class="request">{about}</p>' + pages.form(
                    f"request-{name}", _REQUESTS, _choice(words), request=name
                )
        empty = f'<p id="no-request">{words("Aucune demande en attente.", "No request is waiting.")}</p>'
        return pages.page(words, words("Téléphones des e-CPS", "Phones of the e-CPS"), items or empty)

    async def request_answered(self, request: web.Request) -> web.Response:
        fields = dict(await common.form_pairs(request))
        asked = self.site.provider.backchannel.get(fields.get("request"))
        if asked is None or asked.refused or asked.session or not common.same_origin(request, self.site.origin):
            return lost(Words(request))
        if fields.get("answer") == "accept":
            asked.session = Session(asked.holder, "e-cps", asked.client_id, browser="")
        else:
            asked.refused = True
        return common.redirect(self.site.origin + _REQUESTS)


def _choice(words: Words) -> str:
    return pages.button("ecps-accept", words("Accepter", "Accept"), "answer", "accept") + pages.button(
        "ecps-refuse", words("Refuser", "Refuse"), "answer", "refuse", second=True
    )
