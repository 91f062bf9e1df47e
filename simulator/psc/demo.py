# SPDX-License-Identifier: Apache-2.0
"""The demonstration page of the local API: it lists cards, logs in with one and has a document signed, through clients/js.

The browser is the one that asks the card's service; the server gives a nonce and judges the token that comes back (Web eID
authentication token format, web-eid:1.0) with its own origin and its own nonce.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from simulator.psc import pages
from simulator.psc import web as common
from simulator.psc.admission import Refusal
from simulator.psc.holder import Holder
from simulator.psc.pages import Words
from simulator.psc.store import Shelf

PATH = "/carte"
_COOKIE = "__Host-carte"
_HERE = Path(__file__).parent
_DOCUMENT = "Ordonnance d'essai\nParacétamol 1 g, 3 fois par jour, 5 jours."
_OWNER = "LGC"


class DemoSite:
    """origin: ours. api: the address of the card's service. examine: whose certificate it is. Raises Refusal."""

    def __init__(self, origin: str, api: str, examine: Callable[[x509.Certificate], Holder]) -> None:
        self._origin, self._api, self._examine = origin, api, examine
        self._nonces: Shelf[str] = Shelf(300)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PATH, self.page),
            web.get(f"{PATH}/demo.js", _script("demo.js")),
            web.get(f"{PATH}/cpxd.js", _script("cpxd.js")),
            web.post(f"{PATH}/nonce", self.nonce),
            web.post(f"{PATH}/login", self.login),
        ]

    async def page(self, request: web.Request) -> web.Response:
        words = Words(request)
        body = (
            f"<p>{words('Cette page parle à cpxd, sur votre poste.', 'This page talks to cpxd, on your workstation.')}</p>"
            f'<p id="access">{words("Accès local : ?", "Local access: ?")}</p>'
            f'{_button("list", words("Lecteurs et cartes", "Readers and cards"))}<ul id="cards"></ul>'
            f"{_button('authenticate', words('Se connecter avec la carte', 'Log in with the card'))}"
            '<p id="holder" role="status"></p>'
            f'<label for="document">{words("Document à signer", "Document to sign")}</label>'
            f'<textarea id="document" rows="3">{words(_DOCUMENT, _DOCUMENT)}</textarea>'
            f"{_button('sign', words('Signer', 'Sign'))}"
            '<p id="signed" role="status"></p><div id="error" role="alert" hidden></div>'
            f'<script type="module" src="{PATH}/demo.js" data-api="{self._api}"></script>'
        )
        answer = pages.page(words, words("Carte et signature", "Card and signature"), body, owner=_OWNER)
        policy = answer.headers["Content-Security-Policy"]
        answer.headers["Content-Security-Policy"] = f"{policy}; script-src 'self'; connect-src 'self' {self._api}"
        return answer

    async def nonce(self, request: web.Request) -> web.Response:
        if not common.same_origin(request, self._origin):
            raise web.HTTPForbidden
        nonce = common.new_cookie_value() + common.new_cookie_value()[:5]  # 48 characters
        answer = common.json(200, {"nonce": nonce})
        common.set_cookie(answer, _COOKIE, self._nonces.put(nonce))
        return answer

    async def login(self, request: web.Request) -> web.Response:
        nonce = self._nonces.pop(common.cookie_of(request, _COOKIE))
        if nonce is None or not common.same_origin(request, self._origin):
            raise web.HTTPForbidden
        try:
            certificate = judge(json.loads(await request.text()), self._origin, nonce)
            holder = self._examine(certificate)
        except (ValueError, RecursionError):
            words = Words(request)
            return common.json(403, {"error": words("Jeton refusé.", "Token refused.")})
        except Refusal as refusal:
            return common.json(403, {"error": Words(request)(refusal.french, refusal.english)})
        names = [name for name in (holder.given_name, holder.family_name) if name]
        return common.json(200, {"identifier": holder.identifier, "name": " ".join(names)})


def judge(token: Any, origin: str, nonce: str) -> x509.Certificate:
    """Whose key signed hash(origin) and hash(nonce); the certificate itself is not judged. Raises ValueError."""
    if not isinstance(token, dict) or not all(isinstance(value, str) for value in token.values()):
        raise ValueError("not a token")
    if token.get("format") != "web-eid:1.0":
        raise ValueError("format")
    certificate = x509.load_der_x509_certificate(base64.b64decode(token.get("unverifiedCertificate", ""), validate=True))
    signature = base64.b64decode(token.get("signature", ""), validate=True)
    signed = hashlib.sha256(origin.encode()).digest() + hashlib.sha256(nonce.encode()).digest()
    pad: padding.AsymmetricPadding
    if token.get("algorithm") == "RS256":
        pad = padding.PKCS1v15()
    elif token.get("algorithm") == "PS256":
        pad = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    else:
        raise ValueError("algorithm")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("key")
    try:
        key.verify(signature, signed, pad, hashes.SHA256())
    except InvalidSignature:
        raise ValueError("signature") from None
    return certificate


def _button(identifier: str, label: str) -> str:
    return f'<button id="{identifier}" type="button">{label}</button>'


def _script(name: str) -> common.Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=(_HERE / name).read_bytes(), content_type="text/javascript", charset="utf-8")

    return handler
