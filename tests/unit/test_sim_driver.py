# SPDX-License-Identifier: Apache-2.0
"""The parsers of the reader driver alone, under AddressSanitizer and UBSan: its settings, ATRs, PIN pad structures."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DRIVER = Path(__file__).parents[2] / "simulator" / "driver"
HARNESS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pinpad.h"
#include "slot.h"

/* a buffer of exactly len bytes, so that a read past its end is seen */
static uint8_t *hex(const char *text, size_t *len) {
    *len = strlen(text) / 2;
    uint8_t *out = malloc(*len ? *len : 1);
    for (size_t i = 0; i < *len; i++) { unsigned v; sscanf(text + 2 * i, "%2x", &v); out[i] = (uint8_t)v; }
    return *len ? out : (free(out), malloc(0));
}

static void pin(const char *kind, const char *structure, const char *old, const char *new_pin) {
    size_t len, n = 0, m = 0, size = 0;
    uint8_t *in = hex(structure, &len), apdu[PIN_APDU_MAX];
    struct pin_request r;
    unsigned sw = pin_parse(in, len, kind[0] == 'm', &r);
    if (sw == SW_DONE && r.ask_old) sw = pin_entry(&r, (const uint8_t *)old, strlen(old), &m);
    if (sw == SW_DONE) sw = pin_entry(&r, (const uint8_t *)new_pin, strlen(new_pin), &n);
    if (sw == SW_DONE) sw = pin_apdu(&r, (const uint8_t *)old, m, (const uint8_t *)new_pin, n, apdu, &size);
    printf("%04X ", sw);
    for (size_t i = 0; i < size; i++) printf("%02X", apdu[i]);
    printf("\n");
    free(in);
}

int main(void) {
    static char line[400000], a[100000], b[100000], c[100000], word[100];
    while (fgets(line, sizeof line, stdin)) {
        a[0] = b[0] = c[0] = 0;
        sscanf(line, "%99s %99999s %99999s %99999s", word, a, b, c);
        if (strcmp(word, "settings") == 0) {
            struct settings s;
            if (settings_parse(a, &s)) printf("%u %d %u %s\n", s.slots, s.pinpad, s.timeout_ms, s.base);
            else printf("no\n");
        } else if (strcmp(word, "atr") == 0) {
            size_t len; uint8_t *in = hex(a, &len);
            printf("%X\n", atr_protocols(in, len));
            free(in);
        } else pin(word, a, strcmp(b, "-") ? b : "", strcmp(c, "-") ? c : "");
        fflush(stdout);
    }
    return 0;
}
"""

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder = tmp_path_factory.mktemp("driver")
    (folder / "harness.c").write_text(HARNESS)
    program = folder / "harness"
    sources = [folder / "harness.c", DRIVER / "settings.c", DRIVER / "pinpad.c"]
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{DRIVER}"]
    subprocess.run(["cc", *flags, *sources, "-o", program], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def talk(*words: str) -> str:
            assert process.stdin and process.stdout
            process.stdin.write(" ".join(words) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the sanitizer stopped the driver"
            return answer.rstrip("\n")

        yield talk
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpx-sim:slots=4:pinpad=1:timeout=500:/tmp/x/slot", "4 1 500 /tmp/x/slot"),
        ("cpx-sim:/tmp/s", "4 0 10000 /tmp/s"),
        ("x:pinpad=0:/a:b", "4 0 10000 /a:b"),
        ("x:slots=16:/a", "16 0 10000 /a"),
        ("x:slots=17:/a", "no"),
        ("usb:c9c5/0001:libudev:0:slots=2:first=14:/tmp/x/slot", "2 0 10000 /tmp/x/slot"),
        ("usb:c9c5/0001:libudev:0:/a", "4 0 10000 /a"),
        ("usb:c9c5/0001:libudev:0", "no"),
        ("usb:c9c5/0001:libudev", "no"),
        ("usb:", "no"),
        ("x:first=16:/a", "no"),
        ("x:slots=0:/a", "no"),
        ("x:slots=:/a", "no"),
        ("x:slots=99999999999999999999:/a", "no"),
        ("x:timeout=0:/a", "no"),
        ("x:pinpad=2:/a", "no"),
        ("x:pinpad=verify-only:/a", "4 1 10000 /a"),
        ("x:pinpad=verify:/a", "no"),
        ("x:pinpad=:/a", "no"),
        ("x:colour=1:/a", "no"),
        ("x:slots:/a", "no"),
        ("x::/a", "no"),
        ("x:relative", "no"),
        ("x:", "no"),
        ("nothing", "no"),
        ("x:/" + "a" * 102, "4 0 10000 /" + "a" * 102),
        ("x:/" + "a" * 103, "no"),  # the socket's own name would not fit
    ],
)
def test_settings(ask: Ask, device: str, expected: str) -> None:
    assert ask("settings", device) == expected


