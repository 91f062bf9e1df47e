# SPDX-License-Identifier: Apache-2.0
"""What an administrator does: installing, removing, systemd user units and the module file of p11-kit."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from p11_wire import Wire

from simulator.lab import Lab

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent / "cpxd"
PYTHON = """#!/bin/sh
# stands for python3 and for the one of the installation: notes its arguments, makes what venv and pip would
echo "$*" >>"$NOTES"
case "$*" in
  "-m venv "*)
    mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo >"$3/pyvenv.cfg"
    echo "#!$3/bin/python" >"$3/bin/cpxd" ;;
  *install*) for last; do :; done; ls "${last%%\\[*}" >>"$NOTES" ;;
  *path*) echo "$(dirname "$0")/module.so" ;;
esac
"""


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    places = {"UNITS": tmp_path / "units", "MODULES": tmp_path / "pkcs11" / "modules", "BIN": BIN, "PREFIX": tmp_path}
    done = subprocess.run(
        [ROOT / "tools" / "install.sh", "files"],
        env={**os.environ, **{name: str(place) for name, place in places.items()}},
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(line).name: Path(line) for line in done.stdout.splitlines()}


def unit(path: Path) -> ConfigParser:
    found = ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text())
    return found


def test_systemd_takes_the_units(written: dict[str, Path]) -> None:
    names = ["cpxd.socket", "cpxd.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *(written[name] for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(written["cpxd.socket"].parent)},
    )
    assert done.returncode == 0 and "cpxd" not in done.stderr, done.stderr


def test_a_home_with_odd_characters(tmp_path: Path) -> None:
    home = tmp_path / "Anne & Élise 100%"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "cpxd").write_text("#!/bin/sh\necho module.so\n")
    (home / "bin" / "cpxd").chmod(0o755)
    install("files", tmp_path, PREFIX=home, UNITS=home / "units", MODULES=home / "modules")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", home / "units" / "cpxd.service", home / "units" / "cpxd.socket"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert done.returncode == 0 and "cpxd" not in done.stderr, done.stderr


def test_the_socket_starts_the_service(written: dict[str, Path], lab: Lab, short: Path) -> None:
    """As systemd does it: the socket of the one unit, passed under its name to the command of the other."""
    listen, service = unit(written["cpxd.socket"])["Socket"], unit(written["cpxd.service"])["Service"]
    environment = {**os.environ, **lab.env, "XDG_RUNTIME_DIR": str(short)}
    assert listen["SocketMode"] == "0600" and listen["DirectoryMode"] == "0700" and service["Type"] == "notify"
    path = Path(listen["ListenStream"].replace("%t", str(short)))
    asked = subprocess.run([BIN, "path", "socket"], env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(path)
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as told:
        told.bind(str(short / "notify"))
        program = ["systemd-socket-activate", "-l", str(path), f"--fdname={listen['FileDescriptorName']}"]
        kept = [f"-E{name}={value}" for name, value in environment.items() if name.startswith(("XDG_", "PCSC", "CPX_"))]
        process = subprocess.Popen(
            [*program, *kept, *shlex.split(service["ExecStart"])], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(200):
                if path.exists():
                    break
                subprocess.run(["sleep", "0.02"], check=True)
            with Wire(path, 2) as client:
                assert client.GetInfo()
        finally:
            process.terminate()
            assert process.wait(15) == 0
    assert path.exists(), "a socket of systemd stays"


def test_p11_kit_finds_the_module(written: dict[str, Path], lab: Lab) -> None:
    mounted = 'mount --bind "$0" /usr/share/p11-kit/modules && exec p11-kit list-modules'
    command = ["unshare", "-rm", "sh", "-c", mounted, written["cpxd.module"].parent]
    environment = {**os.environ, **lab.env}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert "cpxd: " in done.stdout and "libcpxd-pkcs11.so" in done.stdout, done.stdout + done.stderr


def install(what: str, tmp_path: Path, **environment: str | Path) -> None:
    places = {
        "PREFIX": "/opt/cpxd",
        "UNITS": "/opt/units",
        "MODULES": "/opt/modules",
        "HOME": tmp_path,
        "XDG_RUNTIME_DIR": tmp_path,
    }
    kept = {name: value for name, value in os.environ.items() if name not in ("BIN", "DESTDIR") and not name.startswith("XDG_")}
    values = {name: str(value) for name, value in {**places, **environment}.items()}
    subprocess.run(
        ["sh", "-c", 'umask 077; exec "$0" "$1"', ROOT / "tools" / "install.sh", what], env={**kept, **values}, check=True
    )


def test_a_package_is_made_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Under root's umask of 077 too: what is for everybody, everybody can read; nothing in it names the folder."""
    staged, notes, python = tmp_path / "staged", tmp_path / "notes", tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    install("install", tmp_path, DESTDIR=staged, NOTES=notes, PYTHON=python)
    files = [path for path in staged.rglob("*") if not path.is_symlink()]
    assert len(files) > 8 and all(path.stat().st_mode & (0o055 if path.is_dir() else 0o044) for path in files)
    assert (staged / "opt/cpxd/bin/cpxd").readlink() == Path("/opt/cpxd/lib/cpxd/bin/cpxd")
    assert (staged / "opt/cpxd/lib/cpxd/bin/cpxd").read_text() == "#!/opt/cpxd/lib/cpxd/bin/python\n"
    assert 'ExecStart="/opt/cpxd/bin/cpxd" serve' in (staged / "opt/units/cpxd.service").read_text()
    assert "module: /opt/cpxd/lib/cpxd/bin/module.so" in (staged / "opt/modules/cpxd.module").read_text()
    said = notes.read_text().split()
    assert any(word.endswith("[desktop]") for word in said), "without dbus-fast a screen that is locked ends no login"
    assert "pyproject.toml" in said and "build" not in said
    install("remove", tmp_path, DESTDIR=staged)
    assert not [path for path in staged.rglob("*") if not path.is_dir()]


