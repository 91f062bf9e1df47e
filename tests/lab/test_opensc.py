# SPDX-License-Identifier: Apache-2.0
"""OpenSC's own tools on the simulated CPS3: independent middleware must see a card of the family and be able to use it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cpxd_lab import PIN, SCRIPTS, card, image, tries, value
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from simulator.lab import Lab

SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
MODULE = "opensc-pkcs11.so"


@pytest.fixture(scope="module", params=["project's driver", "vpcd"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab([None], slots=2, vpcd=request.param == "vpcd") as opened:
        yield opened


@pytest.fixture
def virtual(lab: Lab) -> Iterator[Any]:
    inserted = card("cps-medecin-8")
    lab.insert(0, inserted)
    yield inserted
    lab.remove(0)


def tool(lab: Lab, *arguments: str | Path, stdin: str = "") -> str:
    done = lab.run(arguments, capture_output=True, input=stdin, timeout=60)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def certificate_of(usage: int) -> x509.Certificate:
    """1 signature, 2 authentication: as written on the card."""
    number = {1: 0xA001, 2: 0xA006}[usage]
    made = image("cps-medecin-8")
    return x509.load_der_x509_certificate(next(file.content for file in made.files if file.path == (1, number)))


def test_card_is_named(lab: Lab, virtual: Any) -> None:
    name = tool(lab, "opensc-tool", "-n").strip().splitlines()[-1]
    assert re.search(r"(?i)\bCP[SX]", name) or "IAS" in name, name
    assert tool(lab, "opensc-tool", "-a").strip().splitlines()[-1].replace(":", "") == virtual.atr.hex()


def test_tree_of_objects(lab: Lab, virtual: Any) -> None:
    """The two codes, two keys and two certificates, as the directory files of a real card name them."""
    dump = tool(lab, "pkcs15-tool", "-D", "--verify-pin", "--pin", PIN)
    assert "PKCS#15 Card [CPS3v3-2600997002]" in dump and "ASIP SANTE" in dump
    pins = re.findall(r"(?m)^PIN \[(.*)\]", dump)
    assert pins == ["Code porteur de la carte CPS", "Code de déblocage de la carte CPS"]
    assert re.findall(r"(?m)^Private RSA Key \[(.*)\]", dump) == ["CPS_PRIV_SIG", "CPS_PRIV_AUT"]
    labels = ["Certificat de Signature CPS", "Certificat d'Authentification CPS"]
    assert re.findall(r"(?m)^X.509 Certificate \[(.*)\]", dump) == labels
    ids = re.findall(r"(?m)^\tID +: (\w{28})$", dump)
    assert ids == [f"e828bd080f8025000001ff0010{number}" for number in ("01", "02", "01", "02")]
    numbers = re.findall(r"(?m)^Data object 'CPS_ACTIVITY_(\d\d)_PS'", dump)
    assert numbers == ["01", "02", "04", "05", "07", "08", "11", "16"]
    assert tries(virtual) == 3


@pytest.mark.parametrize(("number", "usage"), [("01", 1), ("02", 2)])
def test_certificates_come_out_whole(lab: Lab, virtual: Any, number: str, usage: int) -> None:
    pem = tool(lab, "pkcs15-tool", "--read-certificate", f"e828bd080f8025000001ff0010{number}")
    assert x509.load_pem_x509_certificate(pem.encode()) == certificate_of(usage)


def test_signature_of_the_authentication_key(lab: Lab, virtual: Any, tmp_path: Path) -> None:
    """PKCS#11: RSA-PKCS over a DigestInfo, believed by OpenSSL."""
    message, data, signature = b"qui suis-je ?", tmp_path / "info", tmp_path / "signature"
    data.write_bytes(SHA256_DIGEST_INFO + sha256(message).digest())
    key = "e828bd080f8025000001ff001002"
    line = ["pkcs11-tool", "--module", MODULE, "--login", "--pin", PIN, "--sign", "--mechanism", "RSA-PKCS", "--id", key]
    tool(lab, *line, "--input-file", data, "--output-file", signature)
    public = certificate_of(2).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature.read_bytes(), message, padding.PKCS1v15(), hashes.SHA256())
    pem, plain = tmp_path / "public.pem", tmp_path / "message"
    pem.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    plain.write_bytes(message)
    verify = ["openssl", "dgst", "-sha256", "-verify", pem, "-signature", signature, plain]
    assert "Verified OK" in subprocess.run(verify, capture_output=True, text=True, check=True).stdout
    plain.write_bytes(message + b"!")
    assert subprocess.run(verify, capture_output=True, text=True, check=False).returncode != 0


def test_token(lab: Lab, virtual: Any) -> None:
    slots = tool(lab, "pkcs11-tool", "--module", MODULE, "-L")
    assert "Code porteur de la carte CPS" in slots and "ASIP SANTE" in slots
    assert re.search(r"serial num +: 000001997010027F\b", slots)
    assert "pin min/max        : 4/4" in slots
    listed = tool(lab, "pkcs11-tool", "--module", MODULE, "--login", "--pin", PIN, "-O")
    assert listed.count("Private Key Object; RSA") == 2 and listed.count("Certificate Object") == 2


def test_wrong_code_and_change_of_code(lab: Lab, virtual: Any) -> None:
    wrong = lab.run(["pkcs15-tool", "--verify-pin", "--pin", "0000"], capture_output=True, timeout=60)
    assert wrong.returncode != 0 and tries(virtual) == 2
    tool(lab, "pkcs15-tool", "--verify-pin", "--pin", PIN)
    assert tries(virtual) == 3
    tool(lab, "pkcs15-tool", "--change-pin", "--pin", PIN, "--new-pin", "4321")
    assert value(virtual) == "4321"


def test_by_the_command_of_the_lab(tmp_path: Path) -> None:
    """As in the documentation: cpx-sim lab --card … -- pkcs11-tool …"""
    trace = tmp_path / "trace"
    for way in ([], ["--vpcd"]):
        line = [
            SCRIPTS / "cpx-sim",
            "lab",
            "--card",
            "cps-medecin",
            *way,
            "--trace",
            trace,
            "--",
            "pkcs11-tool",
            "--module",
            MODULE,
        ]
        done = subprocess.run([*line, "--login", "--pin", PIN, "-O"], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.count("Private Key Object; RSA") == 2
        lines = trace.read_text().splitlines()
        assert any(">" in text and "00200001083" in text.replace(" ", "") for text in lines), "the VERIFY is in the trace"
