# SPDX-License-Identifier: Apache-2.0
"""Other people's programs through both doors: our module, and the distribution's p11-kit-client.so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from p11_daemon import Daemon

from cpxd.cli.path import MODULE

STOCK = Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so")
DOORS = {"ours": MODULE, "stock": STOCK}


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> Path:
    return DOORS[request.param]


def run(daemon: Daemon, command: Sequence[str | Path], **options: Any) -> str:
    env = {**daemon.env, "P11_KIT_SERVER_ADDRESS": f"unix:path={daemon.socket}", "CPXD_PKCS11_SOCKET": str(daemon.socket)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("slot", ["0", "1"])
def test_pkcs11_tool(fresh: Daemon, door: Path, short: Path, slot: str) -> None:
    tool = ["pkcs11-tool", "--module", door, "--slot", slot]
    assert "IAS ECC" in run(fresh, [*tool, "-L"])
    assert run(fresh, [*tool, "-O", "--type", "cert"]).count("Certificate Object") == 2
    said = run(fresh, [*tool, "--login", "--pin", "1234", "--test"])
    assert "No errors" in said and "RSA-PKCS: OK" in said
    (short / "data").write_bytes(b"data")
    reference = "e828bd080f8025000001ff0010" + ("02" if slot == "0" else "20")
    sign = ["--sign", "-m", "SHA256-RSA-PKCS", "--id", reference, "-i", short / "data", "-o", short / "signature"]
    run(fresh, [*tool, "--login", "--pin", "1234", *sign])
    run(fresh, [*tool, "-r", "--type", "pubkey", "--id", reference, "-o", short / "key.der"])
    verify = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", short / "key.der", "-signature", short / "signature"]
    assert "Verified OK" in run(fresh, [*verify, short / "data"])


PYTHON_PKCS11 = """
import sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
library = pkcs11.lib(sys.argv[1])
for slot in library.get_slots(token_present=True):
    token = slot.get_token()
    with token.open(user_pin="1234") as session:
        key = next(iter(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "CPS_PRIV_AUT"})))
        public = next(iter(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key[Attribute.ID]})))
        signature = key.sign(b"data", mechanism=Mechanism.SHA256_RSA_PKCS)
        assert public.verify(b"data", signature, mechanism=Mechanism.SHA256_RSA_PKCS)
        assert not public.verify(b"other", signature, mechanism=Mechanism.SHA256_RSA_PKCS)
        names = sorted(o[Attribute.LABEL] for o in session.get_objects({Attribute.CLASS: ObjectClass.DATA}))
        print(token.label.strip(), len(signature), *names)
"""


def test_python_pkcs11(fresh: Daemon, door: Path) -> None:
    lines = run(fresh, [sys.executable, "-c", PYTHON_PKCS11, door]).splitlines()
    assert [line.split()[:2] for line in lines] == [["CPS3v3-2600997001", "256"], ["CPS4v1-2600997001", "256"]]
    assert all("CPS_NAME_PS" in line and "CPS_SIT_FACT" in line for line in lines)


def test_p11tool_and_ssh(fresh: Daemon, door: Path) -> None:
    run(fresh, ["p11tool", "--provider", door, "--list-all-certs", "pkcs11:token=CPS3v3-2600997001"])
    keys = run(fresh, ["ssh-keygen", "-D", door], input="")
    assert keys.count("ssh-rsa ") >= 2
