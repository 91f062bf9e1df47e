# SPDX-License-Identifier: Apache-2.0
"""`cpxd register --browsers` and its undoing: files to the byte, `certutil -L` and `modutil -list` as before, no file of ours."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpxd.api import certificate
from cpxd.browsers import nss, overrides, policies, registration

CPXD = str(Path(sys.executable).with_name("cpxd"))
PORT = 14443
_HEAD = b"# PSM Certificate Override Settings file\n# This is a generated file!  Do not edit.\n"
_THEIRS = b"printer.example:443:\tOID.2.16.840.1.101.3.4.2.1\t" + b"AA:" * 31 + b"AA\t\n"


@dataclass
class Home:
    path: Path

    def __post_init__(self) -> None:
        self.env = {**os.environ, "HOME": str(self.path), "LC_ALL": "C.UTF-8", "LANG": "fr"}
        for name in ("STATE", "CONFIG", "RUNTIME", "CACHE"):
            key = f"XDG_{name}_HOME" if name != "RUNTIME" else "XDG_RUNTIME_DIR"
            self.env[key] = str(self.path / name.lower())
        self.env["CPXD_NO_START"] = "1"

    def profile(self, name: str = "abcd1234.default-esr") -> Path:
        base = self.path / ".mozilla" / "firefox"
        base.mkdir(parents=True, exist_ok=True)
        with (base / "profiles.ini").open("a") as file:
            file.write(f"[Profile{name}]\nName={name}\nIsRelative=1\nPath={name}\n\n")
        return self.database(base / name)

    def database(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        self.run("certutil", "-N", "--empty-password", "-d", f"sql:{folder}")
        return folder

    def shared(self) -> Path:
        return self.database(self.path / ".pki" / "nssdb")

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=False, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if check else f"{done.returncode} {done.stdout}{done.stderr}"

    def cpxd(self, *words: str) -> str:
        return self.run(CPXD, *words)

    def looks(self, *folders: Path) -> list[object]:
        """All that a person, NSS and a file manager can see of it."""
        files = {
            str(path.relative_to(self.path)): path.read_bytes() if path.suffix != ".db" else b""
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and "state" not in path.relative_to(self.path).parts
        }
        said = [self.run("certutil", "-L", "-d", f"sql:{folder}") for folder in folders]
        said += [self.run("modutil", "-list", "-dbdir", f"sql:{folder}") for folder in folders]
        return [files, said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, made.env[name])
    return made


def test_register_twice_then_unregister(home: Home) -> None:
    first, second, shared = home.profile(), home.profile("efgh5678.other"), home.shared()
    folders = (first, second, shared)
    (second / "cert_override.txt").write_bytes(_HEAD + _THEIRS)
    home.run("modutil", "-force", "-dbdir", f"sql:{second}", "-add", "other", "-libfile", "/usr/lib/softhsm/libsofthsm2.so")
    before = home.looks(*folders)
    said = home.cpxd("register", "--browsers")
    assert said.count("✓") == 3 and "default-esr" in said
    leaf = certificate.leaf()
    registered = home.looks(*folders)
    for folder in folders:
        database = nss.read(home.path, folder)
        assert [module.library for module in database.ours] == [str(nss.MODULE)] and registration.knows(database, leaf, PORT)
    assert nss.certificates(shared) == [leaf]
    assert "cpxd localhost" in home.run("certutil", "-L", "-d", f"sql:{shared}")
    assert _THEIRS in (second / "cert_override.txt").read_bytes()
    assert home.cpxd("register", "--browsers").count("✓") == 0
    assert home.looks(*folders) == registered
    assert home.cpxd("unregister").count("✓") == 3
    assert home.looks(*folders) == before
    assert not registration.record().exists() and not certificate.path().exists()
    assert home.cpxd("unregister").count("✓") == 0
    assert home.looks(*folders) == before


def test_what_others_wrote_meanwhile_stays(home: Home) -> None:
    profile = home.profile()
    file = profile / "cert_override.txt"
    home.cpxd("register", "--browsers")
    file.write_bytes(file.read_bytes() + _THEIRS)  # as Firefox does when a person accepts another certificate
    home.cpxd("register", "--browsers")
    home.cpxd("unregister")
    assert file.read_bytes() == _HEAD + _THEIRS


def test_a_certificate_that_is_renewed(home: Home) -> None:
    """The service tells those, and only those, that were told of the one before."""
    profile, shared = home.profile(), home.shared()
    before = home.looks(profile, shared)
    home.cpxd("register", "--browsers")
    other = home.profile("late0000.other")
    certificate.path().unlink()
    leaf = certificate.leaf()
    assert registration.follow(home.path, leaf, PORT) and not registration.follow(home.path, leaf, PORT)
    assert nss.certificates(shared) == [leaf]
    file = (profile / "cert_override.txt").read_bytes()
    assert overrides.accepts(file, leaf, PORT) and len(file.splitlines()) == 5
    assert not (other / "cert_override.txt").exists()
    assert registration.follow(home.path, leaf, PORT + 1)
    file = (profile / "cert_override.txt").read_bytes()
    assert overrides.accepts(file, leaf, PORT + 1) and not overrides.accepts(file, leaf, PORT)
    home.cpxd("unregister")
    home.run("rm", "-r", str(other))
    ini = home.path / ".mozilla" / "firefox" / "profiles.ini"
    ini.write_text(ini.read_text().partition("[Profilelate")[0])
    assert home.looks(profile, shared) == before
    assert not registration.follow(home.path, leaf, PORT)


def test_a_chromium_that_was_never_started(home: Home) -> None:
    before = home.looks()
    assert "Chromium (nssdb)" in home.cpxd("register", "--browsers")
    shared = home.path / ".pki" / "nssdb"
    assert nss.certificates(shared) == [certificate.leaf()] and shared.stat().st_mode & 0o077 == 0
    home.cpxd("unregister")
    assert home.looks() == before and not (home.path / ".pki").exists()
    shared.mkdir(parents=True)
    home.cpxd("register", "--browsers")
    home.cpxd("unregister")
    assert home.looks() == before and shared.is_dir()  # the empty folder was there
    home.cpxd("register", "--browsers")
    leaf = home.path / "leaf.pem"
    leaf.write_text(home.cpxd("api", "--certificate"))
    home.run("certutil", "-D", "-n", "cpxd localhost", "-d", f"sql:{shared}")
    home.run("certutil", "-A", "-n", "theirs", "-t", "P,,", "-i", str(leaf), "-d", f"sql:{shared}")
    home.cpxd("unregister")
    assert "theirs" in home.run("certutil", "-L", "-d", f"sql:{shared}")  # not empty any more: not ours to remove


_CONFINED = (
    "snap/firefox/common/.mozilla/firefox/a.default",
    "snap/firefox/common/.config/mozilla/firefox/a.default",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/a.default",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox/a.default",
    "snap/chromium/current/.pki/nssdb",
    ".var/app/com.microsoft.Edge/.pki/nssdb",
    ".var/app/org.chromium.Chromium/data/pki/nssdb",
)


def test_browsers_in_a_snap_or_flatpak(home: Home) -> None:
    """They get the certificate; our module they could not load, and the command says so."""
    folders = [home.database(home.path / place) for place in _CONFINED]
    for folder in folders[:4]:
        (folder.parent / "profiles.ini").write_text("[Profile0]\nIsRelative=1\nPath=a.default\n")
    before = home.looks(*folders)
    assert home.cpxd("register", "--browsers").count("(Snap ou Flatpak : certificat seul)") == len(folders)
    for folder in folders:
        database = nss.read(home.path, folder)
        assert registration.knows(database, certificate.leaf(), PORT) and not database.ours
    home.cpxd("unregister")
    assert home.looks(*folders) == before


def test_a_module_that_was_there_stays(home: Home) -> None:
    profile = home.profile()
    home.run("modutil", "-force", "-dbdir", f"sql:{profile}", "-add", "carte", "-libfile", str(nss.MODULE))
    before = home.looks(profile)
    home.cpxd("register", "--browsers")
    home.cpxd("unregister")
    assert home.looks(profile) == before


def test_a_module_of_a_cpxd_that_is_gone_is_replaced(home: Home) -> None:
    profile = home.profile()
    with (profile / "pkcs11.txt").open("a") as file:
        file.write("library=/opt/old/libcpxd-pkcs11.so\nname=cpxd\n\n")
    home.cpxd("register", "--browsers")
    assert [module.library for module in nss.read(home.path, profile).ours] == [str(nss.MODULE)]


def test_an_open_browser_and_a_database_with_a_password(home: Home) -> None:
    profile, shared = home.profile(), home.shared()
    (profile / "lock").symlink_to(f"127.0.1.1:+{os.getpid()}")
    password = home.path / "password"
    password.write_text("secret123\n")
    empty = home.path / "empty"
    empty.write_text("\n")
    home.run("certutil", "-W", "-d", f"sql:{shared}", "-f", str(empty), "-@", str(password))
    said = home.run(CPXD, "register", "--browsers", check=False)
    assert said.startswith("40 ") and "ouvert en ce moment, redémarrez-le" in said
    assert "CPX-191" in said and str(shared) in said and "CPX-147" in said
    assert registration.knows(nss.read(home.path, profile), certificate.leaf(), PORT)


def test_two_at_once(home: Home) -> None:
    """A command and the service, or two commands: neither has a certificate of its own, neither forgets what was there."""
    folders = (home.profile(), home.shared())
    before = home.looks(*folders)
    command = [CPXD, "register", "--browsers"]
    both = [subprocess.Popen(command, env=home.env, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert home.cpxd("register", "--browsers").count("✓") == 0
    home.cpxd("unregister")
    assert home.looks(*folders) == before and not certificate.path().parent.exists()


def test_a_profile_that_cannot_be_written(home: Home) -> None:
    """In a mount namespace, since root may write anywhere: the reason in words, nothing done by half, nothing to undo."""
    profile, shared = home.profile(), home.shared()
    before = home.looks(profile, shared)
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && "$2" register --browsers'
    said = home.run("unshare", "--mount", *user, "sh", "-c", script, "sh", str(profile), CPXD, check=False)
    assert said.startswith("40 ") and f"« {profile} » : disque en lecture seule" in said and "✓ Chromium" in said
    assert home.cpxd("unregister").count("✓") == 1
    assert home.looks(profile, shared) == before and not registration.record().exists()


def test_a_profile_in_a_closed_folder_is_undone_once_it_is_open(home: Home) -> None:
    """It is named, and what was done to it is not forgotten."""
    profile = home.profile()
    before = home.looks(profile)
    home.cpxd("register", "--browsers")
    closed = profile.parents[1]
    closed.chmod(0)
    dropped = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    try:
        said = home.run(*dropped, CPXD, "unregister", check=False)
    finally:
        closed.chmod(0o755)
    assert said.startswith("40 ") and f"« {closed} » : accès refusé" in said
    home.cpxd("unregister")
    assert home.looks(profile) == before


def test_a_file_of_the_profile_that_was_never_ours(home: Home) -> None:
    """Nothing of it was written, so nothing of it is undone, whatever it is."""
    profile = home.profile()
    (profile / "cert_override.txt").mkdir()
    before = home.looks(profile)
    assert "CPX-140" in home.run(CPXD, "register", "--browsers", check=False)
    assert home.run(CPXD, "unregister", check=False).startswith("0 ✓ Firefox")
    assert home.looks(profile) == before and not registration.record().exists()


def test_without_the_programs_of_nss(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.profile()
    before = home.looks()
    monkeypatch.setattr(nss, "tool", lambda name: None)
    found = list(registration.register(home.path, certificate.leaf(), PORT))
    assert [(told.done, told.error and told.error.code) for told in found] == [("failed", "CPX-190")]
    assert home.looks() == before


@pytest.mark.parametrize("nonsense", [b"[]", b'{"files":{"a":{}},"databases":{},"told":{}}'])
def test_a_damaged_record_is_no_reason_to_leave_anything(home: Home, nonsense: bytes) -> None:
    profile, shared = home.profile(), home.shared()
    before = home.looks(profile, shared)
    home.cpxd("register", "--browsers")
    registration.record().write_bytes(nonsense)
    home.cpxd("register", "--browsers")
    home.cpxd("unregister")
    assert home.looks(profile, shared) == before


THEIR_POLICIES = (
    b'{"policies": {"DisableTelemetry": true}}',
    b'{\n    "policies": {\n        "SecurityDevices": {"Add": {"autre": "/usr/lib/autre.so"}, "Delete": ["x"]}\n    }\n}\n',
    b'{"policies": {"SecurityDevices": {"autre": "/usr/lib/autre.so"}}}',
    b'{"policies": {"LocalNetworkAccess": {"Enabled": true, "SkipDomains": ["theirs.example"]}}}',
    None,
)
_UNDER = """
mount -t tmpfs none /etc && mount -t tmpfs none /var/lib
mkdir -p /etc/firefox/policies /etc/chromium /etc/cpxd/origins.d
echo https://lgc.example > /etc/cpxd/origins.d/lgc.list
if [ -f "$1/before.json" ]; then cp "$1/before.json" /etc/firefox/policies/policies.json; fi
find /etc /var/lib -type f -exec sha256sum {} + | sort > "$1/one"
"$2" register --browsers --machine && "$2" register --browsers --machine
cp /etc/firefox/policies/policies.json "$1/firefox.json"
cp /etc/chromium/policies/managed/cpxd.json "$1/chromium.json"
if [ "$3" = changed ]; then sed -i '1s/{/{"theirs": 1, /' /etc/firefox/policies/policies.json; fi
"$2" unregister --machine
cp /etc/firefox/policies/policies.json "$1/after.json" 2>/dev/null
find /etc /var/lib -type f -exec sha256sum {} + | sort > "$1/two"
find /etc/chromium /var/lib -mindepth 1 > "$1/left"
"""


@pytest.mark.parametrize(("theirs", "meanwhile"), [*((t, "same") for t in THEIR_POLICIES), (THEIR_POLICIES[1], "changed")])
def test_policies_of_the_machine(home: Home, theirs: bytes | None, meanwhile: str) -> None:
    """In a mount namespace: the machine's own /etc is never touched."""
    if theirs is not None:
        (home.path / "before.json").write_bytes(theirs)
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    home.run("unshare", "--mount", *user, "sh", "-c", _UNDER, "sh", str(home.path), CPXD, meanwhile)
    firefox = json.loads((home.path / "firefox.json").read_bytes())["policies"]
    devices = firefox["SecurityDevices"]
    assert devices.get("Add", devices)["cpxd"] == str(nss.MODULE)
    assert "lgc.example" in firefox["LocalNetworkAccess"]["SkipDomains"]
    chromium = json.loads((home.path / "chromium.json").read_bytes())
    assert chromium == {"LoopbackNetworkAllowedForUrls": ["https://lgc.example"]}
    before = {} if theirs is None else json.loads(theirs)
    if meanwhile == "same":
        assert (home.path / "one").read_bytes() == (home.path / "two").read_bytes()
        for name in before.get("policies", {}):
            assert name in firefox
    else:
        assert json.loads((home.path / "after.json").read_bytes()) == {"theirs": 1, **before}
    assert (home.path / "left").read_text() == ""


@pytest.mark.parametrize("wrong", [b"{", b"[]", b'{"policies": []}', b'{"policies": {"SecurityDevices": "x"}}'])
def test_policies_that_cannot_be_read_stay_as_they_are(wrong: bytes) -> None:
    from cpxd.errors import BadFile

    with pytest.raises(BadFile):
        policies.add_firefox(wrong, [], [])


def test_the_exception_is_for_this_certificate_alone() -> None:
    leaf, other = b"leaf", b"other"
    made = overrides.add(b"", leaf, PORT, "")
    assert overrides.accepts(made, leaf, PORT)
    assert not overrides.accepts(made, other, PORT) and not overrides.accepts(made, leaf, PORT + 1)
    assert overrides.add(made, leaf, PORT, "") == made
    assert overrides.strip(overrides.add(_HEAD, leaf, PORT, ""), leaf) == b""
    assert overrides.strip(_HEAD, leaf) == _HEAD
    renewed = overrides.add(made, other, PORT, hashlib.sha256(leaf).hexdigest())
    assert overrides.accepts(renewed, other, PORT) and not overrides.accepts(renewed, leaf, PORT)
