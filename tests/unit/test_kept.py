# SPDX-License-Identifier: Apache-2.0
"""Certificates kept on disk: sealed, bounded, and nothing that is not as it was written is believed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd.card import kept
from cpxd.card.kept import Certificates, Kept, Sealed, keepable
from cpxd.record.files import parse_update_marker
from cpxd.tlv import tlv

DER = tlv(0x30, b"MONTFICTIF" + bytes(range(256)) * 3)
OTHER = tlv(0x30, b"MONTFICTIF" + bytes(reversed(range(256))) * 3)
PAN = "8025000001990000111"
PATH = (0x0001, 0xA001)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cpxd" / "cards"


def opened(found: Certificates, der: bytes = DER) -> bytes | None:
    return found[PATH].open(der[-64:]) if PATH in found else None


def save(pan: str = PAN, marker: bytes = b"") -> Path:
    before = set(kept.folder().iterdir()) if kept.folder().exists() else set()
    Kept(pan, marker).save({PATH: Sealed.seal(DER)})
    return next(iter(set(kept.folder().iterdir()) - before), next(kept.folder().iterdir()))


def test_what_is_kept_comes_back_to_who_has_its_end() -> None:
    save()
    assert opened(Kept(PAN, b"").load()) == DER
    assert opened(Kept(PAN, b"").load(), OTHER) is None
    assert Kept("8025000001990000112", b"").load() == {}
    assert Kept(PAN, b"\xec\x00").load() == {}, "of before an update"


def test_nothing_tells_whose_it_is(folder: Path) -> None:
    file = save()
    content = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert PAN not in file.name and PAN[10:18] not in file.name
    assert b"MONTFICTIF" not in content and DER[20:60].hex().encode() not in content
    sealed = json.loads(content.partition(b"\n")[2])["certificates"]["0001A001"]
    assert len(sealed) == 2


@given(st.binary(max_size=300), st.integers(0, 3000))
def test_a_damaged_file_is_none(garbage: bytes, at: int) -> None:
    file = save()
    content = file.read_bytes()
    at %= len(content)
    changed = content[:at] + garbage + content[at + len(garbage) :]
    file.write_bytes(changed)
    assert opened(Kept(PAN, b"").load()) == (DER if changed == content else None)
    file.unlink()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"[" * 50_000,
        b'{"marker": "", "certificates": []}',
        b'{"marker": "", "certificates": {"0001A001": 3}}',
        b'{"marker": "", "certificates": {"zz": [1, ""]}}',
        b'{"marker": "", "certificates": {"0001A001": ["1", ""]}}',
    ],
)
def test_a_file_well_sealed_with_nonsense_is_none(body: bytes) -> None:
    file = save()
    file.write_bytes(b"cpxd card 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert Kept(PAN, b"").load() == {}


def test_a_file_that_others_can_reach_is_none() -> None:
    file = save()
    file.chmod(0o644)
    assert Kept(PAN, b"").load() == {}
    file.chmod(0o600)
    real = file.rename(file.with_name("elsewhere"))
    file.symlink_to(real)
    assert Kept(PAN, b"").load() == {}
    file.unlink()
    os.mkfifo(file, 0o600)
    assert Kept(PAN, b"").load() == {}


def test_so_many_cards_and_no_more() -> None:
    for number in range(kept.MOST_CARDS + 5):
        Kept(f"{number}", b"").save({PATH: Sealed.seal(DER)})
        os.utime(kept.folder() / hashlib.sha256(f"cpxd card {number}".encode()).hexdigest(), (number, number))
    assert kept.held()[0] == kept.MOST_CARDS
    assert Kept("0", b"").load() == {} and opened(Kept(f"{kept.MOST_CARDS + 4}", b"").load()) == DER
    assert kept.clear() == kept.MOST_CARDS and kept.held() == (0, 0) and kept.clear() == 0


def test_a_folder_that_cannot_be_written_keeps_nothing(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    Kept(PAN, b"").save({PATH: Sealed.seal(DER)})
    assert Kept(PAN, b"").load() == {}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (DER, DER),
        (DER + bytes(40), DER),
        (DER + b"\xff\xff", DER),
        (DER[:-1], b""),
        (DER + DER, b""),
        (b"", b""),
        (bytes(90), b""),
        (tlv(0x30, b"short"), b""),
        (tlv(0x31, DER), b""),
        (tlv(0x30, bytes(17000)), b""),
    ],
)
def test_only_one_whole_certificate_is_kept(content: bytes, wanted: bytes) -> None:
    assert keepable(content) == wanted


@pytest.mark.parametrize(
    ("content", "complete"),
    [
        ("EC12 8107 20250602091500 8207 20250602091740", True),
        ("EC12 8107 20250602091500 8207 20250602091740 0000", True),
        ("EC12 8207 20250602091740 8107 20250602091500", True),
        ("EC09 8107 20250602091500", False),
        ("EC12 8107 20250602091500 8207 00000000000000", False),
        ("EC12 8107 20250602091500 8207 FFFFFFFFFFFFFF", False),
        ("EC12 8107 20250602091500 8207 20250502091740", False),  # a second one, cut short
        ("EC12 8107 20251302091500 8207 20250602091740", False),
        ("EC09 8207 20250602091740", False),
        ("EC00", False),
        ("00000000", False),
        ("EC12 8107 2025", False),
        ("", False),
    ],
)
def test_update_marker(content: str, complete: bool) -> None:
    assert parse_update_marker(bytes.fromhex(content)).complete is complete


@given(st.binary(max_size=64))
def test_any_update_marker_is_read(content: bytes) -> None:
    parse_update_marker(content)
