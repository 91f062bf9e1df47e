# SPDX-License-Identifier: Apache-2.0
"""`make bench`: commands sent to the card and wall time, beside OpenSC, on the same virtual card in one run.

Times are medians of alternating runs on this machine now; only their ratio means something. Counts are exact.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cpxd.apdu import Secret
from cpxd.card.application import Mechanism
from cpxd.config import Settings
from cpxd.service.desk import OpenCard
from simulator.lab import Lab

RUNS = int(os.environ.get("BENCH_RUNS", "7"))
BIN = Path(sys.executable).parent
READER = "cpx-sim 00 00"
DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420") + hashlib.sha256(b"bench").digest()
SHA256 = Mechanism("pkcs1", "sha256")


def secret(digits: bytes) -> Secret:
    read, write = os.pipe()
    os.write(write, digits + b"\n")
    os.close(write)
    try:
        return Secret.from_fd(read)
    finally:
        os.close(read)


class Counter:
    """Counts what the card saw during a step."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def count(self, step: Callable[[], object]) -> tuple[int, int, float]:
        """(commands without GET RESPONSE, GET RESPONSE, milliseconds)."""
        trace = self._lab.card(0).trace
        start, begin = len(trace), time.perf_counter()
        step()
        milliseconds = (time.perf_counter() - begin) * 1000
        sent = [apdu for apdu, _ in trace[start:]]
        responses = sum(1 for apdu in sent if apdu[1:2] == b"\xc0")
        return len(sent) - responses, responses, milliseconds


def row(name: str, result: tuple[int, int, float]) -> None:
    print(f"  {name:<58}{result[0]:>5}{result[1]:>5}{result[2]:>9.1f}")


def in_process(lab: Lab, counter: Counter, model: str) -> None:
    os.environ.update(lab.env)
    with OpenCard(READER, Settings()) as card:
        cold = counter.count(lambda: card.run(lambda s, b: s.tree(b)))
        row("cpxd: identity and both certificates, cold", cold)
        if model == "cps3":
            certificates = card.run(lambda s, b: [len(der) for _, der in s.tree(b).certificates])
            reads = sum(-(-size // 231) for size in certificates)
            print(f"    {reads} of them blocks of the certificates; the others: {cold[0] - reads} (bound: 15)")
        with secret(b"1234") as pin:
            first = counter.count(
                lambda: (card.run(lambda s, b: s.verify(b, pin)), card.run(lambda s, b: s.sign_content(b, DIGEST_INFO)))
            )
        row("cpxd: PIN + one authentication-key signature" + (" (bound: 4)" if model == "cps3" else ""), first)
        row(
            "cpxd: next authentication-key signature",
            counter.count(lambda: card.run(lambda s, b: s.sign_content(b, DIGEST_INFO))),
        )
        digest = hashlib.sha256(b"bench").digest()
        row("cpxd: signature-key signature", counter.count(lambda: card.run(lambda s, b: s.sign(b, "signature", SHA256, digest))))


def commands(lab: Lab, counter: Counter, folder: Path) -> None:
    data = folder / "data"
    data.write_bytes(DIGEST_INFO)
    module = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
    sign = ["pkcs11-tool", "--module", module, "--login", "--pin", "1234", "--sign", "-m", "RSA-PKCS"]
    sign += ["--id", "e828bd080f8025000001ff001002", "-i", str(data), "-o", str(folder / "signature")]
    pin = folder / "pin"
    pin.write_text("1234\n", encoding="ascii")
    pairs = (
        ("read the card", [str(BIN / "cpxd"), "card"], ["pkcs15-tool", "-D"], None),
        ("PIN + one signature", [str(BIN / "cpxd"), "sign", str(data), "-o", str(folder / "p7s"), "--pin-fd", "0"], sign, pin),
    )
    for name, ours, theirs, codes in pairs:
        results: dict[str, list[tuple[int, int, float]]] = {"cpxd": [], "OpenSC": []}
        for _ in range(RUNS):  # alternating: what else the machine does hits both
            for who, command in (("cpxd", ours), ("OpenSC", theirs)):
                results[who].append(counter.count(lambda command=command, codes=codes: run(lab, command, codes)))
        for who, found in results.items():
            row(f"{who}: {name}, whole process ({Path(ours[0] if who == 'cpxd' else theirs[0]).name})", middle(found))
        ratio = middle(results["cpxd"])[2] / middle(results["OpenSC"])[2]
        print(f"    time ratio cpxd / OpenSC: {ratio:.2f}")


def middle(found: list[tuple[int, int, float]]) -> tuple[int, int, float]:
    return found[-1][0], found[-1][1], statistics.median(f[2] for f in found)


def run(lab: Lab, command: list[str], codes: Path | None) -> None:
    with open(codes or os.devnull, "rb") as stdin:
        done = lab.run(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr}")


def measure(model: str) -> None:
    with Lab([f"cps-medecin:{model}"]) as lab, tempfile.TemporaryDirectory() as folder:
        counter = Counter(lab)
        in_process(lab, counter, model)
        if model == "cps3":  # OpenSC 0.23 does not know the CPS4
            commands(lab, counter, Path(folder))


def main() -> None:
    if sys.argv[1:]:
        measure(sys.argv[1])
        return
    print(f"  {'':<58}{'APDU':>5}{'+GR':>5}{'ms':>9}", flush=True)
    for model in ("cps3", "cps4"):
        print(f"{model.upper()}, persona cps-medecin, own reader driver, stock pcscd, no card delay", flush=True)
        # one process a pcscd: libpcsclite keeps the socket it first connected to
        subprocess.run([sys.executable, __file__, model], check=True)


if __name__ == "__main__":
    main()
