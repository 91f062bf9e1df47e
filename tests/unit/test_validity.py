# SPDX-License-Identifier: Apache-2.0
"""Until when a card is good: dates, and three answers only, from a folder, a cache and servers reached through a proxy."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from revocation_pki import DAY, NOW, SITE, Proxy, authority, crl, leaf, ocsp_answer, partition

import cpxd
from cpxd import config
from cpxd.config import Settings
from cpxd.errors import BadFile
from cpxd.record.certificate import parse_certificate
from cpxd.record.model import Card, CardRecord, Holder
from cpxd.revocation import Answer
from cpxd.revocation.store import Cache, lists_in
from cpxd.service.validity import Opposition, Validity, as_json, dates, of_card
from cpxd.signature.fetch import FetchError, Network

SCHEMA = json.loads((Path(cpxd.__file__).parent / "schema" / "validity.schema.json").read_text(encoding="utf-8"))
LOST = x509.ReasonFlags.key_compromise
OPPOSED = [(5, NOW - 3 * DAY, LOST)]


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    """A root, and an authority under it."""
    folder = tmp_path / "trust"
    folder.mkdir()
    (folder / "root.cer").write_bytes(authority("ROOT"))
    (folder / "ca.cer").write_bytes(authority("CA", "ROOT"))
    return folder


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "root.crl").write_bytes(crl(issuer="ROOT", end=NOW + 60 * DAY))
    (folder / "ca.crl").write_bytes(crl(OPPOSED))
    return folder


def opposition(trusted: Path, tmp_path: Path, **more: object) -> Opposition:
    settings = replace(Settings(), sign_trust=str(trusted), **{f"revocation_{key}": value for key, value in more.items()})
    return Opposition(settings, cache=Cache(tmp_path / "cache"))


# --- from the administrator's folder --------------------------------------------------------------------------------


def test_three_answers(trusted: Path, lists: Path, tmp_path: Path) -> None:
    asked = opposition(trusted, tmp_path, folder=str(lists))
    assert asked.answer(leaf(1), NOW) == Answer("good", until=NOW + 6 * DAY, source="CRL")
    assert asked.answer(leaf(5), NOW) == Answer("revoked", since=NOW - 3 * DAY, reason="keyCompromise", source="CRL")
    assert asked.answer(leaf(1), NOW + 6 * DAY).state == "unknown"


def test_good_no_longer_than_the_certificate(trusted: Path, lists: Path, tmp_path: Path) -> None:
    short = leaf(2, until=NOW + DAY)
    asked = opposition(trusted, tmp_path, folder=str(lists))
    assert asked.answer(short, NOW).until == NOW + DAY
    assert asked.answer(short, NOW + DAY).state == "unknown"


def test_an_expired_card_on_the_list_is_still_known_to_be(trusted: Path, lists: Path, tmp_path: Path) -> None:
    old = leaf(5, until=NOW - DAY)
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(old, NOW).state == "revoked"


def test_the_authority_itself_counts(trusted: Path, lists: Path, tmp_path: Path) -> None:
    serial = parse_certificate(authority("CA", "ROOT")).serial
    (lists / "root.crl").write_bytes(crl([(serial, NOW - DAY, None)], issuer="ROOT"))
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(1), NOW).state == "revoked"
    (lists / "root.crl").unlink()
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(1), NOW).state == "unknown"


Change = Callable[[bytes], bytes]
REFUSED: dict[str, tuple[Change, str]] = {
    "tampered": (lambda der: der[:-1] + bytes([der[-1] ^ 1]), "non authentique"),
    "of a stranger with the same name": (lambda der: crl(OPPOSED, signer="stranger"), "non authentique"),
    "damaged": (lambda der: der[:-9], "illisible"),
    "stale": (lambda der: crl(OPPOSED, end=NOW - DAY / 2), "périmée"),
    "foreign": (lambda der: crl(issuer="other"), "aucune liste"),
    "empty": (lambda der: b"", "illisible"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_list_that_cannot_be_believed_is_no_list(trusted: Path, lists: Path, tmp_path: Path, case: str) -> None:
    change, why = REFUSED[case]
    (lists / "ca.crl").write_bytes(change((lists / "ca.crl").read_bytes()))
    found = opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(1), NOW)
    assert found.state == "unknown" and found.until is None
    assert found.why is not None and why in found.why.fr


def test_a_list_that_changes_is_read_again(trusted: Path, lists: Path, tmp_path: Path) -> None:
    asked = opposition(trusted, tmp_path, folder=str(lists))
    assert asked.answer(leaf(9), NOW).state == "good"
    (lists / "new").write_bytes(crl([*OPPOSED, (9, NOW, None)], number=11))
    os.replace(lists / "new", lists / "ca.crl")
    assert asked.answer(leaf(9), NOW).state == "revoked"


def test_a_delta_beside_it(trusted: Path, lists: Path, tmp_path: Path) -> None:
    (lists / "delta.crl").write_bytes(crl([(9, NOW, LOST)], number=11, base=10))
    asked = opposition(trusted, tmp_path, folder=str(lists))
    assert asked.answer(leaf(9), NOW) == Answer("revoked", since=NOW, reason="keyCompromise", source="CRL + delta")
    assert asked.answer(leaf(1), NOW).state == "good"


def test_a_list_of_other_certificates_of_the_same_authority_does_not_make_good(
    trusted: Path, lists: Path, tmp_path: Path
) -> None:
    (lists / "ca.crl").write_bytes(crl(more=[partition(f"{SITE}/other.crl")]))
    found = opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(1), NOW)
    assert found.state == "unknown" and found.why is not None and "ne couvre pas" in found.why.fr
    (lists / "part.crl").write_bytes(crl(more=[partition(f"{SITE}/CA.crl", holders=True)]))
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(1), NOW).state == "good"


HELD = (9, NOW - 2 * DAY, x509.ReasonFlags.certificate_hold)


def test_a_hold_is_lifted_by_what_was_said_later_and_by_nothing_else(trusted: Path, lists: Path, tmp_path: Path) -> None:
    def state() -> str:
        return opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(9), NOW).state

    (lists / "ca.crl").write_bytes(crl([HELD, *OPPOSED], number=10, start=NOW - DAY))
    assert state() == "revoked"
    (lists / "delta.crl").write_bytes(crl([(9, NOW, x509.ReasonFlags.remove_from_crl)], number=11, base=10, start=NOW))
    assert state() == "good"
    (lists / "delta.crl").unlink()
    (lists / "earlier.crl").write_bytes(crl(number=9, start=NOW - 2 * DAY))
    assert state() == "revoked"
    (lists / "later.crl").write_bytes(crl(number=11, start=NOW))
    assert state() == "good"
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(5), NOW).state == "revoked", "no later list lifts that"


def test_pem_lists_and_strangers_in_the_folder(trusted: Path, lists: Path, tmp_path: Path) -> None:
    pem = x509.load_der_x509_crl((lists / "ca.crl").read_bytes()).public_bytes(Encoding.PEM)
    (lists / "ca.crl").write_bytes(pem)
    (lists / "notes.txt").write_text("nothing")
    os.mkfifo(lists / "pipe.crl")
    (lists / "folder.crl").mkdir()
    assert [held.name for held in lists_in(lists)] == ["ca.crl", "root.crl"]
    assert opposition(trusted, tmp_path, folder=str(lists)).answer(leaf(5), NOW).state == "revoked"


def test_a_folder_that_is_not_there(trusted: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        opposition(trusted, tmp_path, folder=str(tmp_path / "none")).answer(leaf(1), NOW)


def test_an_issuer_nobody_knows(trusted: Path, tmp_path: Path) -> None:
    found = opposition(trusted, tmp_path).answer(leaf(1, "stranger"), NOW)
    assert found.state == "unknown" and found.why is not None and "autorité" in found.why.fr


# --- from the network, through a proxy ------------------------------------------------------------------------------


@pytest.fixture
def proxies() -> Iterator[Callable[[dict[str, object]], Proxy]]:
    opened: list[Proxy] = []

    def open_one(answers: dict[str, object]) -> Proxy:
        opened.append(Proxy(answers))
        return opened[-1]

    yield open_one
    for proxy in opened:
        proxy.close()


def real(issuer: str, *entries: tuple[int, datetime, x509.ReasonFlags | None], **more: int) -> bytes:
    """A list for the day of the test: fetching looks at the clock."""
    now = datetime.now(UTC)
    return crl(entries, issuer=issuer, start=now - DAY, end=now + 6 * DAY, **more)


def test_lists_are_fetched_and_kept(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    answers = {f"{SITE}/CA.crl": real("CA", (5, NOW, LOST)), f"{SITE}/ROOT.crl": real("ROOT")}
    proxy = proxies(answers)
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxy.address)
    assert asked.answer(leaf(1)).state == "unknown"
    asked.refresh([leaf(1), leaf(5)])
    assert asked.wait(20)
    assert (asked.answer(leaf(1)).state, asked.answer(leaf(5)).state) == ("good", "revoked")
    assert sorted(proxy.asked) == sorted(answers), "each once, and no directory (ldap)"
    asked.refresh([leaf(1)])
    assert asked.wait(20) and len(proxy.asked) == 2, "what is fresh is not fetched again"
    offline = opposition(trusted, tmp_path)  # the next process, with the cable pulled
    assert offline.answer(leaf(1)).state == "good" and offline.answer(leaf(1), datetime.now(UTC) + 7 * DAY).state == "unknown"


def test_a_hold_is_asked_about_again(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    answers: dict[str, object] = {f"{SITE}/CA.crl": real("CA", HELD), f"{SITE}/ROOT.crl": real("ROOT")}
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxies(answers).address)
    asked.refresh([leaf(9)])
    assert asked.wait(20) and asked.answer(leaf(9)).reason == "certificateHold"
    answers[f"{SITE}/CA.crl"] = real("CA", number=11)
    asked.refresh([leaf(9)])
    assert asked.wait(20) and asked.answer(leaf(9)).state == "good"


def test_ocsp_first(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    now = datetime.now(UTC)
    good, bad = leaf(3, with_ocsp=True), leaf(4, with_ocsp=True)

    def respond(body: bytes) -> bytes:
        request = x509_ocsp.load_der_ocsp_request(body)
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        revoked = request.serial_number == 4
        status = x509_ocsp.OCSPCertStatus.REVOKED if revoked else x509_ocsp.OCSPCertStatus.GOOD
        return ocsp_answer(bad if revoked else good, status=status, start=now - DAY, end=now + DAY, nonce=nonce)

    proxy = proxies({f"{SITE}/ocsp": respond, f"{SITE}/ROOT.crl": real("ROOT")})
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxy.address)
    asked.refresh([good, bad])
    assert asked.wait(20)
    assert asked.answer(good).source == "OCSP" and asked.answer(good).state == "good"
    assert (asked.answer(bad).state, asked.answer(bad).reason) == ("revoked", "keyCompromise")
    assert f"{SITE}/CA.crl" not in proxy.asked
    assert asked.answer(good, now + 2 * DAY).state == "unknown"


@pytest.mark.parametrize("content", [None, b"", b"<html>", crl(OPPOSED, signer="stranger"), crl(issuer="other")])
def test_what_a_hostile_server_sends_is_not_kept(
    trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy], content: bytes | None
) -> None:
    proxy = proxies({f"{SITE}/CA.crl": content, f"{SITE}/ROOT.crl": real("ROOT")})
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxy.address)
    asked.refresh([leaf(1)])
    assert asked.wait(20)
    found = asked.answer(leaf(1))
    assert found.state == "unknown" and found.why is not None and f"{SITE}/CA.crl" in found.why.fr
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://a b/", "http://é/", "http:///x", "file:///etc/passwd", "http://\x1b[31m/"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(FetchError) as caught:
        Network(1, "http://127.0.0.1:1")(address)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:1/", r"connexion refusée|connection refused"),
        ("http://nobody.invalid/", r"nom de serveur introuvable|name of the server not found"),
    ],
)
def test_a_server_that_is_not_there(address: str, why: str) -> None:
    with pytest.raises(FetchError, match=why) as caught:
        Network(5, "none")(address)
    assert "Errno" not in str(caught.value)


def test_a_server_that_speaks_something_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            link = server.accept()[0]
            with link:
                link.recv(1000)
                link.sendall(b"\x1b[31m\x00 220 mail\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(FetchError) as caught:
            Network(5, "none")(f"http://127.0.0.1:{port}/")
        thread.join(10)
    assert str(caught.value).isprintable()


def test_nothing_is_fetched_unless_allowed(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    proxy = proxies({f"{SITE}/CA.crl": real("CA")})
    asked = opposition(trusted, tmp_path, proxy=proxy.address)
    asked.refresh([leaf(1)])
    assert asked.wait(1) and proxy.asked == []
    found = asked.answer(leaf(1))
    assert found.why is not None and "revocation.fetch" in found.why.fr


def test_a_cache_that_was_tampered_with(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    proxy = proxies({f"{SITE}/CA.crl": real("CA"), f"{SITE}/ROOT.crl": real("ROOT")})
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxy.address)
    asked.refresh([leaf(1)])
    assert asked.wait(20) and asked.answer(leaf(1)).state == "good"
    for path in (tmp_path / "cache").iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert opposition(trusted, tmp_path).answer(leaf(1)).state == "unknown"


def test_a_cache_that_cannot_be_written(trusted: Path, tmp_path: Path, proxies: Callable[[dict[str, object]], Proxy]) -> None:
    (tmp_path / "cache").write_text("a file")
    proxy = proxies({f"{SITE}/CA.crl": real("CA")})
    asked = opposition(trusted, tmp_path, fetch=True, proxy=proxy.address)
    asked.refresh([leaf(1)])
    assert asked.wait(20) and asked.answer(leaf(1)).state == "unknown"


# --- the card -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "state", "left"),
    [
        (None, 31, "valid", 31),
        (None, 30, "expires_soon", 30),
        (None, 0, "expires_soon", 0),
        (None, -1, "expired", -1),
        (1, 500, "not_yet_valid", 500),
        (0, 500, "valid", 500),
    ],
)
def test_dates(start: int | None, end: int, state: str, left: int) -> None:
    today = date(2026, 11, 30)
    found = dates(None if start is None else today + timedelta(start), today + timedelta(end), today)
    assert (found.state, found.days_left) == (state, left)


def test_no_date_at_all() -> None:
    assert dates(None, None, date(2026, 11, 30)).state == "unknown"


def card(*certificates: bytes, until: date | None = date(2027, 6, 1)) -> CardRecord:
    holder = Holder(None, None, None, None, None, None, ())
    parsed = tuple(parse_certificate(der) for der in certificates)
    about = Card("CPS", "test", "CPS3", "1", "1", date(2026, 1, 1), until)
    return CardRecord(about, holder, None, None, None, None, None, None, None, parsed, (), {})


def shown(found: Validity) -> str:
    document = as_json(found, None)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return found.answer.state


def test_the_worst_certificate_speaks_for_the_card(trusted: Path, lists: Path, tmp_path: Path) -> None:
    asked = opposition(trusted, tmp_path, folder=str(lists))

    def ask(der: bytes) -> Answer:
        return asked.answer(der, NOW)

    assert shown(of_card(card(leaf(1), leaf(2)), ask, NOW)) == "good"
    assert shown(of_card(card(leaf(1), leaf(5)), ask, NOW)) == "revoked"
    assert shown(of_card(card(leaf(1), leaf(2, "stranger")), ask, NOW)) == "unknown"
    assert shown(of_card(card(leaf(5), leaf(2, "stranger")), ask, NOW)) == "revoked"
    assert shown(of_card(card(), ask, NOW)) == "unknown"


def test_an_expired_card_is_not_good(trusted: Path, lists: Path, tmp_path: Path) -> None:
    asked = opposition(trusted, tmp_path, folder=str(lists))
    found = of_card(card(leaf(1), until=date(2026, 11, 1)), lambda der: asked.answer(der, NOW), NOW)
    assert (shown(found), found.dates.state) == ("unknown", "expired")


def test_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cpxd").mkdir()
    (tmp_path / "cpxd" / "config.toml").write_text(
        '[revocation]\nfetch = true\nfolder = "/srv/crl"\nproxy = "http://proxy:3128"\nwait = 3\n'
    )
    found = config.load()
    assert (found.revocation_fetch, found.revocation_folder, found.revocation_wait) == (True, "/srv/crl", 3.0)
    assert Settings().revocation_fetch is False
