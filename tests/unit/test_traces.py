# SPDX-License-Identifier: Apache-2.0
"""Every recorded exchange, replayed on the card: the answers must be the recorded ones, byte for byte.

Only what a key or chance has made differs: a cryptogram of the trace is opened with the public key of the trace's
certificate, ours with our own, and what is inside must be equal (PSS: must verify); a cryptogram sent to the card is
made anew for our key so that the card must give the recorded answer.
"""

from __future__ import annotations

import hashlib

import pytest
import trace_model
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from trace_model import Exchange, Trace, trace_image

from simulator.cardos import VirtualCard, make_card

TRACES = trace_model.load()
TOTAL_APDUS = 1834
ZERO_APDU_TRACES = 95


def prepared(trace: Trace) -> VirtualCard:
    """A card in the state that the trace takes for granted."""
    declared = trace.precondition
    image = trace_image(trace.model, trace.situations)
    state = make_card(image).state()
    codes = state["codes"]
    if "pin" in declared:
        codes["1"]["value"] = declared["pin"]
    if "tries" in declared:
        codes["1"]["tries_left"] = declared["tries"]
    if "unblock_tries" in declared:
        codes["2"]["tries_left"] = declared["unblock_tries"]
    if "cps_data" in declared:
        state["files"]["0001/D107"] = declared["cps_data"].encode("ascii").ljust(64, b"\0").hex()
    card = make_card(image, state)
    card.power_on()
    for step in declared.get("after", []):
        answer = card.transmit(bytes.fromhex(trace_model.declarations()["steps"][trace.model][step]))
        assert answer[-2] in (0x90, 0x61), f"{step}: {answer.hex()}"
    return card


def certificate_key(trace: Trace, number: int) -> rsa.RSAPublicKey:
    path = trace_model.CERTIFICATES[number]
    files = {file.path: file.content for file in trace_image(trace.model, 2).files}
    found = x509.load_der_x509_certificate(files[path]).public_key()
    assert isinstance(found, rsa.RSAPublicKey)
    return found


def key_number(trace: Trace, so_far: list[bytes]) -> int:
    """Which key the last MSE SET of the trace has chosen: 1 signature, 2 authentication, 3 technical."""
    environment = [command for command in so_far if command[1] == 0x22 and command[3] in (0xA4, 0xB6, 0xB8)][-1]
    if trace.model == "cps4":
        return (environment[-1] & 0x7F) >> 4
    return environment[environment.index(b"\x84\x01") + 2] & 0x7F


def opened(key: rsa.RSAPublicKey, cryptogram: bytes) -> bytes:
    numbers = key.public_numbers()
    return pow(int.from_bytes(cryptogram, "big"), numbers.e, numbers.n).to_bytes(256, "big")


def check_cryptogram(trace: Trace, commands: list[bytes], expected: bytes, found: bytes) -> None:
    number = key_number(trace, commands)
    theirs, ours = certificate_key(trace, number), trace_model.key(number).public_key()
    inside, command = opened(theirs, expected), commands[-1]
    if inside[:2] == b"\0\1" or command[1:4] != b"\x2a\x9e\x9a":
        assert opened(ours, found) == inside
        return
    digest = command[5 : 5 + command[4]]
    algorithm: hashes.HashAlgorithm = {20: hashes.SHA1(), 32: hashes.SHA256()}[len(digest)]
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    for key, signature in ((theirs, expected), (ours, found)):
        key.verify(signature, digest, scheme, utils.Prehashed(algorithm))


def is_cryptogram(command: bytes) -> bool:
    """Commands whose answer a private key makes."""
    return command[1] == 0x88 or command[1:4] in (b"\x2a\x9e\x9a", b"\x2a\x80\x86")


def remade(trace: Trace) -> tuple[Exchange, ...]:
    """The trace with the cryptograms sent to PSO DECIPHER made for our key; blocks padded by the host stay."""
    exchanges = list(trace.exchanges)
    chain = [i for i, exchange in enumerate(exchanges) if exchange.command[1:4] == b"\x2a\x80\x86"]
    if not chain:
        return trace.exchanges
    parts = [exchanges[i].command[5 : 5 + exchanges[i].command[4]] for i in chain]
    whole = b"".join(parts)
    if whole[:2] == b"\0\1":
        return trace.exchanges
    ours = trace_model.key(2).public_key()
    answer = exchanges[chain[-1]].data or exchanges[chain[-1] + 1].data
    plain = answer if len(answer) == 256 else b"\0\2" + b"\x55" * (253 - len(answer)) + b"\0" + answer
    whole = whole[:-256] + opened(ours, plain)
    for i, part in zip(chain, parts, strict=True):
        old, whole_part, whole = exchanges[i].command, whole[: len(part)], whole[len(part) :]
        exchanges[i] = Exchange(old[:5] + whole_part + old[5 + len(part) :], exchanges[i].answer)
    return tuple(exchanges)


def replay(trace: Trace) -> int:
    card = prepared(trace)
    commands: list[bytes] = []
    expected = found = b""  # a cryptogram being fetched
    deciphers = remade(trace) is not trace.exchanges
    for exchange in remade(trace):
        answer = card.transmit(exchange.command)
        if exchange.command[1] != 0xC0:
            commands.append(exchange.command)
        assert answer[-2:] == exchange.sw, exchange.command.hex()
        assert len(answer) == len(exchange.answer), exchange.command.hex()
        if exchange.command[1] == 0x84:
            continue
        if deciphers or not is_cryptogram(commands[-1]):
            assert answer == exchange.answer, exchange.command.hex()
            continue
        expected, found = expected + exchange.data, found + answer[:-2]
        if len(expected) == 256:
            check_cryptogram(trace, commands, expected, found)
            expected = found = b""
    assert not expected
    return len(trace.exchanges)


@pytest.mark.parametrize("trace", [pytest.param(trace, id=trace.name) for trace in TRACES])
def test_replay(trace: Trace) -> None:
    assert replay(trace) == len(trace.exchanges)


def test_all_of_them() -> None:
    """255 files, of which some hold no APDU at all (the library answered by itself): they prove nothing about a card."""
    assert set(trace_model.declarations()["traces"]) == {trace.name for trace in TRACES}
    assert len(TRACES) == 255
    assert sum(len(trace.exchanges) for trace in TRACES) == TOTAL_APDUS
    assert sum(not trace.exchanges for trace in TRACES) == ZERO_APDU_TRACES


def test_a_wrong_answer_is_seen() -> None:
    """The comparison itself: one bit off in a file, a status word or a cryptogram must not pass."""
    by_name = {trace.name: trace for trace in TRACES}
    for name, at in (("cps3-official-load-cold", 2), ("cps3-official-wrong-pin-1", 0), ("cps4-official-sign-rsapkcs-authkey", 3)):
        trace = by_name[name]
        exchange = trace.exchanges[at]
        wrong = Exchange(exchange.command, bytes([exchange.answer[0] ^ 1]) + exchange.answer[1:])
        with pytest.raises(AssertionError):
            replay(Trace(name, (*trace.exchanges[:at], wrong, *trace.exchanges[at + 1 :]), trace.precondition))


def test_hash_left_to_the_card() -> None:
    """The 1 KiB trace: fifteen blocks hashed off card, the last by the card; the signature holds the whole hash."""
    trace = next(trace for trace in TRACES if trace.name == "cps3-official-sign-sha256rsa-sigkey-1KiB")
    inside = opened(certificate_key(trace, 1), trace.exchanges[-1].data)
    assert inside.endswith(hashlib.sha256(bytes(range(256)) * 4).digest())
