# SPDX-License-Identifier: Apache-2.0
"""The clients that are shipped, the command, and the files behind the door."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api_lab import SITE, ApiLab
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from test_api_card import NONCE, issuers
from webeid_validator import validate

from cpxd.api import certificate, origins, routes
from cpxd.errors import BadFile
from cpxd.failure import Fault
from cpxd.service.consent import Consents

ROOT = Path(__file__).resolve().parents[2]
CPXD = str(Path(sys.executable).with_name("cpxd"))
SCRIPT = """
import http from "node:http";
import { Cpxd, CpxdError } from "%s/clients/js/cpxd.js";
const fetch = (url, init) => new Promise((good, bad) => {
  const path = new URL(url).pathname;
  const asked = http.request({ socketPath: process.argv[2], path, method: init.method, headers: init.headers }, (answer) => {
    if (path.endsWith("events")) {
      const body = new ReadableStream({ start(c) { answer.on("data", (d) => c.enqueue(d)); }, cancel() { answer.destroy(); } });
      return good({ ok: true, status: 200, body });
    }
    const parts = [];
    answer.on("data", (d) => parts.push(d));
    answer.on("end", () => good(new Response(Buffer.concat(parts), { status: answer.statusCode })));
  });
  asked.on("error", bad);
  asked.end(init.body);
});
const cpxd = new Cpxd({ fetch });
const said = { info: await cpxd.info() };
said.token = await cpxd.authenticate({ nonce: "%s", origin: "https://lgc.example" });
try { await cpxd.sign({ documents: [] }); } catch (error) { said.error = [error instanceof CpxdError, error.code, error.status]; }
for await (const now of cpxd.events()) { said.readers = now.readers; break; }
const gone = new Cpxd({ fetch: () => Promise.reject(new TypeError("network")) });
try { await gone.info(); } catch (error) { said.gone = error.code; }
const body = new ReadableStream({ start(c) { c.error(new TypeError("network error")); } });
const cut = new Cpxd({ fetch: async () => ({ ok: true, status: 200, body }) });
try { for await (const _ of cut.events()) break; } catch (error) { said.cut = error.code; }
console.log(JSON.stringify(said));
"""


def socket_of(lab: ApiLab) -> Path:
    return Path(lab.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock")


def test_javascript_client(doctor: ApiLab, tmp_path: Path) -> None:
    script = tmp_path / "try.mjs"
    script.write_text(SCRIPT % (ROOT, NONCE))
    done = subprocess.run(["node", str(script), str(socket_of(doctor))], capture_output=True, text=True, timeout=30, check=True)
    said = json.loads(done.stdout)
    validate(said["token"], SITE, NONCE, issuers(doctor.lab))
    assert said["info"]["name"] == "cpxd" and said["error"] == [True, "CPX-162", 400]
    assert said["readers"][0]["state"] == "ready" and said["gone"] == said["cut"] == "CPX-NO-AGENT"


@pytest.mark.parametrize(
    "written", [routes.STATES, routes.FORMATS, routes.FORMS, routes.LEVELS, [fault.value for fault in Fault]]
)
def test_the_types_for_javascript_are_those_of_the_description(written: tuple[str, ...]) -> None:
    types = (ROOT / "clients" / "js" / "cpxd.d.ts").read_text()
    lists = [re.findall(r'"([a-z-]+)"', found) for found in re.findall(r'(?:\s*\|?\s*"[a-z-]+")+', types)]
    assert sorted(written) in [sorted(found) for found in lists]


def test_the_demonstration_page_has_words_for_every_state() -> None:
    listed = (
        (ROOT / "simulator" / "psc" / "demo.js").read_text(encoding="utf-8").partition("const states = {")[2].partition("};")[0]
    )
    assert re.findall(r'^  "?([a-z-]+)"?: \["', listed, re.M) == list(routes.STATES)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As pip installs it."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copytree(ROOT / "clients" / "python", folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--target", folder / "site", folder / "source"], check=True, timeout=120)
    spec = importlib.util.spec_from_file_location("cpxd_client", folder / "site" / "cpxd_client.py")
    assert spec is not None and spec.loader is not None
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_python_client(doctor: ApiLab, client: Any) -> None:
    with client.Cpxd(socket_of(doctor)) as cpxd:
        assert cpxd.info()["name"] == "cpxd"
        assert cpxd.sock is None, "the service cuts a connection that is idle for 5 s: none is kept"
        validate(cpxd.authenticate(NONCE, SITE), SITE, NONCE, issuers(doctor.lab))
        assert list(cpxd.sign({"a.txt": b"a"})) == ["a.txt.p7s"]
        with pytest.raises(client.CpxdError) as refused:
            cpxd.authenticate("short", SITE)
        assert refused.value.code == "CPX-162"
    with pytest.raises(OSError), client.Cpxd(Path("/nowhere")) as cpxd:
        cpxd.info()


def test_published_description() -> None:
    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == routes.openapi(14443)


def test_allow_is_obeyed_at_once(doctor: ApiLab) -> None:
    other = {"Origin": "https://new.example:8443"}
    assert doctor.ask("GET", "/v1/info", headers=other).code == "CPX-160"
    doctor.lab.run([CPXD, "allow", other["Origin"]], check=True)
    assert doctor.ask("GET", "/v1/info", headers=other).status == 200
    assert other["Origin"] in doctor.lab.run([CPXD, "allow", "--list"], capture_output=True).stdout
    doctor.lab.run([CPXD, "allow", "--remove", other["Origin"]], check=True)
    assert doctor.ask("GET", "/v1/info", headers=other).code == "CPX-160"
    for wrong in (
        "http://a.example",
        "https://*.a.example",
        "https://a.example/",
        "null",
        "https://A.example",
        "https://a_b.example",
    ):
        assert doctor.lab.run([CPXD, "allow", wrong], capture_output=True).returncode == 2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cpxd").mkdir()
    return tmp_path / "cpxd"


def test_the_leaf_vouches_for_nothing(home: Path) -> None:
    content = certificate.ensure().read_bytes()
    made = x509.load_pem_x509_certificate(content)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign and made.issuer == made.subject
    assert (home / "localhost.pem").stat().st_mode & 0o777 == 0o600
    assert load_pem_private_key(content, None).public_key() == made.public_key()
    assert b"PRIVATE" not in certificate.leaf()
    assert certificate.ensure().read_bytes() == content


@pytest.mark.parametrize("fault", ["old", "mode", "cut", "empty", "link"])
def test_the_leaf_is_renewed(home: Path, fault: str) -> None:
    path = certificate.ensure()
    before = path.read_bytes()
    when = datetime.now(UTC)
    if fault == "old":
        when += timedelta(days=certificate.DAYS - certificate.RENEWED + 1)
    elif fault == "mode":
        path.chmod(0o644)
    elif fault == "link":
        path.rename(home / "elsewhere")
        path.symlink_to(home / "elsewhere")
    else:
        path.write_bytes(before[:200] if fault == "cut" else b"")
    assert certificate.ensure(when).read_bytes() != before
    assert path.stat().st_mode & 0o777 == 0o600 and not path.is_symlink()
    assert [item.name for item in home.iterdir() if item.name.startswith(".")] == []


def test_lists_that_others_could_write_allow_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "origins.d"
    folder.mkdir()
    monkeypatch.setattr(origins, "MACHINE_FOLDER", folder)
    (folder / "a.list").write_text("# LGC\nhttps://admin.example\nhttps://*.example\n")
    if os.getuid() == 0:
        assert origins.allowed("https://admin.example") and not origins.allowed("https://x.example")
    origins.add(SITE)
    assert origins.allowed(SITE)
    for path in (origins.person_file(), folder / "a.list"):
        path.chmod(0o666)
    assert not origins.allowed(SITE) and not origins.allowed("https://admin.example")


def test_lines_of_lists_that_allow_nobody_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "origins.d"
    folder.mkdir()
    monkeypatch.setattr(origins, "MACHINE_FOLDER", folder)
    written = (folder / "a.list").write_bytes
    written(
        b"\xef\xbb\xbfhttps://bom.example\r\nhttps://said.example # why\n\n# https://*.x\nhttps://*.x\nx = [\nhttps://Y.fr\n\xff\n"
    )
    if os.getuid() == 0:
        assert origins.by_administrator() == ["https://bom.example", "https://said.example"]
        assert [str(fault.details["reason"]).split()[1] for fault in origins.faults()] == ["5", "6", "7", "8"]
    (folder / "b.list").mkdir()
    (folder / "c.list").symlink_to(folder / "nowhere")
    assert [fault.details["file"] for fault in origins.faults()][-1] == folder / "b.list"


def test_the_command_names_all_wrong_lines_of_a_list_up_to_a_bound(home: Path) -> None:
    path, command = origins.person_file(), [CPXD, "allow", "--list", "--lang", "en"]
    path.write_text(f"https://*.x\n{SITE}\n{'y' * 5000}\n")
    path.chmod(0o600)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (40, f"{SITE}\n")
    assert [line.partition("line ")[2][:2] for line in lines] == ["1:", "3:"]
    assert all(line.startswith("cpxd: CPX-140 ") and len(line) < 300 for line in lines)
    path.write_text("http://x\n" * 50)
    err = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert err.count("\n") == 20 and err.endswith("line 20: “http://x” is no origin; and 30 more.\n")


def test_a_list_is_added_to_not_written_anew(home: Path) -> None:
    """What a person wrote in it stays; a list that others could write to is not obeyed, and not lost either."""
    path = origins.person_file()
    path.write_bytes(b"# cabinet \xe9\nhttps://a.example # LGC\nnonsense")
    path.chmod(0o600)
    assert origins.add(SITE) and not origins.add("https://a.example")
    assert path.read_bytes() == b"# cabinet \xe9\nhttps://a.example # LGC\nnonsense\n%s\n" % SITE.encode()
    assert origins.remove("https://a.example") and not origins.remove("nonsense")
    assert path.read_bytes() == b"# cabinet \xe9\nnonsense\n%s\n" % SITE.encode()
    path.chmod(0o664)
    before = path.read_bytes()
    for change in (origins.add, origins.remove):
        with pytest.raises(BadFile):
            change("https://new.example")
    assert path.read_bytes() == before and not origins.allowed(SITE)


def test_sites_that_are_allowed_at_once(home: Path) -> None:
    sites = [f"https://s{number}.example" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(origins.add, sites)) == [True] * 20
    assert sorted(origins.by_person()) == sorted(sites)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(origins.remove, sites)) == [True] * 20
    assert origins.by_person() == []


def test_consents_survive_nonsense(home: Path) -> None:
    kept = Consents()
    kept.remember(SITE, "899700000001")
    assert kept.given(SITE, "899700000001") and not kept.given(SITE, "899700000002")
    assert not kept.given("https://other.example", "899700000001")
    kept.forget(SITE)
    assert not kept.given(SITE, "899700000001")
    for nonsense in ("", "[]", '{"salt":"00","sites":{}}', '{"salt":1}', '{"sites":{"a":1}}'):
        (home / "consents.json").write_text(nonsense)
        assert not kept.given(SITE, "899700000001")
