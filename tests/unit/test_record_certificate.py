# SPDX-License-Identifier: Apache-2.0
"""Certificates: the two profiles seen in public, the faults cards have, and hostile bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st
from record_certificates import EMPLOYEE, LDAP, NURSE, build
from record_vectors import MODEL

from cpxd.record.certificate import parse_certificate
from cpxd.record.errors import RecordError

NURSE_DER = build(NURSE)
EMPLOYEE_DER = build(EMPLOYEE)


def test_signature_certificate_of_a_nurse() -> None:
    found = parse_certificate(NURSE_DER, "Certificat de Signature CPS")
    subject = found.subject
    assert (subject.country, subject.title, subject.given_name) == ("FR", "Infirmier", "ÉLODIE")
    assert (subject.surname, subject.common_name, subject.pseudonym) == ("TESTINFIRMIÈRE", "00B6077602", None)
    assert found.issuer.common_name == "TEST AC IGC-SANTE FORT PERSONNES"
    assert found.issuer.text == "CN=TEST AC IGC-SANTE FORT PERSONNES,O=ASIP-SANTE,C=FR"
    assert (found.usage, found.is_signature, found.is_authentication) == ("signature", True, False)
    assert found.key_usage == {"nonRepudiation"}
    assert (found.category, found.card_type, found.profession, found.future_profession) == ("80", "00", "60", None)
    assert (found.issuer_number, found.card_number) == ("8025000001", "2800262487")
    assert found.serial == 0x0102030405060708090A0B0C0D0E0F10
    assert found.serial_hex == "102030405060708090A0B0C0D0E0F10"
    assert found.not_before == datetime(2020, 3, 4, 10, 20, 30, tzinfo=UTC)
    assert found.upn is None
    assert not found.repaired


def test_authentication_certificate_of_an_employee() -> None:
    found = parse_certificate(EMPLOYEE_DER)
    assert (found.usage, found.is_authentication) == ("authentication", True)
    assert (found.subject.organization, found.subject.unit, found.subject.state) == ("CENTRE TEST", "10B0057881", "Paris (75)")
    assert found.subject.common_name == "30B0057881/CPET0002"
    assert found.upn == "30B0057881/CPET0002@carte-cps.fr"
    assert found.extended_key_usage == ("1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2")
    assert found.policies == ("1.2.250.1.213.1.7.2.1.1.1.1",)
    assert found.crl_urls == ("http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP-TEST.crl", LDAP)
    assert found.delta_crl_urls == (LDAP.replace("certificate", "delta"),)
    assert found.ocsp_urls == ("http://ocsp.esante.gouv.fr",)
    assert found.issuer_urls == ("http://igc-sante.esante.gouv.fr/AC%20TEST/ACI-FO-PP-TEST.cer",)
    assert (found.card_type, found.profession) == ("02", None)


@pytest.mark.parametrize("der", [NURSE_DER, EMPLOYEE_DER, MODEL["certificate-sig"], MODEL["certificate-tech"]])
def test_what_another_library_reads_is_what_we_read(der: bytes) -> None:
    ours, other = parse_certificate(der), x509.load_der_x509_certificate(der)
    assert ours.der == der
    assert ours.serial == other.serial_number
    assert (ours.not_before, ours.not_after) == (other.not_valid_before_utc, other.not_valid_after_utc)
    assert ours.subject.der == other.subject.public_bytes()
    assert ours.issuer.der == other.issuer.public_bytes()
    assert ours.spki in der


def test_the_technical_key_is_told_by_its_label() -> None:
    found = parse_certificate(MODEL["certificate-tech"], "Certificat Technique CPS")
    assert (found.usage, found.is_technical) == ("technical", True)


def test_padding_after_the_certificate_is_cut() -> None:
    for padding in (bytes(200), b"\xff" * 200, b"\x00\x30\x82garbage"):
        assert parse_certificate(NURSE_DER + padding).der == NURSE_DER


@pytest.mark.parametrize("unused", [1, 7, 8, 0xFF])
def test_wrong_unused_bits_of_the_signature_are_repaired(unused: int) -> None:
    der = MODEL["certificate-aut"]
    broken = bytearray(der)
    assert der[-257] == 0
    broken[-257] = unused
    found = parse_certificate(bytes(broken) + bytes(20))
    assert found.repaired
    assert found.der == der


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x02\x01\x0a", "10"),
        (b"\x02\x02\x00\x81", "129"),
        (b"\x04\x01\x60", "60"),
        (b"\x0c\x0210", "10"),
        (b"\x02\x00", None),
        (b"\x02\x7f\x01", None),
        (b"", None),
        (b"\x30\x80", None),
    ],
)
def test_forms_of_a_private_extension(content: bytes, code: str | None) -> None:
    found = parse_certificate(build(replace(NURSE, profession=content)))
    assert found.profession == code
    assert found.subject.surname == "TESTINFIRMIÈRE"


def test_a_card_number_without_its_issuer() -> None:
    found = parse_certificate(build(replace(NURSE, card_id="2800262487")))
    assert (found.issuer_number, found.card_number) == (None, "2800262487")


def test_names_are_escaped() -> None:
    shape = replace(EMPLOYEE, subject=[("C", "FR"), ("O", "#A, B+C <D>")], names=[])
    assert parse_certificate(build(shape)).subject.text == "O=\\#A\\, B\\+C \\<D\\>,C=FR"


@pytest.mark.parametrize("size", [0, 1, 2, 10, 100, -1])
def test_a_truncated_certificate_is_an_error(size: int) -> None:
    with pytest.raises(RecordError):
        parse_certificate(NURSE_DER[:size])


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from([NURSE_DER, EMPLOYEE_DER])))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), mangled()))
@example(b"\x30\x80" * 500)
@example(bytes.fromhex("3009 3000 3000 0303 000000"))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        found = parse_certificate(data)
    except RecordError:
        return
    assert found.usage in ("signature", "authentication", "technical", None)
    assert found.serial_hex
    assert repr(found)
