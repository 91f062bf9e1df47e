# SPDX-License-Identifier: Apache-2.0
"""Lists and OCSP answers: what is genuine and fresh speaks, everything else is unknown; never good on stale data."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from asn1crypto.crl import CertificateList
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from hypothesis import given, settings
from hypothesis import strategies as st
from revocation_pki import DAY, NOW, SITE, Entry, authority, crl, key, leaf, ocsp_answer, partition, responder

from cpxd.revocation import REASONS, Answer, ocsp
from cpxd.revocation import crl as lists
from cpxd.revocation.crl import ForeignList, ListError, RevocationList, answer, load
from cpxd.signature import revocation as signers
from cpxd.signature.evidence import Evidence
from cpxd.tlv import tlv

LOST = x509.ReasonFlags.key_compromise
ENTRIES: list[Entry] = [
    (5, NOW - 3 * DAY, LOST),
    (0x80, NOW - 2 * DAY, None),
    (2**150 + 9, NOW - DAY, x509.ReasonFlags.affiliation_changed),
    (6, NOW - DAY, x509.ReasonFlags.certificate_hold),
]


def loaded(entries: list[Entry] | None = None, **options: object) -> RevocationList:
    return load(crl(ENTRIES if entries is None else entries, **options), authority())  # type: ignore[arg-type]


# --- a full list ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serial", "days", "reason"),
    [(5, 3, "keyCompromise"), (0x80, 2, "unspecified"), (2**150 + 9, 1, "affiliationChanged"), (6, 1, "certificateHold")],
)
def test_who_is_listed_is_revoked_since_then_and_why(serial: int, days: int, reason: str) -> None:
    assert answer(loaded(), None, serial, NOW) == Answer("revoked", since=NOW - days * DAY, reason=reason, source="CRL")
    assert reason in REASONS


@pytest.mark.parametrize("serial", [1, 4, 7, 0x7F, 0x81, 2**150 + 8, -5])
def test_who_is_not_listed_is_good_until_the_next_list(serial: int) -> None:
    assert answer(loaded(), None, serial, NOW) == Answer("good", until=NOW + 6 * DAY, source="CRL")


def test_an_empty_list() -> None:
    assert len(loaded([])) == 0 and answer(loaded([]), None, 5, NOW).state == "good"


def test_a_stale_list_is_never_good_but_what_it_revoked_stays_so() -> None:
    for moment in (NOW + 6 * DAY, NOW + 600 * DAY):
        found = answer(loaded(), None, 1, moment)
        assert found.state == "unknown" and found.why is not None and "périmée" in found.why.fr
        assert answer(loaded(), None, 5, moment).state == "revoked"
    assert answer(loaded(), None, 1, NOW + 6 * DAY - timedelta(seconds=1)).state == "good"


def test_a_list_of_tomorrow() -> None:
    found = answer(loaded(start=NOW + DAY), None, 1, NOW)
    assert found.state == "unknown" and found.why is not None and "horloge" in found.why.fr


def test_every_bit_matters() -> None:
    """A byte changed anywhere: refused, or not a list at all."""
    der = crl(ENTRIES)
    for place in range(len(der)):
        for change in (0x01, 0x80):
            with pytest.raises(ListError):
                load(der[:place] + bytes([der[place] ^ change]) + der[place + 1 :], authority())


@pytest.mark.parametrize(
    ("der", "kind"),
    [
        (b"", ListError),
        (b"\x30\x03abc", ListError),
        (crl(ENTRIES)[:-1], ListError),
        (crl(ENTRIES) + b"\0", ListError),
        (authority(), ListError),
        (crl(ENTRIES, signer="stranger"), ListError),
        (crl(ENTRIES, issuer="other"), ForeignList),
        (crl(more=[partition(reasons=frozenset({LOST}))]), ListError),
        (crl(more=[partition(indirect=True)]), ListError),
        (crl(more=[partition(attributes=True)]), ListError),
        (crl(more=[partition(full=[x509.DNSName("a.example")])]), ListError),
        (crl(more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\0"), True)]), ListError),
    ],
)
def test_damaged_foreign_and_partial_lists_are_refused(der: bytes, kind: type[ListError]) -> None:
    with pytest.raises(kind) as refused:
        load(der, authority())
    assert refused.value.text.fr and refused.value.text.en


@pytest.mark.parametrize(
    ("scope", "points", "authority_of", "covered"),
    [
        (partition("http://a/1"), ("ldap://a/1", "http://a/1"), False, True),
        (partition("ldap://a/1", "http://a/1"), ("http://a/1",), True, True),
        (partition("http://a/1"), ("http://a/2",), False, False),  # another part of the same authority's certificates
        (partition("http://a/1"), (), False, False),
        (partition(holders=True), (), False, True),
        (partition(holders=True), (), True, False),
        (partition(authorities=True), (), True, True),
        (partition("http://a/1", authorities=True), ("http://a/1",), False, False),
    ],
)
def test_a_list_of_a_part_speaks_for_that_part(
    scope: tuple[x509.ExtensionType, bool], points: tuple[str, ...], authority_of: bool, covered: bool
) -> None:
    part = loaded(more=[scope])
    assert part.scope.about(points, authority=authority_of) == covered
    assert answer(part, None, 1, NOW, covered=covered).state == ("good" if covered else "unknown")
    assert answer(part, None, 5, NOW, covered=covered).state == "revoked"


def test_a_delta_of_another_part_says_no_more_than_who_is_revoked() -> None:
    full, delta = loaded(number=10, more=[partition("http://a/1")]), loaded([(7, NOW, LOST)], number=11, base=10)
    assert answer(full, delta, 1, NOW, covered=True) == answer(full, None, 1, NOW, covered=True)
    assert answer(full, delta, 7, NOW).state == "revoked"
    assert answer(full, None, 1, NOW).state == "unknown"  # unless it is said to be of this part


@pytest.mark.parametrize(
    ("scope", "state"),
    [
        (partition(authorities=True), "unknown"),
        (partition("http://elsewhere.example/1.crl"), "unknown"),
        (partition(f"{SITE}/CA.crl", holders=True), "good"),
    ],
)
def test_a_list_of_others_does_not_make_a_signer_good(scope: tuple[x509.ExtensionType, bool], state: str) -> None:
    held = Evidence((crl(ENTRIES, more=[scope]),))
    assert signers.check(leaf(1), authority(), held, NOW, NOW).state == state
    assert signers.check(leaf(5), authority(), held, NOW, NOW).state == "revoked"


def test_an_authority_that_may_not_sign_lists() -> None:
    with pytest.raises(ListError):
        load(crl(issuer="mute"), authority("mute", crl_sign=False))


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda b: tlv(0x30, tlv(0x30, b) + b))))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ListError):
        load(data, authority())


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(1, 2**158), max_size=40), st.integers(1, 2**158))
def test_the_index_finds_all_of_them_and_nobody_else(listed: set[int], other: int) -> None:
    found = loaded([(serial, NOW - DAY, LOST) for serial in listed])
    assert len(found) == len(listed)
    assert all(found.entry(serial) is not None for serial in listed)
    assert (found.entry(other) is not None) == (other in listed)


def test_two_numbers_with_the_same_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists.zlib, "crc32", lambda data: 7)
    found = loaded([(n, NOW - n * DAY, LOST) for n in range(1, 9)])
    assert [found.entry(n) is not None for n in range(11)] == [False, *[True] * 8, False, False]
    entry = found.entry(3)
    assert entry is not None and entry.since == NOW - 3 * DAY


def test_a_large_list_is_looked_up_at_once() -> None:
    serials = [(n << 64) + 12345 for n in range(1, 4001)]
    found = loaded([(serial, NOW - DAY, LOST) for serial in serials])
    found.entry(1)
    started = time.perf_counter()
    for serial in serials[::4]:
        assert found.entry(serial) is not None
        assert found.entry(serial + 1) is None
    assert (time.perf_counter() - started) / 2000 < 0.005


# --- a delta over it ------------------------------------------------------------------------------------------------


def delta(entries: list[Entry], **options: object) -> RevocationList:
    settings: dict[str, object] = {"number": 12, "base": 10, "start": NOW - DAY / 2, "end": NOW + DAY}
    return loaded(entries, **{**settings, **options})


def test_a_delta_adds_and_takes_away() -> None:
    later = delta([(1, NOW - DAY / 4, LOST), (6, NOW, x509.ReasonFlags.remove_from_crl)])
    assert answer(loaded(), later, 1, NOW).state == "revoked"
    assert answer(loaded(), later, 5, NOW).state == "revoked"
    assert answer(loaded(), later, 6, NOW) == Answer("good", until=NOW + DAY, source="CRL + delta")
    assert answer(loaded(), later, 7, NOW) == Answer("good", until=NOW + DAY, source="CRL + delta")


DOES_NOT_FIT = pytest.mark.parametrize(
    "options",
    [{"base": 11}, {"number": 9}, {"end": NOW - DAY / 4}, {"start": NOW + DAY / 2}],
    ids=["starts after the full list", "older than it", "stale", "of tomorrow"],
)


@DOES_NOT_FIT
def test_a_delta_that_does_not_fit_makes_nobody_good(options: dict[str, object]) -> None:
    said = delta([(1, NOW - DAY / 4, LOST), (6, NOW, x509.ReasonFlags.remove_from_crl)], **options)
    assert answer(loaded(), said, 7, NOW) == Answer("good", until=NOW + 6 * DAY, source="CRL")
    assert answer(loaded(), said, 6, NOW).state == "revoked", "the full list has it, and a removal must fit"
    assert answer(loaded(), said, 1, NOW) == Answer(
        "revoked", since=NOW - DAY / 4, reason="keyCompromise", source="CRL + delta"
    ), "revoked does not go stale"


def test_a_hold_of_a_delta_that_does_not_fit_counts_while_it_is_the_latest_word() -> None:
    held = [(1, NOW - DAY / 4, x509.ReasonFlags.certificate_hold)]
    assert answer(loaded(), delta(held, end=NOW - DAY / 4), 1, NOW).reason == "certificateHold"
    assert answer(loaded(), delta(held, start=NOW - 2 * DAY, end=NOW - DAY / 4, number=9), 1, NOW).state == "good"


def test_a_delta_of_another_authority() -> None:
    other = load(crl([(1, NOW, LOST)], issuer="other", number=12, base=10), authority("other"))
    assert answer(loaded(), other, 1, NOW).state == "good"


def test_a_delta_alone_is_no_list() -> None:
    assert answer(delta([]), None, 1, NOW).state == "unknown"


# --- OCSP -----------------------------------------------------------------------------------------------------------

CERTIFICATE = leaf(41)
NONCE = b"n" * 16


def judged(der: bytes, nonce: bytes | None = NONCE) -> Answer:
    return ocsp.answer(der, CERTIFICATE, authority(), NOW, nonce)


def test_the_question() -> None:
    asked = x509_ocsp.load_der_ocsp_request(ocsp.request(CERTIFICATE, authority(), NONCE))
    assert asked.serial_number == 41
    assert asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    assert ocsp.request(CERTIFICATE, authority()) != ocsp.request(CERTIFICATE, authority())


@pytest.mark.parametrize("options", [{}, {"nonce": NONCE}, {"delegate": responder()}])
def test_good_until_the_next_answer(options: dict[str, bytes]) -> None:
    assert judged(ocsp_answer(CERTIFICATE, **options)) == Answer("good", until=NOW + DAY, source="OCSP")  # type: ignore[arg-type]


def test_without_a_next_answer_good_for_an_hour() -> None:
    assert judged(ocsp_answer(CERTIFICATE, start=NOW, end=None)).until == NOW + timedelta(hours=1)
    assert judged(ocsp_answer(CERTIFICATE, start=NOW - DAY, end=None)).state == "unknown"


def test_revoked_since_and_why_even_when_the_answer_is_old() -> None:
    revoked = ocsp_answer(CERTIFICATE, status=x509_ocsp.OCSPCertStatus.REVOKED, start=NOW - 9 * DAY, end=NOW - 8 * DAY)
    assert judged(revoked) == Answer("revoked", since=NOW - 3 * DAY, reason="keyCompromise", source="OCSP")


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x03\x0a\x01\x06",
        x509_ocsp.OCSPResponseBuilder.build_unsuccessful(x509_ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
        ocsp_answer(CERTIFICATE, signer="stranger"),
        ocsp_answer(CERTIFICATE, delegate=responder(appointed=False)),
        ocsp_answer(CERTIFICATE, nonce=b"x" * 16),
        ocsp_answer(leaf(42)),
        ocsp_answer(CERTIFICATE, status=x509_ocsp.OCSPCertStatus.UNKNOWN),
        ocsp_answer(CERTIFICATE, start=NOW - 2 * DAY, end=NOW - DAY),
        ocsp_answer(CERTIFICATE, start=NOW + DAY, end=NOW + 2 * DAY),
    ],
    ids=["empty", "refused", "later", "stranger", "not appointed", "other nonce", "other", "unknown", "stale", "tomorrow"],
)
def test_everything_else_is_unknown_and_says_why(der: bytes) -> None:
    found = judged(der)
    assert found.state == "unknown" and found.why is not None and found.why.fr and found.why.en


def test_an_answer_with_a_changed_byte() -> None:
    der = ocsp_answer(CERTIFICATE, nonce=NONCE)
    assert all(judged(der[:n] + bytes([der[n] ^ 1]) + der[n + 1 :]).state == "unknown" for n in range(len(der)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_unknown(data: bytes) -> None:
    assert judged(data).state == "unknown"


def test_a_list_signed_with_sha1() -> None:
    weak = CertificateList.load(crl(ENTRIES).replace(bytes.fromhex("2A864886F70D01010B"), bytes.fromhex("2A864886F70D010105")))
    signed = weak["tbs_cert_list"].dump()
    weak["signature"] = key("CA").sign(signed, padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(ListError, match="signature"):
        load(weak.dump(force=True), authority())
