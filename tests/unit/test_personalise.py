# SPDX-License-Identifier: Apache-2.0
"""The image of a card: exact bytes where real cards were read, inner consistency where they were not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from asn1crypto import core
from cryptography import x509

import simulator
from simulator import personas
from simulator.cardos import make_card
from simulator.image import Access, ElementaryFile, Image, Model
from simulator.personalise import personalise
from simulator.personas.checks import luhn
from simulator.pki import TestPki

NAMES = personas.names()
MODELS: tuple[Model, ...] = get_args(Model)
DAY = date(2026, 11, 30)

# Dumps of real CPS3 cards, public: OpenSC issues #2220 (EF.ATR), #2224 (AODF, start of the CDF), #2267 (PrKDF).
EF_ATR = """
80 43 01 B8 46 04 04 B0 EC C1 47 03 94 01 80 4F 08 80 25 00 00 01 FF 01 00
E0 10 02 02 01 04 02 02 01 04 02 02 01 00 02 02 01 00 78 08 06 06 2B 81 22 F8 78 02 82 02 90 00
"""
AODF = """
30 61 30 3F 0C 1C 43 6F 64 65 20 70 6F 72 74 65 75 72 20 64 65 20 6C 61 20 63 61 72 74 65 20 43
50 53 03 01 08 04 01 02 30 19 30 06 03 02 05 20 05 00 30 06 03 02 06 40 05 00 30 07 03 02 03 08
04 01 04 30 03 04 01 01 A1 19 30 17 03 03 04 0C 10 0A 01 01 02 01 04 02 01 08 02 01 04 80 01 01
04 01 FF 30 58 30 39 0C 22 43 6F 64 65 20 64 65 20 64 C3 A9 62 6C 6F 63 61 67 65 20 64 65 20 6C
61 20 63 61 72 74 65 20 43 50 53 03 01 08 30 10 30 06 03 02 05 20 05 00 30 06 03 02 06 40 05 00
30 03 04 01 04 A1 16 30 14 03 03 04 1D 10 0A 01 01 02 01 08 02 01 08 02 01 08 80 01 02
"""
PRKDF_AUTHENTICATION = """
30 59 30 2A 0C 0C 43 50 53 5F 50 52 49 56 5F 41 55 54 03 02 05 E0 04 01 01 30 13 30 07 03 02 00
01 04 01 01 30 08 03 03 06 00 40 04 01 01 30 1F 04 0E E8 28 BD 08 0F 80 25 00 00 01 FF 00 10 02
03 02 05 60 01 01 FF 03 02 04 B0 02 02 00 82 A1 0A 30 08 30 02 04 00 02 02 08 00
"""
CDF_START = (
    bytes.fromhex("305230340C1B")
    + b"Certificat de Signature CPS"
    + bytes.fromhex("03020800 3011 300603020780 0500 3007 03020640 040101 3010 040E E828BD080F8025000001FF0010")
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return TestPki(tmp_path_factory.getbasetemp() / "pki", today=DAY)


@cache
def image(pki: TestPki, name: str = "cps-medecin", model: Model = "cps3") -> Image:
    return personalise(personas.load(name), model, pki=pki)


def files(card: Image) -> dict[tuple[int, ...], ElementaryFile]:
    return {file.path: file for file in card.files}


def content(card: Image, *path: int) -> bytes:
    return files(card)[path].content


def objects(data: bytes) -> list[tuple[int, bytes]]:
    """Data objects with one-byte tags, put end to end."""
    found = []
    while data:
        tag, size, head = data[0], data[1], 2
        if size & 0x80:
            count = size & 0x7F
            size, head = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
        assert len(data) >= head + size
        found.append((tag, data[head : head + size]))
        data = data[head + size :]
    return found


# -- exact bytes -------------------------------------------------------------------------------------------------------


def test_what_was_read_on_real_cards_is_there_to_the_byte(pki: TestPki) -> None:
    card = image(pki)
    assert content(card, 0x2F01) == bytes.fromhex(EF_ATR)
    assert len(content(card, 0x2F01)) == 57
    assert content(card, 1, 0x7001) == bytes.fromhex(AODF)
    assert len(content(card, 1, 0x7001)) == 189
    assert content(card, 1, 0x7002).endswith(bytes.fromhex(PRKDF_AUTHENTICATION))
    assert len(bytes.fromhex(PRKDF_AUTHENTICATION)) == 91
    assert content(card, 1, 0x7005).startswith(CDF_START)
    assert len(content(card, 0x2F00)) == 101
    assert len(content(card, 0xD003)) == 12


def test_the_answers_to_reset(pki: TestPki) -> None:
    assert image(pki, model="cps3").atr.hex(" ").upper() == "3B AC 00 40 2A 00 12 25 00 64 80 00 03 10 00 90 00"
    assert image(pki, model="cps4").atr.hex(" ").upper() == "3B 9B 18 80 01 00 12 25 00 64 80 04 01 00 00 90 44"
    contactless = image(pki, model="cps3cl").atr
    assert contactless.hex(" ").upper() == "3B 8F 80 01 00 31 B8 64 04 B0 EC C1 73 94 01 80 82 90 00 0E"


def test_the_application_directory_names_the_contactless_application_first(pki: TestPki) -> None:
    templates = [dict(objects(value)) for tag, value in objects(content(image(pki), 0x2F00)) if tag == 0x61]
    contact, contactless = (bytes.fromhex(f"E828BD080F8025000001FF00{end}") for end in ("10", "20"))
    assert [template[0x4F] for template in templates] == [contactless, contact]
    assert [template[0x50] for template in templates] == [b"CPS IAS CL", b"CPS IAS"]
    assert [template[0x51].hex() for template in templates] == ["3f000002", "3f000001"]
    assert all(objects(template[0x73]) == [(0x4F, contact)] for template in templates)


def test_the_signature_key_of_a_cps3(pki: TestPki) -> None:
    """All its fields are known, only its bytes were never published."""
    first, _ = objects(content(image(pki), 1, 0x7002))
    common, own, kind = objects(first[1])
    assert objects(common[1])[:3] == [(0x0C, b"CPS_PRIV_SIG"), (0x03, b"\x07\x80"), (0x04, b"\x01")]
    assert objects(own[1]) == [
        (0x04, bytes.fromhex("E828BD080F8025000001FF001001")),
        (0x03, bytes.fromhex("060040")),
        (0x01, b"\xff"),
        (0x03, bytes.fromhex("04B0")),
        (0x02, bytes.fromhex("0081")),
    ]
    assert kind == (0xA1, bytes.fromhex("3008 30020400 02020800"))


def test_the_keys_of_a_cps4(pki: TestPki) -> None:
    card = image(pki, model="cps4")
    own = [objects(objects(entry)[1][1]) for _, entry in objects(content(card, 1, 0x7002))]
    assert [(fields[0][1][-1], fields[-1][1]) for fields in own] == [(0x10, b"\x10"), (0x20, b"\x20")]
    assert [(key.reference, key.usage) for key in card.keys] == [(0x10, "signature"), (0x20, "authentication")]


class Algorithm(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012  # the way of asn1crypto
        ("number", core.Integer),
        ("mechanism", core.Integer),
        ("parameters", core.Null),
        ("operations", core.BitString),
        ("oid", core.ObjectIdentifier),
        ("reference", core.Integer),
    ]


class Algorithms(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Algorithm


@pytest.mark.parametrize(("model", "label"), [("cps3", "CPS3v3-2600997001"), ("cps4", "CPS4v1-2600997001")])
def test_the_card_information(pki: TestPki, model: Model, label: str) -> None:
    card = image(pki, model=model)
    whole = content(card, 1, 0x5032)
    ((_, fields),) = objects(whole)
    found = objects(fields)
    assert found[:4] == [(0x02, b"\x00"), (0x0C, b"ASIP SANTE"), (0x80, label.encode()), (0x03, b"\x06\xc0")]
    assert card.label == label
    assert found[4][0] == 0xA2
    table = Algorithms.load(b"\x30\x81" + bytes([len(found[4][1])]) + found[4][1])
    assert [(row["mechanism"].native, row["oid"].dotted, row["reference"].native) for row in table] == [
        (0x220, "1.3.14.3.2.26", 0x10),
        (0x250, "2.16.840.1.101.3.4.2.1", 0x40),
        (0x06, "1.2.840.113549.1.1.5", 0x12),
        (0x40, "1.2.840.113549.1.1.11", 0x42),
        (0x01, "1.2.840.113549.1.1.1", 0x02),
        (0x01, "1.2.840.113549.1.1.1", 0x1A),
    ]
    assert [row["number"].native for row in table] == [1, 2, 3, 4, 5, 6]
    if model == "cps3":
        assert found[5] == (0xA5, b"\x18\x0f20100316110000Z")


# -- every persona, every model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_whole(pki: TestPki, name: str, model: Model) -> None:
    card = image(pki, name, model)
    persona = personas.load(name)
    found = files(card)
    assert len(found) == len(card.files), "two files at one place"
    pan = content(card, 0xD003)[2:].hex()
    assert pan.endswith("f") and luhn(pan[:-1])
    assert pan[10:18] == (persona.card.serial_cps4 if model == "cps4" else persona.card.serial_cps3)
    home = 2 if model == "cps3cl" else 1
    for tag, path in objects(content(card, home, 0x5031)):
        assert (home, int.from_bytes(objects(path)[0][1][2:], "big")) in found, hex(tag)
    for number in (0x5032, 0x7002, 0x7005):
        assert len(content(card, home, number)) <= 231, "one READ BINARY must be enough"
    certificates_match_their_keys(card, home)
    assert make_card(card).atr == card.atr


def certificates_match_their_keys(card: Image, home: int) -> None:
    held = [key.private_key.public_key() for key in card.keys]
    named = []
    for _, entry in objects(content(card, home, 0x7005)):
        path = objects(objects(objects(entry)[-1][1])[0][1])[0][1]
        file = int.from_bytes(objects(path)[0][1], "big")
        named.append(x509.load_der_x509_certificate(content(card, home, file)).public_key())
    assert named == held


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", NAMES)
def test_data_objects_hold_only_what_is_written_down(pki: TestPki, name: str, model: Model) -> None:
    """invented-tags.json is a dictionary for the decoder of others: it must know all that is on the cards."""
    dictionary = json.loads((Path(simulator.__file__).parent / "invented-tags.json").read_text())["objects"]
    card = image(pki, name, model)
    for label, file in data_objects(card).items():
        if label == "CPS_DATA":
            continue
        template, *rest = objects(file.content)
        known = dictionary[re.sub(r"_\d\d_", "_nn_", label)]
        assert rest == []
        assert f"{template[0]:02X}" == known["template"]
        tags = [f"{tag:02X}" for tag, _ in objects(template[1])]
        assert tags == sorted(tags)
        assert set(tags) <= set(known["fields"])
        repeated = {tag for tag, field in known["fields"].items() if field.get("repeated")}
        assert len(set(tags)) == len(tags) or {tag for tag in tags if tags.count(tag) > 1} <= repeated
        for tag, value in objects(template[1]):
            decodes(known["fields"][f"{tag:02X}"]["type"], value)


def decodes(kind: str, value: bytes) -> None:
    if kind == "ascii":
        assert value.decode("ascii").isprintable()
    elif kind == "utf8":
        assert value.decode().isprintable()
    elif kind == "octet":
        assert len(value) == 1
    elif kind == "date":
        assert date.fromisoformat(value.decode())
    else:
        assert kind == "bytes"


def data_objects(card: Image) -> dict[str, ElementaryFile]:
    """File by label, as the DODF of a contact card tells."""
    found: dict[str, ElementaryFile] = {}
    by_path = files(card)
    for _, entry in objects(content(card, 1, 0x7007)):
        common, kind, place = objects(entry)
        assert kind == (0x30, b"\x0c\x03CPS")
        fields = objects(common[1])
        label = fields[0][1].decode()
        file = by_path[1, int.from_bytes(objects(objects(place[1])[0][1])[0][1], "big")]
        private = (0x04, b"\x01") in fields
        assert private == (file.read is Access.PIN), label
        assert (fields[1] == (0x03, b"\x06\x40")) == (file.update is Access.ALWAYS) == (label == "CPS_DATA")
        assert label not in found
        found[label] = file
    return found


# -- the holder, as the card tells ---------------------------------------------------------------------------------------


def test_the_identity_of_the_doctor(pki: TestPki) -> None:
    held = data_objects(image(pki))
    assert sorted(held) == ["CPS_ACTIVITY_01_PS", "CPS_DATA", "CPS_ID_CARD", "CPS_INFO_PS", "CPS_LANG_PS", "CPS_NAME_PS"]
    card = dict(objects(objects(held["CPS_ID_CARD"].content)[0][1]))
    assert card[0x80] + b"/" + card[0x81] == b"8025000001/2600997001"
    assert (card[0x82], card[0x85]) == (b"\x80", b"\x00")
    assert (card[0x83], card[0x84]) == (b"20250831", b"20280831")
    name = dict(objects(objects(held["CPS_NAME_PS"].content)[0][1]))
    assert name == {0x80: b"22", 0x81: b"VALLEFICTIVE-MERCOEUR", 0x82: b"ALIENOR"}
    assert held["CPS_NAME_PS"].size == 160
    assert [value for _, value in objects(objects(held["CPS_LANG_PS"].content)[0][1])] == [b"fr", b"en"]


@pytest.mark.parametrize("name", NAMES)
def test_readers_in_the_field_find_the_last_four_characters(pki: TestPki, name: str) -> None:
    persona, held = personas.load(name), data_objects(image(pki, name))
    if persona.holder.specialty is not None:
        assert held["CPS_INFO_PS"].content[-4:] == persona.holder.specialty.encode()
    assert held["CPS_INFO_PS"].size is None
    for practice in persona.situations:
        file = held[f"CPS_ACTIVITY_{practice.number:02}_PS"]
        fields = dict(objects(objects(file.content)[0][1]))
        assert file.path == (1, 0xD120 + practice.number - 1)
        assert file.content[0] == 0xEE and file.content[-4:] == practice.sector.encode() and file.size is None
        assert fields[0x84] == practice.organization_name.encode()
        assert fields[0x85] == practice.organization_identifier.encode()


def test_situations_with_gaps(pki: TestPki) -> None:
    numbers = [1, 2, 4, 5, 7, 8, 11, 16]
    card = image(pki, "cps-medecin-8")
    assert [p[1] - 0xD11F for p in sorted(files(card)) if p[0] == 1 and 0xD120 <= p[1] <= 0xD12F] == numbers
    assert sorted(card.cps2ter) == [0x4000, *(0x400F + number for number in numbers)]
    assert {label for label in data_objects(card) if "ACTIVITY" in label} == {f"CPS_ACTIVITY_{n:02}_PS" for n in numbers}
    assert "CPS_SIT_FACT" not in data_objects(card), "a CPS3 does not list it: its library makes it up"


def test_a_cps4_lists_the_objects_of_the_older_application(pki: TestPki) -> None:
    held = data_objects(image(pki, model="cps4"))
    older = {f"CPS2TER_{end}" for end in ("ATR", "ID", "ICC", "NAME", "LANG", "PSINFO", "DIRAMO", "ACTIVITY_01_PS")}
    assert {label for label in held if label.startswith("CPS2TER")} == older
    assert held["CPS_SIT_FACT"].read is Access.PIN
    assert "CPS_SIT_FACT" not in data_objects(image(pki, "cps-retraite", "cps4"))


def test_billing(pki: TestPki) -> None:
    ((tag, value),) = objects(image(pki, "cps-medecin").cps2ter[0x4000])
    fields = dict(objects(value))
    assert tag == 0xEF
    assert fields[0x80] == b"991240011" and fields[0x81] == b"1" and luhn(fields[0x80].decode())
    assert fields[0x86] == b"010000" and (fields[0x87], fields[0x88]) == (b"1", b"1")


def test_a_service_card_names_nobody(pki: TestPki) -> None:
    held = data_objects(image(pki, "cpe-anonyme"))
    assert held["CPS_NAME_PS"].content == b"\xe1\x00"
    assert [tag for tag, _ in objects(objects(held["CPS_INFO_PS"].content)[0][1])] == [0x80, 0x81]


# -- codes, interfaces, days -----------------------------------------------------------------------------------------------


def test_the_codes(pki: TestPki) -> None:
    def left(name: str, model: Model = "cps3") -> list[tuple[int, int | None]]:
        return [(pin.tries_left, pin.uses_left) for pin in image(pki, name, model).pins]

    pin, unblock = image(pki).pins
    assert (pin.reference, pin.value, pin.max_tries) == (1, b"1234", 3)
    assert (unblock.reference, unblock.value, unblock.max_tries) == (2, b"12345678", 10)
    assert left("cps-medecin") == [(3, None), (10, 100)]
    assert left("cps-medecin", "cps4") == [(3, None), (10, None)]
    assert left("cps-pin-bloque") == [(0, None), (10, 100)]
    assert left("cps-puk-bloque") == [(0, None), (0, 90)]
    assert left("cps-medecin", "cps3cl") == []


def test_the_two_interfaces_of_a_cps3(pki: TestPki) -> None:
    contact, contactless = image(pki), image(pki, model="cps3cl")
    assert contact.files == contactless.files
    assert {path[0] for path, file in files(contactless).items() if file.contactless and len(path) == 2} == {2}
    assert [directory.path for directory in contact.directories if directory.contactless] == [(2,)]
    assert [(key.reference, key.usage) for key in contactless.keys] == [(3, "technical")]
    assert contactless.label == "CPS3v3_CL" and contactless.cps2ter == {}
    ((_, entry),) = objects(content(contactless, 2, 0x7002))
    assert objects(objects(entry)[1][1])[0][1] == bytes.fromhex("E828BD080F8025000001FF001003")


def test_the_day_moves_the_dates_and_the_certificates(pki: TestPki) -> None:
    later = image(TestPki(pki.folder, today=date(2026, 12, 1)), "cps-expire-bientot")
    now = image(pki, "cps-expire-bientot")
    changed = {path for path, file in files(now).items() if file != files(later)[path]}
    assert changed == {(1, 0xA001), (1, 0xA006), (2, 0xA009), (1, 0xD108)}
    assert b"\x84\x0820261221" in content(later, 1, 0xD108)


def test_a_warm_start_is_quick(pki: TestPki) -> None:
    image(pki)
    program = (
        "import sys, time;"
        "from simulator import personas; from simulator.personalise import personalise; from simulator.pki import TestPki;"
        "personalise(personas.load('cps-medecin'), 'cps3', pki=TestPki(sys.argv[1]));"
        "print(time.process_time())"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(pki.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=30)
    assert float(done.stdout) < 0.6  # of the processor, the start of Python included: the machine may be busy


def test_the_default_pki_is_that_of_the_user(pki: TestPki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpx-sim").mkdir()
    (tmp_path / "cpx-sim" / "pki").symlink_to(pki.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: Any = personalise(personas.load("cps-medecin"), "cps3")
    assert made.keys[0].private_key.private_numbers() == image(pki).keys[0].private_key.private_numbers()
