# SPDX-License-Identifier: Apache-2.0
"""`cpxd doctor --site`: real servers on the loopback that answer badly; card, workstation and teleservice are told apart."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cpxd_lab import card_with_codes, command, fails
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from doctor_bench import Bench

from cpxd.doctor import remote
from simulator.lab import Lab

Talk = Callable[[socket.socket], None]


class Authority:
    """`file`: its certificate, for SSL_CERT_FILE."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {id(self)}")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key.public_key(), None, 30).public_bytes(Encoding.PEM))

    def server(self, name: str = "localhost", days: int = 30) -> Path:
        """A key and a certificate of a server; it ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(x509.Name([]), key.public_key(), name, days)
        pem = self._folder / f"{name}{days}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        return pem

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, name: str | None, days: int) -> x509.Certificate:
        end = datetime.now(UTC) + timedelta(days=days)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(end - timedelta(days=60)).not_valid_after(end)
        made = made.add_extension(x509.BasicConstraints(name is None, None), True)
        if name is not None:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        return made.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def context(
    pem: Path, *, asks: ssl.VerifyMode = ssl.CERT_NONE, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    made.maximum_version = newest
    made.verify_mode = asks
    if asks is not ssl.CERT_NONE:
        made.load_verify_locations(pem.parent / "ca.pem")
    return made


@contextlib.contextmanager
def serving(talk: Talk) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link, contextlib.suppress(OSError):
                    talk(link)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def answering(tls: ssl.SSLContext, status: int, date: float | None = None, raw: bytes | None = None) -> Talk:
    def talk(link: socket.socket) -> None:
        with tls.wrap_socket(link, server_side=True) as channel:
            channel.recv(4096)
            when = formatdate(time.time() if date is None else date, usegmt=True)
            channel.sendall(raw or f"HTTP/1.1 {status} x\r\nDate: {when}\r\nContent-Length: 0\r\n\r\n".encode())

    return talk


def examined(
    bench: Bench, authority: Authority, port: int, card: Any = "cps-medecin:cps4", host: str = "localhost"
) -> dict[str, Any]:
    with bench.case() as case:
        case.card = card
        case.site, case.authorities = f"https://{host}:{port}/dmp/accueil?session=12345678", authority.file
        bench.insert(case)
        answer = bench.examine(case)
    assert "12345678" not in str(answer["checks"]), "of the address its host and port are told, no more"
    return answer


OPTIONAL, REQUIRED = ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("status", "asks", "newest", "card", "code", "verdict"),
    [
        (200, ssl.CERT_NONE, NEW, "cps-medecin:cps4", None, 0),
        (403, OPTIONAL, NEW, "cps-medecin:cps4", None, 0),
        (200, REQUIRED, NEW, "cps-medecin:cps4", None, 0),
        (200, REQUIRED, OLD, "cps-medecin:cps3", None, 0),
        (200, REQUIRED, NEW, "cps-medecin:cps3", "CPX-237", 1),
        (200, OPTIONAL, NEW, "cps-medecin:cps3", "CPX-237", 1),
        (503, ssl.CERT_NONE, NEW, "cps-medecin:cps4", "CPX-234", 1),
        (500, OPTIONAL, NEW, "cps-medecin:cps4", "CPX-234", 1),
        (429, ssl.CERT_NONE, NEW, "cps-medecin:cps4", "CPX-234", 1),
        (404, ssl.CERT_NONE, NEW, "cps-medecin:cps4", "CPX-231", 2),
    ],
)
def test_answers(
    bench: Bench, authority: Authority, status: int, asks: ssl.VerifyMode, newest: ssl.TLSVersion, card: str, code: str | None,
    verdict: int,
) -> None:  # fmt: skip
    with serving(answering(context(authority.server(), asks=asks, newest=newest), status)) as port:
        answer = examined(bench, authority, port, card)
    assert (answer["first_cause"], answer["verdict"]) == (code, verdict), answer["screen"]
    found = next(check for check in answer["checks"] if check["id"] == "site")
    if code is None:
        assert ("demande un certificat" in found["title"]) == (asks is not ssl.CERT_NONE)
    if code == "CPX-234":
        assert "ni la carte ni le poste ne sont en cause" in found["fix"]["value"]


def hang_up(link: socket.socket) -> None:
    link.recv(64)


def plain_http(link: socket.socket) -> None:
    link.recv(64)
    link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("talk", [hang_up, plain_http], ids=["hangs up", "no TLS"])
def test_no_tls(bench: Bench, authority: Authority, talk: Talk) -> None:
    with serving(talk) as port:
        assert examined(bench, authority, port)["first_cause"] == "CPX-233"


def test_nonsense_for_an_answer(bench: Bench, authority: Authority) -> None:
    with serving(answering(context(authority.server()), 0, raw=b"\x00\xff" * 40_000)) as port:
        assert examined(bench, authority, port)["first_cause"] == "CPX-233"


@pytest.mark.parametrize(
    ("name", "days", "known", "code"),
    [("evil.example", 30, True, "CPX-233"), ("localhost", -1, True, "CPX-233"), ("localhost", 30, False, "CPX-235")],
    ids=["other name", "expired", "unknown authority"],
)
def test_the_certificate_of_the_server(
    bench: Bench, authority: Authority, tmp_path: Path, name: str, days: int, known: bool, code: str
) -> None:
    with serving(answering(context(authority.server(name, days)), 200)) as port:
        answer = examined(bench, authority if known else Authority(tmp_path), port)
    assert answer["first_cause"] == code, answer["screen"]


@pytest.mark.parametrize("address", ["https://lgc.exemple.fr/", "https://192.0.2.1/", "https://[2001:db8::1]:8443/x"])
def test_no_network(lab: Lab, address: str) -> None:
    """In a network of its own that leads nowhere."""
    lab.insert(0, "cps-medecin:cps4")
    alone = ("unshare", "--net", *(() if os.getuid() == 0 else ("--map-root-user",)))
    found = command(lab, "doctor", "--json", "--site", address, prefix=alone)
    assert found.code == 2 and found.json["causes"] == ["CPX-230"], found.out
    check = next(check for check in found.json["checks"] if check["id"] == "site")
    assert check["detail"] == "La carte n'est pas en cause." and check["fix"]["kind"] == "physical"
    # where a proxy is the way out, that says nothing
    proxied = command(
        lab, "doctor", "--json", "--site", address, prefix=alone, env={"https_proxy": "http://paul:secret@proxy.exemple:3128"}
    )
    check = next(check for check in proxied.json["checks"] if check["id"] == "site")
    assert proxied.code == 5 and (check["code"], check["status"]) == ("CPX-230", "unknown")
    assert "proxy.exemple:3128" in check["detail"] and "secret" not in proxied.out and "paul" not in proxied.out


def test_nobody_listens(bench: Bench, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = examined(bench, authority, port)
    assert answer["first_cause"] == "CPX-232" and answer["verdict"] == 1


def test_the_clocks_differ(bench: Bench, authority: Authority) -> None:
    with serving(answering(context(authority.server()), 200, date=time.time() + 3600)) as port:
        answer = examined(bench, authority, port)
    assert answer["first_cause"] == "CPX-236", answer["screen"]
    assert any("diffèrent de 59 min" in line or "diffèrent de 60 min" in line for line in answer["screen"])


def test_the_card_comes_first(bench: Bench, authority: Authority) -> None:
    """A blocked card and a service that is down: two causes, and each is its own."""
    with serving(answering(context(authority.server()), 503)) as port:
        answer = examined(bench, authority, port, card_with_codes("cps4", pin={"tries_left": 0}))
    assert answer["causes"] == ["CPX-107", "CPX-234"]


NO_ADDRESSES = ("http://localhost/", "localhost", "https://", "https://a b/", "https://u:p@localhost/", "https://x:99999/", "")


def test_what_is_no_address(lab: Lab) -> None:
    for address in NO_ADDRESSES:
        with pytest.raises(ValueError):
            remote.target(address)
    assert "https://" in fails(command(lab, "doctor", "--site", NO_ADDRESSES[0]), 2)


@pytest.mark.parametrize("address", ["https://nom..exemple/", "https://" + "a" * 70 + ".exemple/"])
def test_names_that_cannot_be(address: str) -> None:
    assert remote.probe(address).step == "name"
