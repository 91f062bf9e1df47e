# SPDX-License-Identifier: Apache-2.0
"""`cpxd sign` and `cpxd verify` with CPS3 and CPS4 in readers: every format and level, one PIN, one consent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import documents
import pytest
from authority import TSA_URL, Authority
from cryptography import x509
from judges import Judges, cut_pdf

import simulator
from cpxd.config import Settings
from cpxd.service import verifying
from cpxd.signature import vihf, xmlsafe
from simulator import personas
from simulator.lab import Lab
from simulator.pki import TestPki

CPXD = str(Path(sysconfig.get_path("scripts")) / "cpxd")
TAGS = Path(simulator.__file__).parent / "invented-tags.json"
MODELS = ("cps3", "cps4")
INS = "255069999999934"


@pytest.fixture(scope="module")
def lab(exported: Path) -> Iterator[Lab]:
    with Lab(["cps-medecin:cps3", "cps-medecin:cps4", "cps-expiree:cps4", None], slots=4) as lab:
        config = Path(lab.env["XDG_CONFIG_HOME"], "cpxd", "config.toml")
        more = f'[sign]\ntsa = "{TSA_URL}"\ntrust = "{exported / "ca.pem"}"\n[vihf]\nlps_name = "LOGICIEL"\nlps_version = "1.0"\n'
        names = json.dumps(str(TAGS))
        config.write_text(f"[record]\ndictionary = {names}\n{more}", encoding="utf-8")  # revocation by the servers alone
        yield lab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "note.txt").write_bytes(b"Compte rendu\r\n" * 20)
    (tmp_path / "note.pdf").write_bytes(documents.pdf("Ordonnance", "Paracétamol 1 g"))
    (tmp_path / "note.xml").write_bytes(documents.CDA)
    (tmp_path / "note.eml").write_bytes(documents.MAIL)
    (tmp_path / "note.json").write_bytes(b'{"a": 1}')
    return tmp_path


def cpxd(
    lab: Lab, slot: int, authority: Authority | None, *words: str | Path, pin: str = "1234"
) -> subprocess.CompletedProcess[str]:
    env = {"LANG": "C.UTF-8", **(authority.env if authority else {})}
    line = [CPXD, *(str(word) for word in words)]
    if words[0] == "sign":
        line += ["--pin-fd", "0", "--reader", lab.readers[slot]]
    done: subprocess.CompletedProcess[str] = lab.run(line, input=f"{pin}\n", capture_output=True, env=env, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def slot(model: str) -> int:
    return MODELS.index(model)


# the whole matrix, before other verifiers, is test_matrix.py; here the command as a person runs it
SOME = [
    ("cps3", False, "cms", "b", "note.txt", "note.txt.p7s"),
    ("cps4", False, "pades", "lta", "note.pdf", "note.signed.pdf"),
    ("cps4", True, "xades", "t", "note.xml", "note.signed.xml"),
    ("cps3", False, "smime", "t", "note.eml", "note.signed.eml"),
    ("cps4", True, "jws", "b", "note.json", "note.json.jws"),
]


@pytest.mark.parametrize(
    ("model", "pss", "format", "level", "name", "result"), SOME, ids=lambda v: v if isinstance(v, str) else ""
)
def test_sign_and_verify(
    lab: Lab,
    folder: Path,
    authority: Authority,
    exported: Path,
    model: str,
    pss: bool,
    format: str,
    level: str,
    name: str,
    result: str,
) -> None:
    before = len(lab.card(slot(model)).trace)
    line = ["sign", folder / name, "--format", format, "--level", level, *(["--pss"] if pss else [])]
    done = cpxd(lab, slot(model), authority, *line)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    codes = [c for c, _ in lab.card(slot(model)).trace[before:] if c[1] == 0x20 and len(c) > 5]
    assert len(codes) == 1, "one PIN"
    (report,) = verifying.verify(folder / result, Settings(sign_trust=str(exported / "ca.pem")))
    assert (report.verdict, report.level, report.revocation) == ("valid", level.upper(), "good"), report.reasons
    assert report.profession == "Médecin" and report.signer is not None


def test_verify_says_who_signed(lab: Lab, folder: Path, authority: Authority) -> None:
    assert cpxd(lab, 1, authority, "sign", folder / "note.pdf", "--format", "pades", "--level", "t").returncode == 0
    done = cpxd(lab, 0, authority, "verify", folder / "note.signed.pdf", "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)["signatures"][0]
    assert (report["verdict"], report["level"], report["revocation"]) == ("valid", "T", "good")
    assert report["signer"]["profession_label"] == "Médecin" and report["signer"]["identifier"] == "899700090014"
    said = cpxd(lab, 0, authority, "verify", folder / "note.signed.pdf").stdout
    for word in ("VALABLE", "PAdES-B-T", "ALIENOR", "Médecin", "non révoqué", "Horodatage", "TEST AC RACINE IGC-SANTE FORT"):
        assert word in said, said


@pytest.mark.parametrize("format", ["cms", "cades", "pades", "xades", "smime", "jws", "vihf"])
def test_cps3_has_no_pss(lab: Lab, folder: Path, format: str) -> None:
    files = {"pades": "note.pdf", "xades": "note.xml", "smime": "note.eml"}
    before = sorted(p.name for p in folder.iterdir())
    words: list[str | Path] = (
        ["--ins", INS, "-o", folder / "v.xml"] if format == "vihf" else [folder / files.get(format, "note.txt")]
    )
    done = cpxd(lab, slot("cps3"), None, "sign", *words, "--format", format, "--pss")
    assert done.returncode == 40 and "CPX-132" in done.stderr and "RSA PSS SHA256" in done.stderr
    assert sorted(p.name for p in folder.iterdir()) == before


@pytest.mark.parametrize(("model", "pss"), [("cps3", False), ("cps4", False), ("cps4", True)])
def test_vihf(lab: Lab, folder: Path, authority: Authority, judges: Judges, model: str, pss: bool) -> None:
    line = [
        "sign",
        "--format",
        "vihf",
        "--ins",
        INS,
        "--purpose",
        "bris_de_glace",
        "-o",
        folder / "v.xml",
        *(["--pss"] if pss else []),
    ]
    done = cpxd(lab, slot(model), authority, *line)
    assert done.returncode == 0, done.stderr
    signed = (folder / "v.xml").read_bytes()
    assert judges.expat_openssl(signed) and (pss or judges.xmlsec1(signed))
    root = xmlsafe.parse(signed)
    assert [child.tag.rpartition("}")[2] for child in root][:3] == ["Issuer", "Signature", "Subject"]
    fields = dict(line.split(": ", 1) for line in vihf_lines(signed))
    assert fields["NameID"] == "899700090014"
    assert fields["Identifiant_Structure"] == "499700090014014"
    assert fields["Secteur_Activite"] == "SA07^1.2.250.1.71.4.2.4"
    assert fields["subject-id"] == "VALLEFICTIVE-MERCOEUR ALIENOR CABINET DU DR VALLEFICTIVE"
    assert fields["VIHF_Version"] == "3.0" and fields["Authentification_mode"] == "DIRECTE" and fields["LPS_Nom"] == "LOGICIEL"
    assert fields["purposeofuse"].startswith("bris_de_glace") and fields["Ressource_URN"] == "urn:dmp"
    assert fields["resource-id"].endswith("9934^^^&1.2.250.1.213.1.4.10&ISO^NH") and INS not in fields["resource-id"]
    roles = [e.get("codeSystem") for e in root.iter(f"{{{vihf.HL7}}}Role")]
    assert roles == ["1.2.250.1.71.1.2.7", "1.2.250.1.71.4.2.5"], "profession, then specialty"
    done = cpxd(lab, 0, authority, "verify", folder / "v.xml", "--json")
    assert json.loads(done.stdout)["signatures"][0]["verdict"] == "valid", done.stdout


def vihf_lines(signed: bytes) -> list[str]:
    from cpxd.signature import preview

    return preview.vihf_lines(xmlsafe.parse(signed))


@pytest.mark.parametrize("ins", ["255069999999935", "12", "2550699999999AA", "x" * 15])
def test_wrong_ins(lab: Lab, folder: Path, ins: str) -> None:
    done = cpxd(lab, 0, None, "sign", "--format", "vihf", "--ins", ins, "-o", folder / "v.xml")
    assert done.returncode == 40 and not (folder / "v.xml").exists()


def test_expired_card(lab: Lab, folder: Path) -> None:
    done = cpxd(lab, 2, None, "sign", folder / "note.txt")
    assert done.returncode == 40 and "CPX-154" in done.stderr
    assert not (folder / "note.txt.p7s").exists()
    assert not [c for c, _ in lab.card(2).trace if c[1] == 0x20 and len(c) > 5], "known before the PIN"


def batch(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        path = folder / f"ordonnance-{number:03}.pdf"
        path.write_bytes(documents.pdf(f"Ordonnance {number}"))
        paths.append(path)
    return paths


def test_two_hundred_prescriptions(lab: Lab, tmp_path: Path, judges: Judges) -> None:
    paths, handle = batch(tmp_path, 200), lab.card(1)
    before = len(handle.trace)
    done = cpxd(lab, 1, None, "sign", *paths, "--format", "pades", "--json")
    assert done.returncode == 0, done.stderr
    sent = [c for c, _ in handle.trace[before:]]
    assert len([c for c in sent if c[1] == 0x20 and len(c) > 5]) == 1, "one PIN"
    assert len(json.loads(done.stdout)["documents"]) == 200
    assert len(list(tmp_path.glob("*.signed.pdf"))) == 200
    for path in (paths[0], paths[199]):
        assert judges.poppler(path.with_name(path.stem + ".signed.pdf").read_bytes())


def test_card_pulled_in_a_batch(lab: Lab, tmp_path: Path, judges: Judges) -> None:
    """Of 200, what is signed is whole, what is not is named, none is half-written."""
    paths = batch(tmp_path, 200)
    handle = lab.insert(3, "cps-medecin:cps4", fault="pull@350")
    assert handle is not None
    done = cpxd(lab, 3, None, "sign", *paths, "--format", "pades")
    signed = {p.name.removesuffix(".signed.pdf") for p in tmp_path.glob("*.signed.pdf")}
    assert 20 < len(signed) < 180, (len(signed), done.stderr)
    assert done.returncode == 14 and len(done.stdout.splitlines()) == len(signed)
    named = set(re.findall(r"(ordonnance-\d+)\.pdf", done.stderr))
    assert named == {p.stem for p in paths} - signed
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in paths} | {f"{name}.signed.pdf" for name in signed}
    for name in sorted(signed)[::10] + sorted(signed)[-3:]:
        signature, content = cut_pdf((tmp_path / f"{name}.signed.pdf").read_bytes())
        assert judges.java("cms", signature, ("beside", content)), judges.said
    for name in (min(signed), max(signed)):
        assert judges.poppler((tmp_path / f"{name}.signed.pdf").read_bytes())
    assert len([c for c, _ in handle.trace if c[1] == 0x20 and len(c) > 5]) == 1, "one PIN"


BAD = [  # what is in the file, how it is to be signed
    ("encrypted.pdf", "pades"),
    ("no-xref.pdf", "pades"),
    ("cut.pdf", "pades"),
    ("text.pdf", "pades"),
    ("bomb.xml", "xades"),
    ("external.xml", "xades"),
    ("deep.xml", "xades"),
    ("text.eml", "smime"),
]


def test_bad_documents(lab: Lab, tmp_path: Path, judges: Judges) -> None:
    """Each is refused in one line, and nothing is written."""
    good = documents.pdf("x")
    judges.run("qpdf", "--encrypt", "", "owner", "256", "--", judges.put("in.pdf", good), "out.pdf")
    contents = {
        "encrypted.pdf": (judges.folder / "out.pdf").read_bytes(),
        "no-xref.pdf": good.replace(b"startxref", b"startxxxx"),
        "cut.pdf": good[: len(good) // 2],
        "bomb.xml": documents.BOMB,
        "external.xml": documents.EXTERNAL,
        "deep.xml": b"<a>" * 100_000 + b"</a>" * 100_000,
    }
    lines = []
    for name, format in BAD:
        (tmp_path / name).write_bytes(contents.get(name, b"just words"))
        lines.append(["sign", str(tmp_path / name), "--format", format, "--reader", lab.readers[1]])
    program = Path(__file__).with_name("sign_lines.py")
    env = {"LANG": "C.UTF-8"}
    done = lab.run([sys.executable, program, "1234"], input=json.dumps(lines), capture_output=True, env=env, timeout=120)
    assert json.loads(done.stdout) == [40] * len(BAD), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(BAD) and all("CPX-150" in line for line in said), said
    assert {p.name for p in tmp_path.iterdir()} == {name for name, _ in BAD}


def test_revoked_signer(lab: Lab, folder: Path, authority: Authority) -> None:
    certificate = TestPki().issue(personas.load("cps-medecin"), "cps4", "signature").certificate
    authority.revoked = {x509.load_der_x509_certificate(certificate).serial_number: datetime.now(UTC) - timedelta(days=1)}
    before = len(lab.card(1).trace)
    done = cpxd(lab, 1, authority, "sign", folder / "note.pdf", "--format", "pades", "--level", "lt")
    assert done.returncode == 40 and "CPX-155" in done.stderr, done.stderr
    assert not (folder / "note.signed.pdf").exists()
    assert not [c for c, _ in lab.card(1).trace[before:] if c[1] == 0x20 and len(c) > 5], "known before the PIN"


@pytest.mark.parametrize(
    ("shift", "level", "code"), [("+1500d", "b", "CPX-154"), ("-1500d", "b", "CPX-154"), ("+2h", "t", "CPX-156")]
)
def test_wrong_clock(lab: Lab, folder: Path, authority: Authority, shift: str, level: str, code: str) -> None:
    """The clock of the workstation, moved by libfaketime: told, and nothing is written."""
    line = ["faketime", "-f", shift, CPXD, "sign", folder / "note.pdf", "--format", "pades", "--level", level, "--pin-fd", "0"]
    env = {"LANG": "C.UTF-8", "FAKETIME_DONT_FAKE_MONOTONIC": "1", **authority.env}
    before = len(lab.card(1).trace)
    done = lab.run([*line, "--reader", lab.readers[1]], input="1234\n", capture_output=True, env=env, timeout=60)
    assert done.returncode == 40 and code in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (folder / "note.signed.pdf").exists()
    assert not [c for c, _ in lab.card(1).trace[before:] if c[1] == 0x20 and len(c) > 5], "known before the PIN"


def test_one_bad_document_does_not_stop_the_others(lab: Lab, tmp_path: Path) -> None:
    paths = batch(tmp_path, 3)
    paths[1].write_bytes(paths[1].read_bytes()[:300])
    done = cpxd(lab, 1, None, "sign", *paths, "--format", "pades", "-o", tmp_path)
    assert done.returncode == 40 and "ordonnance-001.pdf" in done.stderr and "CPX-150" in done.stderr
    assert sorted(p.name for p in tmp_path.glob("*.signed.pdf")) == ["ordonnance-000.signed.pdf", "ordonnance-002.signed.pdf"]


def test_usage(lab: Lab, folder: Path) -> None:
    for words in (["--format", "xades", "--level", "lt"], ["--format", "pades", "--detached"], ["--format", "nonsense"]):
        done = cpxd(lab, 0, None, "sign", folder / "note.xml", *words)
        assert done.returncode == 2 and done.stderr.startswith("cpxd"), done.stderr
    assert cpxd(lab, 0, None, "sign").returncode == 2
    for path in (folder / "note.txt", folder / "none"):
        assert cpxd(lab, 0, None, "verify", path).returncode == 40


def test_detached_content_is_found_or_named(lab: Lab, folder: Path, authority: Authority) -> None:
    assert cpxd(lab, 0, authority, "sign", folder / "note.txt").returncode == 0
    assert cpxd(lab, 0, authority, "verify", folder / "note.txt.p7s").returncode == 0
    other = folder / "other.txt"
    other.write_bytes(b"x")
    assert cpxd(lab, 0, authority, "verify", folder / "note.txt.p7s", "--content", other).returncode == 50
    (folder / "note.txt").rename(folder / "moved.txt")
    assert cpxd(lab, 0, authority, "verify", folder / "note.txt.p7s").returncode == 51  # not known, not wrong
    done = cpxd(lab, 0, authority, "verify", folder / "note.txt.p7s", "--content", folder / "moved.txt", "--offline")
    assert done.returncode == 51, "intact, but the network was not asked"


def test_a_gigabyte(lab: Lab, tmp_path: Path) -> None:
    """Detached signatures of any size; the others say so before the PIN."""
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    for format in ("pades", "xades", "jws", "smime"):
        done = cpxd(lab, 1, None, "sign", path, "--format", format)
        assert done.returncode == 40 and "CPX-151" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.bin"]
    line = ["prlimit", f"--as={700 << 20}", CPXD, "sign", str(path), "--pin-fd", "0", "--reader", lab.readers[1]]
    done: Any = lab.run(line, input="1234\n", capture_output=True, timeout=60, env={"LANG": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(f"{path}.p7s") < 8192
