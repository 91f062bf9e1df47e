# SPDX-License-Identifier: Apache-2.0
"""Damaged, lying and exchanged cards: a clear error or what is still readable; never a traceback, never a try lost."""

from __future__ import annotations

import dataclasses
import functools
import random
import re
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cpxd_lab import (
    PIN,
    Mover,
    Result,
    Wrapped,
    card,
    card_schema,
    content,
    cpxd,
    degraded,
    fails,
    image,
    in_parallel,
    succeeds,
    tries,
    with_codes,
    with_files,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from simulator.cardos import make_card
from simulator.faults import noise
from simulator.image import Access, ElementaryFile, Image
from simulator.lab import CardHandle, Lab
from simulator.profile import pkcs15
from simulator.profile.tlv import sequence, tlv

DIRECTORIES = {"ODF": 0x5031, "CIAInfo": 0x5032, "AODF": 0x7001, "PrKDF": 0x7002, "CDF": 0x7005, "DODF": 0x7007}
OTHERS = {"EF.DIR": 0x2F00, "serial": 0xD003, "signature certificate": 0xA001, "authentication certificate": 0xA006}
OBJECTS = {"card": 0xD108, "name": 0xD109, "languages": 0xD10A, "profession": 0xD10B, "situation": 0xD120}
FILES = {**DIRECTORIES, **OTHERS, **OBJECTS}
CERTIFICATES = (0xA001, 0xA006)

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda old: None,
    "empty": lambda old: b"",
    "truncated": lambda old: old[: len(old) // 2],
    "oversized length": lambda old: old[:1] + b"\x84\xff\xff\xff\xff" + old[2:],
    "length one too long": lambda old: old[:-1],
    "indefinite length": lambda old: old[:1] + b"\x80" + old[2:],
    "zeros": lambda old: bytes(len(old)),
    "noise": lambda old: noise(len(old)),
    "nested": lambda old: functools.reduce(lambda inner, _: tlv(0x30, inner)[:3000], range(700), b"\x05\x00"),
    "huge": lambda old: old + old[:1] + b"\x82\x70\x00" + b"A" * 0x7000,
}


def endures(result: Result, *, json_of_card: bool = False) -> Result:
    """Either done, or a typed error in one line."""
    assert result.code != 70, result.err
    if result.code:
        fails(result, result.code)
        assert result.code in (13, 14, 21, 24, 40, 50), result.err
    elif json_of_card:
        assert [error.message for error in card_schema().iter_errors(result.json)] == []
    assert "Traceback" not in result.err
    assert result.seconds < 10
    return result


def everything(lab: Lab, made: Image | Any, folder: Path) -> dict[str, Result]:
    """Each operation on a card (an image, or something that behaves as a card)."""
    virtual = make_card(made) if isinstance(made, Image) else made
    inner = getattr(virtual, "inner", virtual)
    handle = lab.insert(0, virtual)
    paper, signature = folder / "paper", folder / "paper.p7s"
    paper.write_text("x")
    done = {
        "status": endures(cpxd(lab, "pin", "status", "--json")),
        "card": endures(cpxd(lab, "card", "--json", codes=[PIN]), json_of_card=True),
        "sign": endures(cpxd(lab, "sign", str(paper), codes=[PIN])),
    }
    assert (tries(inner), tries(inner, 2)) == (3, 10)
    sent = with_codes(handle.trace)
    assert all(command[1] == 0x20 for command in sent) and len(sent) <= 2, "one VERIFY an operation at most"
    assert signature.exists() == (done["sign"].code == 0)
    if signature.exists():
        assert is_signed(signature.read_bytes(), b"x", handle)
    signature.unlink(missing_ok=True)
    return done


def is_signed(signature: bytes, message: bytes, handle: CardHandle) -> bool:
    """By the signature key of the card (whatever a damaged certificate says beside it)."""
    model = "cps3" if handle.card.atr == image().atr else "cps4"
    (key,) = [key.private_key.public_key() for key in image(model=model).keys if key.usage == "signature"]
    (signer,) = cms.ContentInfo.load(signature)["content"]["signer_infos"]
    digests = [
        attribute["values"][0].native for attribute in signer["signed_attrs"] if attribute["type"].native == "message_digest"
    ]
    key.verify(signer["signature"].native, signer["signed_attrs"].untag().dump(), padding.PKCS1v15(), hashes.SHA256())
    return digests == [sha256(message).digest()]


# -- files -----------------------------------------------------------------------------------------------------


def folder_of(lab: Lab, tmp_path: Path, labs: list[Lab]) -> Path:
    folder = tmp_path / f"{labs.index(lab)}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(("name", "model"), [*((name, "cps3") for name in FILES), *((name, "cps4") for name in DIRECTORIES)])
def test_damaged_file(labs: list[Lab], tmp_path: Path, name: str, model: str) -> None:
    base, number = image(model=model), FILES[name]

    def work(lab: Lab, damage: str) -> list[str]:
        changed = with_files(base, {number: DAMAGES[damage](content(base, number))})
        try:
            done = everything(lab, changed, folder_of(lab, tmp_path, labs))
            if name in OBJECTS:
                assert done["card"].code == 0 and done["sign"].code == 0, "the certificates are enough"
                assert done["card"].json["holder"]["family_name"] == "VALLEFICTIVE-MERCOEUR"
            return []
        except AssertionError as error:
            return [f"{damage}: {error}"]

    assert in_parallel(labs, work, list(DAMAGES)) == []


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_bytes_changed_at_random(labs: list[Lab], tmp_path: Path, model: str) -> None:
    base, chance = image(model=model), random.Random(1)  # noqa: S311 - the same each time
    plan = []
    for _ in range(24):
        number = chance.choice(list(FILES.values()))
        changed = bytearray(content(base, number))
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        plan.append((number, bytes(changed)))

    def work(lab: Lab, change: tuple[int, bytes]) -> list[str]:
        try:
            everything(lab, with_files(base, dict([change])), folder_of(lab, tmp_path, labs))
            return []
        except AssertionError as error:
            return [f"{change[0]:04X} = {change[1].hex()}: {error}"]

    assert in_parallel(labs, work, plan) == []


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_one_garbage_certificate(desk: Lab, tmp_path: Path, model: str) -> None:
    """The other one still says who it is."""
    for number, other in ((0xA001, "authentication"), (0xA006, "signature")):
        done = everything(desk, with_files(image(model=model), {number: b"\x30\x82\x01\x00garbage"}), tmp_path)
        said = degraded(done["card"]).json
        assert said["holder"]["family_name"] == "VALLEFICTIVE-MERCOEUR"
        assert [entry["usage"] for entry in said["certificates"]] == [other]
        assert (done["sign"].code == 0) is (number == 0xA006)


def test_no_certificate_at_all(desk: Lab, tmp_path: Path) -> None:
    done = everything(desk, with_files(image(), dict.fromkeys(CERTIFICATES, b"")), tmp_path)
    assert done["sign"].code != 0
    assert done["status"].code == 0


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_certificate_of_somebody_else(desk: Lab, tmp_path: Path, model: str) -> None:
    """Its key is not the card's: the signature is checked before it is given out."""
    other = content(image("cps-infirmier", model), 0xA001)
    done = everything(desk, with_files(image(model=model), {0xA001: other}), tmp_path)
    assert done["sign"].code == 50


@pytest.mark.parametrize("damage", ["truncated", "noise", "zeros", "missing"])
def test_damaged_situation_does_not_hide_the_others(desk: Lab, damage: str) -> None:
    base = image("cps-medecin-8")
    bad = DAMAGES[damage](content(base, 0xD121))
    desk.insert(0, make_card(with_files(base, {0xD121: bad})))
    situations = degraded(cpxd(desk, "card", "--json", codes=[PIN])).json["situations"]
    assert [entry["number"] for entry in situations if entry["organization_name"]] == [1, 4, 5, 7, 8, 11, 16]


# -- too many, too strange -------------------------------------------------------------------------------------


def with_situations(base: Image, labels: list[str]) -> Image:
    """As many practice situations as labels, numbered from 1 in their content."""
    first = content(base, 0xD120)
    assert first[:5].endswith(b"\x80\x01\x01"), "template, length, number of the situation"
    entries, files = [], []
    for number, label in enumerate(labels, 1):
        entries.append(pkcs15.data_object(label, 0xD150 + number, private=True))
        path, data = (1, 0xD150 + number), first[:4] + bytes([number]) + first[5:]
        files.append(ElementaryFile(path, data, read=Access.PIN, contactless=False))
    changed = with_files(base, {0x7007: pkcs15.data_object("CPS_ID_CARD", 0xD108) + b"".join(entries)})
    return dataclasses.replace(changed, files=(*changed.files, *files))


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_seventeen_situations(desk: Lab, tmp_path: Path, model: str) -> None:
    labels = [f"CPS_ACTIVITY_{n:02}_PS" for n in range(1, 18)]
    sixteen = everything(desk, with_situations(image(model=model), labels[:16]), tmp_path)["card"]
    assert [entry["number"] for entry in succeeds(sixteen).json["situations"]] == list(range(1, 17))
    seventeen = everything(desk, with_situations(image(model=model), labels), tmp_path)
    assert "16" in fails(seventeen["card"], 40)
    assert seventeen["sign"].code == 0, "who signs needs no situation"


@pytest.mark.parametrize(
    "labels",
    [
        ["CPS_ACTIVITY_00_PS"],
        ["CPS_ACTIVITY_99_PS"],
        ["CPS_ACTIVITY_01_PS", "CPS_ACTIVITY_01_PS"],
        ["CPS_ACTIVITY_1_PS"],
        ["CPS_ACTIVITY_\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}_PS"],
        ["CPS_ACTIVITY__PS"],
        [""],
        ["X" * 300],
    ],
    ids=["00", "99", "01 twice", "1", "arabic", "none", "no label", "long"],
)
def test_strange_labels(desk: Lab, tmp_path: Path, labels: list[str]) -> None:
    said = everything(desk, with_situations(image(), labels), tmp_path)["card"]
    assert said.code == 0 or "plus de" not in said.err, "there are not too many"


@pytest.mark.parametrize(
    "value", [b"\x1b[31mROUGE\x07", b"A\nB\rC", b"\xff\xfe\x00", "\N{RIGHT-TO-LEFT OVERRIDE}gauche".encode(), b""]
)
def test_names_cannot_draw_on_the_terminal(desk: Lab, tmp_path: Path, value: bytes) -> None:
    situation = tlv(0xEE, tlv(0x80, b"\x01"), tlv(0x81, b"00"), tlv(0x84, value), tlv(0x85, b"1990700122"), tlv(0x86, b"SA07"))
    done = everything(desk, with_files(image(), {0xD120: situation}), tmp_path)
    assert len(degraded(done["card"]).json["situations"]) == 1
    text = degraded(cpxd(desk, "card", codes=[PIN])).out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), repr(text)


