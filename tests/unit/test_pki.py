# SPDX-License-Identifier: Apache-2.0
"""The test PKI against public certificates of the real TEST IGC-Santé, against OpenSSL, and against itself from day to day."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from simulator import personas
from simulator.personas import Persona
from simulator.pki import AUTHORITIES, PkiError, TestPki, Usage
from simulator.pki.leaf import issuer_of, subject, where_to_look

REAL = Path(__file__).parents[1] / "vectors" / "igc-sante-test"
NAMED = [name for name in personas.names() if not personas.load(name).anonymous]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    # The base folder is that of the run: the modules that need keys share them.
    return TestPki(tmp_path_factory.getbasetemp() / "pki")


@pytest.fixture(scope="module")
def exported(pki: TestPki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    pki.export(folder)
    return folder


def real(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((REAL / name).read_bytes())


def extensions(certificate: bytes | x509.Certificate) -> dict[str, bytes]:
    """Value by OID, in the order of the certificate."""
    der = certificate if isinstance(certificate, bytes) else certificate.public_bytes(Encoding.DER)
    found = asn1.Certificate.load(der)["tbs_certificate"]["extensions"]
    return {extension["extn_id"].dotted: extension["extn_value"].contents for extension in found}


def critical(certificate: bytes) -> list[str]:
    found = asn1.Certificate.load(certificate)["tbs_certificate"]["extensions"]
    return [extension["extn_id"].dotted for extension in found if extension["critical"].native]


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30)


# -- the authorities -----------------------------------------------------------------------------------------------

KEY_IDENTIFIERS = ("2.5.29.14", "2.5.29.35")


@pytest.mark.parametrize(("name", "file"), [("STANDARD", "root-standard.pem"), ("STANDARD PERSONNES", "standard-personnes.pem")])
def test_an_authority_is_the_twin_of_the_real_one(pki: TestPki, name: str, file: str) -> None:
    ours, theirs = pki.authority(name).certificate, real(file)
    assert ours.subject.public_bytes() == theirs.subject.public_bytes()
    assert ours.issuer.public_bytes() == theirs.issuer.public_bytes()
    assert ours.not_valid_before_utc == theirs.not_valid_before_utc
    assert ours.not_valid_after_utc == theirs.not_valid_after_utc
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    assert ours.serial_number.to_bytes(18, "big")[:2] == theirs.serial_number.to_bytes(18, "big")[:2]
    mine, wanted = extensions(ours), extensions(theirs)
    assert list(mine) == list(wanted)
    for oid in mine.keys() - set(KEY_IDENTIFIERS):
        assert mine[oid] == wanted[oid], oid
    for oid in KEY_IDENTIFIERS:
        assert len(mine[oid]) == len(wanted[oid])
    assert pki.authority(name).key.key_size == 4096


def test_the_nine_authorities() -> None:
    assert len(AUTHORITIES) == 9
    assert AUTHORITIES["FORT PERSONNES"].stem == "ACI-FO-PP-TEST"
    assert AUTHORITIES["ELEMENTAIRE ORGANISATIONS"].stem == "ACI-EL-ORG-TEST"
    assert AUTHORITIES["STANDARD"].stem == "ACR-ST-TEST"


def test_an_unknown_authority(pki: TestPki) -> None:
    with pytest.raises(PkiError, match="MOYEN"):
        pki.authority("MOYEN")


# -- the certificates of cards ---------------------------------------------------------------------------------------

BASIC, SKI, AKI, USAGE, POLICIES, EXTENDED = "2.5.29.19", "2.5.29.14", "2.5.29.35", "2.5.29.15", "2.5.29.32", "2.5.29.37"
NAMES, PERIOD, CRLS, DELTA, ACCESS = "2.5.29.17", "2.5.29.16", "2.5.29.31", "2.5.29.46", "1.3.6.1.5.5.7.1.1"
CATEGORY, TYPE, CARD, PROFESSION, FUTURE = (f"1.2.250.1.71.1.2.{n}" for n in (5, 2, 3, 7, 8))


def test_where_a_certificate_is_checked_is_told_as_in_the_real_ones() -> None:
    wanted = extensions(real("elementaire-organisations-leaf.pem"))
    ours = where_to_look(AUTHORITIES["ELEMENTAIRE ORGANISATIONS"])
    assert [e.public_bytes() for e in ours] == [wanted[oid] for oid in (CRLS, DELTA, ACCESS)]


def test_the_signature_profile(pki: TestPki) -> None:
    persona = personas.load("cps-infirmier")
    certificate = pki.issue(persona, "cps3", "signature").certificate
    ours, theirs = extensions(certificate), extensions(real("elementaire-organisations-leaf.pem"))
    assert list(ours)[:10] == [BASIC, SKI, AKI, USAGE, POLICIES, EXTENDED, PERIOD, CRLS, DELTA, ACCESS]
    assert list(ours)[10:] == [CATEGORY, TYPE, CARD, PROFESSION]
    for oid in (BASIC, POLICIES, EXTENDED):
        assert ours[oid] == theirs[oid]
    assert ours[USAGE] == bytes.fromhex("03020640")
    assert critical(certificate) == [USAGE]
    first, last = persona.card.valid_from(pki.today), persona.card.valid_until(pki.today)
    assert ours[PERIOD] == b"\x30\x22\x80\x0f%s215959Z\x81\x0f%s215959Z" % (
        f"{first:%Y%m%d}".encode(),
        f"{last:%Y%m%d}".encode(),
    )
    assert ours[CATEGORY] == bytes.fromhex("040180")
    assert ours[TYPE] == bytes.fromhex("020100")
    assert ours[CARD] == b"\x13\x158025000001/" + persona.card.number.encode()
    assert ours[PROFESSION] == bytes.fromhex("02013C")


def test_the_authentication_profile(pki: TestPki) -> None:
    persona = personas.load("cpe-opposee")
    certificate = pki.issue(persona, "cps3", "authentication").certificate
    ours = extensions(certificate)
    assert list(ours) == [BASIC, SKI, AKI, USAGE, POLICIES, EXTENDED, NAMES, CRLS, DELTA, ACCESS, CATEGORY, TYPE, CARD]
    assert ours[BASIC] == bytes.fromhex("3000")
    assert ours[USAGE] == bytes.fromhex("03020780")
    assert critical(certificate) == [USAGE]
    assert ours[EXTENDED] == bytes.fromhex("3016 06082B06010505070302 060A2B060104018237140202")
    principal = f"{persona.holder.identifier}@carte-cps.fr".encode()
    value = b"\xa0%c\x0c%c%s" % (len(principal) + 2, len(principal), principal)
    assert ours[NAMES].endswith(bytes.fromhex("060A2B060104018237140203") + value)
    assert ours[TYPE] == bytes.fromhex("020102")
    assert x509.load_der_x509_certificate(certificate).serial_number.bit_length() <= 127


def test_a_trainee_has_a_future_profession_and_no_other(pki: TestPki) -> None:
    ours = extensions(pki.issue(personas.load("cpf-interne"), "cps3", "signature").certificate)
    assert list(ours)[-4:] == [CATEGORY, TYPE, CARD, FUTURE]
    assert ours[FUTURE] == bytes.fromhex("02010A")
    assert ours[TYPE] == bytes.fromhex("020101")


def attributes(persona: Persona) -> list[list[tuple[str, str, str]]]:
    """(attribute, ASN.1 type, text), element by element, in the order of the encoding."""
    name = asn1.Name.load(subject(persona).public_bytes())
    return [
        [(pair["type"].native, type(pair["value"].chosen).__name__, pair["value"].native) for pair in element]
        for element in name.chosen
    ]


def test_the_subject_of_a_cps() -> None:
    assert attributes(personas.load("cps-medecin")) == [
        [("country_name", "PrintableString", "FR")],
        [("title", "UTF8String", "Médecin")],
        [
            ("given_name", "UTF8String", "ALIENOR"),
            ("common_name", "UTF8String", "899700090014"),
            ("surname", "UTF8String", "VALLEFICTIVE-MERCOEUR"),
        ],
    ]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("cpe-opposee", ["country_name", "state_or_province_name", "organization_name", "organizational_unit_name", "title"]),
        ("cde-transport", ["country_name", "state_or_province_name", "organization_name", "organizational_unit_name", "title"]),
        ("cpa", ["country_name", "organization_name", "locality_name", "organizational_unit_name"]),
        ("cpf-interne", ["country_name", "title"]),
    ],
)
def test_the_subjects_of_the_other_kinds(name: str, wanted: list[str]) -> None:
    elements = attributes(personas.load(name))
    assert [element[0][0] for element in elements[:-1]] == wanted
    assert all(kind == "UTF8String" for element in elements[1:] for _, kind, _ in element)


def test_the_subject_of_a_service_card_names_nobody() -> None:
    elements = attributes(personas.load("cpe-anonyme"))
    assert [element[0][0] for element in elements[4:]] == ["title", "pseudonym", "common_name"]
    assert all(len(element) == 1 for element in elements)


@pytest.mark.parametrize("name", NAMED)
def test_the_last_element_is_given_name_common_name_surname(name: str) -> None:
    """The order seen in real certificates, and DER's: the names of the personas are chosen so that both agree."""
    last = attributes(personas.load(name))[-1]
    assert [pair[0] for pair in last] == ["given_name", "common_name", "surname"]