@pytest.mark.parametrize(
    ("atr", "protocols"),
    [
        ("3BAC00402A001225006480000310009000", "1"),  # CPS3: T=0
        ("3B9B188001001225006480040100009044", "3"),  # CPS4: T=0 and T=1
        ("3BDC18FF000012250064800004010090" + "00", "1"),  # its T=0 form
        ("3B8F80010031B86400" + "00ECC07394010082900" + "00E", "3"),
        ("3B02ABCD", "1"),
        ("3B00", "1"),
        ("3B02AB", "0"),  # a historical byte is missing
        ("3B80", "0"),
        ("3BF0", "0"),
        ("3C00", "0"),
        ("3B", "0"),
        ("", "0"),
        ("3B" * 34, "0"),
    ],
)
def test_atr_protocols(ask: Ask, atr: str, protocols: str) -> None:
    assert ask("atr", atr) == protocols


def verify(template: str, form: int, block: int, length: int, *, low: int = 4, high: int = 8, entry: int = 2) -> str:
    """PIN_VERIFY_STRUCTURE, hex."""
    data = bytes.fromhex(template)
    head = struct.pack("=BBBBBHBBHB3sI", 0, 0, form, block, length, low << 8 | high, entry, 1, 0x0409, 0, bytes(3), len(data))
    return (head + data).hex()


def modify(template: str, form: int, block: int, offsets: tuple[int, int], confirm: int) -> str:
    """PIN_MODIFY_STRUCTURE, hex."""
    data = bytes.fromhex(template)
    head = struct.pack("=BBBBBBBH", 0, 0, form, block, 0, *offsets, 0x0408)
    head += struct.pack("=BBBHBBB3sI", confirm, 2, 3, 0x0409, 0, 1, 2, bytes(3), len(data))
    return (head + data).hex()


FF8 = "FF" * 8


@pytest.mark.parametrize(
    ("structure", "keys", "expected"),
    [
        # ASCII, left, no block: the command ends with the PIN, Lc is worked out
        (verify("0020000100", 0x82, 0x00, 0), "1234", "9000 00200001" + "0431323334"),
        (verify("00200001", 0x82, 0x00, 0), "1234", "9000 00200001" + "0431323334"),
        (verify("0020000108" + FF8, 0x82, 0x00, 0), "12345", "9000 00200001" + "053132333435"),
        # ASCII, block of 8, filler from the pattern, or FF where it has none
        (verify("0020000108" + FF8, 0x82, 0x08, 0), "1234", "9000 0020000108" + "31323334FFFFFFFF"),
        (verify("0020000108" + "00" * 8, 0x82, 0x08, 0), "1234", "9000 0020000108" + "3132333400000000"),
        (verify("0020000108", 0x82, 0x08, 0), "1234", "9000 0020000108" + "31323334FFFFFFFF"),
        (verify("0020000108" + FF8 + "00", 0x82, 0x08, 0), "1234", "9000 0020000108" + "31323334FFFFFFFF"),  # an Le is dropped
        (verify("0020000108" + FF8, 0x02, 0x08, 0), "1234", "9000 0020000108" + "31323334FFFFFFFF"),  # position 0 in bits
        # EMV format 2 block: BCD, length in 4 bits; block size of the frame (7) or of the whole (8)
        (verify("0020008008" + "20" + "FF" * 7, 0x89, 0x47, 0x04), "1234", "9000 0020008008" + "241234FFFFFFFFFF"),
        (verify("0020008008" + "20" + "FF" * 7, 0x89, 0x48, 0x04), "12345", "9000 0020008008" + "2512345FFFFFFFFF"),
        # binary digits; right justified; length byte before the PIN; offset in bits across bytes
        (verify("0020000104" + "FF" * 4, 0x80, 0x04, 0), "1234", "9000 0020000104" + "01020304"),
        (verify("0020000108" + "00" * 8, 0x86, 0x08, 0), "1234", "9000 0020000108" + "0000000031323334"),
        (verify("0020000105" + "00" * 5, 0x8A, 0x84, 0x10), "1234", "9000 0020000105" + "0431323334"),
        (verify("0020000103" + "00" * 3, 0x21, 0x02, 0), "1234", "9000 0020000103" + "012340"),
        (verify("00200001" + "00", 0x92, 0x00, 0), "1234", "9000 0020000106" + "FFFF31323334"),
        # digits that do not fit
        (verify("0020000104" + "FF" * 4, 0x82, 0x04, 0), "12345", "6B80 "),
        (verify("0020000108" + FF8, 0x82, 0x18, 0), "1234", "6B80 "),  # 4 does not fit in a length of 1 bit
        # entry conditions
        (verify("0020000100", 0x82, 0, 0), "123", "6403 "),
        (verify("0020000100", 0x82, 0, 0), "123456789", "6403 "),
        (verify("0020000100", 0x82, 0, 0, low=4, high=4, entry=1), "1234", "9000 00200001" + "0431323334"),
        (verify("0020000100", 0x82, 0, 0, low=4, high=4, entry=1), "12349", "9000 00200001" + "0431323334"),
        (verify("0020000100", 0x82, 0, 0, low=4, high=8, entry=1), "1234", "6400 "),
        (verify("0020000100", 0x82, 0, 0, low=4, high=8, entry=4), "1234", "9000 00200001" + "0431323334"),
        (verify("0020000100", 0x82, 0, 0, low=4, high=8, entry=0), "1234", "6B80 "),
        (verify("0020000100", 0x82, 0, 0, low=4, high=8, entry=8), "1234", "6B80 "),
        # parameters without sense
        (verify("0020000100", 0x83, 0, 0), "1234", "6B80 "),
        (verify("0020000100", 0x82, 0, 0, low=8, high=4), "1234", "6B80 "),
        (verify("0020000100", 0x82, 0, 0, low=4, high=17), "1234", "6B80 "),
        (verify("002000", 0x82, 0, 0), "1234", "6B80 "),
        (verify("00200001FF" + "00" * 257, 0x82, 0, 0), "1234", "6B80 "),
        # structure and length disagree
        (verify("0020000100", 0x82, 0, 0)[:-2], "1234", "0000 "),
        (verify("0020000100", 0x82, 0, 0) + "00", "1234", "0000 "),
        ("00" * 18, "1234", "0000 "),
    ],
)
def test_verify(ask: Ask, structure: str, keys: str, expected: str) -> None:
    assert ask("verify", structure, "-", keys) == expected


