# SPDX-License-Identifier: Apache-2.0
"""A card image as JSON: what is in its files, without its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.image import Access, DedicatedFile, ElementaryFile, Image, Key, Path, Pin


def to_json(image: Image) -> dict[str, Any]:
    """Bytes in hexadecimal, paths as "0001/5031". Keys and codes stay out."""
    return {
        "model": image.model,
        "atr": image.atr.hex().upper(),
        "label": image.label,
        "files": {_name(file.path): _file(file) for file in image.files},
        "directories": {_name(d.path): {"aid": d.aid.hex().upper(), "contactless": d.contactless} for d in image.directories},
        "cps2ter": {f"{number:04X}": content.hex().upper() for number, content in sorted(image.cps2ter.items())},
    }


def from_json(document: dict[str, Any], keys: Sequence[Key], pins: Sequence[Pin]) -> Image:
    return Image(
        model=document["model"],
        atr=bytes.fromhex(document["atr"]),
        label=document["label"],
        files=tuple(_read(name, item) for name, item in document["files"].items()),
        directories=tuple(
            DedicatedFile(_path(name), bytes.fromhex(item["aid"]), contactless=item["contactless"])
            for name, item in document["directories"].items()
        ),
        keys=tuple(keys),
        pins=tuple(pins),
        cps2ter={int(number, 16): bytes.fromhex(content) for number, content in document["cps2ter"].items()},
    )


def _file(file: ElementaryFile) -> dict[str, Any]:
    found: dict[str, Any] = {"content": file.content.hex().upper(), "size": file.size, "read": file.read.value}
    return {**found, "update": file.update.value, "sfi": file.sfi, "contactless": file.contactless}


def _read(name: str, item: dict[str, Any]) -> ElementaryFile:
    return ElementaryFile(
        _path(name),
        bytes.fromhex(item["content"]),
        size=item["size"],
        read=Access(item["read"]),
        update=Access(item["update"]),
        sfi=item["sfi"],
        contactless=item["contactless"],
    )


def _name(path: Path) -> str:
    return "/".join(f"{part:04X}" for part in path)


def _path(name: str) -> Path:
    return tuple(int(part, 16) for part in name.split("/"))
