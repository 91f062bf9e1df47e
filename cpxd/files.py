# SPDX-License-Identifier: Apache-2.0
"""Files a person names: read bounded, written whole or not at all, and never over something that is not a regular file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cpxd.errors import BadFile
from cpxd.text import Text, tr

_REASONS = {
    errno.ENOENT: Text("n'existe pas", "does not exist"),
    errno.EACCES: Text("accès refusé", "access denied"),
    errno.EPERM: Text("accès refusé", "access denied"),
    errno.EISDIR: Text("c'est un dossier", "it is a folder"),
    errno.ENOTDIR: Text("un nom du chemin n'est pas un dossier", "a part of the path is no folder"),
    errno.ENOSPC: Text("plus de place sur le disque", "no space left on the disk"),
    errno.EDQUOT: Text("quota de disque atteint", "disk quota reached"),
    errno.EROFS: Text("disque en lecture seule", "read-only disk"),
    errno.EFBIG: Text("trop gros", "too large"),
    errno.ENAMETOOLONG: Text("nom trop long", "name too long"),
    errno.ELOOP: Text("liens en boucle", "links in a loop"),
    errno.EIO: Text("erreur du disque", "disk error"),
    errno.EBADF: Text("descripteur fermé", "closed descriptor"),
    errno.EPIPE: Text("lecteur parti", "reader gone"),
}
_ALONE_WAIT, _ALONE_PAUSE = 60.0, 0.05  # seconds; a browser's database takes one or two
_NAME_LIMIT = 255  # bytes of one file name, on every Linux file system


def reason(error: Exception) -> str:
    """Why a file cannot be used, in the person's words."""
    if isinstance(error, UnicodeDecodeError):
        return tr("ce n'est pas un texte UTF-8", "it is no UTF-8 text")
    if isinstance(error, OSError) and error.errno in _REASONS:
        return tr(*_REASONS[error.errno])
    return tr("nom ou fichier inutilisable", "unusable name or file")


def read_small(path: Path, limit: int = 1 << 20, errors: str = "strict") -> str:
    """Text of a regular file of at most `limit` bytes. Raises OSError, UnicodeDecodeError; never waits on a pipe."""
    return read_bounded(path, limit).decode("utf-8", errors)


def read_bounded(path: Path, limit: int = 1 << 20) -> bytes:
    """A regular file of at most `limit` bytes. Raises OSError; never waits on a pipe, never reads a device."""
    with open(path, "rb", opener=unwaited) as file:
        return _bounded(file, limit)


def read_private(path: Path, limit: int) -> bytes:
    """As `read_bounded`, of a file that is ours and nobody else's to read or write, and no link. Raises OSError."""
    with open(path, "rb", opener=lambda name, flags: unwaited(name, flags | os.O_NOFOLLOW)) as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise OSError(errno.EACCES, "not ours alone")
        return _bounded(file, limit)


def _bounded(file: BinaryIO, limit: int) -> bytes:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, "too large")
    return content


def unwaited(path: str, flags: int) -> int:
    """The opener of `open` that waits for no pipe. What `open` then refuses, a folder, it closes; os.fdopen would not."""
    return os.open(path, flags | os.O_NONBLOCK)


def check_beside(document: Path) -> None:
    """Where nothing was said, a result is written beside a regular file, never beside a pipe or a device. Raises BadFile."""
    try:
        mode = document.stat().st_mode
    except (OSError, ValueError):
        return  # said by whoever reads it
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        why = tr(
            "ce n'est pas un fichier ordinaire ; dites où écrire, avec -o", "it is no regular file; say where to write, with -o"
        )
        raise BadFile(file=document, reason=why)


def check_output(document: Path, output: Path) -> Path:
    """Where a result would be written, links followed. Raises BadFile when that cannot be, before anybody is asked anything."""
    try:
        target = output.resolve()
        if len(os.fsencode(target.name)) > _NAME_LIMIT:
            raise OSError(errno.ENAMETOOLONG, "")
        if not target.name or target.is_dir():
            raise OSError(errno.EISDIR, "")
        if output.exists():  # not the target: of a pipe, as /dev/stdout may be, only the link says what it is
            _check_existing(document, output)
        elif not target.parent.is_dir():
            raise BadFile(file=output, reason=tr("le dossier n'existe pas", "the folder does not exist"))
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise BadFile(file=output, reason=tr("dossier protégé en écriture", "the folder is write-protected"))
    except (OSError, ValueError) as error:
        raise BadFile(file=output, reason=reason(error)) from None
    return target


def _check_existing(document: Path, output: Path) -> None:
    if not stat.S_ISREG(output.stat().st_mode):
        raise BadFile(file=output, reason=tr("ce n'est pas un fichier ordinaire", "it is no regular file"))
    if output.samefile(document):
        raise BadFile(file=output, reason=tr("c'est le document lui-même", "it is the document itself"))
    if not os.access(output, os.W_OK):
        raise BadFile(file=output, reason=tr("fichier protégé en écriture", "the file is write-protected"))


def write_new(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a regular file whole or not at all; `path` as `check_output` gave it. Raises BadFile. Without `mode`: the umask's."""
    try:
        handle, name = tempfile.mkstemp(prefix=".cpxd-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask() if mode is None else mode)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise BadFile(file=path, reason=reason(error)) from None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One of our processes (and threads) at a time. A folder that is not there is made. Raises BadFile, also when another one,
    which a person may have suspended, stays too long."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(file=folder, reason=reason(error)) from None
    try:
        limit = time.monotonic() + _ALONE_WAIT
        while not _locked(fd):
            if time.monotonic() > limit:
                raise BadFile(
                    file=folder, reason=tr("une autre commande cpxd y travaille", "another cpxd command is at work there")
                )
            time.sleep(_ALONE_PAUSE)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network's file system may lock no folder: then nobody waits
        pass
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
