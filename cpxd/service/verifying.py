# SPDX-License-Identifier: Apache-2.0
"""Verify the signatures in a file, of any format."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cpxd import errors
from cpxd.config import Settings
from cpxd.files import reason
from cpxd.revocation import store
from cpxd.signature import fetch, judge, reading, trust
from cpxd.signature.evidence import Evidence
from cpxd.signature.reading import MAX_SIGNED, NotSigned
from cpxd.signature.report import Report
from cpxd.signature.signeddata import DigestOf
from cpxd.text import tr

_BLOCK = 1 << 20
_DETACHED = (".p7s", ".xades.xml")


def verify(
    path: Path,
    settings: Settings,
    *,
    content: Path | None = None,
    authorities: Sequence[Path] = (),
    offline: bool = False,
    now: datetime | None = None,
) -> tuple[Report, ...]:
    """A report on each signature. `content`: the document beside a detached signature; None: FILE for FILE.p7s.

    `authorities`: files or folders trusted beside IGC-Santé and the configured ones.
    Raises BadFile, NoSignature.
    """
    signed = _read(path)
    known = trust.load(*([settings.sign_trust] if settings.sign_trust else []), *authorities)
    network: fetch.Fetch = fetch.offline if offline else fetch.Network(settings.sign_network_wait, settings.revocation_proxy)
    try:
        found = reading.read(signed, _beside(path, content))
    except NotSigned as error:
        raise errors.NoSignature(file=path, reason=error) from None
    held = _lists(settings)
    return tuple(judge.judge(one, known, network, now or datetime.now(UTC), held) for one in found)


def _lists(settings: Settings) -> Evidence:
    """The lists that an administrator keeps in a folder; one that cannot be read is as if it were not there."""
    if not settings.revocation_folder:
        return Evidence()
    found = []
    for item in store.lists_in(Path(settings.revocation_folder)):
        with contextlib.suppress(OSError, ValueError):
            found.append(item.read())
    return Evidence(tuple(found))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIGNED + 1)
    except (OSError, ValueError) as error:
        raise errors.BadFile(file=path, reason=reason(error)) from None
    if len(content) > MAX_SIGNED:
        raise errors.BadFile(file=path, reason=tr(f"plus de {MAX_SIGNED >> 20} Mio", f"more than {MAX_SIGNED >> 20} MiB"))
    return content


def _beside(path: Path, content: Path | None) -> DigestOf | None:
    """How the detached document is hashed, when there is one; it may be of any size."""
    if content is None:
        suffix = next((s for s in _DETACHED if path.name.endswith(s)), None)
        content = path.with_name(path.name.removesuffix(suffix)) if suffix else None
        if content is None or not content.name or not content.is_file():
            return None
    document = content

    def digest(name: str) -> bytes:
        value = hashlib.new(name)
        try:
            if document.is_char_device():  # it may never end
                raise errors.BadFile(file=document, reason=tr("ce n'est pas un fichier ordinaire", "it is no regular file"))
            with document.open("rb") as file:
                while block := file.read(_BLOCK):
                    value.update(block)
        except (OSError, ValueError) as error:
            raise errors.BadFile(file=document, reason=reason(error)) from None
        return value.digest()

    return digest
