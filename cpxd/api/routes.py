# SPDX-License-Identifier: Apache-2.0
"""The one table of what can be asked under /v1. Requests are checked by it, and the published OpenAPI document is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cpxd.api import problems, schema
from cpxd.failure import Fault
from cpxd.version import __version__

STATES = (
    "no-card",
    "busy",
    "unsupported",
    "mute",
    "damaged",
    "reading",
    "ready",
    "pin-last-try",
    "pin-blocked",
    "puk-blocked",
    "expired",
    "revoked",
)
FORMATS = ("cms", "cades", "pades", "xades", "smime", "jws", "hash")
LEVELS = ("b", "t", "lt", "lta")
FORMS = ("detached", "enveloping", "enveloped")
SMALL, LARGE = 16 << 10, 24 << 20  # bytes of a body
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_READER = {"type": "integer", "minimum": 0, "maximum": 255, "description": "id of the reader; without it, the only card"}
_ORIGIN = schema.text(
    "the site that the token is for; by the unix socket only, a page's origin is the one its browser names", maxLength=270
)
_DOCUMENT = schema.body(
    ("name", "content"),
    name=schema.text("file name, shown to the person", minLength=1, maxLength=200),
    content=schema.text("the document itself, base64", maxLength=LARGE, contentEncoding="base64", pattern=_BASE64),
)


def _answer(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


_WORD: dict[str, Any] = {"type": "string"}
_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_CODE: dict[str, Any] = {
    **_answer(tries_left={"type": "integer"}, blocked={"type": "boolean"}),
    "type": ["object", "null"],
}
_READERS = _answer(
    readers={
        "type": "array",
        "items": _answer(
            id={"type": "integer"},
            name=_WORD,
            state=_one_of(*STATES),
            insertion={"type": "integer"},
            generation=_MAYBE,
            same_card={
                "type": ["integer", "null"],
                "description": "id of the reader that sees the same card, one of them by contact and one without",
            },
            pin=_CODE,
        ),
    }
)
_CERTIFICATES = _answer(
    certificates={
        "type": "array",
        "items": _answer(usage=_MAYBE, der=_WORD, subject=_WORD, issuer=_WORD, valid_from=_WORD, valid_until=_WORD),
    }
)
_TOKEN = _answer(
    unverifiedCertificate=_WORD,
    algorithm=_one_of("RS256", "PS256"),
    signature=_WORD,
    format=_one_of("web-eid:1.0"),
    appVersion=_WORD,
)
_SIGNATURES = _answer(signatures={"type": "array", "items": _answer(name=_WORD, content=_WORD)})
_FAULT = _one_of(*(fault.value for fault in Fault))
_ERROR = _answer(error=_answer(code=_WORD, fault=_FAULT, retry={"type": "boolean"}, fr=_WORD, en=_WORD))
_IDENTITY: dict[str, Any] = {"type": "object", "description": "as `cpxd card --json` (card.schema.json)"}


@dataclass(frozen=True)
class Route:
    """`operation` is also the name of its method in `operations.py`."""

    method: str
    path: str
    operation: str
    summary: str
    answer: dict[str, Any]
    takes: dict[str, Any] = field(default_factory=schema.body)
    limit: int = SMALL
    media: str = "application/json"


ROUTES = (
    Route(
        "GET",
        "/v1/info",
        "info",
        "The service and its version. Nothing of a card.",
        _answer(name=_WORD, version=_WORD, api=_WORD),
    ),
    Route("GET", "/v1/openapi.json", "openapi", "This description.", {"type": "object"}),
    Route(
        "POST",
        "/v1/page",
        "page",
        "By the unix socket only: an address, good once, of the page that shows the person their card.",
        _answer(address=_WORD, seconds={"type": "integer"}),
    ),
    Route("GET", "/v1/readers", "readers", "Readers and the state of the card in each. Nothing of a person.", _READERS),
    Route(
        "GET",
        "/v1/events",
        "events",
        "The same list now and at each change: one JSON object a line, or a WebSocket (subprotocol cpxd.v1).",
        _READERS,
        media="application/x-ndjson",
    ),
    Route(
        "POST",
        "/v1/identity",
        "identity",
        "Who the holder is. Asks the person once a site.",
        _IDENTITY,
        schema.body(reader=_READER),
    ),
    Route(
        "POST",
        "/v1/certificates",
        "certificates",
        "The certificates of the card. Asks the person once a site.",
        _CERTIFICATES,
        schema.body(reader=_READER),
    ),
    Route(
        "POST",
        "/v1/situations",
        "situations",
        "Identity with the practice situations. Asks for the PIN in a native dialog.",
        _IDENTITY,
        schema.body(reader=_READER),
    ),
    Route(
        "POST",
        "/v1/authenticate",
        "authenticate",
        "An authentication token of the format web-eid:1.0. Asks for the PIN in a native dialog.",
        _TOKEN,
        schema.body(
            ("nonce",), nonce=schema.text("of the site's server", minLength=44, maxLength=128), origin=_ORIGIN, reader=_READER
        ),
    ),
    Route(
        "POST",
        "/v1/sign",
        "sign",
        "Signatures of documents, each shown to the person first. Asks for the PIN in a native dialog.",
        _SIGNATURES,
        schema.body(
            ("documents",),
            documents={"type": "array", "minItems": 1, "maxItems": 20, "items": _DOCUMENT},
            format=schema.text(
                "cms when absent; hash: of a SHA-256 (its 32 bytes) the RSA value alone, for sites that an administrator named",
                enum=list(FORMATS),
            ),
            form=schema.text("the usual one of the format when absent", enum=list(FORMS)),
            level=schema.text("b when absent; above it, the time-stamping authority of the settings is asked", enum=list(LEVELS)),
            visible={"type": "boolean", "description": "PAdES: show on the last page who signed; false when absent"},
            pss={"type": "boolean", "description": "RSA-PSS, when the card computes it"},
            reader=_READER,
        ),
        LARGE,
    ),
)


def find(method: str, path: str) -> Route:
    """Raises UnknownResource, WrongMethod."""
    there = [route for route in ROUTES if route.path == path]
    for route in there:
        if route.method == method:
            return route
    raise problems.WrongMethod(allow=", ".join(route.method for route in there)) if there else problems.UnknownResource()


def openapi(port: int) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        answers: dict[str, Any] = {"200": {"description": "done", "content": {route.media: {"schema": route.answer}}}}
        answers |= {
            str(status): {
                "description": "see `error.code`",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
            for status in problems.STATUSES
        }
        described: dict[str, Any] = {"operationId": route.operation, "summary": route.summary, "responses": answers}
        described["parameters"] = [{"$ref": "#/components/parameters/Mark"}]
        if route.method == "POST":
            described["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.takes}}}
        paths.setdefault(route.path, {})[route.method.lower()] = described
    mark = {"name": "X-Cpxd", "in": "header", "required": True, "schema": _one_of("1")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "cpxd", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": f"https://localhost:{port}"}],
        "security": [],  # nobody shows a secret: the browser names the site, the socket the user
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}, "parameters": {"Mark": mark}},
    }
