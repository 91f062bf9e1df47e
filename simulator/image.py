# SPDX-License-Identifier: Apache-2.0
"""A personalised card as data: what the card operating system is given, and nothing it works out by itself.

`personalise.py` makes an image from a persona; `cardos/` gives it life; the state that survives power-off (tries left,
written files) is kept apart by the card, never in the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Model = Literal["cps3", "cps4", "cps3cl"]
Path = tuple[int, ...]  # file identifiers from the MF, 3F00 itself left out: (0x0001, 0x5031)


class Access(Enum):
    """Who may do it, on this side of secure messaging (whose keys nobody here has)."""

    ALWAYS = "always"
    PIN = "pin"  # after VERIFY of the user PIN
    NEVER = "never"  # or only by secure messaging


@dataclass(frozen=True)
class DedicatedFile:
    path: Path
    aid: bytes = b""
    contactless: bool = False  # its files are read over the contactless interface only; in contact it can be selected


@dataclass(frozen=True)
class ElementaryFile:
    path: Path
    content: bytes
    size: int | None = None  # None: len(content); larger: padded with 00
    read: Access = Access.ALWAYS
    update: Access = Access.NEVER
    sfi: int | None = None
    contactless: bool = True  # readable over the contactless interface too


@dataclass(frozen=True)
class Key:
    reference: int  # CPS3: local reference without bit 0x80 (1 signature, 2 authentication, 3 technical); CPS4: 0x10, 0x20
    usage: Literal["signature", "authentication", "technical"]
    private_key: RSAPrivateKey


@dataclass(frozen=True)
class Pin:
    """A secret code of the card at delivery. `value` is ASCII digits, without padding."""

    reference: int  # 1 user PIN, 2 unblock code
    value: bytes = field(repr=False)
    max_tries: int
    tries_left: int
    uses_left: int | None = None  # of the unblock code: right presentations left before it dies for good


@dataclass(frozen=True)
class Image:
    model: Model
    atr: bytes
    label: str  # of the token, as EF.CIAInfo has it: "CPS3v3-2600990001"
    files: tuple[ElementaryFile, ...]
    directories: tuple[DedicatedFile, ...]
    keys: tuple[Key, ...]
    pins: tuple[Pin, ...]
    cps2ter: dict[int, bytes] = field(default_factory=dict)  # class A0 view: file id (4010…, 4000) → content
