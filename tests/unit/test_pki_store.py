# SPDX-License-Identifier: Apache-2.0
"""The keys of the test PKI on disk: private, mended when damaged, made once by several processes at once."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simulator.pki import PkiError, TestPki
from simulator.pki.store import KeyStore, default_folder, write_whole

SIZE = 1024  # quick to make; what is tried here does not depend on it


def modulus(folder: Path) -> int:
    return KeyStore(folder).key("one", SIZE).public_key().public_numbers().n


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = modulus(tmp_path)
    assert modulus(tmp_path) == first
    assert KeyStore(tmp_path).key("two", SIZE).public_key().public_numbers().n != first


def test_nobody_else_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "pki"
    previous = os.umask(0)
    try:
        modulus(folder)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    KeyStore(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def other_key() -> bytes:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"sha256 " + hashlib.sha256(pem).hexdigest().encode() + b"\n" + pem


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:-100],
        lambda good: good[:400] + bytes([good[400] ^ 1]) + good[401:],
        lambda good: good.split(b"\n", 1)[1],
        lambda good: b"\xff" * 300,
        lambda good: other_key(),
    ],
    ids=["empty", "truncated", "one bit", "no digest", "garbage", "another kind of key"],
)
def test_a_damaged_key_is_made_again(tmp_path: Path, damage: object) -> None:
    first = modulus(tmp_path)
    path = tmp_path / "one.pem"
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    second = modulus(tmp_path)
    assert second != first
    assert modulus(tmp_path) == second


def test_a_key_of_another_size_is_made_again(tmp_path: Path) -> None:
    modulus(tmp_path)
    assert KeyStore(tmp_path).key("one", 1280).key_size == 1280


def test_keys_asked_for_together_are_the_ones_asked_for_later(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.prepare([("one", SIZE), ("two", SIZE), ("three", 1280)])
    assert sorted(path.name for path in tmp_path.glob("*.pem")) == ["one.pem", "three.pem", "two.pem"]
    assert store.key("one", SIZE).public_key().public_numbers().n == modulus(tmp_path)


def test_several_processes_at_once_get_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from simulator.pki.store import KeyStore;"
        "print(KeyStore(Path(sys.argv[1])).key('one', 2048).public_key().public_numbers().n)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "pki")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers) == 1
    assert not list((tmp_path / "pki").glob(".*"))


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkiError) as refused:
        TestPki(tmp_path / "file" / "pki")
    assert "inutilisable" in refused.value.french and "cannot be used" in refused.value.english


def test_a_key_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "one.pem").mkdir()
    with pytest.raises(PkiError, match="inutilisable"):
        KeyStore(tmp_path).key("one", SIZE)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_whole(path, None)  # type: ignore[arg-type]  # the failure wanted: in the middle of the write
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_the_keys_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_folder() == Path("/cache/cpx-sim/pki")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored (XDG base directory specification)
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder() == Path("/home/someone/.cache/cpx-sim/pki")


def test_a_user_without_a_usable_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    folder = default_folder()
    assert folder == tmp_path / f"cpx-sim-{os.getuid()}" / "pki"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    folder.parent.chmod(0o777)
    with pytest.raises(PkiError):
        default_folder()
