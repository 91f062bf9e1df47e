# SPDX-License-Identifier: Apache-2.0
"""Every format, level and form × RSA PKCS#1 and PSS × CPS3 and CPS4, signed by `cpxd sign`: two verifiers that are not ours
accept each, time stamps and enclosed revocation data are right for OpenSSL. The table is matrix.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import documents
import pytest
from asn1crypto import cms as asn1_cms
from authority import TSA_URL, Authority
from cryptography import x509
from judges import Judges, cut_pdf
from matrix import CARDS, CELLS, INS, Cell

import simulator
from cpxd.config import Settings
from cpxd.service import verifying
from cpxd.signature import cms, reading, smime, xades
from cpxd.signature.report import Found, Report
from cpxd.signature.signer import Padding
from simulator.lab import Lab

DOCUMENTS = {
    "cms": ("d.txt", b"Compte rendu\r\n" * 20),
    "cades": ("d.txt", b"Compte rendu\r\n" * 20),
    "pades": ("d.pdf", documents.pdf("Ordonnance", "Paracétamol 1 g")),
    "xades": ("d.xml", documents.CDA),
    "smime": ("d.eml", documents.MAIL),
    "jws": ("d.json", b'{"a": 1}'),
}
CASES = [pytest.param(card, padding, cell, id=f"{cell.name}-{card}-{padding}") for card, padding in CARDS for cell in CELLS]


@pytest.fixture(scope="module")
def folder(exported: Path, _authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `cpxd sign` wrote: CARD-PADDING/CELL, beside the documents."""
    folder = tmp_path_factory.mktemp("matrix")
    for name, content in DOCUMENTS.values():
        (folder / name).write_bytes(content)
    _authority.reset()
    with Lab(["cps-medecin:cps3", "cps-medecin:cps4"], slots=2) as lab:
        tags = Path(simulator.__file__).parent / "invented-tags.json"
        config = f'[record]\ndictionary = "{tags}"\n[sign]\ntsa = "{TSA_URL}"\ntrust = "{exported / "ca.pem"}"\n'
        Path(lab.env["XDG_CONFIG_HOME"], "cpxd", "config.toml").write_text(config, encoding="utf-8")
        for card, padding in CARDS:
            _sign_all(lab, _authority, folder, card, padding)
    yield folder


def _sign_all(lab: Lab, authority: Authority, folder: Path, card: str, padding: Padding) -> None:
    """Every cell with one card; the PIN is proved once each."""
    target = folder / f"{card}-{padding}"
    target.mkdir()
    slot = ("cps3", "cps4").index(card)
    handle = lab.card(slot)
    before = len(handle.trace)
    lines = [[*_line(folder, target, cell, padding), "--reader", lab.readers[slot]] for cell in CELLS]
    program = Path(__file__).with_name("sign_lines.py")
    env = {"LANG": "C.UTF-8", **authority.env}
    done = lab.run([sys.executable, str(program), "1234"], input=json.dumps(lines), capture_output=True, env=env, timeout=120)
    assert done.returncode == 0 and json.loads(done.stdout) == [0] * len(CELLS), (done.stdout, done.stderr)
    codes = [command for command, _ in handle.trace[before:] if command[1] == 0x20 and len(command) > 5]
    assert len(codes) == len(CELLS), "one PIN each"


def _line(folder: Path, target: Path, cell: Cell, padding: Padding) -> list[str]:
    line = ["sign", "--format", cell.format, "--level", cell.level, f"--{cell.form}", "-o", str(target / cell.name)]
    line += ["--ins", INS] if cell.format == "vihf" else [str(folder / DOCUMENTS[cell.format][0])]
    return line + (["--pss"] if padding == "pss" else [])