@pytest.mark.parametrize("code", [b"ZZ99", b"", b"\xff", b"10 ", b"0" * 200])
def test_unknown_codes_come_back_raw(desk: Lab, tmp_path: Path, code: bytes) -> None:
    situation = tlv(0xEE, tlv(0x80, b"\x01"), tlv(0x81, code), tlv(0x84, b"CABINET"), tlv(0x86, code))
    done = everything(desk, with_files(image(), {0xD120: situation}), tmp_path)
    (entry,) = degraded(done["card"]).json["situations"]
    if code == b"ZZ99":
        assert entry["activity_sector"] == {"code": "ZZ99", "label": None}
        assert entry["practice_mode"] == {"code": "ZZ99", "label": None}


def test_directory_that_points_at_itself(desk: Lab, tmp_path: Path) -> None:
    def points(*pairs: tuple[int, int]) -> bytes:
        return b"".join(tlv(tag, sequence(tlv(0x04, file.to_bytes(2, "big")))) for tag, file in pairs)

    for odf in (
        points((0xA0, 0x5031), (0xA4, 0x5031), (0xA7, 0x5031), (0xA8, 0x5031)),
        points((0xA4, 0x7002), (0xA0, 0x7005), (0xA7, 0x7001), (0xA8, 0x7007)),
        points((0xA4, 0x3F00)),
        points(*[(0xA4, 0x7005)] * 400),
    ):
        everything(desk, with_files(image(), {0x5031: odf}), tmp_path)


