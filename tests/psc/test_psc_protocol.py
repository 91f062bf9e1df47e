# SPDX-License-Identifier: Apache-2.0
"""OpenID Connect as a client sees it: what is given, and what is refused."""

from __future__ import annotations

from typing import Any

import jwt  # PyJWT: another implementation than the provider's
import pytest
from psc_browser import Browser, card_of, json_of
from psc_client import (
    LOGOUT,
    OTHER,
    REDIRECT,
    authorization,
    basic,
    challenge,
    endpoint,
    logged_in,
    token,
    userinfo,
    with_card,
)

from simulator import personas
from simulator.psc.sandbox import Addresses, running
from simulator.psc.settings import Options

SUB = "f:550dc1c8-d97b-4b1e-ac8c-8eb4471cf9dd:"


@pytest.fixture
def doctor(psc: Addresses) -> Browser:
    return Browser(psc, card_of("cps-medecin"))


def verified(psc: Addresses, id_token: str) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(json_of(Browser(psc).get(endpoint(psc, "certs"))))
    key = keys[jwt.get_unverified_header(id_token)["kid"]]
    return dict(jwt.decode(id_token, key, algorithms=["RS256"], audience=psc.client_id, issuer=psc.issuer))


def test_metadata(psc: Addresses) -> None:
    found = json_of(Browser(psc).get(psc.discovery))
    origin = psc.authorization.removesuffix("/auth")
    assert psc.discovery == f"{origin}/auth/realms/esante-wallet/.well-known/wallet-openid-configuration"
    assert found["issuer"] == psc.issuer == f"{origin}/auth/realms/esante-wallet"
    assert found["authorization_endpoint"] == psc.authorization
    for name, path in {
        "token_endpoint": "token",
        "userinfo_endpoint": "userinfo",
        "end_session_endpoint": "logout",
        "jwks_uri": "certs",
        "introspection_endpoint": "token/introspect",
        "backchannel_authentication_endpoint": "ext/ciba/auth",
    }.items():
        assert found[name] == f"{origin}/auth/realms/esante-wallet/protocol/openid-connect/{path}"
    keys = json_of(Browser(psc).get(endpoint(psc, "certs")))["keys"]
    assert keys and all(set(key) <= {"kty", "n", "e", "use", "alg", "kid"} for key in keys)


def test_tokens_and_claims_of_a_doctor(psc: Addresses, doctor: Browser) -> None:
    answer = with_card(doctor)
    assert answer.location.startswith(f"{REDIRECT}?") and answer.query["state"] == "the-state"
    response = token(doctor, answer.query["code"])
    tokens = json_of(response)
    assert tokens["token_type"] == "Bearer" and tokens["expires_in"] > 0 and tokens["scope"] == "openid scope_all"
    assert response.headers["Cache-Control"] == "no-store"
    claims = verified(psc, tokens["id_token"])
    assert claims["sub"] == SUB + "899700090014"
    assert (claims["acr"], claims["amr"], claims["idp"], claims["nonce"]) == ("eidas1", None, "PSC", "the-nonce")
    info = json_of(userinfo(doctor, tokens["access_token"]))
    assert info == {
        "sub": SUB + "899700090014",
        "preferred_username": "899700090014",
        "SubjectNameID": "899700090014",
        "given_name": "ALIENOR",
        "family_name": "VALLEFICTIVE-MERCOEUR",
        "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
        "PSI_Locale": "1.2.250.1.213.1.3.1.1",
        "UITVersion": "1.0",
        "SubjectRefPro": {"exercices": [{"codeProfession": "10"}]},
    }


