# SPDX-License-Identifier: Apache-2.0
"""Bare hashes through the door: refused unless the machine's own file names the site; then shown as what nobody can read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_lab import SITE, ApiLab, api_lab
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_der_x509_certificate

from cpxd.api import routes

OTHER = "https://lgc.example.evil"
DIGEST = hashlib.sha256(b"anything at all").digest()


def hashes(*digests: bytes, **more: Any) -> dict[str, Any]:
    documents = [{"name": f"h{n}", "content": base64.b64encode(d).decode()} for n, d in enumerate(digests)]
    return {"documents": documents, "format": "hash", **more}


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiLab]:
    """A daemon whose machine file, which is that of root elsewhere, names one of two sites."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "config.toml").write_text(f'[sign]\nhash_origins = "https://first.example {SITE}"\n')
    start = f"import pathlib, cpxd.config\ncpxd.config.MACHINE_FILE = pathlib.Path({str(folder / 'config.toml')!r})\n"
    (folder / "sitecustomize.py").write_text(start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with api_lab(["cps-medecin:cps4"], sites=(SITE, OTHER)) as lab:
            yield lab


def test_refused_by_default(doctor: ApiLab) -> None:
    before = doctor.apdus, doctor.dialogs()
    answer = doctor.ask("POST", "/v1/sign", hashes(DIGEST))
    assert (answer.status, answer.code) == (403, "CPX-157") and SITE in answer.json["error"]["fr"]
    assert (doctor.apdus, doctor.dialogs()) == before, "neither the card nor the person is asked"


def test_refused_to_others(allowing: ApiLab) -> None:
    before = allowing.apdus, allowing.dialogs()
    assert allowing.ask("POST", "/v1/sign", hashes(DIGEST), {"Origin": OTHER}).code == "CPX-157"
    assert allowing.ask("POST", "/v1/sign", hashes(DIGEST), native=True).code == "CPX-157"
    assert (allowing.apdus, allowing.dialogs()) == before


@pytest.mark.parametrize("wrong", [b"", DIGEST[:31], DIGEST + b"\0", b"Compte rendu"], ids=len)
def test_only_hashes(allowing: ApiLab, wrong: bytes) -> None:
    before = allowing.dialogs()
    assert allowing.ask("POST", "/v1/sign", hashes(DIGEST, wrong)).code == "CPX-150"
    for more in ({"form": "detached"}, {"level": "b"}, {"visible": True}):
        assert allowing.ask("POST", "/v1/sign", hashes(DIGEST, **more)).code == "CPX-162"
    assert allowing.dialogs() == before


@pytest.mark.parametrize("pss", [False, True])
def test_allowed(allowing: ApiLab, pss: bool) -> None:
    other = hashlib.sha256(b"another").digest()
    made = allowing.ask("POST", "/v1/sign", hashes(DIGEST, other, pss=pss)).json["signatures"]
    assert [item["name"] for item in made] == ["h0.sig", "h1.sig"]
    said = allowing.said()
    assert "h0 : empreinte, 32 octets" in said and DIGEST.hex() in said and other.hex() in said
    assert "contenu non lisible : seule une empreinte est présentée" in said
    found = allowing.ask("POST", "/v1/certificates", {}).json["certificates"]
    key: Any = load_der_x509_certificate(
        base64.b64decode(next(c["der"] for c in found if c["usage"] == "signature"))
    ).public_key()
    form = padding.PSS(padding.MGF1(SHA256()), 32) if pss else padding.PKCS1v15()
    value = base64.b64decode(made[0]["content"])
    key.verify(value, b"anything at all", form, SHA256())
    with pytest.raises(InvalidSignature):
        key.verify(value, b"another", form, SHA256())


def test_the_types_of_the_client_say_all() -> None:
    """What TypeScript is told is what the table says."""
    types = (Path(__file__).parents[2] / "clients" / "js" / "cpxd.d.ts").read_text(encoding="utf-8")
    request = re.search(r"interface SignRequest.*?\{(.*?)\n\}", types, re.S)
    assert request is not None
    takes = routes.find("POST", "/v1/sign").takes["properties"]
    assert set(re.findall(r"^  (\w+)\??:", request[1], re.M)) | {"reader"} == set(takes)
    for words in (routes.FORMATS, routes.FORMS, routes.LEVELS, routes.STATES):
        assert all(json.dumps(word) in types for word in words)