# -- lengths ---------------------------------------------------------------------------------------------------


class Twisted(Wrapped):
    """The answers to READ BINARY and GET RESPONSE go through `twist(command, answer)`."""

    def __init__(self, inner: Any, twist: Callable[[bytes, bytes], bytes]) -> None:
        super().__init__(inner)
        self.twist = twist

    def transmit(self, apdu: bytes) -> bytes:
        answer = super().transmit(apdu)
        return self.twist(apdu, answer) if apdu[1] in (0xB0, 0xC0) else answer


def _once_6c(command: bytes, answer: bytes) -> bytes:
    """A card that insists on the exact Le of short reads."""
    if command[1] == 0xB0 and len(command) == 5 and command[4] == 0 and 2 < len(answer) < 258:
        return bytes([0x6C, len(answer) - 2])
    return answer


TWISTS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "6C for ever": lambda command, answer: b"\x6c\x10" if command[1] == 0xB0 else answer,
    "6C with Le 0 for ever": lambda command, answer: b"\x6c\x00" if command[1] == 0xB0 else answer,
    "61 for ever": lambda command, answer: answer[:1] + b"\x61\xff",
    "61 without data": lambda command, answer: b"\x61\x10",
    "one byte only": lambda command, answer: answer[:1],
    "status only": lambda command, answer: b"\x90\x00",
    "short reads": lambda command, answer: answer[:-2][:10] + b"\x90\x00",
    "end of file at once": lambda command, answer: b"\x62\x82",
    "more than asked": lambda command, answer: answer[:-2] + b"\x00" * 20 + answer[-2:],
    "memory failure": lambda command, answer: b"\x65\x81",
}