def test_a_short_name_keeps_the_encoding_strict(pki: TestPki) -> None:
    """Strict readers refuse a SET OF that is not in the order of DER, so that order comes before the one seen."""
    persona = personas.load("cps-medecin")
    short = replace(persona, holder=replace(persona.holder, family_name="BO"))
    certificate = x509.load_der_x509_certificate(pki.issue(short, "cps3", "signature").certificate)
    assert next(iter(certificate.subject.rdns[-1])).oid == NameOID.SURNAME


def test_who_issues_for_whom() -> None:
    assert {issuer_of(personas.load(n)) for n in personas.names() if n.startswith(("cps", "cpf"))} == {"FORT PERSONNES"}
    assert {issuer_of(personas.load(n)) for n in personas.names() if not n.startswith(("cps", "cpf"))} == {"STANDARD PERSONNES"}


# -- from day to day ---------------------------------------------------------------------------------------------------


def test_the_same_day_the_same_bytes(pki: TestPki) -> None:
    persona = personas.load("cps-medecin")
    again = TestPki(pki.folder, today=pki.today)
    assert again.issue(persona, "cps3", "signature").certificate == pki.issue(persona, "cps3", "signature").certificate
    assert again.authority("FORT PERSONNES").certificate == pki.authority("FORT PERSONNES").certificate


