# SPDX-License-Identifier: Apache-2.0
"""galss.ini: which terminals GALSS has, on which channel. Only what cpxd needs is read, everything else is passed over.

Public knowledge of this file is one sample and a few remarks. So a count that is wrong, a key that is missing and a line that is
none are noted and lived with; what cannot be a galss.ini at all is refused (BadConfig).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cpxd.errors import BadConfig
from cpxd.files import reason, unwaited
from cpxd.text import Text, tr

PLACES = (Path("/etc/galss.ini"), Path("/usr/local/galss/galss.ini"), Path("/Library/Preferences/galss.ini"))
SERIAL, PCSC = 1, 3  # TCanal
_LIMIT = 1 << 18  # bytes
_MOST = 64  # channels, units of a channel, names of a unit: no workstation has more
_NAME = 8  # bytes of a NomLAD

Section = dict[str, str]
Below = dict[tuple[str, str], list[str]]  # sections by the one they belong to and "PAD" or "LAD"


@dataclass(frozen=True)
class Unit:
    """A slot of a terminal (LAD)."""

    pad: int
    lad: int
    name: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """`characteristics`: the PC/SC reader's name, or a serial line's settings."""

    index: int
    kind: int
    protocol: int | None
    characteristics: str
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Ini:
    """`notes`: what is wrong in the file, for the person who looks after it."""

    channels: tuple[Channel, ...]
    notes: tuple[Text, ...]


def find(named: str) -> Path | None:
    """The file that the settings name, else the one that is there."""
    return Path(named) if named else next((place for place in PLACES if os.path.isfile(place)), None)


def load(path: Path) -> Ini:
    """Raises BadConfig: unreadable, too large, or no channel in it."""
    try:
        with open(path, "rb", opener=unwaited) as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise BadConfig(file=path, reason=reason(error)) from None
    if len(content) > _LIMIT or b"\0" in content:
        raise BadConfig(file=path, reason=tr("ce n'est pas un galss.ini", "not a galss.ini"))
    ini = parse(content)
    if not ini.channels:
        why = tr("aucun canal utilisable ([CANAL1], TCanal, Index)", "no usable channel ([CANAL1], TCanal, Index)")
        raise BadConfig(file=path, reason=why)
    return ini


def parse(content: bytes) -> Ini:
    """Never fails: what is not understood is noted."""
    notes: list[Text] = []
    sections = _sections(_text(content), notes)
    found = [name for name in sections if re.fullmatch(r"CANAL[0-9]{1,3}", name)]
    said = _number(sections.get("CONFIG", {}), "NBCANAUX")
    if said != len(found):
        notes.append(_counted("NbCanaux", "[CONFIG]", said, len(found)))
    below: Below = {}
    for name in sections:
        if (match := re.fullmatch(r"(.+)\.(PAD|LAD)[0-9]{1,3}", name)) is not None:
            below.setdefault((match[1], match[2]), []).append(name)
    channels = [_channel(name, sections, below, notes) for name in found[:_MOST]]
    return Ini(tuple(channel for channel in channels if channel is not None), tuple(notes))


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _sections(text: str, notes: list[Text]) -> dict[str, Section]:
    """Names and keys in capitals. Lines end with CR, LF or both; a section or key that comes twice: the last one counts."""
    sections: dict[str, Section] = {}
    current: Section | None = None
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = raw.strip()
        if not line or line[0] in ";#":
            continue
        if line[0] == "[" and "]" in line:
            current = sections.setdefault(line[1 : line.index("]")].strip().upper(), {})
        elif "=" in line and current is not None:
            key, _, value = line.partition("=")
            current[key.strip().upper()] = value.strip()
        else:
            notes.append(Text(f"ligne {number} : ni section ni clé", f"line {number}: neither a section nor a key"))
    return sections


def _number(section: Section, key: str) -> int | None:
    value = section.get(key, "")
    return int(value) if re.fullmatch(r"[0-9]{1,5}", value) else None


def _counted(key: str, where: str, said: int | None, found: int) -> Text:
    shown = "?" if said is None else str(said)
    return Text(f"{where} : {key} = {shown}, et le fichier en a {found}", f"{where}: {key} = {shown}, and the file has {found}")


def _channel(name: str, sections: dict[str, Section], below: Below, notes: list[Text]) -> Channel | None:
    section = sections[name]
    kind, index = _number(section, "TCANAL"), _number(section, "INDEX")
    if kind is None or index is None:
        notes.append(Text(f"[{name}] laissé de côté : TCanal ou Index manque", f"[{name}] left out: TCanal or Index is missing"))
        return None
    pads = below.get((name, "PAD"), [])
    said = _number(section, "NBPAD")
    if said != len(pads):
        notes.append(_counted("NbPAD", f"[{name}]", said, len(pads)))
    units = tuple(unit for pad in pads[:_MOST] for unit in _units(pad, sections, below, notes))
    return Channel(index, kind, _number(section, "PROTOCOLE"), section.get("CARACTERISTIQUES", ""), units)


def _units(pad: str, sections: dict[str, Section], below: Below, notes: list[Text]) -> list[Unit]:
    names = below.get((pad, "LAD"), [])
    said = _number(sections[pad], "NBLAD")
    if said != len(names):
        notes.append(_counted("NbLAD", f"[{pad}]", said, len(names)))
    units = []
    for name in names[:_MOST]:
        section = sections[name]
        lad, label = _number(section, "LAD"), section.get("NOMLAD", "")
        if lad is None or lad > 255 or not label:
            notes.append(Text(f"[{name}] laissé de côté : LAD ou NomLAD manque", f"[{name}] left out: LAD or NomLAD is missing"))
            continue
        if len(label.encode()) > _NAME:
            notes.append(
                Text(f"[{name}] : NomLAD a plus de {_NAME} caractères", f"[{name}]: NomLAD has more than {_NAME} characters")
            )
        aliases = tuple(value for key, value in section.items() if re.fullmatch(r"NOMALIAS[0-9]{1,3}", key) and value)
        if _number(section, "NBALIAS") != len(aliases):
            notes.append(_counted("NbAlias", f"[{name}]", _number(section, "NBALIAS"), len(aliases)))
        units.append(Unit(_number(sections[pad], "PAD") or 0, lad, label, aliases[:_MOST]))
    return units