@pytest.mark.parametrize("model", ["cps3", "cps4", "cps4-t0"])
@pytest.mark.parametrize("twist", TWISTS)
def test_lengths_that_lie(desk: Lab, tmp_path: Path, model: str, twist: str) -> None:
    everything(desk, Twisted(card(model=model), TWISTS[twist]), tmp_path)


@pytest.mark.parametrize("model", ["cps4", "cps4-t0"])
def test_card_that_wants_the_exact_length(desk: Lab, tmp_path: Path, model: str) -> None:
    """6Cxx is an answer like another: asked again with that length, everything is read."""
    done = everything(desk, Twisted(card(model=model), _once_6c), tmp_path)
    assert {result.code for result in done.values()} == {0}


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("size", [0, 0x7FFF, 0xFFFF])
def test_file_sizes_that_lie(desk: Lab, tmp_path: Path, model: str, size: int) -> None:
    class Lying(Wrapped):
        def transmit(self, apdu: bytes) -> bytes:
            answer = super().transmit(apdu)
            where = answer.find(b"\x80\x02") if answer[:1] in (b"\x62", b"\x6f") else -1
            return answer if where < 0 else answer[: where + 2] + size.to_bytes(2, "big") + answer[where + 4 :]

    everything(desk, Lying(card(model=model)), tmp_path)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("status", ["6982", "6985", "6F00", "6E00", "9000", "63C0"])
def test_every_command_refused_from_some_point_on(desk: Lab, tmp_path: Path, model: str, status: str) -> None:
    (tmp_path / "paper").write_text("x")
    for first in (0, 3, 9, 20):
        virtual = card(model=model)
        for arguments, codes in ((["card", "--json"], [PIN]), (["pin", "status"], None), (["sign", f"{tmp_path}/paper"], [PIN])):
            desk.insert(0, virtual, f"sw@{first}-={status}")
            endures(cpxd(desk, *arguments, codes=codes))
        assert tries(virtual) == 3


# -- cards that change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("first", [0, 2, 6, 14, 30])
def test_card_swapped_midway(desk: Lab, tmp_path: Path, model: str, first: int) -> None:
    """What is read from one card is never mixed with another's, and no code meant for one is sent to the other."""
    for arguments in (["card", "--json"], ["sign", str(tmp_path / "paper")], ["pin", "verify"]):
        (tmp_path / "paper").write_text("x")
        mine, other = card(model=model), card("cps-infirmier", model)
        watched = Wrapped(mine)
        desk.insert(0, watched, f"pull@{first}")
        watched.power_off_at = 0.0
        handles, over = [], threading.Event()

        def swap(watched: Wrapped = watched, other: Any = other, handles: list[Any] = handles, over: Any = over) -> None:
            while not watched.power_off_at and not over.wait(0.0005):
                pass
            handles.append(desk.insert(0, other))

        swapper = threading.Thread(target=swap)
        swapper.start()
        result = cpxd(desk, *arguments, codes=[PIN])
        over.set()
        swapper.join()
        if result.code != 0:  # with few commands the operation may end before that command
            fails(result, 14)
        elif "--json" in arguments:
            assert result.json["holder"]["family_name"] == "VALLEFICTIVE-MERCOEUR"
        assert with_codes(handles[0].trace) == [] and tries(other) == 3 and tries(mine) == 3
        assert (tmp_path / "paper.p7s").exists() == (result.code == 0 and arguments[0] == "sign")
        (tmp_path / "paper.p7s").unlink(missing_ok=True)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_reset_by_another_program_is_noticed(desk: Lab, tmp_path: Path, model: str) -> None:
    """Reset again and again, the card loses its PIN state between two transactions: whole results or a typed error."""
    virtual = card("cps-medecin-8", model)
    desk.insert(0, virtual)
    (tmp_path / "paper").write_text("x")
    whole = succeeds(cpxd(desk, "card", "--json", codes=[PIN])).json
    select = bytes.fromhex("00A4000C023F00" if model == "cps3" else "01A40800020001")
    with Mover(desk, desk.readers[0], [select], reset=True):
        for _ in range(4):
            result = cpxd(desk, "card", "--json", codes=[PIN])
            if result.code:
                fails(result, 14)
            else:
                assert result.json == whole
            signed = cpxd(desk, "sign", str(tmp_path / "paper"), codes=[PIN])
            assert signed.code == 0 or fails(signed, 14)
    assert tries(virtual) == 3
