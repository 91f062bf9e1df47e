# SPDX-License-Identifier: Apache-2.0
"""`make bench`: a revocation list of 500,000 entries, loaded and asked, beside `openssl crl` on the same file.

Each measure runs in a process of its own: time from its start to its answer, and the most memory it ever held.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cpxd.tlv import tlv

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "500000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
BOUND_MS = 5.0
_OURS = """
import sys, time
from datetime import UTC, datetime
from cpxd.revocation.crl import answer, load
issuer, der = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
started = time.perf_counter()
found = load(der, issuer)
loaded = time.perf_counter() - started
assert len(found) == int(sys.argv[3])
now, worst = datetime.now(UTC), 0.0
for n in range(0, len(found), 997):
    for serial, state in ((SERIAL(n), "revoked"), (SERIAL(n) + 1, "good")):
        started = time.perf_counter()
        assert answer(found, None, serial, now).state == state
        worst = max(worst, time.perf_counter() - started)
print(loaded, worst)
""".replace("SERIAL(n)", "((0x41 << 120) + n * 0x10001 * 2)")


def authority(key: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def large_list(key: rsa.RSAPrivateKey, issuer: x509.Certificate, now: datetime) -> bytes:
    """DER by hand: the library's builder would take minutes. RFC 5280, 5.1."""
    reason = tlv(0x30, tlv(0x30, bytes.fromhex("0603551D15") + tlv(0x04, b"\x0a\x01\x01")))
    tail = tlv(0x17, b"260101120000Z") + reason
    serials = (((0x41 << 120) + n * 0x10001 * 2).to_bytes(16, "big") for n in range(ENTRIES))
    entries = b"".join(tlv(0x30, tlv(0x02, serial) + tail) for serial in serials)
    algorithm = tlv(0x30, bytes.fromhex("06092A864886F70D01010B0500"))
    dates = b"".join(tlv(0x17, f"{day:%y%m%d%H%M%SZ}".encode()) for day in (now, now + timedelta(days=7)))
    number = tlv(0xA0, tlv(0x30, tlv(0x30, bytes.fromhex("0603551D14") + tlv(0x04, b"\x02\x01\x05"))))
    signed = tlv(0x30, b"\x02\x01\x01" + algorithm + issuer.subject.public_bytes() + dates + tlv(0x30, entries) + number)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return tlv(0x30, signed + algorithm + tlv(0x03, b"\0" + signature))


def measured(command: list[str]) -> tuple[str, float, float]:
    """Output, seconds of its process, most MiB it held."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]}: {process.returncode}")
    return output, time.perf_counter() - started, used.ru_maxrss / 1024


def main() -> int:
    now = datetime.now(UTC)
    key = rsa.generate_private_key(65537, 2048)
    issuer = authority(key, now)
    with tempfile.TemporaryDirectory() as folder:
        ca, ca_pem, crl = Path(folder, "ca.cer"), Path(folder, "ca.pem"), Path(folder, "large.crl")
        ca.write_bytes(issuer.public_bytes(Encoding.DER))
        ca_pem.write_bytes(issuer.public_bytes(Encoding.PEM))
        crl.write_bytes(large_list(key, issuer, now))
        print(
            f"revocation list of {ENTRIES} entries, {crl.stat().st_size / (1 << 20):.1f} MiB; the best of {RUNS} processes each"
        )
        print(f"  {'':<46}{'process s':>10}{'MiB':>7}")
        ours = [measured([sys.executable, "-c", _OURS, str(ca), str(crl), str(ENTRIES)]) for _ in range(RUNS)]
        check = ["openssl", "crl", "-inform", "DER", "-in", str(crl), "-CAfile", str(ca_pem), "-noout", "-nextupdate"]
        theirs = [measured(check) for _ in range(RUNS)]
    for who, found in (
        ("cpxd: load, signature checked, 1,000 look-ups", ours),
        ("openssl crl -CAfile: load, signature checked", theirs),
    ):
        print(f"  {who:<46}{min(f[1] for f in found):>10.2f}{min(f[2] for f in found):>7.0f}")
    loaded, worst = min(float(f[0].split()[0]) for f in ours), min(float(f[0].split()[1]) for f in ours) * 1000
    print(f"  cpxd: loading alone {loaded:.2f} s; slowest look-up {worst:.3f} ms (bound: {BOUND_MS:.0f})")
    return 0 if worst < BOUND_MS else 1


if __name__ == "__main__":
    sys.exit(main())