def test_another_day_another_certificate_of_the_same_key(pki: TestPki) -> None:
    persona = personas.load("cps-expire-bientot")
    soon, later = (
        x509.load_der_x509_certificate(TestPki(pki.folder, today=day).issue(persona, "cps3", "signature").certificate)
        for day in (date(2026, 11, 30), date(2026, 12, 1))
    )
    assert soon.not_valid_after_utc == datetime(2026, 12, 20, 21, 59, 59, tzinfo=UTC)
    assert soon.not_valid_before_utc == datetime(2023, 12, 20, 21, 59, 59, tzinfo=UTC)
    assert later.not_valid_after_utc == datetime(2026, 12, 21, 21, 59, 59, tzinfo=UTC)
    assert soon.serial_number != later.serial_number
    assert soon.public_key() == later.public_key()


def test_another_persona_file_another_serial_number(pki: TestPki) -> None:
    """Browsers refuse two certificates of one issuer under one number."""
    persona = personas.load("cps-medecin")
    changed = replace(persona, holder=replace(persona.holder, given_names="ELEONORE"))
    numbers = {
        x509.load_der_x509_certificate(pki.issue(who, "cps3", usage).certificate).serial_number
        for who in (persona, changed)
        for usage in ("signature", "authentication")
    }
    assert len(numbers) == 4