def test_removing_leaves_nothing_behind(tmp_path: Path) -> None:
    home, notes = tmp_path / "lib" / "cpxd", tmp_path / "notes"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)
    (home / "bin" / "cpxd").write_text('#!/bin/sh\necho "$@" >"$NOTES"\n')
    (home / "bin" / "cpxd").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cpxd").symlink_to(home / "bin" / "cpxd")
    for name in ("units/sockets.target.wants/cpxd.socket", "units/cpxd.service", "units/cpxd.socket", "modules/cpxd.module"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with subprocess.Popen([home / "bin" / "python", "-c", "import time; time.sleep(60)", "serve", "-"]) as service:
        try:
            install("remove", tmp_path, PREFIX=tmp_path, UNITS=tmp_path / "units", MODULES=tmp_path / "modules", NOTES=notes)
            assert service.wait(5) < 0, "a service of what was removed goes with it"
        finally:
            service.kill()
    assert notes.read_text().startswith("unregister")
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["notes"]


def test_a_person_removes_nothing_below_the_folder_they_are_in(tmp_path: Path) -> None:
    """A relative XDG_CACHE_HOME is none: what is called cpxd here may be the checkout's own."""
    fake = tmp_path / "fake"
    for file in (fake / "id", tmp_path / "here" / "cpxd" / "mine", tmp_path / ".cache" / "cpxd" / "ours"):
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\necho 1000\n")
        file.chmod(0o755)
    here = os.path.relpath(tmp_path / "here")
    install("remove", tmp_path, PREFIX=tmp_path / "none", PATH=f"{fake}:{os.environ['PATH']}", XDG_CACHE_HOME=here)
    assert (tmp_path / "here" / "cpxd" / "mine").exists() and not (tmp_path / ".cache" / "cpxd").exists()
