# SPDX-License-Identifier: Apache-2.0
"""galss.ini: what is lived with, what is noted, what is refused in words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpxd.errors import BadConfig
from cpxd.reader.galssini import Channel, Unit, load, parse

# the public sample: a bi-slot USB terminal in PC/SC mode
SAMPLE = """[PROTOCOLE0]
Config=1000,20,15000
TempoInit=1,1500,1000
NomLib=pssinosx.framework
[PROTOCOLE1]
Config=0
NomLib=pcscosx.framework
ListeCanaux=1,2
[CONFIG]
NbCanaux=2
[CANAL1]
TCanal=3
Index=1
Protocole=1
Caracteristiques=INGENICO TELIUM 00 00
NbPAD=1
[CANAL1.PAD1]
PAD=0
NbLAD=1
[CANAL1.PAD1.LAD1]
LAD=1
NomLAD=CPS
NbAlias=1
NomAlias1=TRANSPA1
[CANAL2]
TCanal=3
Index=2
Protocole=1
Caracteristiques=INGENICO TELIUM 00 01
NbPAD=1
[CANAL2.PAD1]
PAD=0
NbLAD=1
[CANAL2.PAD1.LAD1]
LAD=1
NomLAD=Vitale
NbAlias=1
NomAlias1=TRANSPA2
"""
FIRST = Channel(1, 3, 1, "INGENICO TELIUM 00 00", (Unit(0, 1, "CPS", ("TRANSPA1",)),))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_public_sample(end: str, encoding: str) -> None:
    ini = parse(SAMPLE.replace("\n", end).replace("Config=0", "Config=0 ; à l'état").encode(encoding))
    assert ini.channels[0] == FIRST and [unit.name for unit in ini.channels[1].units] == ["Vitale"]
    assert ini.notes == ()


def test_what_is_lived_with() -> None:
    text = "; comment\n# comment\n\n" + SAMPLE.replace("[CANAL1]", "[ canal1 ]").replace("TCanal=3", "  TCANAL =  3 ")
    ini = parse(text.encode())
    assert ini.channels[0] == FIRST and ini.notes == ()


@pytest.mark.parametrize(
    ("change", "into", "said"),
    [
        ("NbCanaux=2", "NbCanaux=7", "NbCanaux = 7"),
        ("NbCanaux=2", "", "NbCanaux = ?"),
        ("NbCanaux=2", "NbCanaux=two", "NbCanaux = ?"),
        ("[CONFIG]", "[OTHER]", "NbCanaux = ?"),
        ("NbPAD=1", "NbPAD=3", "NbPAD = 3"),
        ("NbLAD=1", "", "NbLAD = ?"),
        ("NbAlias=1", "NbAlias=2", "NbAlias = 2"),
        ("NomLAD=CPS", "NomLAD=CPS-CABINET", "NomLAD"),
        ("Index=1", "Index=1\nnonsense", "line 14"),
    ],
)
def test_what_is_noted_and_lived_with(change: str, into: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert change in SAMPLE
    ini = parse(SAMPLE.replace(change, into, 1).encode())
    assert len(ini.channels) == 2
    assert any(said in note.en and note.fr for note in ini.notes), [note.en for note in ini.notes]


@pytest.mark.parametrize("gone", ["TCanal=3\n", "Index=1\n"])
def test_a_channel_without_its_keys_is_left_out(gone: str) -> None:
    ini = parse(SAMPLE.replace(gone, "", 1).encode())
    assert [channel.index for channel in ini.channels] == [2]
    assert any("CANAL1" in note.en and "left out" in note.en for note in ini.notes)


def test_a_slot_without_its_keys_is_left_out() -> None:
    for gone in ("LAD=1\nNom", "NomLAD=CPS\n"):
        ini = parse(SAMPLE.replace(gone, "Nom" if gone.endswith("Nom") else "", 1).encode())
        assert ini.channels[0].units == () and len(ini.channels) == 2


@pytest.mark.parametrize("content", [b"", b"[CONFIG]\nNbCanaux=0\n", b"\x7fELF\0\0\0", b"x" * 300_000, b"[CANAL1]\nTCanal=\n"])
def test_what_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "galss.ini"
    path.write_bytes(content)
    with pytest.raises(BadConfig) as refusal:
        load(path)
    assert str(path) in refusal.value.sentence()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.ini", tmp_path):
        with pytest.raises(BadConfig):
            load(path)


@given(st.binary(max_size=400) | st.text(alphabet="[]CANALPD123.=;\r\nTIndexLom ", max_size=300).map(str.encode))
def test_no_content_breaks_it(content: bytes) -> None:
    parse(content)


def test_a_file_of_many_sections_is_read_in_one_pass() -> None:
    """Each section was looked for among all others: a minute for 90 kB. The bound is far above what it takes."""
    lines = [f"[CANAL{c}]\rTCanal=1\rIndex={c}\r" + "".join(f"[CANAL{c}.PAD{p}]\rPAD=0\r" for p in range(64)) for c in range(64)]
    begin = time.process_time()
    assert len(parse("".join(lines).encode()).channels) == 64
    assert time.process_time() - begin < 5
