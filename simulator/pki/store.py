# SPDX-License-Identifier: Apache-2.0
"""The keys of the test PKI on disk: made when first asked for, kept for the next time, never anything but test keys.

One file a key, written whole or not at all; a file that cannot be trusted (truncated, altered, of another size) is made
again. Several processes may ask at once: the first one makes the key, the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_DIGEST = b"sha256 "  # first line of a key file, over all that follows it; PEM readers skip it


class PkiError(Exception):
    """The test PKI cannot be made or kept. `str()` is the French sentence."""

    def __init__(self, french: str, english: str) -> None:
        super().__init__(french)
        self.french = french
        self.english = english


def default_folder() -> Path:
    """$XDG_CACHE_HOME/cpx-sim/pki, else ~/.cache/cpx-sim/pki, else, for a user without a usable home, a folder of theirs in
    the one for temporary files."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "cpx-sim" / "pki"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return _temporary_folder()


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"cpx-sim-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise PkiError(f"{folder} : {error.strerror}", f"{folder}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PkiError(f"{folder} n'est pas à nous", f"{folder} is not ours")
    return folder / "pki"


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class KeyStore:
    """RSA keys by name. Raises PkiError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)
        except OSError as error:
            raise self._unusable(error) from None

    def key(self, name: str, size: int) -> rsa.RSAPrivateKey:
        """The key of that name, made now if there is none. `name` is a file name, `size` in bits."""
        if name not in self._keys:
            try:
                self._keys[name] = self._read(name, size) or self._make(name, size)
            except OSError as error:
                raise self._unusable(error) from None
        return self._keys[name]

    def prepare(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Make the missing keys of a list side by side."""
        missing = [(name, size) for name, size in wanted if name not in self._keys]
        if len(missing) > 1 and not all((self.folder / f"{name}.pem").exists() for name, _ in missing):
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda item: self.key(*item), missing))

    def _unusable(self, error: OSError) -> PkiError:
        return PkiError(
            f"dossier de l'IGC de test inutilisable : {self.folder} ({error.strerror})",
            f"folder of the test PKI cannot be used: {self.folder} ({error.strerror})",
        )

    def _read(self, name: str, size: int) -> rsa.RSAPrivateKey | None:
        try:
            content = (self.folder / f"{name}.pem").read_bytes()
        except FileNotFoundError:
            return None
        head, _, pem = content.partition(b"\n")
        if head != _DIGEST + hashlib.sha256(pem).hexdigest().encode():
            return None
        # The digest stands for the check of the key, which takes longer than making the certificates.
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        return key if isinstance(key, rsa.RSAPrivateKey) and key.key_size == size else None

    def _make(self, name: str, size: int) -> rsa.RSAPrivateKey:
        with self._lock(name):
            key = self._read(name, size)
            if key is None:
                key = rsa.generate_private_key(65537, size)
                pem = key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                head = _DIGEST + hashlib.sha256(pem).hexdigest().encode()
                write_whole(self.folder / f"{name}.pem", head + b"\n" + pem, 0o600)
            return key

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        descriptor = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