OLD_NEW_16 = "0024000110" + "FF" * 16


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (modify(OLD_NEW_16, 0x82, 0x08, (0, 8), 3), "9000 0024000110" + "31323334FFFFFFFF" + "35363738FFFFFFFF"),
        (modify("0024000100", 0x82, 0x00, (0, 0), 3), "9000 0024000108" + "3132333435363738"),
        (modify("0024000100", 0x82, 0x00, (0, 4), 2), "9000 0024000108" + "3132333435363738"),
        (modify("0024010108" + FF8, 0x82, 0x08, (0, 0), 1), "9000 0024010108" + "35363738FFFFFFFF"),  # new PIN only
        (modify(OLD_NEW_16, 0x82, 0x08, (8, 0), 3), "9000 0024000110" + "35363738FFFFFFFF" + "31323334FFFFFFFF"),
        (modify(OLD_NEW_16, 0x82, 0x08, (0, 4), 3), "6B80 "),  # the blocks overlap
        (modify(OLD_NEW_16, 0x82, 0x08, (0, 250), 3), "6B80 "),  # beyond a short command
        (modify(OLD_NEW_16, 0x82, 0x08, (0, 8), 4), "6B80 "),
        (modify(OLD_NEW_16, 0x82, 0x08, (0, 8), 3)[:-2], "0000 "),
    ],
)
def test_modify(ask: Ask, structure: str, expected: str) -> None:
    assert ask("modify", structure, "1234", "5678") == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["verify", "modify"]),
    head=st.binary(min_size=20, max_size=20),
    low=st.integers(0, 16),
    high=st.integers(0, 17),
    entry=st.integers(0, 8),
    template=st.binary(max_size=262),
    keys=st.text(alphabet="0123456789", min_size=1, max_size=40),
)
def test_any_structure_ends_in_a_status_word(
    ask: Ask, *, kind: str, head: bytes, low: int, high: int, entry: int, template: bytes, keys: str
) -> None:
    """Whatever the offsets, sizes and units say: no byte is read or written outside, and a command is at most 260 bytes."""
    fixed = bytearray(head[:15] if kind == "verify" else head)
    at = 5 if kind == "verify" else 7
    fixed[at : at + 2] = struct.pack("=H", low << 8 | high)
    if kind == "modify":
        fixed[9] &= 3
    fixed[at + 2 + (kind == "modify")] = entry
    structure = bytes(fixed) + struct.pack("=I", len(template)) + template
    answer = ask(kind, structure.hex(), keys[::-1], keys)
    status, _, apdu = answer.partition(" ")
    assert status in ("9000", "6400", "6403", "6B80")
    assert (len(apdu) > 0) is (status == "9000")
    if apdu:
        assert bytes.fromhex(apdu)[:4] == template[:4]
        assert bytes.fromhex(apdu)[4] == len(apdu) // 2 - 5


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40))
def test_any_bytes_as_atr_and_structure(ask: Ask, data: bytes) -> None:
    assert int(ask("atr", data.hex()), 16) >= 0
    assert ask("modify", data.hex() or "00", "1", "1")[:4] in ("0000", "6B80", "9000", "6400", "6403")
