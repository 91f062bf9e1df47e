# SPDX-License-Identifier: Apache-2.0
"""What surrounds a command, variables, folders and files that others may have put there: it does its work, or says why not."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cpxd import config, daemon, errors, files, log
from cpxd.api import certificate, origins
from cpxd.browsers import kept
from cpxd.reader import galssini
from cpxd.service import signing, verifying
from cpxd.signature import reading, trust
from cpxd.signature.options import Options

BIN = Path(sys.executable).with_name("cpxd")
BASES = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in BASES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_relative_folder_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [config.config_home(), config.state_home(), config.cache_home()]
    assert usual == [home / ".config/cpxd", home / ".local/state/cpxd", home / ".cache/cpxd"]
    for name in BASES:
        monkeypatch.setenv(name, "relative")
    assert [config.config_home(), config.state_home(), config.cache_home()] == usual
    monkeypatch.setenv("HOME", "relative")
    assert config.home() == config.NO_HOME
    with pytest.raises(OSError):  # root's too
        config.home().mkdir(parents=True)


@pytest.mark.parametrize("words", [("pin", "status", "--reader", "none"), ("doctor",)])
def test_nobody_without_a_home_is_served_too(words: tuple[str, ...]) -> None:
    """As in a container that runs under a number which no user has."""
    nobody = ["setpriv", "--reuid", "54321", "--clear-groups"] if os.getuid() == 0 else ["unshare", "--user"]
    environment = {name: value for name, value in os.environ.items() if name != "HOME" and name not in BASES}
    program = "import sys; from cpxd.cli.main import main; sys.exit(main(sys.argv[1:]))"
    if subprocess.run([*nobody, sys.executable, "-c", ""], env=environment, check=False).returncode:
        nobody = ["unshare", "--user"]  # the interpreter is in a folder of root's alone
    done = subprocess.run(
        [*nobody, sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (3, 10, 11) and done.stderr.count("\n") == (words != ("doctor",)), done
    assert "HOME" in done.stdout or words != ("doctor",)


def test_a_log_that_is_no_file_delays_nobody(home: Path) -> None:
    log.log_file().parent.mkdir(parents=True)
    os.mkfifo(log.log_file())
    log.write("test")
    assert log.tail(5) == []
    log.log_file().unlink()
    log.log_file().symlink_to("/dev/zero")
    log.write("test")
    assert log.tail(5) == []


def test_a_number_of_thousands_of_digits_is_refused(home: Path) -> None:
    (home / ".config/cpxd").mkdir(parents=True)
    (home / ".config/cpxd/config.toml").write_text(f"[api]\nport = {'1' * 5000}\n")
    with pytest.raises(errors.BadConfig):
        config.load()


def test_a_lock_that_is_a_link_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "cpxd").mkdir()
    (tmp_path / "cpxd" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.BadFile) as refused:
        daemon.serve(config.Settings())
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "whoever called it could not be ended any more"
    assert str(tmp_path / "cpxd" / "lock") in str(refused.value) and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_a_result_has_the_mode_of_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        files.write_new(tmp_path / "result", b"signed")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == mode


def test_no_core_is_left(tmp_path: Path) -> None:
    """Of the service above all: it holds what the PIN of a card has opened."""

    def allow() -> None:
        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))

    run = "import cpxd.cli.main as m; m.main = lambda: print(open('/proc/self/limits').read()); import cpxd.start as s; s.main()"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True, preexec_fn=allow)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] == "0"


@pytest.mark.parametrize("words", [("crad", "card"), ("--lang", "fr", "sing", "card"), ("signer", "sign", "card")])
def test_a_command_that_there_is_not_is_told_all_there_are(words: tuple[str, ...]) -> None:
    done = subprocess.run([BIN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "'card'" in done.stderr and "'doctor'" in done.stderr


def test_authorities_are_read_bounded(tmp_path: Path) -> None:
    with pytest.raises(errors.BadFile):
        trust.load("/dev/zero")
    shipped = trust.load()
    os.mkfifo(tmp_path / "pipe.pem")
    (tmp_path / "FROM-WINDOWS.CER").write_bytes(bytes(16))
    with pytest.raises(errors.BadFile) as refused:
        trust.load(tmp_path)
    assert "FROM-WINDOWS.CER" in str(refused.value)
    (tmp_path / "FROM-WINDOWS.CER").write_bytes(shipped.anchors[0])
    assert trust.load(tmp_path) == shipped


def test_a_file_too_large_to_be_a_signature_is_not_told_to_be_signed_otherwise(tmp_path: Path) -> None:
    with (tmp_path / "large.p7m").open("wb") as file:
        file.truncate(reading.MAX_SIGNED + 1)
    with pytest.raises(errors.BadFile) as refused:
        verifying.verify(tmp_path / "large.p7m", config.Settings(), offline=True)
    assert "64 Mi" in str(refused.value)


def test_the_longest_path_of_the_socket_can_be_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor uses the same limit: what it calls right, serves."""
    runtime = f"{tmp_path}/{'x' * 80}"[: config.SOCKET_PATH_LIMIT - len("/cpxd/pkcs11.sock")]
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    path = daemon.pkcs11_socket()
    path.parent.mkdir(parents=True)
    made, _ = daemon._listening(path.parent)
    made.close()
    assert path.is_socket() and stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime + "x")
    with pytest.raises(errors.BadFile):
        daemon.pkcs11_socket()


