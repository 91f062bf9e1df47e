# SPDX-License-Identifier: Apache-2.0
"""The rules of the hub and of the PKCS#11 door that need no card: logins, refused codes, error codes, padding, options."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cpxd import config, errors
from cpxd.card.application import Code, NotAllowed
from cpxd.card.cps2ter import path_of
from cpxd.card.pin import RefusedCodes
from cpxd.card.pss import emsa_pss
from cpxd.pkcs11.ck import CKR
from cpxd.pkcs11.rv import Failure, rv_of
from cpxd.pkcs11.server import _told
from cpxd.secret import Secret
from cpxd.service.logins import Logins


def secret(digits: bytes) -> Secret:
    reader, writer = os.pipe()
    os.write(writer, digits + b"\n")
    os.close(writer)
    try:
        return Secret.from_fd(reader)
    finally:
        os.close(reader)


def test_logins_end_by_themselves_when_unused() -> None:
    async def scene() -> list[object]:
        ended: list[object] = []
        logins = Logins(0.2, lambda client: (ended.append(client), logins.remove(client)))  # type: ignore[func-returns-value,arg-type,return-value]
        logins.add("a", "user")
        logins.add("b", "so")
        for _ in range(4):
            await asyncio.sleep(0.1)
            logins.use("a")
        assert ended == ["b"] and logins.role("a") == "user" and not logins.has("so")
        await asyncio.sleep(0.35)
        assert not logins
        return ended

    assert asyncio.run(scene()) == ["b", "a"]


def test_logins_without_end() -> None:
    async def scene() -> None:
        logins = Logins(0, lambda client: pytest.fail("no login ends"))
        logins.add("a", "user")
        await asyncio.sleep(0.05)
        assert logins.remove("a") == "user" and logins.remove("a") is None
        logins.add("a", "so")
        assert not logins.clear("user") and logins.clear("so") and not logins

    asyncio.run(scene())


def test_refused_codes() -> None:
    refused = RefusedCodes()
    refused.add("1", Code.PIN, secret(b"9999"), 2)
    assert refused.holds("1", Code.PIN, secret(b"9999"))
    assert not refused.holds("1", Code.PIN, secret(b"9998"))
    assert not refused.holds("2", Code.PIN, secret(b"9999")) and not refused.holds("1", Code.UNBLOCK, secret(b"9999"))
    refused.see("1", Code.PIN, 2)
    assert refused.holds("1", Code.PIN, secret(b"9999"))
    refused.add("1", Code.PIN, secret(b"8888"), 1)
    refused.see("1", Code.PIN, 2)  # it has grown: somebody changed or unblocked the code
    assert not refused.holds("1", Code.PIN, secret(b"9999")) and not refused.holds("1", Code.PIN, secret(b"8888"))
    refused.add("1", Code.PIN, secret(b"9999"), 2)
    refused.add("1", Code.UNBLOCK, secret(b"11111111"), 9)
    refused.forget("1", Code.PIN)
    assert not refused.holds("1", Code.PIN, secret(b"9999")) and refused.holds("1", Code.UNBLOCK, secret(b"11111111"))
    refused.forget("1")
    assert not refused.holds("1", Code.UNBLOCK, secret(b"11111111"))


def test_refused_codes_have_an_end() -> None:
    refused = RefusedCodes()
    for number in range(100):
        refused.add("1", Code.PIN, secret(b"%04d" % number), 2)
    assert not refused.holds("1", Code.PIN, secret(b"0000"))  # the oldest gave way
    assert all(refused.holds("1", Code.PIN, secret(b"%04d" % number)) for number in range(36, 100))


@pytest.mark.parametrize(
    ("error", "rv"),
    [
        (errors.WrongPin(tries_left=2), CKR.PIN_INCORRECT),
        (errors.KnownWrongPin(), CKR.PIN_INCORRECT),
        (errors.PinBlocked(), CKR.PIN_LOCKED),
        (errors.CardRemoved(), CKR.DEVICE_REMOVED),
        (errors.CardMute(), CKR.DEVICE_ERROR),
        (errors.CardRefused(operation="RSA", sw=0x6F00), CKR.FUNCTION_FAILED),
        (NotAllowed("x"), CKR.USER_NOT_LOGGED_IN),
        (Failure(CKR.BUFFER_TOO_SMALL), CKR.BUFFER_TOO_SMALL),
        (errors.Internal(detail="x"), CKR.GENERAL_ERROR),
        (ZeroDivisionError(), CKR.GENERAL_ERROR),
    ],
)
def test_return_codes(error: BaseException, rv: CKR) -> None:
    assert rv_of(error) == rv


@pytest.mark.parametrize("bits", [1024, 2047, 2048])
@pytest.mark.parametrize(("name", "salt"), [("sha1", 20), ("sha256", 0), ("sha256", 32), ("sha384", 48), ("sha512", 62)])
def test_pss_padding(bits: int, name: str, salt: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    numbers = key.private_numbers()
    digest = hashlib.new(name, b"content").digest()
    if salt + len(digest) + 2 > (bits + 6) // 8:
        with pytest.raises(ValueError, match="too short"):
            emsa_pss(name, digest, salt, bits)
        return
    block = emsa_pss(name, digest, salt, bits)
    signature = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes((bits + 7) // 8, "big")
    algorithm = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[name]
    key.public_key().verify(signature, digest, padding.PSS(padding.MGF1(algorithm), salt), Prehashed(algorithm))


def test_cps2ter_places() -> None:
    assert path_of("CPS_SIT_FACT") == (0x7F01, 0x4000)
    assert path_of("CPS2TER_ACTIVITY_01_PS") == (0x4010,) and path_of("CPS2TER_ACTIVITY_16_PS") == (0x401F,)
    assert [path_of(label) for label in ("CPS2TER_ACTIVITY_00_PS", "CPS2TER_ACTIVITY_17_PS", "CPS_NAME_PS", "")] == [None] * 4


def test_what_our_module_tells() -> None:
    told = _told(
        b"cpx1;DISPLAY=%3A0;WAYLAND_DISPLAY=wayland-0;LD_PRELOAD=/x.so;GPG_TTY=/dev/pts/3;broken;=;LANG=fr_FR.UTF-8;%ff=1"
    )
    assert told == {"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0", "GPG_TTY": "/dev/pts/3", "LANG": "fr_FR.UTF-8"}


def test_run_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert config.run_home() == tmp_path / "cpxd"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    user = Path(f"/run/user/{os.getuid()}")
    assert config.run_home() == (user / "cpxd" if user.is_dir() else tmp_path / ".cache" / "cpxd" / "run")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('[pkcs11]\npin = "agent"\n', True),
        ('[pkcs11]\npin = "nobody"\n', False),
        ('[pkcs11]\nlast_try = "allow"\n', True),
        ("[login]\nidle = 0\n", True),
        ("[login]\nidle = 86401\n", False),
        ("[login]\nidle = true\n", False),
        ('[login]\non_removal = "lock"\n', True),
        ('[login]\non_removal = "explode"\n', False),
        ("[revocation]\nwait = 20\n", True),
        pytest.param(f"[revocation]\nwait = {'9' * 400}\n", False, id="too large for a float"),
    ],
)
def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, good: bool) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cpxd").mkdir()
    (tmp_path / "cpxd" / "config.toml").write_text(text)
    if good:
        assert config.load() != config.Settings() or "idle = 0" in text
    else:
        with pytest.raises(errors.BadConfig):
            config.load()
