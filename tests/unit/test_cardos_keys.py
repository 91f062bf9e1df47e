# SPDX-License-Identifier: Apache-2.0
"""Keys of the three personalities: every signature is verified by another implementation, every refusal is named."""

from __future__ import annotations

import hashlib

import pytest
import trace_model
from cardos_script import PIN, ask, card, run
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cardos import hashing

HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
LOGIN, LOGIN4 = f"00200001 {PIN} = 9000", f"01200001 {PIN} = 9000"
DF = "00A4090C 3F000001 = 9000"
OPEN4 = "01A4040C 8025000001FF0100 = 9000"
DF4 = "01A40800 0001 = 9000"
DIGEST = {name: hashlib.new(name, b"lu").hexdigest() for name in HASHES}


def verify(number: int, signature: bytes, digest: bytes, name: str, *, pss: bool = False) -> None:
    algorithm = HASHES[name]
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if pss else padding.PKCS1v15()
    trace_model.key(number).public_key().verify(signature, digest, scheme, utils.Prehashed(algorithm))


# -- CPS3 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "hash_ref", "sign_ref"), [("sha1", "10", "12"), ("sha256", "40", "42")])
def test_cps3_signature(name: str, hash_ref: str, sign_ref: str) -> None:
    made, digest = card("cps3"), DIGEST[name]
    ready = f"{LOGIN}\n{DF}\n002241AA 8001{hash_ref} = 9000\n002241B6 8001{sign_ref} 840181 = 9000"
    run(made, ready)
    verify(1, ask(made, f"002A9E9A {digest}"), bytes.fromhex(digest), name)
    run(made, "002A90A0 9000 8002 6C75 = 9000")
    verify(1, ask(made, "002A9E9A /00"), bytes.fromhex(digest), name)
    run(made, "002A9E9A /00 = 6985")  # a hash serves once
    run(made, f"002A90A0 90{len(digest) // 2:02X}{digest} = 9000")
    verify(1, ask(made, "002A9E9A /00"), bytes.fromhex(digest), name)


@given(st.binary(max_size=300), st.integers(0, 4), st.sampled_from(["sha1", "sha256"]))
@settings(max_examples=30, deadline=None)
def test_resumed_hash(data: bytes, blocks: int, name: str) -> None:
    """Hashing the first blocks here and the rest from the state is hashing it all (the state: our own, from the start)."""
    done = data[: min(blocks, len(data) // 64) * 64]
    state = b""
    for at in range(0, len(done), 64):
        state = hashing.compress(name, state, done[at : at + 64])
    assert hashing.finish(name, state, 8 * len(done), data[len(done) :]) == hashlib.new(name, data).digest()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "80",
        "9000",
        "9001008000",
        "80009000",
        "900080418041",
        "901C" + "00" * 28 + "8000",  # a SHA-1 state for SHA-256
        "9028" + "00" * 39 + "018000",  # one bit done
        "9000" + "8041" + "00" * 65,  # more than a block
    ],
)
def test_bad_hash_data(bad: str) -> None:
    made = card("cps3")
    run(made, f"002241AA 800140 = 9000\n002A90A0 {bad} = 6A80" if bad else "002A90A0 9000 8000 = 6985")


def test_cps3_authentication() -> None:
    made = card("cps3")
    ready = f"{LOGIN}\n{DF}\n002241A4 800102 840182 = 9000"
    run(made, ready)
    info = "3031300D060960864801650304020105000420" + DIGEST["sha256"]
    verify(2, ask(made, f"00880000 {info}"), bytes.fromhex(DIGEST["sha256"]), "sha256")
    assert len(ask(made, "00880000 " + "AB" * 102)) == 256  # 40 % of 256 bytes
    run(made, f"00880000 {'AB' * 103} = 6A80\n00880000 = 6700\n00880001 AB = 6A86")