def test_a_folder_in_the_place_of_a_file_costs_no_descriptor(home: Path) -> None:
    """The daemon looks at some of them at each request: it would soon have none left."""
    for place in (origins.person_file(), certificate.path(), log.log_file()):
        place.mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    assert not origins.allowed("https://site.example")
    assert log.tail(1) == []
    with pytest.raises(errors.BadFile):
        certificate.ensure()
    with pytest.raises(errors.BadFile):
        kept.content(home)
    with pytest.raises(errors.BadConfig):
        galssini.load(home)
    assert os.listdir("/proc/self/fd") == before


def test_a_file_of_a_browser_is_edited_whole_or_not_at_all(tmp_path: Path) -> None:
    """Read in part, it would be written back in part."""
    path = tmp_path / "cert_override.txt"
    path.write_bytes(b"# PSM\n" * (1 << 20))
    with pytest.raises(errors.BadFile):
        kept.Kept(tmp_path / "record").edit(path, lambda now: now + b"ours", lambda now: now)
    assert path.stat().st_size == len(b"# PSM\n") << 20


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_what_others_may_read_or_write_is_not_private(tmp_path: Path, mode: int) -> None:
    path, link = tmp_path / "key", tmp_path / "link"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    link.symlink_to(path)
    assert files.read_private(path, 6) == b"secret"
    for place, limit in ((link, 6), (path, 5)):
        with pytest.raises(OSError):
            files.read_private(place, limit)
    path.chmod(mode)
    with pytest.raises(PermissionError):
        files.read_private(path, 6)


def test_a_device_is_no_document() -> None:
    """/dev/zero would be hashed for ever."""
    with pytest.raises(errors.BadFile):
        signing.read_source(Path("/dev/null"), Options("cms"))
    beside = verifying._beside(Path("x.p7s"), Path("/dev/null"))
    assert beside is not None
    with pytest.raises(errors.BadFile):
        beside("sha256")


def test_a_closed_folder_is_not_our_output(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    for name in "ab":
        (tmp_path / name).write_text(name)
    dropped = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    command: list[str | Path] = [*dropped, BIN, "sign", tmp_path / "a", tmp_path / "b", "-o", closed / "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 40 and f"« {closed / 'x'} »" in done.stderr, done.stderr


_LOOKS = """
import pathlib, sys
from cpxd.doctor.checks import programs
from cpxd.doctor.machine import Machine
from cpxd.doctor.visit import Options, Visit
from cpxd.reader import galssini
root = pathlib.Path(sys.argv[1])
for check in programs.FAMILY.checks:
    list(check.run(Visit(Machine(root, root), Options())))
galssini.PLACES = (root / "usr/local/galss/galss.ini",)
assert galssini.find("") is None
"""


def test_a_galss_folder_of_root_s_alone_is_none(tmp_path: Path) -> None:
    """As an installer leaves it under a umask of 077: `cpxd readers` looks there, whatever the readers are; the doctor too."""
    closed = tmp_path / "usr" / "local" / "galss"
    closed.mkdir(parents=True)
    closed.chmod(0)
    dropped = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    command = [*dropped, sys.executable, "-c", _LOOKS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_command_that_was_suspended_is_not_waited_for_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_ALONE_WAIT", 0.2)
    with files.alone(home / "place"), pytest.raises(errors.BadFile), files.alone(home / "place"):
        pass
    with files.alone(home / "place"):
        pass
