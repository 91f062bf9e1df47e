# SPDX-License-Identifier: Apache-2.0
"""A small browser: cookies by host whatever the port, redirects one by one, the card's certificate where it is asked for."""

from __future__ import annotations

import http.client
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulator import personalise, personas
from simulator.image import Model
from simulator.psc.sandbox import Addresses

CERTIFICATE_FILES = {"authentication": 0xA006, "signature": 0xA001}


@dataclass(frozen=True)
class SoftCard:
    """The key and the certificate of a card, as files that `ssl` can load."""

    pem: bytes


def soft_card(key: RSAPrivateKey, *certificates: bytes) -> SoftCard:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SoftCard(pem + b"".join(x509.load_der_x509_certificate(c).public_bytes(Encoding.PEM) for c in certificates))


def card_of(persona: str, model: Model = "cps3", usage: str = "authentication") -> SoftCard:
    """What the image of a card holds: its key, and the certificate out of its file."""
    image = personalise.personalise(personas.load(persona), model)
    key = next(k.private_key for k in image.keys if k.usage == usage)
    content = next(f.content for f in image.files if f.path == (0x0001, CERTIFICATE_FILES[usage]))
    return soft_card(key, content)


@dataclass(frozen=True)
class Answer:
    address: str
    status: int
    headers: http.client.HTTPMessage
    text: str
    tls: str

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    @property
    def query(self) -> dict[str, str]:
        """Of the address it redirects to."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}

    def has(self, identifier: str) -> bool:
        return f'id="{identifier}"' in self.text

    def inside(self, identifier: str) -> str:
        """The text of an element without others inside, or with a paragraph."""
        found = re.search(rf'id="{identifier}"[^>]*>(?:<p>)?([^<]*)', self.text)
        assert found is not None, self.text
        return unescape(found[1])

    def link(self, identifier: str) -> str:
        found = re.search(rf'<a id="{identifier}"[^>]* href="([^"]*)"', self.text)
        assert found is not None, self.text
        return urljoin(self.address, unescape(found[1]))

    def form(self, identifier: str) -> tuple[str, dict[str, str]]:
        found = re.search(rf'<form id="{identifier}" method="post" action="([^"]*)">(.*?)</form>', self.text, re.S)
        assert found is not None, self.text
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', found[2])
        return urljoin(self.address, unescape(found[1])), {unescape(n): unescape(v) for n, v in hidden}

    @property
    def error_code(self) -> str:
        found = re.search(r'id="error" role="alert" data-code="([^"]*)"', self.text)
        return found[1] if found is not None else ""


@dataclass
class Browser:
    addresses: Addresses
    card: SoftCard | None = None
    tls: ssl.TLSVersion | None = None  # the only version spoken with the card
    language: str = "fr"
    cookies: dict[str, str] = field(default_factory=dict)
    handshakes: int = 0  # with the card

    def get(self, address: str, headers: dict[str, str] | None = None) -> Answer:
        return self.send("GET", address, None, headers)

    def post(self, address: str, form: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin(address)}
        return self.send("POST", address, urlencode(form), sent | (headers or {}))

    def follow(self, answer: Answer, until: str = "nowhere:") -> Answer:
        """Through redirects, to a page or to a redirect whose address starts so."""
        for _ in range(10):
            if answer.status not in (302, 303) or answer.location.startswith(until):
                return answer
            answer = self.get(answer.location)
        raise AssertionError("a circle of redirects")

    def open(self, address: str, until: str = "nowhere:") -> Answer:
        return self.follow(self.get(address), until)

    @staticmethod
    def origin(address: str) -> str:
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}"

    def send(self, method: str, address: str, body: str | None, headers: dict[str, str] | None) -> Answer:
        parts = urlsplit(address)
        connection = http.client.HTTPSConnection("localhost", parts.port, timeout=10, context=self._context(address))
        all_headers = {"Accept-Language": self.language} | (headers or {})
        if self.cookies:
            all_headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, f"{parts.path or '/'}?{parts.query}", body, all_headers)
            assert isinstance(connection.sock, ssl.SSLSocket)
            version = str(connection.sock.version())
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {p.strip() for p in cookie.split(";")[1:]}
            self.cookies[name] = value
        return Answer(address, response.status, response.headers, text, version)

    def _context(self, address: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.addresses.ca)
        if address.startswith(self.addresses.card):
            self.handshakes += 1
            if self.tls is not None:
                context.minimum_version = context.maximum_version = self.tls
            if self.card is not None:
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "card.pem"
                    file.write_bytes(self.card.pem)
                    context.load_cert_chain(file)
        return context


def json_of(answer: Answer) -> Any:
    import json

    assert answer.headers["Content-Type"].startswith("application/json"), answer.text
    return json.loads(answer.text)
