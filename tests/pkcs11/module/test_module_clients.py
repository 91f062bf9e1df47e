# SPDX-License-Identifier: Apache-2.0
"""Other people's programs through the module, the stock `p11-kit server` and SoftHSM2."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pkcs11
import pytest
from module_stock import PIN, SOFTHSM, Stock
from pkcs11 import Attribute, Mechanism, ObjectClass


def run(stock: Stock, *command: str, status: int = 0, cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=stock.environment, cwd=cwd, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def pkcs11_tool(stock: Stock, module: Path, *options: str, status: int = 0) -> str:
    return run(stock, "pkcs11-tool", "--module", str(module), "--token-label", "lab", *options, status=status)


def test_pkcs11_tool_lists(module_path: Path, stock: Stock) -> None:
    listed = pkcs11_tool(stock, module_path, "-L")
    assert re.search(r"token label\s*: lab", listed)
    objects = pkcs11_tool(stock, module_path, "--login", "--pin", PIN, "-O")
    assert {"Private Key Object", "Public Key Object", "Certificate Object"} <= set(
        re.findall(r"^(\w+ (?:Key )?Object)", objects, re.M)
    )
    assert "CKR_PIN_INCORRECT" in pkcs11_tool(stock, module_path, "--login", "--pin", "0000", "-O", status=1)


@pytest.mark.parametrize(
    ("mechanism", "verify"),
    [
        ("SHA256-RSA-PKCS", []),
        ("SHA256-RSA-PKCS-PSS", ["-sigopt", "rsa_padding_mode:pss"]),
        ("RSA-PKCS-PSS", ["-sigopt", "rsa_padding_mode:pss"]),
    ],
)
def test_pkcs11_tool_signs(module_path: Path, stock: Stock, tmp_path: Path, mechanism: str, verify: list[str]) -> None:
    data, signature, hashed = (tmp_path / name for name in ("data", "signature", "hashed"))
    data.write_bytes(b"ordonnance" * 100)
    signed = data
    options: list[str] = []
    if mechanism == "RSA-PKCS-PSS":
        options = ["--hash-algorithm", "SHA256"]
        run(stock, "openssl", "dgst", "-sha256", "-binary", "-out", str(hashed), str(data))
        signed = hashed
    pkcs11_tool(stock, module_path, "--login", "--pin", PIN, "--id", "01", "-s", "-m", mechanism, *options,
                "-i", str(signed), "-o", str(signature))  # fmt: skip
    public = str(stock.folder / "public.pem")
    assert "Verified OK" in run(
        stock, "openssl", "dgst", "-sha256", "-verify", public, *verify, "-signature", str(signature), str(data)
    )


def test_pkcs11_tool_generates_and_deletes_keys(module_path: Path, stock: Stock) -> None:
    login = ("--login", "--pin", PIN, "--id", "77")
    made = pkcs11_tool(stock, module_path, *login, "--keypairgen", "--key-type", "rsa:2048", "--label", "made")
    assert "Key pair generated" in made
    for kind in ("privkey", "pubkey"):
        pkcs11_tool(stock, module_path, *login, "--delete-object", "--type", kind)


def test_pkcs11_tool_test_says_the_same_as_in_front_of_softhsm(module_path: Path, stock: Stock) -> None:
    """Its own test stops at OAEP with SoftHSM2: the two reports are to be equal, wherever they stop."""
    reports = []
    for module in (Path(SOFTHSM), module_path):
        done = subprocess.run(
            ["pkcs11-tool", "--module", str(module), "--token-label", "lab", "--login", "--pin", PIN, "--test"],
            env=stock.environment, capture_output=True, text=True, timeout=40, check=False,
        )  # fmt: skip
        # One line for each mechanism that is not for decryption; those that cannot be carried are not offered.
        tested = done.stdout.replace(" -- mechanism can't be used to decrypt, skipping\n", "")
        reports.append((done.returncode, tested, re.sub(r"\(0x\w+\)", "", done.stderr)))
    assert reports[0] == reports[1]
    assert "RSA-PKCS: OK" in reports[0][1]


def test_p11tool(module_path: Path, stock: Stock) -> None:
    listed = run(stock, "p11tool", "--provider", str(module_path), "--list-all", "--login", "--set-pin", PIN, "pkcs11:token=lab")
    assert listed.count("object=lab") >= 3
    tokens = run(stock, "p11tool", "--provider", str(module_path), "--list-tokens")
    assert "SoftHSM" in tokens


def test_python_pkcs11(module_path: Path, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPXD_PKCS11_SOCKET", str(stock.socket))
    library = pkcs11.lib(str(module_path))
    try:
        with library.get_token(token_label="lab").open(user_pin=PIN) as session:
            (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: b"\1"})
            (certificate,) = session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE})
            assert certificate[Attribute.VALUE] == (stock.folder / "cert.der").read_bytes()
            assert isinstance(key, pkcs11.SignMixin)
            signature = key.sign(b"data", mechanism=Mechanism.SHA256_RSA_PKCS)
            (public,) = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: b"\1"})
            assert isinstance(public, pkcs11.VerifyMixin)
            assert public.verify(b"data", signature, mechanism=Mechanism.SHA256_RSA_PKCS)
    finally:
        pkcs11.unload(str(module_path))


def test_java(module_path: Path, stock: Stock, tmp_path: Path) -> None:
    configuration = tmp_path / "java.cfg"
    configuration.write_text(f"name = cpxd\nlibrary = {module_path}\nslotListIndex = 0\n")
    java = ["keytool", "-J-XX:TieredStopAtLevel=1", "-J-Xshare:auto", "-list", "-keystore", "NONE", "-storetype", "PKCS11"]
    listed = run(stock, *java, "-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", str(configuration),
                 "-storepass", PIN)  # fmt: skip
    assert "lab, PrivateKeyEntry" in listed


def test_nss(module_path: Path, stock: Stock, tmp_path: Path) -> None:
    database = f"sql:{tmp_path}"
    pin = tmp_path / "pin"
    pin.write_text(PIN + "\n")
    run(stock, "certutil", "-d", database, "-N", "--empty-password")
    run(stock, "modutil", "-dbdir", database, "-add", "cpxd", "-libfile", str(module_path), "-force")
    assert re.search(r"Token Name: lab\s*$", run(stock, "modutil", "-dbdir", database, "-list", "cpxd"), re.M)
    keys = run(stock, "certutil", "-d", database, "-K", "-h", "lab", "-f", str(pin))
    assert re.search(r"rsa\s+01\s+lab$", keys, re.M)
    certificates = run(stock, "certutil", "-d", database, "-L", "-h", "lab", "-f", str(pin))
    assert re.search(r"lab:lab\s+u,u,u", certificates)
