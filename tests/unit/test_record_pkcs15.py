# SPDX-License-Identifier: Apache-2.0
"""The directory files: exact bytes of real cards first, then what a damaged file must still give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from record_vectors import MODEL, REAL

from cpxd.record import ber, pkcs15
from cpxd.record.errors import RecordError
from cpxd.record.files import parse_fcp, parse_serial_number
from cpxd.record.sdo import parse_pin_state
from cpxd.tlv import Tlv

AID = bytes.fromhex("E828BD080F8025000001FF0010")
DECODERS: list[Callable[[bytes], object]] = [
    pkcs15.parse_odf,
    pkcs15.parse_ciainfo,
    pkcs15.parse_aodf,
    pkcs15.parse_prkdf,
    pkcs15.parse_cdf,
    pkcs15.parse_dodf,
    parse_fcp,
    parse_serial_number,
    parse_pin_state,
]


def test_aodf_of_a_real_card() -> None:
    user, unblock = pkcs15.parse_aodf(REAL["aodf"])
    assert user == pkcs15.PinObject(
        label="Code porteur de la carte CPS",
        auth_id=b"\x01",
        reference=1,
        is_unblock_code=False,
        min_length=4,
        stored_length=8,
        max_length=4,
        pad_char=0xFF,
        needs_padding=True,
        flags=frozenset({"initialized", "needs-padding", "exchangeRefData"}),
    )
    assert (unblock.label, unblock.auth_id, unblock.reference) == ("Code de déblocage de la carte CPS", b"\x04", 2)
    assert unblock.is_unblock_code
    assert (unblock.min_length, unblock.stored_length, unblock.max_length, unblock.pad_char) == (8, 8, 8, None)
    assert unblock.flags == {"unblock-disabled", "initialized", "needs-padding", "soPin", "exchangeRefData"}


def test_private_key_of_a_real_card() -> None:
    (key,) = pkcs15.parse_prkdf(REAL["prkdf-aut"])
    assert key == pkcs15.PrivateKeyObject(
        label="CPS_PRIV_AUT",
        id=AID + b"\x02",
        key_reference=0x82,
        auth_id=b"\x01",
        usage=frozenset({"sign", "decrypt"}),
        access=frozenset({"sensitive", "alwaysSensitive", "neverExtractable"}),
        flags=frozenset({"private", "modifiable", "internal"}),
        modulus_length=2048,
        algorithm="rsa",
    )


@pytest.mark.parametrize(("model", "references"), [("cps3", [0x81, 0x82]), ("cps4", [0x10, 0x20]), ("cps3cl", [0x83])], ids=str)
def test_private_keys_of_each_model(model: str, references: list[int]) -> None:
    keys = pkcs15.parse_prkdf(MODEL[f"{model}-prkdf"])
    assert [key.key_reference for key in keys] == references
    assert [key.auth_id for key in keys] == [None if model == "cps3cl" else b"\x01"] * len(references)
    if model != "cps3cl":
        assert [key.usage for key in keys] == [{"nonRepudiation"}, {"sign", "decrypt"}]


def test_key_reference_written_as_a_negative_integer() -> None:
    data = REAL["prkdf-aut"].replace(bytes.fromhex("02020082"), bytes.fromhex("020182"))
    data = data.replace(b"\x30\x1f\x04", b"\x30\x1e\x04").replace(b"\x30\x59", b"\x30\x58")
    assert pkcs15.parse_prkdf(data)[0].key_reference == 0x82


def test_odf_paths_relative_and_absolute() -> None:
    assert [(e.kind, e.path) for e in pkcs15.parse_odf(MODEL["cps3-odf"])] == [
        ("PrKDF", (0x7002,)),
        ("CDF", (0x7005,)),
        ("DODF", (0x7006,)),
        ("AODF", (0x7001,)),
    ]
    absolute = bytes.fromhex("A10A3008 04063F0000017003")
    assert pkcs15.parse_odf(absolute)[0] == pkcs15.OdfEntry("PuKDF", (0x3F00, 0x0001, 0x7003))


def test_certificates_with_their_files() -> None:
    signature, authentication = pkcs15.parse_cdf(MODEL["cps3-cdf"])
    assert (signature.label, signature.id, signature.path) == ("Certificat de Signature CPS", AID + b"\x01", (0xA001,))
    assert (authentication.label, authentication.path) == ("Certificat d'Authentification CPS", (0xA002,))
    assert signature.flags == frozenset()  # `03 02 08 00` on the card
    assert pkcs15.parse_cdf(MODEL["cps3cl-cdf"])[0].label == "Certificat Technique CPS"


def test_certificate_path_with_index_and_length() -> None:
    data = bytes.fromhex("301E 3004 0C02 6161 3005 0403 010203 A10F 300D 300B 0402 A001 0201 04 8002 05B3")
    (entry,) = pkcs15.parse_cdf(data)
    assert (entry.path, entry.index, entry.length) == ((0xA001,), 4, 0x5B3)


def test_data_objects() -> None:
    objects = {o.label: o for o in pkcs15.parse_dodf(MODEL["cps3-dodf"])}
    assert list(objects) == [
        "CPS_DATA",
        "CPS_ID_CARD",
        "CPS_NAME_PS",
        "CPS_LANG_PS",
        "CPS_INFO_PS",
        "CPS_ACTIVITY_01_PS",
        "CPS_ACTIVITY_02_PS",
    ]
    assert objects["CPS_DATA"] == pkcs15.DataObject("CPS_DATA", "CPS", (0xD107,), None, False, True)
    assert objects["CPS_ACTIVITY_02_PS"] == pkcs15.DataObject("CPS_ACTIVITY_02_PS", "CPS", (0xD121,), b"\x01", True, False)
    assert len(pkcs15.parse_dodf(MODEL["cps3-dodf-16"])) == 21
    assert len(pkcs15.parse_dodf(MODEL["cps4-dodf"])) == 17


def test_ciainfo() -> None:
    info = pkcs15.parse_ciainfo(MODEL["cps3-ciainfo"])
    assert (info.label, info.manufacturer, info.serial, info.version) == ("CPS3v3-2600990001", "ASIP SANTE", None, 0)
    assert info.last_update == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert info.flags == {"readonly", "loginRequired"}
    rows = [(a.reference, a.name, a.oid, a.algorithm_reference) for a in info.algorithms]
    assert rows == [
        (1, "CKM_SHA_1", "1.3.14.3.2.26", 0x10),
        (2, "CKM_SHA256", "2.16.840.1.101.3.4.2.1", 0x40),
        (3, "CKM_SHA1_RSA_PKCS", "1.2.840.113549.1.1.5", 0x12),
        (4, "CKM_SHA256_RSA_PKCS", "1.2.840.113549.1.1.11", 0x42),
        (5, "CKM_RSA_PKCS", "1.2.840.113549.1.1.1", 0x02),
        (6, "CKM_RSA_PKCS", "1.2.840.113549.1.1.1", 0x1A),
    ]
    assert info.algorithms[5].operations == {"decipher"}


@pytest.mark.parametrize(
    "field",
    ["A511180F32303130303331363131303030305A", "850F32303130303331363131303030305A", "050F32303130303331363131303030305A"],
)
def test_last_update_in_its_three_forms(field: str) -> None:
    body = bytes.fromhex("020100" + field)
    info = pkcs15.parse_ciainfo(bytes([0x30, len(body)]) + body)
    assert info.last_update == datetime(2010, 3, 16, 11, tzinfo=UTC)


def test_last_update_that_is_no_date() -> None:
    assert pkcs15.parse_ciainfo(bytes.fromhex("3007 0201 00 8502 3939")).last_update is None


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [("0308", {4}), ("08", set()), ("0800", set()), ("", set()), ("05E0", {0, 1, 2}), ("060040", {9}), ("00FF", set(range(8)))],
)
def test_bit_strings_good_and_malformed(encoded: str, expected: set[int]) -> None:
    assert ber.bits(Tlv(0x03, bytes.fromhex(encoded))) == expected


@pytest.mark.parametrize("padding", [b"\x00" * 40, b"\xff" * 40, b"\x00\xff\x00"])
@pytest.mark.parametrize("name", ["prkdf", "cdf", "dodf", "odf"])
def test_padding_after_the_last_entry(name: str, padding: bytes) -> None:
    parse = getattr(pkcs15, f"parse_{name}")
    plain = parse(MODEL[f"cps3-{name}"])
    assert parse(MODEL[f"cps3-{name}"] + padding) == plain
    assert plain.damaged == 0


def test_a_file_of_padding_is_an_empty_directory() -> None:
    assert len(pkcs15.parse_dodf(bytes(64))) == 0
    assert len(pkcs15.parse_dodf(b"\xff" * 64)) == 0


def test_a_bad_entry_does_not_hide_the_others() -> None:
    bad = bytes.fromhex("3004 0102 0304")
    good = MODEL["cps3-prkdf"]
    keys = pkcs15.parse_prkdf(bad + good)
    assert [key.label for key in keys] == ["CPS_PRIV_SIG", "CPS_PRIV_AUT"]
    assert keys.damaged == 1


def test_a_truncated_file_keeps_what_came_before_the_cut() -> None:
    objects = pkcs15.parse_dodf(MODEL["cps3-dodf"][:100])
    assert [o.label for o in objects] == ["CPS_DATA", "CPS_ID_CARD"]
    assert objects.damaged == 1
    with pytest.raises(RecordError):
        pkcs15.parse_dodf(MODEL["cps3-dodf"][:20])


def test_the_number_of_entries_is_bounded() -> None:
    objects = pkcs15.parse_odf(bytes.fromhex("A00630040402 7002") * 300)
    assert len(objects) == ber.MAX_ELEMENTS
    assert objects.damaged == 1


def test_fcp_of_real_files() -> None:
    atr = parse_fcp(REAL["fcp-ef-atr"])
    assert (atr.size, atr.file_id, atr.descriptor, atr.is_df, atr.life_cycle, atr.aid) == (57, 0x2F01, 1, False, 5, None)
    assert parse_fcp(REAL["fcp-ef-dir"]).size == 101
    assert parse_fcp(REAL["fcp-ef-sn"]).file_id == 0xD003
    assert parse_fcp(MODEL["cps4-fci-ef-sn"]) == parse_fcp(REAL["fcp-ef-sn"])


def test_fcp_of_a_df_and_minimal_forms() -> None:
    df = parse_fcp(bytes.fromhex("6F16 8201 38 8302 0001 840D") + AID)
    assert (df.is_df, df.aid, df.size) == (True, AID, None)
    assert parse_fcp(bytes.fromhex("620B 8102 0100 8201 01 8302 5031")).size == 256
    with pytest.raises(RecordError):
        parse_fcp(bytes.fromhex("6208 8002 0100 8302 5031"))  # no descriptor
    with pytest.raises(RecordError):
        parse_fcp(b"")


def test_serial_number() -> None:
    serial = parse_serial_number(REAL["ef-sn-icc"])
    assert (serial.pan, serial.chip, serial.check_ok) == ("8025000001992138450", "99213845", True)
    assert not parse_serial_number(bytes.fromhex("5A0A8025000001992138451F")).check_ok
    with pytest.raises(RecordError):
        parse_serial_number(bytes.fromhex("5A0A8025000001992138AB0F"))


def test_code_states_of_real_cards() -> None:
    pin = parse_pin_state(REAL["pin-state"])
    assert (pin.reference, pin.max_tries, pin.tries_left, pin.uses_left, pin.blocked) == (1, 3, 3, None, False)
    unblock = parse_pin_state(REAL["unblock-state"])
    assert (unblock.reference, unblock.max_tries, unblock.tries_left, unblock.uses_left) == (2, 10, 10, 100)


def test_a_code_without_uses_left_is_blocked() -> None:
    spent = REAL["unblock-state"].replace(bytes.fromhex("9D020064"), bytes.fromhex("9D020000"))
    assert parse_pin_state(spent).blocked
    assert parse_pin_state(REAL["pin-state"].replace(bytes.fromhex("9B0103"), bytes.fromhex("9B0100"))).blocked


VECTORS = [*REAL.values(), *(v for v in MODEL.values() if len(v) < 1000)]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A true file with some bytes changed, cut or repeated: deeper in the decoders than noise gets."""
    data = bytearray(draw(st.sampled_from(VECTORS)))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.binary(max_size=300), mangled()))
@example(b"\x30\x80\x30\x80" * 100)
@example(b"\x1f" + b"\xff" * 200)
@example(b"\x30\x84\xff\xff\xff\xff")
@example(bytes.fromhex("30088506") + "²⁹".encode())
def test_no_input_raises_anything_else(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except RecordError:
            continue


def test_input_is_bounded() -> None:
    for decode in DECODERS:
        with pytest.raises(RecordError):
            decode(b"\x30" * (ber.MAX_INPUT + 1))