def test_cps3_decipher() -> None:
    made = card("cps3")
    run(made, f"{LOGIN}\n{DF}\n002241B8 80011A 840182 = 9000")
    sealed = trace_model.key(2).public_key().encrypt(b"un secret", padding.PKCS1v15()).hex()
    run(made, f"102A8086 81{sealed[:508]} = 9000")
    assert ask(made, f"002A8086 {sealed[508:]}") == b"un secret"
    run(made, f"102A8086 00{sealed[:508]} = 9000\n002A8086 {sealed[508:]} = 6A80")  # padding indicator
    run(made, f"102A8086 81{'00' * 254} = 9000\n002A8086 0002 = 6A80")  # no type 2 padding
    run(made, f"102A8086 81{'FF' * 254} = 9000\n002A8086 FFFF = 6A80")  # not below the modulus
    run(made, f"102A8086 81{sealed[:508]} = 9000\n00840000 /08 = *9000\n002A8086 {sealed[508:]} = 6A80")  # broken
    run(made, "\n".join(["102A8086 " + "00" * 255 + " = 9000"] * 4) + f"\n102A8086 {'00' * 255} = 6700")


@pytest.mark.parametrize(
    "script",
    [
        f"{DF}\n002241B6 800142 840181 = 9000\n002A9E9A {DIGEST['sha256']} = 6982",  # no PIN
        f"{DF}\n002241A4 800102 840182 = 9000\n00880000 AB = 6982",
        f"{LOGIN}\n{DF}\n002A9E9A {DIGEST['sha256']} = 6985\n00880000 AB = 6985\n002A8086 81 = 6985",  # no environment
        f"{LOGIN}\n002241A4 800102 840182 = 6A88\n{DF}\n002241A4 800102 840182 = 9000",  # keys are local
        f"{LOGIN}\n{DF}\n002241A4 800102 840182 = 9000\n{DF}\n00880000 AB = 6985",  # a directory clears
        f"{LOGIN}\n{DF}\n002241A4 800102 840182 = 9000\n00A4020C A001 = 9000\n00880000 AB = 6100",  # a file does not
        f"{LOGIN}\n{DF}\n002241A4 800102 840182 = 9000\n002200F2 = 6A86\n0022F301 = 9000\n00880000 AB = 6985",
        f"{DF}\n002241A4 800102 840102 = 6A88\n002241A4 800102 840184 = 6A88\n002241A4 800102 840183 = 6A88",
        f"{DF}\n002241A4 800142 840182 = 6A80\n002241B6 800102 = 6A80\n002241AA 800142 = 6A80\n002241B8 800102 = 6A80",
        "002241A4 810100 = 6A80\n002241A4 8002 = 6A80\n00224100 800102 = 6A86\n002281B6 800142 = 6A86\n0022F307 = 6A88",
        f"{LOGIN}\n{DF}\n002241B6 800142 840182 = 9000\n002A9E9A {DIGEST['sha256']} = 6982",  # the wrong key
        f"{LOGIN}\n{DF}\n002241A4 800102 840181 = 9000\n00880000 AB = 6982",
        f"{LOGIN}\n{DF}\n002241B8 80011A 840181 = 9000\n002A8086 81 = 6982",
        f"{LOGIN}\n{DF}\n002241B6 800142 840181 = 9000\n002A9E9A {DIGEST['sha1']} = 6A80\n002A9E9A /00 = 6985",
        f"{LOGIN}\n00A4090C 3F000002 = 9000\n002241A4 800102 840183 = 9000\n00880000 AB = 6982",  # over the air only
        "002A9E9B AB = 6A86\n002241A4 = 9000",
    ],
)
def test_cps3_refusals(script: str) -> None:
    run(card("cps3"), script)


# -- CPS4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "name", "pss", "numbers"),
    [("0A", "sha1", False, "9"), ("28", "sha256", False, "9"), ("15", "sha1", True, "9A"), ("2C", "sha256", True, "9A")],
)
def test_cps4_signature(algorithm: str, name: str, pss: bool, numbers: str) -> None:
    made, digest = card("cps4"), DIGEST[name]
    for number in numbers:
        run(made, f"{OPEN4}\n{LOGIN4}\n{DF4}\n012281B6 9102 {algorithm}{number}0 = 9000")
        signature = ask(made, f"012A9E9A {digest} /00")
        verify(1 if number == "9" else 2, signature, bytes.fromhex(digest), name, pss=pss)
        assert len(ask(made, f"012A9E9A {digest}")) == 256  # T=0: by GET RESPONSE
        run(made, f"012A9E9A {digest}00 /00 = 6A80\n012A9E9A /00 = 6A80")