@pytest.mark.parametrize(
    ("persona", "expected"),
    [
        ("cps-infirmier", {"given_name": "HÉLÈNE", "SubjectRole": ["60^1.2.250.1.213.1.1.5.5"], "SubjectOrganization": None}),
        (
            "cpe-anonyme",
            {
                "given_name": None,
                "family_name": None,
                "SubjectRole": None,
                "SubjectOrganization": "CABINET DE GROUPE FICTIF",
                "SubjectOrganizationID": "1990700585",
                "SubjectRefPro": {
                    "exercices": [
                        {"activities": [{"raisonSocialeSite": "CABINET DE GROUPE FICTIF", "numeroFinessSite": "990700585"}]}
                    ]
                },
            },
        ),
        ("cpa", {"given_name": "GUSTAVE", "SubjectOrganizationID": "399999031000024", "Palier_Authentification": None}),
        ("cpf-interne", {"SubjectRole": None, "SubjectRefPro": None}),
    ],
)
def test_claims_come_from_the_certificate_alone(psc: Addresses, persona: str, expected: dict[str, Any]) -> None:
    browser = Browser(psc, card_of(persona))
    info = json_of(userinfo(browser, logged_in(browser)["access_token"]))
    identifier = personas.load(persona).holder.identifier
    assert info["sub"] == SUB + identifier and info["preferred_username"] == info["SubjectNameID"] == identifier
    for name, value in expected.items():
        assert info.get(name) == value
        assert value is not None or name not in info


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": REDIRECT + "?x=1"},
        {"redirect_uri": "https://lgc.example.evil.example/retour"},
        {"redirect_uri": 'https://évil.example/"<script>'},
        {"redirect_uri": None},
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": "é\x00<"},
    ],
)
def test_never_redirects_where_it_was_not_told(doctor: Browser, other: dict[str, str | None]) -> None:
    page = doctor.get(authorization(doctor.addresses, **other))
    assert page.status == 400 and page.error_code == "request" and page.headers["Location"] is None
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'é"'}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "openid scope_all é"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
    ],
)
def test_errors_go_back_to_the_client(doctor: Browser, other: dict[str, str | None], error: str) -> None:
    answer = doctor.get(authorization(doctor.addresses, **other))
    assert answer.status in (302, 303) and answer.location.startswith(f"{REDIRECT}?"), answer.text
    assert (answer.query["error"], answer.query["state"]) == (error, "the-state")


def test_a_parameter_given_twice(doctor: Browser) -> None:
    page = doctor.get(authorization(doctor.addresses) + "&state=other")
    assert page.status == 400 and "deux fois" in page.text and "client_id" not in page.text


def test_head_is_answered_as_get(doctor: Browser) -> None:
    answer = doctor.send("HEAD", authorization(doctor.addresses), None, None)
    assert (answer.status, answer.text) == (200, "")


def test_a_scheme_of_a_program(doctor: Browser) -> None:
    page = doctor.open(authorization(doctor.addresses, redirect_uri=OTHER))
    answer = doctor.open(page.link("login-card"), until=OTHER)
    assert token(doctor, answer.query["code"], redirect_uri=OTHER).status == 200


def test_cancelling(doctor: Browser) -> None:
    page = doctor.open(authorization(doctor.addresses))
    answer = doctor.open(page.link("cancel"), until=REDIRECT)
    assert (answer.query["error"], answer.query["state"]) == ("access_denied", "the-state")
    assert doctor.open(page.link("login-card")).error_code == "request"


def test_a_code_serves_once_and_a_replay_ends_the_session(doctor: Browser) -> None:
    code = with_card(doctor).query["code"]
    tokens = json_of(token(doctor, code))
    assert userinfo(doctor, tokens["access_token"]).status == 200
    replay = token(doctor, code)
    assert replay.status == 400 and json_of(replay)["error"] == "invalid_grant"
    assert userinfo(doctor, tokens["access_token"]).status == 401


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"redirect_uri": OTHER}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code_verifier": "another-verifier-of-enough-characters-0123456789"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": challenge("x")}, "invalid_grant"),
    ],
)
def test_a_wrong_token_request_burns_the_code(doctor: Browser, other: dict[str, str | None], error: str) -> None:
    code = with_card(doctor).query["code"]
    refused = token(doctor, code, **other)
    assert refused.status == 400 and json_of(refused)["error"] == error
    assert json_of(token(doctor, code))["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"redirect_uri": "unknown"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "é"}, 400, "unsupported_grant_type"),
        ({"grant_type": "urn:openid:params:grant-type:ciba", "auth_req_id": "x"}, 400, "invalid_grant"),
    ],
)
def test_token_requests_that_fit_nothing(doctor: Browser, form: dict[str, str], status: int, error: str) -> None:
    answer = token(doctor, "é\x00", **form)
    assert (answer.status, json_of(answer)["error"]) == (status, error)


