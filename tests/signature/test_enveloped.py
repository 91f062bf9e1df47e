# SPDX-License-Identifier: Apache-2.0
"""`cpxd decrypt`: what OpenSSL and GnuPG encrypt for a certificate that allows it, both cards open; and what goes wrong says no
more than that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import documents
import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from judges import Judges

from cpxd import errors
from cpxd.signature import enveloped
from cpxd.signature.enveloped import Oaep
from simulator import personas
from simulator.lab import Lab
from simulator.pki import TestPki

CPXD = str(Path(sysconfig.get_path("scripts")) / "cpxd")
PERSONA = "cat-chiffrement"
MODELS = ("cps3", "cps4")
OAEP = ("-keyopt", "rsa_padding_mode:oaep")
OAEP_256 = (*OAEP, "-keyopt", "rsa_oaep_md:sha256")
OAEP_MIXED = (*OAEP_256, "-keyopt", "rsa_mgf1_md:sha1")
CIPHERS = ("-des3", "-aes128", "-aes192", "-aes256", "-aes-128-gcm", "-aes-256-gcm")


class Receiver:
    """The key in memory. `calls`: how often it was asked."""

    def __init__(self, pki: TestPki, persona: str = PERSONA) -> None:
        credential = pki.issue(personas.load(persona), "cps4", "authentication")
        self.key, self.certificate, self.opens_oaep, self.calls = credential.key, credential.certificate, True, 0

    def decrypt(self, cryptogram: bytes, scheme: Oaep | None) -> bytes:
        self.calls += 1
        kinds: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
        form: padding.AsymmetricPadding = padding.PKCS1v15()
        if scheme is not None:
            form = padding.OAEP(padding.MGF1(kinds[scheme.mask]), kinds[scheme.hash], None)
        return self.key.decrypt(cryptogram, form)


@pytest.fixture(scope="module")
def receiver(pki: TestPki) -> Receiver:
    return Receiver(pki)


def encrypt(judges: Judges, certificate: bytes, *options: str, cipher: str = "-aes256", form: str = "SMIME") -> bytes:
    """By `openssl cms -encrypt`."""
    pem = judges.put("to.pem", x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
    line = ["openssl", "cms", "-encrypt", cipher, "-binary", "-in", judges.put("plain", documents.MAIL), "-out", "secret"]
    done = judges.run(*line, "-outform", form, "-recip", pem, *options)
    assert done.returncode == 0, done.stderr
    return (judges.folder / "secret").read_bytes()


def opened(content: bytes, receiver: Receiver) -> bytes:
    return enveloped.open_envelope(enveloped.read(content, receiver), receiver)


WAYS = [*((cipher, ()) for cipher in CIPHERS), *(("-aes256", options) for options in (("-keyid",), OAEP, OAEP_256, OAEP_MIXED))]


@pytest.mark.parametrize(("cipher", "options"), WAYS, ids=str)
def test_what_openssl_encrypts(judges: Judges, receiver: Receiver, cipher: str, options: tuple[str, ...]) -> None:
    content = encrypt(judges, receiver.certificate, *options, cipher=cipher)
    assert opened(content, receiver) == documents.MAIL


@pytest.mark.parametrize("form", ["SMIME", "PEM", "DER"])
def test_forms(judges: Judges, receiver: Receiver, form: str) -> None:
    assert opened(encrypt(judges, receiver.certificate, form=form), receiver) == documents.MAIL


def test_several_recipients(judges: Judges, receiver: Receiver, pki: TestPki) -> None:
    other = judges.put(
        "other.pem", x509.load_der_x509_certificate(Receiver(pki, "cps-infirmier").certificate).public_bytes(Encoding.PEM)
    )
    assert opened(encrypt(judges, receiver.certificate, "-recip", str(other)), receiver) == documents.MAIL


def test_refused_before_the_key_is_asked(judges: Judges, pki: TestPki, receiver: Receiver) -> None:
    plain = Receiver(pki, "cps-medecin")
    whole = encrypt(judges, receiver.certificate, form="DER")
    with pytest.raises(errors.KeyUnavailable):
        enveloped.read(encrypt(judges, plain.certificate), plain)
    for content in (
        b"",
        b"x",
        b"\x30",
        whole[:-1],
        whole + b"x",
        documents.MAIL,
        encrypt(judges, plain.certificate),
        b"a: b\n\n",
    ):
        with pytest.raises(errors.CannotDecrypt):
            enveloped.read(content, receiver)
    old = Receiver(pki)
    old.opens_oaep = False
    with pytest.raises(errors.MechanismUnavailable):
        enveloped.read(encrypt(judges, receiver.certificate, *OAEP), old)
    assert plain.calls == 0 and old.calls == 0


@pytest.fixture(scope="module")
def spoilt(judges: Judges, receiver: Receiver) -> list[bytes]:
    """Session keys that are wrong, one way each: length, value, padding, no cryptogram; then contents that were touched."""
    whole = encrypt(judges, receiver.certificate, form="DER")
    assert opened(whole, receiver) == documents.MAIL
    public = receiver.key.public_key()
    numbers = public.public_numbers()
    unpadded = pow(int.from_bytes(b"\x00\x01" + b"\xff" * 254, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    keys = [public.encrypt(bytes(7), padding.PKCS1v15()), public.encrypt(bytes(32), padding.PKCS1v15()), unpadded, b"\x00" * 3]
    encrypted = cms.ContentInfo.load(whole)["content"]["encrypted_content_info"]["encrypted_content"].native
    contents = [encrypted[:-17] + bytes([encrypted[-17] ^ 0xFF]) + encrypted[-16:], encrypted[:-1]]
    return [_changed(whole, key=key) for key in keys] + [_changed(whole, content=content) for content in contents]


def _changed(der: bytes, *, key: bytes | None = None, content: bytes | None = None) -> bytes:
    info = cms.ContentInfo.load(der)
    if key is not None:
        info["content"]["recipient_infos"][0].chosen["encrypted_key"] = key
    if content is not None:
        info["content"]["encrypted_content_info"]["encrypted_content"] = content
    return bytes(info.dump(force=True))


def test_one_answer_for_all_that_fails(spoilt: list[bytes], receiver: Receiver) -> None:
    said = set()
    for content in spoilt:
        before = receiver.calls
        with pytest.raises(errors.CannotDecrypt) as caught:
            # one random session key in 256 ends in a right padding by chance: then it would be asked again
            for _ in range(3):
                opened(content, receiver)
        said.add(str(caught.value))
        assert receiver.calls > before, "the key is asked whatever is wrong"
    assert len(said) == 1


def test_tag_of_gcm(judges: Judges, receiver: Receiver) -> None:
    whole = encrypt(judges, receiver.certificate, cipher="-aes-256-gcm", form="DER")
    for position in range(len(whole) - 40, len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        with pytest.raises(errors.CannotDecrypt):
            opened(bytes(changed), receiver)


# -- cards ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([f"{PERSONA}:cps3", f"{PERSONA}:cps4", "cps-medecin:cps4"], slots=3) as lab:
        yield lab


def cpxd(lab: Lab, slot: int, *words: str | Path, pin: str = "1234") -> subprocess.CompletedProcess[str]:
    line = [CPXD, *(str(word) for word in words), "--pin-fd", "0", "--reader", lab.readers[slot]]
    done: subprocess.CompletedProcess[str] = lab.run(
        line, input=f"{pin}\n", capture_output=True, env={"LANG": "C.UTF-8"}, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def codes(lab: Lab, slot: int) -> int:
    return len([c for c, _ in lab.card(slot).trace if c[1] == 0x20 and len(c) > 5])


def certificate_of(lab: Lab, judges: Judges, slot: int) -> bytes:
    """The authentication certificate of the card, as its correspondents have it."""
    pki = TestPki()
    return pki.issue(personas.load(PERSONA), MODELS[slot], "authentication").certificate  # type: ignore[arg-type]


@pytest.mark.parametrize("slot", [0, 1], ids=MODELS)
@pytest.mark.parametrize("by", ["openssl", "openssl-gcm", "openssl-oaep", "gpgsm"])
def test_cards_open_what_others_encrypt(lab: Lab, judges: Judges, tmp_path: Path, slot: int, by: str) -> None:
    certificate = certificate_of(lab, judges, slot)
    path = tmp_path / "mail.eml"
    if by == "gpgsm":
        path.write_bytes(judges.gpgsm_encrypt(documents.MAIL, certificate))
    else:
        options = OAEP_256 if by.endswith("oaep") else ()
        path.write_bytes(encrypt(judges, certificate, *options, cipher="-aes-256-gcm" if by.endswith("gcm") else "-aes256"))
    before = codes(lab, slot)
    done = cpxd(lab, slot, "decrypt", path)
    target = tmp_path / "mail.decrypted.eml"
    if by == "openssl-oaep" and slot == 0:
        assert done.returncode == 40 and "CPX-132" in done.stderr and "OAEP" in done.stderr
        assert codes(lab, slot) == before and not target.exists()
        return
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == documents.MAIL and target.stat().st_mode & 0o777 == 0o600
    assert codes(lab, slot) == before + 1, "one PIN"
    assert ("rien ne protège" in done.stdout) == (by != "openssl-gcm")


@pytest.mark.parametrize("slot", [0, 1], ids=MODELS)
def test_cards_tell_no_attacker_why(lab: Lab, spoilt: list[bytes], judges: Judges, tmp_path: Path, slot: int) -> None:
    """The public key is that of the card of this slot: the same persona has the same keys in both."""
    lines = []
    for number, content in enumerate(spoilt):
        (tmp_path / f"{number}.p7m").write_bytes(content)
        lines.append(["decrypt", str(tmp_path / f"{number}.p7m"), "--reader", lab.readers[slot]])
    line = [sys.executable, Path(__file__).with_name("sign_lines.py"), "1234"]
    done = lab.run(line, input=json.dumps(lines), capture_output=True, env={"LANG": "C.UTF-8"}, timeout=120)
    assert json.loads(done.stdout) == [40] * len(spoilt), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(spoilt) and len(set(said)) == 1, said
    assert not list(tmp_path.glob("*.eml"))


def test_refused_without_a_pin(lab: Lab, judges: Judges, tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(encrypt(judges, certificate_of(lab, judges, 1)))
    (tmp_path / "plain.eml").write_bytes(documents.MAIL)
    cases = ((2, path, 13, "CPX-131"), (1, tmp_path / "plain.eml", 40, "CPX-192"), (1, tmp_path / "none", 40, "CPX-140"))
    before = [codes(lab, slot) for slot in range(3)]
    for slot, file, exit_code, code in cases:
        done = cpxd(lab, slot, "decrypt", file)
        assert code in done.stderr and done.returncode != 0, (done.returncode, done.stderr)
        assert exit_code == done.returncode
    assert [codes(lab, slot) for slot in range(3)] == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mail.eml", "plain.eml"]