@dataclass
class Judged:
    """One signature before the judges. Each method is the judge of its name."""

    judges: Judges
    cell: Cell
    signed: bytes

    @property
    def document(self) -> tuple[str, bytes] | None:
        return DOCUMENTS[self.cell.format] if self.cell.form == "detached" else None

    @property
    def parts(self) -> tuple[bytes, bytes | None]:
        """The CMS and what it is over, None when that is inside."""
        if self.cell.format == "pades":
            return cut_pdf(self.signed)
        if self.cell.format == "smime":
            mail = smime.split_signed(self.signed)
            return mail.signature, mail.signed
        return self.signed, self.document[1] if self.document else None

    def openssl(self) -> bool:
        if self.cell.format == "jws":
            return self.judges.openssl_jws(self.signed)
        if self.cell.format == "smime":
            line = ["openssl", "cms", "-verify", "-in", self.judges.put("a.eml", self.signed), "-CAfile", self.judges.ca]
            return self.judges.run(*line).returncode == 0
        return self.judges.openssl_cms(*self.parts, "-cades")

    def java(self) -> bool:
        if self.cell.format in ("xades", "vihf"):
            if self.document:
                self.judges.put(*self.document)
            return self.judges.java("xml", self.signed)
        if self.cell.format == "jws":
            return self.judges.java("jws", self.signed)
        signature, content = self.parts
        return self.judges.java("cms", signature, None if content is None else ("beside", content))

    def gpgsm(self) -> bool:
        return self.judges.gpgsm(*self.parts)

    def poppler(self) -> bool:
        return self.judges.poppler(self.signed)

    def mupdf(self) -> bool:
        return self.judges.mupdf(self.signed)

    def xmlsec1(self) -> bool:
        return self.judges.xmlsec1(self.signed, self.document)

    def xmlsec_nss(self) -> bool:
        return self.judges.xmlsec_nss(self.signed, self.document)

    def xadesjs(self) -> bool:
        return self.judges.xadesjs(self.signed, self.document)

    def expat_openssl(self) -> bool:
        return self.judges.expat_openssl(self.signed, self.document[1] if self.document else b"")

    def jose(self) -> bool:
        header = json.loads(base64.urlsafe_b64decode(self.signed.split(b".")[0] + b"=="))
        return self.judges.jose(self.signed, x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0])))

    def stamped(self) -> bytes:
        """What the time stamp is over."""
        return xades.stamped_content(self.signed) if self.cell.format == "xades" else cms.signature_value(self.parts[0])


@pytest.mark.parametrize(("card", "padding", "cell"), CASES)
def test_cell(
    folder: Path, judges: Judges, exported: Path, authority: Authority, card: str, padding: Padding, cell: Cell
) -> None:
    path = folder / f"{card}-{padding}" / cell.name
    judged = Judged(judges, cell, path.read_bytes())
    names = cell.judges_of(padding)
    assert len(names) >= 2
    for name in names:
        assert getattr(judged, name)(), (name, judges.said)
    beside = folder / DOCUMENTS[cell.format][0] if cell.form == "detached" and cell.format != "smime" else None
    (report,) = verifying.verify(path, Settings(sign_trust=str(exported / "ca.pem")), content=beside)
    assert (report.verdict, report.level, report.revocation) == ("valid", cell.level.upper(), "good"), report.reasons
    if cell.level != "b":
        _check_stamp(judged)
    if cell.level in ("lt", "lta"):
        _check_evidence(judged, report)


def _found(judged: Judged) -> Found:
    document = judged.document
    (found,) = reading.read(judged.signed, None if document is None else lambda name: hashlib.new(name, document[1]).digest())
    return found


def _check_stamp(judged: Judged) -> None:
    stamp = _found(judged).stamp
    assert stamp is not None
    judges, over = judged.judges, judged.stamped()
    assert judges.openssl_ts(stamp.token, over) and judges.java("stamp", stamp.token, ("over", over)), judges.said
    assert not judges.openssl_ts(stamp.token, over + b"x") and not judges.java("stamp", stamp.token, ("over", over + b"x"))


def _check_evidence(judged: Judged, report: Report) -> None:
    evidence = _found(judged).evidence
    if judged.cell.format != "pades":  # there they stand beside the CMS
        signed = asn1_cms.ContentInfo.load(judged.signed)["content"]
        assert {c.chosen.dump() for c in signed["crls"] if c.name != "other"} == set(evidence.crls)
    assert evidence.crls and all(judged.judges.openssl_crl(der) for der in evidence.crls)
    certificate, issuer = report.certificates[:2]
    assert any(judged.judges.openssl_ocsp(der, certificate, issuer) for der in evidence.ocsps)


@pytest.mark.parametrize("cell", [c for c in CELLS if c.level == "b"], ids=lambda cell: cell.name)
def test_the_judges_do_judge(folder: Path, judges: Judges, cell: Cell) -> None:
    """Each refuses another signature's value."""
    for card, padding in CARDS[1:]:
        other = folder / f"{card}-{padding}" / cell.name
        judged = Judged(judges, cell, _spoilt(cell, other.read_bytes()))
        for name in cell.judges_of(padding):
            assert not getattr(judged, name)(), name


def _spoilt(cell: Cell, signed: bytes) -> bytes:
    """The value of the signature with some bits the other way round."""
    if cell.format in ("xades", "vihf"):
        place = signed.index(b"SignatureValue>") + 40
        return signed[:place] + (b"A" if signed[place] != ord("A") else b"B") + signed[place + 1 :]
    if cell.format == "jws":
        return signed[:-40] + (b"A" if signed[-40] != ord("A") else b"B") + signed[-39:]
    if cell.format == "smime":
        return signed.replace(b"voici", b"Voici")
    if cell.format == "pades":
        return signed.replace(b"/F1 12 Tf", b"/F1 13 Tf")
    return signed[:-9] + bytes([signed[-9] ^ 1]) + signed[-8:]
