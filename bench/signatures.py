# SPDX-License-Identifier: Apache-2.0
"""Signatures: what a document costs beside the card's own time, each format, and the same code with a key in memory.

bench/signatures.py            time per document of 100 kB, card and memory in turn, one run
bench/signatures.py --flips [FORMAT…]   every bit of a signed document of each format flipped: how many are accepted (slow: PDF)
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "signature"))

import documents
from run import READER, secret
from signers import SoftSigner
from test_attacks_xml import response as assertion

from cpxd.config import Settings
from cpxd.service.desk import OpenCard
from cpxd.service.signing import CardSigner
from cpxd.signature import reading
from cpxd.signature.cms import Content
from cpxd.signature.fetch import offline
from cpxd.signature.judge import judge
from cpxd.signature.options import Format, Options
from cpxd.signature.pades import Appearance
from cpxd.signature.signer import Padding, Signer
from cpxd.signature.signing import Document, Signing
from cpxd.signature.trust import TrustStore, load
from simulator import personas
from simulator.lab import Lab
from simulator.pki import TestPki

RUNS = int(os.environ.get("BENCH_RUNS", "15"))
SIZE = 100_000
PADDINGS: tuple[Padding, ...] = ("pkcs1", "pss")
BOUND = 10.0  # milliseconds


def sample(size: int) -> dict[Format, bytes]:
    text = b"x" * size
    return {
        "cms": text,
        "cades": text,
        "pades": documents.pdf("Ordonnance", pad=size),
        "xades": b"<a>" + text + b"</a>",
        "smime": documents.MAIL + b"\n".join(text[i : i + 70] for i in range(0, size, 70)),
        "jws": text,
    }


class Timed:
    """A signer and the time it takes by itself."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.certificate, self.padding, self.seconds = signer.certificate, signer.padding, 0.0

    def sign(self, digest: bytes) -> bytes:
        start = time.perf_counter()
        try:
            return self._signer.sign(digest)
        finally:
            self.seconds += time.perf_counter() - start


def one(format: Format, content: bytes, signer: Signer) -> bytes:
    prepared = Signing(signer, Options(format), trust=None, fetch=None, now=datetime.now(UTC))
    look = Appearance(("Dr BANC D'ESSAI", "Médecin")) if format == "pades" else None
    return prepared.sign(
        Document("d", Content(hashlib.sha256(content).digest(), len(content)), content, "text/xml"), appearance=look
    )


def beside(format: Format, content: bytes, signer: Timed) -> float:
    """Milliseconds of one document beside the key's own."""
    start, own = time.perf_counter(), signer.seconds
    one(format, content, signer)
    return (time.perf_counter() - start - (signer.seconds - own)) * 1000


def measure() -> None:
    print(
        f"  {'time beside the key, per document of 100 kB':<46}{'card':>9}{'memory':>9}{'more':>9}   (bound: {BOUND:.0f} ms more)"
    )
    pki, contents = TestPki(), sample(SIZE)
    with Lab(["cps-medecin:cps4"]) as lab:
        os.environ.update(lab.env)
        with OpenCard(READER, Settings()) as card, secret(b"1234") as pin:
            card.run(lambda session, begin: session.verify(begin, pin))
            signers = {"card": Timed(CardSigner(card, "signature")), "memory": Timed(SoftSigner(pki))}
            for format, content in contents.items():
                times = _alternate(format, content, signers)
                card_ms, memory_ms = (statistics.median(times[name]) for name in ("card", "memory"))
                print(f"  {format:<46}{card_ms:>9.2f}{memory_ms:>9.2f}{card_ms - memory_ms:>9.2f}", flush=True)


def _alternate(format: Format, content: bytes, signers: dict[str, Timed]) -> dict[str, list[float]]:
    one(format, content, signers["memory"])  # imports
    found: dict[str, list[float]] = {name: [] for name in signers}
    for _ in range(RUNS):  # what else the machine does hits both
        for name, signer in signers.items():
            found[name].append(beside(format, content, signer))
    return found


def flips(formats: list[str]) -> None:
    pki = TestPki()
    with TemporaryDirectory() as folder:
        pki.export(Path(folder), [personas.load("cps-medecin")], complete=True)
        trust = load(Path(folder) / "ca.pem")
    for padding in PADDINGS:
        signer = SoftSigner(pki, padding=padding)
        signed = {format: (one(format, content, signer), content) for format, content in sample(60).items()}
        signed["vihf"] = assertion(signer), b""
        for format, (document, content) in signed.items():
            if not formats or format in formats:
                accepted = _accepted(document, content, trust)
                print(f"  {format:<8}{padding:<7}{accepted:>6} accepted of {len(document) * 8}", flush=True)


def _accepted(document: bytes, content: bytes, trust: TrustStore) -> int:
    outside: Callable[[str], bytes] = lambda name: hashlib.new(name, content).digest()  # noqa: E731
    wanted, count = _reasons(document, outside, trust), 0
    for position in range(len(document) * 8):
        changed = bytearray(document)
        changed[position // 8] ^= 1 << position % 8
        count += _reasons(bytes(changed), outside, trust) == wanted
    return count


def _reasons(document: bytes, outside: Callable[[str], bytes], trust: TrustStore) -> object:
    """What is said of a signature without the network: one that is as good as the whole one says the same."""
    try:
        found = reading.read(document, outside)
    except reading.NotSigned:
        return None
    return [(r.verdict, r.reasons) for r in (judge(f, trust, offline, datetime.now(UTC)) for f in found)]


if __name__ == "__main__":
    flips([word for word in sys.argv[1:] if word != "--flips"]) if "--flips" in sys.argv[1:] else measure()
