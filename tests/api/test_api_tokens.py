# SPDX-License-Identifier: Apache-2.0
"""Tokens of two holders against a validator written from the specification, and against forgers: CPX_TOKENS mutated ones."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import string
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from api_lab import SITE, api_lab
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from test_api_card import NONCE, issuers
from webeid_validator import _FORMAT, InvalidToken, Validator

Token = dict[str, object]
COUNT = int(os.environ.get("CPX_TOKENS", "4000"))
OTHER = "https://other.example"
ALPHABET = string.ascii_letters + string.digits + "+/=-_: \n\x00é"


class Forger:
    """Makes tokens out of real ones. Each way says with what origin and nonce the server looks at it."""

    def __init__(self, tokens: list[Token], wrong_key: list[bytes], dice: random.Random) -> None:
        self.tokens, self.dice, self.wrong_key = tokens, dice, wrong_key
        self._key = rsa.generate_private_key(65537, 2048)
        signed = b"".join(hashlib.sha256(text.encode()).digest() for text in (SITE, NONCE))
        self._signature = base64.b64encode(self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
        self._own = [self._certificate(str(token["unverifiedCertificate"])) for token in tokens]
        self.ways = (self.character, self.bit, self.exchanged, self.type, self.origin, self.nonce, self.algorithm, self.own)

    def forge(self) -> tuple[str, Token, str, str]:
        way = self.dice.choice(self.ways)
        return (way.__name__, *way(dict(self.dice.choice(self.tokens))))

    def character(self, token: Token) -> tuple[Token, str, str]:
        name = self.dice.choice(["unverifiedCertificate", "signature", "format", "algorithm"])
        value, other = str(token[name]), self.dice.choice(ALPHABET)
        at = self.dice.randrange(len(value) + 1)
        kind = self.dice.randrange(4)
        token[name] = (value[:at] + other + value[at + 1 :], value[:at] + other + value[at:], value[:at], value[at:])[kind]
        return token, SITE, NONCE

    def bit(self, token: Token) -> tuple[Token, str, str]:
        name = self.dice.choice(["unverifiedCertificate", "signature"])
        data = bytearray(base64.b64decode(str(token[name])))
        for _ in range(self.dice.choice([1, 1, 1, 2, 8])):
            data[self.dice.randrange(len(data))] ^= 1 << self.dice.randrange(8)
        token[name] = base64.b64encode(data).decode()
        return token, SITE, NONCE

    def exchanged(self, token: Token) -> tuple[Token, str, str]:
        """Parts of another holder, of another login, or of the key that signs documents."""
        other = self.dice.choice([t for t in self.tokens if t["signature"] != token["signature"]])
        if self.dice.randrange(2):
            token["signature"] = other["signature"]
        else:
            token["unverifiedCertificate"] = base64.b64encode(self.dice.choice(self.wrong_key)).decode()
        return token, SITE, NONCE

    def type(self, token: Token) -> tuple[Token, str, str]:
        name = self.dice.choice(["unverifiedCertificate", "signature", "format", "algorithm"])
        token[name] = self.dice.choice([None, [], {}, 1, 1.5, True, [token[name]], {"": token[name]}, "", "null"])
        if self.dice.randrange(3) == 0:
            del token[name]
        return token, SITE, NONCE

    def origin(self, token: Token) -> tuple[Token, str, str]:
        cut = self.dice.randrange(1, len(SITE))
        moved = (SITE[:cut], SITE[cut:] + NONCE), (SITE + NONCE[:cut], NONCE[cut:])
        others = ((o, NONCE) for o in (OTHER, SITE + "/", SITE.upper(), "http" + SITE[5:], SITE + ":443", "", "null"))
        return (token, *self.dice.choice([*moved, *others]))

    def nonce(self, token: Token) -> tuple[Token, str, str]:
        at = self.dice.randrange(len(NONCE))
        wrong = NONCE[:at] + self.dice.choice(ALPHABET.replace(NONCE[at], "")) + NONCE[at + 1 :]
        return token, SITE, self.dice.choice([wrong, NONCE[:at], NONCE + "=", SITE, ""])

    def algorithm(self, token: Token) -> tuple[Token, str, str]:
        words = [family + bits for family in ("RS", "PS", "ES", "HS", "rs") for bits in ("256", "384", "512")]
        token["algorithm"] = self.dice.choice([word for word in (*words, "none", "RS256 ") if word != token["algorithm"]])
        return token, SITE, NONCE

    def own(self, token: Token) -> tuple[Token, str, str]:
        """A true signature by a key of the forger, with a certificate that says what the card's says."""
        made: Token = dict(token, signature=self._signature)
        if self.dice.randrange(2):
            made["unverifiedCertificate"] = self.dice.choice(self._own)
        return made | {"algorithm": "RS256"}, SITE, NONCE

    def _certificate(self, real: str) -> str:
        like = x509.load_der_x509_certificate(base64.b64decode(real))
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(like.subject).issuer_name(like.issuer).public_key(self._key.public_key())
        builder = builder.serial_number(like.serial_number).not_valid_before(now).not_valid_after(now + timedelta(days=9))
        for extension in like.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        made = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return base64.b64encode(made).decode()


def unchanged(token: Token, real: list[Token]) -> bool:
    """Not mutated at all, or of another minor version of the format, which the specification takes."""
    return token in real or (
        _FORMAT.fullmatch(str(token.get("format"))) is not None and {**token, "format": "web-eid:1.0"} in real
    )


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_no_forged_token_is_accepted(model: str) -> None:
    with api_lab([f"cps-medecin:{model}", f"cps-pharmacien:{model}"]) as lab:
        asked = [(0, NONCE), (1, NONCE), (0, NONCE[::-1]), (1, "m" * 44)]
        tokens = [lab.ask("POST", "/v1/authenticate", {"nonce": nonce, "reader": reader}).json for reader, nonce in asked]
        ders = [base64.b64decode(c["der"]) for c in lab.ask("POST", "/v1/certificates", {"reader": 0}).json["certificates"]]
        trusted = issuers(lab.lab)
        assert "lgc.example" in lab.said() and "connexion" in lab.said()
    for token in tokens:
        assert sorted(token) == ["algorithm", "appVersion", "format", "signature", "unverifiedCertificate"]
        assert token["format"] == "web-eid:1.0" and SITE not in json.dumps(token) and NONCE not in json.dumps(token)
    validators: dict[str, Validator] = {SITE: Validator(SITE, trusted)}
    holders = [validators[SITE].validate(token, nonce) for token, (_, nonce) in zip(tokens, asked, strict=True)]
    assert holders[0] == holders[2] != holders[1] == holders[3]
    own = [der for der in ders if der != base64.b64decode(tokens[0]["unverifiedCertificate"])]
    forger = Forger(tokens[:2], [*own, *(c.public_bytes(serialization.Encoding.DER) for c in trusted)], random.Random(7))  # noqa: S311
    replayed = tokens[2:]
    accepted, tried, ways = [], 0, Counter[str]()
    while tried < COUNT // 2:
        way, token, origin, nonce = forger.forge()
        if (origin, nonce) == (SITE, NONCE) and unchanged(token, tokens[:2]):
            continue
        tried += 1
        ways[way] += 1
        try:
            validators.setdefault(origin, Validator(origin, trusted)).validate(token, nonce)
            accepted.append((way, token))
        except InvalidToken:
            pass
    for token in replayed:  # of another login
        with pytest.raises(InvalidToken):
            validators[SITE].validate(token, NONCE)
    print(f"{model}: {tried} tokens, {dict(ways)}, accepted {len(accepted)}")
    assert not accepted and len(ways) == len(forger.ways)
