# SPDX-License-Identifier: Apache-2.0
"""A card to talk to in tests, and the scripts it is talked to in.

One exchange a line: `header [data] [/Le] = answer`, hex, `*` in the answer for any data, `#` for comments. Lc is counted.
`raw hex = answer` sends the bytes as they are.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace

from trace_model import trace_image

from simulator.cardos import State, VirtualCard, make_card
from simulator.image import Access, ElementaryFile, Image, Model

SECRET = bytes.fromhex("5EC4E7") * 8  # content of a file that the PIN protects, unlike anything else on the card
PIN, OTHER_PIN, WRONG_PIN = "31323334FFFFFFFF", "34333231FFFFFFFF", "39393939FFFFFFFF"
PUK, WRONG_PUK = "3132333435363738", "3030303030303030"


def image(model: Model) -> Image:
    """The trace model and a few files more in 0001: D1F0 private, D1F1 sealed, D1F2 written under PIN, D1F3 with an SFI."""
    base = trace_image(model)
    extra = (
        ElementaryFile((0x0001, 0xD1F0), SECRET, read=Access.PIN),
        ElementaryFile((0x0001, 0xD1F1), b"sealed", read=Access.NEVER),
        ElementaryFile((0x0001, 0xD1F2), b"", size=10, update=Access.PIN),
        ElementaryFile((0x0001, 0xD1F3), b"twelve bytes", sfi=0x05),
    )
    return replace(base, files=base.files + extra)


def card(model: Model, state: State | None = None) -> VirtualCard:
    made = make_card(image(model), state)
    made.power_on()
    return made


def command(text: str) -> bytes:
    """An APDU out of `header [data] [/Le]`."""
    words = text.split()
    if words[0] == "raw":
        return bytes.fromhex("".join(words[1:]))
    le = bytes.fromhex(words.pop()[1:]) if words[-1].startswith("/") else b""
    data = bytes.fromhex("".join(words[1:]))
    return bytes.fromhex(words[0]) + (bytes([len(data)]) if data else b"") + data + le


def run(made: VirtualCard, script: str) -> None:
    for line in script.strip().splitlines():
        text, _, expected = line.split("#")[0].partition("=")
        if text.strip():
            answer = made.transmit(command(text)).hex().upper()
            assert fnmatch.fnmatchcase(answer, expected.strip()), f"{line.strip()}: {answer}"


def ask(made: VirtualCard, text: str) -> bytes:
    """Data of an answer that must be 9000, GET RESPONSE done."""
    sent = command(text)
    answer = made.transmit(sent)
    data = answer[:-2]
    while answer[-2] == 0x61:
        answer = made.transmit(bytes([sent[0], 0xC0, 0, 0]) + answer[-1:])
        data += answer[:-2]
    assert answer[-2:] == b"\x90\x00", f"{text}: {answer.hex()}"
    return data
