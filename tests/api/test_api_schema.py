# SPDX-License-Identifier: Apache-2.0
"""schemathesis on the description that is served: what it allows and what it does not; every answer must be one that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
import requests
import schemathesis
from api_lab import BROWSER, ApiLab, api_lab
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = int(os.environ.get("CPX_SCHEMA_EXAMPLES", "12"))  # of each kind, an operation
SITES = [f"https://s{number}.example" for number in range(200)]  # each has a rate limit of its own
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = ("info", "openapi", "readers", "identity", "certificates", "situations", "authenticate", "sign", "page")


@pytest.fixture(scope="module")
def refusing() -> Iterator[ApiLab]:
    """A person who accepts what is read and types no PIN."""
    with api_lab(["cps-medecin:cps4"], ["* cancel"], sites=SITES) as lab:
        yield lab


@pytest.fixture(scope="module")
def described(refusing: ApiLab) -> schemathesis.schemas.BaseSchema:
    return schemathesis.openapi.from_dict(refusing.ask("GET", "/v1/openapi.json", headers={"Origin": SITES[0]}).json)


@pytest.fixture(scope="module")
def session(refusing: ApiLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[requests.Session]:
    leaf: Path = tmp_path_factory.mktemp("tls") / "leaf.pem"
    leaf.write_text(refusing.leaf())
    with requests.Session() as made:
        made.trust_env, made.verify = False, str(leaf)
        yield made


def test_all_operations_are_tried(described: schemathesis.schemas.BaseSchema) -> None:
    assert {found.ok().definition.raw["operationId"] for found in described.get_all_operations()} == {*OPERATIONS, "events"}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_described(
    refusing: ApiLab, described: schemathesis.schemas.BaseSchema, session: requests.Session, operation: str, mode: GenerationMode
) -> None:
    found = described.find_operation_by_id(operation)
    sites, statuses = cycle(SITES), set()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=found.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.headers = {**BROWSER, **(case.headers or {}), "Origin": next(sites)}
        answer = case.call(base_url=f"https://localhost:{refusing.port}", session=session, verify=session.verify, timeout=60)
        statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, checks=[*CHECKS, not_a_server_error])

    ask()
    assert statuses and refusing.daemon.process.poll() is None