def test_cps4_raw_rsa() -> None:
    made = card("cps4")
    run(made, f"{OPEN4}\n{LOGIN4}\n{DF4}\n012241B8 830120 = 9000")
    info = "3031300D060960864801650304020105000420" + DIGEST["sha256"]
    block = "0001" + "FF" * 202 + "00" + info
    run(made, f"112A8086 {block[:510]} = 9000")
    verify(2, ask(made, f"012A8086 {block[510:]} /00"), bytes.fromhex(DIGEST["sha256"]), "sha256")
    run(made, f"012A8086 {'00' * 255} = 6A80\n112A8086 {'FF' * 255} = 9000\n012A8086 FF = 6A80")


@pytest.mark.parametrize(
    "script",
    [
        f"{DF4}\n012281B6 9102 2890 = 9000\n012A9E9A {DIGEST['sha256']} /00 = 6982",
        f"{DF4}\n012241B8 830120 = 9000\n012A8086 00 /00 = 6982",
        f"{LOGIN4}\n{DF4}\n012A9E9A {DIGEST['sha256']} /00 = 6985\n012A8086 00 = 6985",
        f"{LOGIN4}\n012281B6 9102 2890 = 6A88\n012241B8 830120 = 6A88",
        f"{LOGIN4}\n{DF4}\n012281B6 9102 0090 = 6A80\n012281B6 9102 28A0 = 6A80\n012281B6 9102 2810 = 6A88",
        f"{LOGIN4}\n{DF4}\n012281B6 9102 28B0 = 6A88\n012281B6 840190 = 6A80\n012241A4 830120 = 6A86\n012241B8 = 6A80",
        "0122F201 = 6A86\n012281A4 = 6A86",
        f"{LOGIN4}\n{DF4}\n012241B8 830110 = 9000\n012A8086 {'00' * 255} = 6982\n01880000 AB = 6D00\n012A90A0 9000 = 6A86",
        f"{LOGIN4}\n{DF4}\n012281B6 9102 2890 = 9000\n{DF4}\n012A9E9A {DIGEST['sha256']} /00 = 6985",
    ],
)
def test_cps4_refusals(script: str) -> None:
    run(card("cps4"), f"{OPEN4}\n{script}")


# -- CPS3 over the air -----------------------------------------------------------------------------------------------


def test_contactless() -> None:
    made = card("cps3cl")
    run(made, "00A4090C 3F000002 = 9000\n002241A4 800102 840183 = 9000")
    info = "3031300D060960864801650304020105000420" + DIGEST["sha256"]
    verify(3, ask(made, f"00880000 {info} /00"), bytes.fromhex(DIGEST["sha256"]), "sha256")
    run(
        made,
        f"""
        002241AA 800140 = 6A80                      # no hash, no signature, no decipherment
        002241B6 800142 = 6A80
        002A90A0 9000 8000 = 6985
        00200001 = 6A88                             # no codes
        00200001 {PIN} = 6A88
        00CB3FFF 4D087006BF810102A080 /00 = 6A88
        A0A40000 3F00 = 6E00
        00A4040C E828BD080F8025000001FF0020 = 9000
        00A4020C 7002 = 9000
        00B00000 /00 = 3050*9000                    # T=1: Le 00 is whatever there is
        00B00000 /53 = 6C52
        00D60000 00 = 6982
        00A4090C 3F000001 = 9000
        00A4020C D1F3 = 9000
        00B00000 /0C = 6982                         # the contact application is not for the air
        00A4090C 3F00D003 = 9000
        00B00000 /0C = 5A0A*9000
        """,
    )
