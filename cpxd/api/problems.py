# SPDX-License-Identifier: Apache-2.0
"""What goes wrong at this door, and how every typed error looks in an answer: a status, a stable code, French and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpxd import errors
from cpxd.failure import CpxError, Exit, Fault
from cpxd.text import Language, Said, Text, printable


class ApiError(CpxError):
    """An error of the request itself. `status`: of HTTP."""

    status = 400


class OriginRefused(ApiError):
    """Constant: what is not allowed cannot tell anything by it."""

    code, exit, fault, status = "CPX-160", Exit.REFUSED, Fault.PERSON, 403
    what = Text(
        "Ce site n'a pas le droit de demander la carte. Si vous lui faites confiance : cpxd allow ADRESSE",
        "This site may not ask for the card. If you trust it: cpxd allow ADDRESS",
    )


class WrongHost(ApiError):
    code, exit, fault, status = "CPX-161", Exit.REFUSED, Fault.SOFTWARE, 421
    what = Text("Cette adresse n'est pas celle de ce service.", "This is not the address of this service.")


class BadRequest(ApiError):
    code, exit, fault, status = "CPX-162", Exit.BAD_INPUT, Fault.SOFTWARE, 400
    what = Text(
        "Demande incorrecte ({detail}). La description : /v1/openapi.json", "Bad request ({detail}). See /v1/openapi.json"
    )


class UnknownResource(ApiError):
    code, exit, fault, status = "CPX-163", Exit.BAD_INPUT, Fault.SOFTWARE, 404
    what = Text("Cette ressource n'existe pas. La liste : /v1/openapi.json", "No such resource. The list: /v1/openapi.json")


class WrongMethod(ApiError):
    code, exit, fault, status = "CPX-164", Exit.BAD_INPUT, Fault.SOFTWARE, 405
    what = Text("Méthode impossible ici. La liste : /v1/openapi.json", "Wrong method. The list: /v1/openapi.json")


class TooMany(ApiError):
    code, exit, fault, status, retry = "CPX-165", Exit.REFUSED, Fault.SOFTWARE, 429, True
    what = Text("Trop de demandes. Attendez une seconde.", "Too many requests. Wait a second.")


class Pending(ApiError):
    code, exit, fault, status, retry = "CPX-166", Exit.REFUSED, Fault.PERSON, 409, True
    what = Text(
        "Une autre demande attend déjà la personne. Recommencez quand elle a répondu.",
        "Another request is waiting for the person already. Try again once it is answered.",
    )


class TooLarge(ApiError):
    code, exit, fault, status = "CPX-167", Exit.BAD_INPUT, Fault.SOFTWARE, 413
    what = Text("Demande trop grosse : au plus {limit} octets ici.", "Request too large: at most {limit} bytes here.")


class WrongMedia(ApiError):
    code, exit, fault, status = "CPX-168", Exit.BAD_INPUT, Fault.SOFTWARE, 415
    what = Text("Seul application/json, sans compression, est reçu.", "Only application/json, not compressed, is taken.")


class TooSlow(ApiError):
    code, exit, fault, status, retry = "CPX-169", Exit.BAD_INPUT, Fault.SOFTWARE, 408, True
    what = Text("La demande n'est pas arrivée à temps.", "The request did not arrive in time.")


class NoPort(ApiError):
    code, exit, fault, status = "CPX-170", Exit.NO_SERVICE, Fault.WORKSTATION, 503
    what = Text(
        "Le service ne tient pas le port {port}, où les pages le joignent. Pourquoi : cpxd doctor",
        "The service does not hold port {port}, where pages reach it. Why: cpxd doctor",
    )


_STATUS = {
    Exit.NO_SERVICE: 503,
    Exit.NO_READER: 409,
    Exit.NO_CARD: 409,
    Exit.UNSUPPORTED_CARD: 409,
    Exit.CARD_LOST: 409,
    Exit.WRONG_PIN: 403,
    Exit.PIN_BLOCKED: 403,
    Exit.LAST_TRY: 403,
    Exit.REFUSED: 403,
    Exit.USAGE: 400,
    Exit.BAD_INPUT: 422,
    Exit.REMOTE: 502,
}
STATUSES = tuple(sorted({*_STATUS.values(), *(kind.status for kind in ApiError.__subclasses__()), 500}))


def status(error: CpxError) -> int:
    if isinstance(error, ApiError):
        return error.status
    if isinstance(error, errors.SeveralCards):
        return 409
    if isinstance(error, errors.NoPinSource):
        return 503
    return _STATUS.get(error.exit, 500)


def as_json(error: CpxError) -> dict[str, Any]:
    return {
        "error": {
            "code": error.code,
            "fault": error.fault.value,
            "retry": error.retry,
            "fr": _filled(error.what.fr, error.details, "fr"),
            "en": _filled(error.what.en, error.details, "en"),
        }
    }


class _Unknown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _filled(sentence: str, details: Mapping[str, object], language: Language) -> str:
    """Details too have a text in each language, where they are words."""
    pairs = {name: value.pair if isinstance(value, Said) else value for name, value in details.items()}
    words = {name: getattr(value, language) if isinstance(value, Text) else value for name, value in pairs.items()}
    return printable(sentence.format_map(_Unknown({name: str(value) for name, value in words.items()})))
