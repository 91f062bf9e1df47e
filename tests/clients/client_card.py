# SPDX-License-Identifier: Apache-2.0
"""A card in a lab with its daemon, as the programs of other people meet it: by the module's path and the environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulator import personalise, personas
from simulator.cardos.card import VirtualCard
from simulator.image import Model
from simulator.lab import Lab

MODULE = Path(__file__).parents[2] / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
PIN = "1234"
PERSONA = "cps-medecin"
NAME = "899700090014"  # the CN of its certificates
_APPLICATION = "e828bd080f8025000001ff0010"
_IDS = {"cps3": ("01", "02"), "cps4": ("10", "20")}
_FILES = (0xA001, 0xA006)


@dataclass(frozen=True)
class Key:
    """label: of the private key. certificate_label: of the certificate, and of the pair for programs that know one name."""

    usage: str
    id: str
    label: str
    certificate_label: str
    certificate: Path  # PEM
    public: Path  # PEM


@dataclass(frozen=True)
class Card:
    model: Model
    lab: Lab
    folder: Path
    signature: Key
    authentication: Key
    environment: dict[str, str]

    @property
    def keys(self) -> tuple[Key, Key]:
        return self.signature, self.authentication

    @property
    def token(self) -> str:
        return {"cps3": "CPS3v3-2600997001", "cps4": "CPS4v1-2600997001"}[self.model]

    @property
    def has_pss(self) -> bool:
        return self.model == "cps4"

    @property
    def socket(self) -> Path:
        return Path(self.environment["XDG_RUNTIME_DIR"]) / "cpxd" / "pkcs11.sock"

    @property
    def authorities(self) -> Path:
        return Path(self.environment["CPX_SIM_PKI"]) / "ca.pem"

    def uri(self, key: Key, kind: str) -> str:
        """RFC 7512, with the PIN for programs that have no other way."""
        identifier = "".join(f"%{key.id[i : i + 2]}" for i in range(0, len(key.id), 2))
        pin = f"?pin-value={PIN}" if kind == "private" else ""
        return f"pkcs11:token={self.token};id={identifier};type={kind}{pin}"

    def run(
        self, *command: str | Path, status: int | None = 0, env: Mapping[str, str] | None = None, typed: str | None = None
    ) -> str:
        """stdout and stderr of a program in the lab, its working folder ours. `status` None: any but 0, and no signal."""
        done = self.done(command, env, typed)
        if status is None:
            assert done.returncode > 0, done.stdout
        else:
            assert done.returncode == status, f"status {done.returncode}: {done.stdout}"
        return done.stdout

    def done(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, typed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command], env={**self.environment, **(env or {})}, cwd=self.folder, input=typed or "",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=40, check=False,
        )  # fmt: skip

    def check(self, key: Key, digest: str, *options: str) -> None:
        """The file `signature` is one of that key over the file `data`, as OpenSSL finds."""
        verify: list[str | Path] = ["openssl", "dgst", f"-{digest}", "-verify", key.public, "-signature", "signature", *options]
        assert "Verified OK" in self.run(*verify, "data")

    def tries_left(self) -> int:
        """Of the PIN, as the card itself has it."""
        card = self.lab.card(0).card
        assert isinstance(card, VirtualCard)
        return int(card.state()["codes"]["1"]["tries_left"])

    def log(self) -> str:
        """What `cpxd logs` shows."""
        path = Path(self.environment["XDG_STATE_HOME"]) / "cpxd" / "cpxd.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def card_of(model: Model, lab: Lab, folder: Path) -> Card:
    image = personalise.personalise(personas.load(PERSONA), model)
    files = {file.path: file.content for file in image.files}
    made = []
    for number, (usage, label, certificate_label) in enumerate(
        (
            ("signature", "CPS_PRIV_SIG", "Certificat de Signature CPS"),
            ("authentication", "CPS_PRIV_AUT", "Certificat d'Authentification CPS"),
        )
    ):
        certificate = x509.load_der_x509_certificate(files[(0x0001, _FILES[number])])
        public_key = certificate.public_key()
        assert isinstance(public_key, RSAPublicKey)
        pem, public = folder / f"{usage}.pem", folder / f"{usage}.public.pem"
        pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        public.write_bytes(public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        made.append(Key(usage, _APPLICATION + _IDS[model][number], label, certificate_label, pem, public))
    environment = {**os.environ, **lab.env, "HOME": str(folder), "LC_ALL": "C.UTF-8", "CPXD_NO_START": "1"}
    environment.pop("CPXD_PKCS11_SOCKET", None)
    return Card(model, lab, folder, made[0], made[1], environment)