def test_client_secrets(doctor: Browser) -> None:
    psc, code = doctor.addresses, with_card(doctor).query["code"]
    for secret in ("wrong", "é"):
        answer = token(doctor, code, secret=secret)
        assert answer.status == 401 and json_of(answer)["error"] == "invalid_client"
    assert doctor.post(endpoint(psc, "token"), {"grant_type": "authorization_code", "code": code}).status in (400, 401)
    for header in ("Basic !", "Basic " + "A" * 4_000, "Bearer x", "Basic"):
        answer = doctor.post(endpoint(psc, "token"), {"grant_type": "authorization_code"}, {"Authorization": header})
        assert answer.status in (400, 401) and json_of(answer)["error"] == "invalid_client"
    # client_secret_post
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": psc.client_id}
    form |= {"client_secret": psc.client_secret, "code_verifier": "a-verifier-of-enough-characters-0123456789-0123"}
    assert doctor.post(endpoint(psc, "token"), form).status == 200


def test_a_request_that_is_no_http_is_no_news(doctor: Browser, capfd: pytest.CaptureFixture[str]) -> None:
    for origin in (doctor.addresses.authorization, doctor.addresses.card):
        assert doctor.get(origin, {"X-Long": "A" * 10_000}).status == 400
    assert capfd.readouterr().err == ""


def test_without_pkce(doctor: Browser) -> None:
    code = with_card(doctor, code_challenge=None, code_challenge_method=None).query["code"]
    assert token(doctor, code, code_verifier=None).status == 200


def test_strict() -> None:
    with running(Options(redirect_uris=(REDIRECT,), strict=True)) as psc:
        browser = Browser(psc, card_of("cps-medecin"))
        for name in ("state", "nonce", "code_challenge"):
            left_out: dict[str, str | None] = {name: None}
            if name == "code_challenge":
                left_out["code_challenge_method"] = None
            assert browser.get(authorization(psc, **left_out)).query["error"] == "invalid_request"
        assert token(browser, with_card(browser).query["code"]).status == 200


def test_userinfo_wants_a_token(doctor: Browser) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer"}):
        answer = doctor.get(endpoint(doctor.addresses, "userinfo"), headers)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_introspection(psc: Addresses, doctor: Browser) -> None:
    access_token = logged_in(doctor)["access_token"]
    at = endpoint(psc, "token/introspect")
    found = json_of(doctor.post(at, {"token": access_token}, basic(psc)))
    assert found["active"] is True and found["client_id"] == psc.client_id and found["sub"] == SUB + "899700090014"
    assert json_of(doctor.post(at, {"token": "unknown"}, basic(psc))) == {"active": False}
    assert doctor.post(at, {"token": access_token}).status == 401
    assert doctor.post(at, {}, basic(psc)).status == 400


def test_logout_ends_the_tokens(psc: Addresses, doctor: Browser) -> None:
    tokens, others = logged_in(doctor), logged_in(doctor)
    at = f"{endpoint(psc, 'logout')}?id_token_hint={tokens['id_token']}"
    answer = doctor.get(f"{at}&post_logout_redirect_uri={LOGOUT}&state=s")
    assert answer.location == f"{LOGOUT}?state=s"
    assert userinfo(doctor, tokens["access_token"]).status == 401
    assert json_of(doctor.post(endpoint(psc, "token/introspect"), {"token": tokens["access_token"]}, basic(psc))) == {
        "active": False
    }
    assert userinfo(doctor, others["access_token"]).status == 200
    # without a proof of who asks, the person is asked, and then all sessions of this browser end
    page = doctor.get(endpoint(psc, "logout"))
    assert userinfo(doctor, others["access_token"]).status == 200
    assert doctor.post(*page.form("logout-form")).has("logged-out")
    assert userinfo(doctor, others["access_token"]).status == 401


def test_logout_goes_nowhere_else(psc: Addresses, doctor: Browser) -> None:
    tokens = logged_in(doctor)
    at = f"{endpoint(psc, 'logout')}?id_token_hint="
    forged = tokens["id_token"][:-8] + "AAAAAAAA"
    for query in (f"{tokens['id_token']}&post_logout_redirect_uri=https://evil.example/", f"{forged}", "x", "x.y.z"):
        page = doctor.get(at + query)
        assert page.status == 400 and page.headers["Location"] is None
    assert userinfo(doctor, tokens["access_token"]).status == 200


def test_the_login_of_another_browser(psc: Addresses, doctor: Browser) -> None:
    """An attacker's login finished by the victim's card would log the attacker's browser in."""
    attacker = Browser(psc)
    page = attacker.open(authorization(psc))
    assert doctor.open(page.link("login-card")).error_code == "request"
    doctor.open(authorization(psc))  # the victim has a cookie of its own
    assert doctor.open(page.link("login-card")).error_code == "request"
