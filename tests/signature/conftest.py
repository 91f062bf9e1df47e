# SPDX-License-Identifier: Apache-2.0
"""Signers, a trust store and local servers for the tests of signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from authority import Authority
from judges import Judges
from signers import SoftSigner

from cpxd.signature.fetch import Network
from cpxd.signature.trust import TrustStore, load
from simulator import personas
from simulator.pki import TestPki


@pytest.fixture(scope="session")
def pki() -> TestPki:
    return TestPki()


@pytest.fixture(scope="session")
def exported(pki: TestPki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    pki.export(folder, [personas.load("cps-medecin")], complete=True)
    return folder


@pytest.fixture(scope="session")
def trust(exported: Path) -> TrustStore:
    return load(exported / "ca.pem")


@pytest.fixture(scope="session")
def judges(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(exported / "ca.pem", tmp_path_factory.mktemp("judges"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def _authority(pki: TestPki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    authority = Authority(pki, tmp_path_factory.mktemp("tsa"))
    yield authority
    authority.close()


@pytest.fixture
def authority(_authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Local servers, healthy at the start of each test; this process reaches them as it would the real ones."""
    _authority.reset()
    for name, value in _authority.env.items():
        monkeypatch.setenv(name, value)
    return _authority


@pytest.fixture
def network(authority: Authority) -> Network:
    return Network(5)


@pytest.fixture(params=["pkcs1", "pss"])
def signer(request: pytest.FixtureRequest, pki: TestPki) -> SoftSigner:
    return SoftSigner(pki, padding=request.param)


@pytest.fixture
def plain(pki: TestPki) -> SoftSigner:
    return SoftSigner(pki)