def test_the_day_is_that_of_the_clock_unless_told(tmp_path: Path) -> None:
    before = datetime.now(UTC).date()
    assert TestPki(tmp_path).today in (before, datetime.now(UTC).date())
    assert TestPki(tmp_path, today=date(2031, 5, 6)).today == date(2031, 5, 6)


def test_two_interfaces_of_one_chip_share_its_keys(pki: TestPki) -> None:
    persona = personas.load("cps-medecin")
    assert pki.issue(persona, "cps3", "technical") == pki.issue(persona, "cps3cl", "technical")
    assert pki.issue(persona, "cps3", "signature").key is not pki.issue(persona, "cps4", "signature").key


def test_a_certificate_with_a_wrong_count_of_unused_bits(pki: TestPki) -> None:
    persona = personas.load("cps-medecin")
    right = pki.issue(persona, "cps3", "signature").certificate
    odd = pki.issue(replace(persona, odd_signature_bits=True), "cps3", "signature").certificate
    assert len(odd) == len(right)
    at = len(odd) - 513
    assert (right[at - 4 : at + 1], odd[at - 4 : at + 1]) == (b"\x03\x82\x02\x01\x00", b"\x03\x82\x02\x01\x07")


# -- judged by OpenSSL -------------------------------------------------------------------------------------------------


