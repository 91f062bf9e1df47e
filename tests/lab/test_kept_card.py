# SPDX-License-Identifier: Apache-2.0
"""A card that was read before is read faster, and never told from memory; the marker of an update that was interrupted."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cpxd_lab import command, content, degraded, image, succeeds, with_files

from simulator.cardos import make_card
from simulator.image import ElementaryFile, Image
from simulator.lab import Lab
from simulator.profile import pkcs15

COMPLETE, INTERRUPTED = (pkcs15.update_marker(complete=complete) for complete in (True, False))


def insert(desk: Lab, made: Image) -> None:
    desk.insert(0, make_card(made))


def blocks(desk: Lab) -> int:
    """READ BINARY commands since the insertion."""
    return sum(apdu[1] == 0xB0 for apdu, _ in desk.card(0).trace)


def marked(made: Image, marker: bytes) -> Image:
    return dataclasses.replace(made, files=(*made.files, ElementaryFile((0xD010,), marker)))


@pytest.fixture(autouse=True)
def _empty(desk: Lab) -> None:
    succeeds(command(desk, "cache", "clear"))


def files(desk: Lab) -> list[Path]:
    folder = Path(desk.env["XDG_CACHE_HOME"], "cpxd", "cards")
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_the_second_time_costs_a_block_a_certificate(desk: Lab, model: str) -> None:
    insert(desk, image(model=model))
    first = succeeds(command(desk, "card", "--json"))
    cold = blocks(desk)
    second = succeeds(command(desk, "card", "--json"))
    warm = blocks(desk) - cold
    assert second.json == first.json
    lengths = [len(content(image(model=model), number)) for number in (0xA001, 0xA006)]
    size = 231 if model == "cps3" else 256
    assert cold - warm == sum(-(-length // size) for length in lengths) - len(lengths)
    (file,) = files(desk)
    assert b"FICTIF" not in file.read_bytes() and "9900001" not in file.name


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_other_content_under_the_same_serial_is_seen(desk: Lab, model: str) -> None:
    """The serial number, the place and the length of the files and the date of the last update all stay."""
    before, other = image(model=model), image("cps-remplacant", model)
    insert(desk, before)
    succeeds(command(desk, "card", "--json"))
    sizes = {number: max(len(content(before, number)), len(content(other, number))) for number in (0xA001, 0xA006, 0xD109)}
    same = with_files(before, {number: content(other, number).ljust(size, b"\x00") for number, size in sizes.items()})
    insert(desk, same)
    assert degraded(command(desk, "card", "--json")).json["holder"]["family_name"] == "RELAISFICTIF-BEAUCHAMP"
    assert degraded(command(desk, "card")).out.count("RELAISFICTIF") == 1
    insert(desk, before)
    assert succeeds(command(desk, "card", "--json")).json["holder"]["family_name"] != "RELAISFICTIF-BEAUCHAMP"


def test_turned_off_nothing_is_kept(desk: Lab, tmp_path: Path) -> None:
    config = Path(desk.env["XDG_CONFIG_HOME"], "cpxd", "config.toml")
    before = config.read_text()
    config.write_text(before + "\n[card]\ncache = false\n")
    try:
        insert(desk, image())
        succeeds(command(desk, "card", "--json"))
        assert files(desk) == []
        assert "[card] cache" in succeeds(command(desk, "cache")).out
    finally:
        config.write_text(before)
    succeeds(command(desk, "card", "--json"))
    assert len(files(desk)) == 1 and " 1, " in succeeds(command(desk, "cache")).out
    assert " 1." in succeeds(command(desk, "cache", "clear")).out and files(desk) == []


def test_a_damaged_file_costs_time_only(desk: Lab) -> None:
    insert(desk, image())
    first = succeeds(command(desk, "card", "--json"))
    cold = blocks(desk)
    (file,) = files(desk)
    file.write_bytes(file.read_bytes()[:-50] + bytes(50))
    assert succeeds(command(desk, "card", "--json")).json == first.json
    assert blocks(desk) == 2 * cold
    succeeds(command(desk, "card", "--json"))
    assert blocks(desk) < 3 * cold, "it was written anew"


def test_a_complete_update_renews_what_was_kept(desk: Lab) -> None:
    insert(desk, image())
    first = succeeds(command(desk, "card", "--json"))
    cold = blocks(desk)
    insert(desk, marked(image(), COMPLETE))
    assert succeeds(command(desk, "card", "--json")).json == first.json
    assert blocks(desk) == cold + 1, "all is read anew, and the marker"
    succeeds(command(desk, "card", "--json"))
    assert blocks(desk) < 2 * cold


def test_an_interrupted_update_is_said_and_nothing_is_kept(desk: Lab) -> None:
    insert(desk, image())
    first = succeeds(command(desk, "card", "--json"))
    insert(desk, marked(image(), INTERRUPTED))
    found = degraded(command(desk, "card", "--json"))
    assert found.json == first.json and "a été interrompue" in found.err
    assert "a été interrompue" in succeeds(command(desk, "card")).out
    assert files(desk) == []


def test_no_generation_but_the_cps3_is_asked(desk: Lab) -> None:
    insert(desk, marked(image(model="cps4"), INTERRUPTED))
    succeeds(command(desk, "card", "--json"))
    assert not [apdu for apdu, _ in desk.card(0).trace if apdu[-3:-1] == b"\xd0\x10"]


BUSY = """
import sys, time
from smartcard.scard import *
context = SCardEstablishContext(SCARD_SCOPE_USER)[1]
code, handle, protocol = SCardConnect(context, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0)
assert code == 0 and SCardBeginTransaction(handle) == 0
print("busy", flush=True)
select = bytes.fromhex("00A40904063F000001A001")
assert SCardTransmit(handle, SCARD_PCI_T0, list(select))[1][0] == 0x61
end = time.monotonic() + 2.5
while time.monotonic() < end:
    assert SCardTransmit(handle, SCARD_PCI_T0, [0, 0xB0, 0, 0, 0xE7])[1][-2:] == [0x90, 0]
SCardEndTransaction(handle, SCARD_LEAVE_CARD)
"""


def test_a_card_that_another_program_is_busy_with_is_waited_for() -> None:
    """SCardConnect rests while another program's slow commands follow each other: that is no silence of the card."""
    with Lab(["cps-medecin:cps3"], slots=1, timing="real") as lab:
        config = Path(lab.env["XDG_CONFIG_HOME"], "cpxd", "config.toml")
        config.write_text(config.read_text() + "\n[card]\nsilence = 1\n")
        with subprocess.Popen([sys.executable, "-c", BUSY, lab.readers[0]], env={**os.environ, **lab.env}, stdout=-1) as busy:
            assert busy.stdout is not None and busy.stdout.readline() == b"busy\n"
            found = succeeds(command(lab, "pin", "status"))
            assert "3" in found.out
        assert busy.returncode == 0