def verified(exported: Path, certificate: bytes, persona: Persona, *options: str | Path) -> str:
    leaf = exported / "leaf.pem"
    leaf.write_bytes(x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
    stems = [AUTHORITIES[name].stem for name in (issuer_of(persona), issuer_of(persona).split()[0])]
    lists = [part for stem in stems for part in ("-CRLfile", exported / f"{stem}.crl.pem")]
    for stem in stems:
        pem = openssl("crl", "-inform", "der", "-in", exported / f"{stem}.crl", "-out", exported / f"{stem}.crl.pem")
        assert pem.returncode == 0, pem.stderr
    done = openssl("verify", "-x509_strict", "-CAfile", exported / "ca.pem", "-crl_check_all", *lists, *options, leaf)
    return done.stdout + done.stderr


@pytest.mark.parametrize("usage", ["signature", "authentication", "technical"])
@pytest.mark.parametrize("name", ["cps-medecin", "cps-medecin-8", "cpe-anonyme", "cpa", "cps-expire-bientot"])
def test_openssl_verifies_the_chain(pki: TestPki, exported: Path, name: str, usage: Usage) -> None:
    persona = personas.load(name)
    said = verified(exported, pki.issue_all(persona, "cps3")[usage].certificate, persona)
    assert said.strip().endswith(": OK"), said


def test_openssl_finds_the_revoked_card(pki: TestPki, exported: Path) -> None:
    persona = personas.load("cpe-opposee")
    for model in ("cps3", "cps4"):
        for credential in pki.issue_all(persona, model).values():
            assert "certificate revoked" in verified(exported, credential.certificate, persona)


def test_a_revoked_card_stays_so_over_midnight(pki: TestPki) -> None:
    persona = personas.load("cpe-opposee")
    held = x509.load_der_x509_certificate(pki.issue(persona, "cps3", "authentication").certificate)
    tomorrow = TestPki(pki.folder, today=pki.today + timedelta(days=1))
    revoked = x509.load_der_x509_crl(tomorrow.revocation_list("STANDARD PERSONNES"))
    assert revoked.get_revoked_certificate_by_serial_number(held.serial_number) is not None


def test_openssl_finds_the_expired_card(pki: TestPki, exported: Path) -> None:
    persona = personas.load("cps-expiree")
    certificate = pki.issue(persona, "cps3", "signature").certificate
    assert "certificate has expired" in verified(exported, certificate, persona)
    moment = int(datetime(pki.today.year, pki.today.month, pki.today.day, tzinfo=UTC).timestamp()) - 11 * 86400
    assert "expired" not in verified(exported, certificate, persona, "-no_check_time", "-attime", str(moment))


def test_openssl_verifies_the_lists(pki: TestPki, exported: Path) -> None:
    for stem in ("ACR-FO-TEST", "ACR-ST-TEST", "ACI-FO-PP-TEST", "ACI-ST-PP-TEST"):
        done = openssl("crl", "-inform", "der", "-in", exported / f"{stem}.crl", "-CAfile", exported / "ca.pem", "-noout")
        assert "verify OK" in done.stderr, done.stderr
    revoked = x509.load_der_x509_crl((exported / "ACI-ST-PP-TEST.crl").read_bytes())
    assert len(list(revoked)) == 10  # three certificates of the CPS3, two of the CPS4, of this day and of the day before
    reasons = {entry.extensions.get_extension_for_class(x509.CRLReason).value.reason for entry in revoked}
    assert reasons == {x509.ReasonFlags.key_compromise}
    assert revoked.last_update_utc == datetime(pki.today.year, pki.today.month, pki.today.day, tzinfo=UTC)
    assert revoked.next_update_utc is not None and revoked.next_update_utc > revoked.last_update_utc
    assert not list(x509.load_der_x509_crl((exported / "ACI-FO-PP-TEST.crl").read_bytes()))


def test_what_is_exported(pki: TestPki, exported: Path) -> None:
    stems = ("ACR-FO-TEST", "ACR-ST-TEST", "ACI-FO-PP-TEST", "ACI-ST-PP-TEST")
    for stem in stems:
        x509.load_der_x509_certificate((exported / f"{stem}.cer").read_bytes())
    assert len(x509.load_pem_x509_certificates((exported / "ca.pem").read_bytes())) == len(stems)
    for name in personas.names():
        issuer, root = x509.load_pem_x509_certificates((exported / f"{name}.chain.pem").read_bytes())
        assert issuer.issuer == root.subject == root.issuer
    assert b"PRIVATE" not in b"".join(file.read_bytes() for file in exported.iterdir())


def test_openssl_reads_the_usage_as_meant(pki: TestPki, tmp_path: Path) -> None:
    path = tmp_path / "leaf.der"
    path.write_bytes(pki.issue(personas.load("cps-medecin"), "cps3", "authentication").certificate)
    said = openssl("x509", "-inform", "der", "-in", path, "-noout", "-text", "-purpose").stdout
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in said
    assert "SSL client : Yes" in said
    assert "SSL server : No" in said


def test_an_unspecified_reason_is_left_out(pki: TestPki) -> None:
    persona = personas.load("cpe-opposee")
    assert persona.revocation is not None
    vague = replace(persona, revocation=replace(persona.revocation, reason="unspecified"))
    entries = list(x509.load_der_x509_crl(pki.revocation_list("STANDARD PERSONNES", [vague])))
    assert len(entries) == 10 and all(len(entry.extensions) == 0 for entry in entries)


def test_export_to_a_place_that_cannot_be(pki: TestPki, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkiError, match="file"):
        pki.export(tmp_path / "file" / "folder", [personas.load("cps-medecin")])


def test_export_of_everything(pki: TestPki, tmp_path: Path) -> None:
    """With one key for all nine: what is tried is the writing, not the making of keys."""
    keys = tmp_path / "keys"
    keys.mkdir()
    pki.authority("FORT PERSONNES")
    one = (pki.folder / "ACI-FO-PP-TEST.pem").read_bytes()
    for authority in AUTHORITIES.values():
        (keys / f"{authority.stem}.pem").write_bytes(one)
    TestPki(keys).export(tmp_path / "out", [], complete=True)
    assert len(x509.load_pem_x509_certificates((tmp_path / "out" / "ca.pem").read_bytes())) == 9
    assert len(list((tmp_path / "out").glob("*.crl"))) == len(list((tmp_path / "out").glob("*.cer"))) == 9
