# SPDX-License-Identifier: Apache-2.0
"""The reader driver under the stock pcscd: readers, exchanges, events, cards that leave or fall silent."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import pytest
from scard import StubCard, ask, start

from simulator.lab import Lab

CPS3_ATR = "3BAC00402A001225006480000310009000"
CPS4_ATR = "3B9B188001001225006480040100009044"
SELECT = "00A40400"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Slot 0: a card; slot 1: one with T=0 and T=1; 2 and 3 empty. Tests leave it so."""
    with Lab([StubCard(), StubCard(CPS4_ATR)], timeout_ms=400) as opened:
        yield opened


def test_four_readers_for_everybody(lab: Lab) -> None:
    names = [f"cpx-sim 00 0{slot}" for slot in range(4)]
    assert lab.readers == names
    assert ask(lab, "say(readers())") == names
    listed = lab.run(["opensc-tool", "-l"], capture_output=True, check=True).stdout
    assert [line.split()[1] for line in listed.splitlines() if "cpx-sim" in line] == ["Yes", "Yes", "No", "No"]
    scanned = lab.run(["pcsc_scan", "-r"], capture_output=True, check=True).stdout
    assert all(name in scanned for name in names)


def test_exchanges_short_and_extended(lab: Lab) -> None:
    long = "00D600000007D0" + "AB" * 2000
    got = ask(lab, f"h, p = connect(); say([p, transmit(h, '{SELECT}'), transmit(h, '{long}')])")
    assert got == [1, SELECT.lower() + "9000", long[:500].lower() + "9000"]
    assert lab.card(0).trace[-2:] == [
        (bytes.fromhex(SELECT), bytes.fromhex(SELECT + "9000")),
        (bytes.fromhex(long), bytes.fromhex(long[:500] + "9000")),
    ]
    assert lab.card(0).apdu_count == len(lab.card(0).trace)


def test_a_control_byte_of_the_wire_cannot_be_sent_by_a_program(lab: Lab) -> None:
    card = StubCard()
    lab.insert(2, card)
    code = "h, _ = connect(2); say([transmit(h, apdu) for apdu in ('00', '02', '0204', '00A404', '00A40400')])"
    assert ask(lab, code) == ["error 80100016"] * 4 + ["00a404009000"]
    assert "off" not in card.events and "reset" not in card.events
    lab.remove(2)


@pytest.mark.parametrize(
    ("atr", "protocol", "result"),
    [(CPS3_ATR, 1, 1), (CPS3_ATR, 2, None), (CPS3_ATR, 3, 1), (CPS4_ATR, 1, 1), (CPS4_ATR, 2, 2), (CPS4_ATR, 3, 2)],
)
def test_protocol_by_the_atr(lab: Lab, atr: str, protocol: int, result: int | None) -> None:
    lab.insert(2, StubCard(atr))
    code = f"""
try:
    h, p = connect(2, {protocol})
    say([p, transmit(h, '00A40400', p)])
except OSError as e:
    say(None)
"""
    assert ask(lab, code) == (None if result is None else [result, "00a404009000"])
    lab.remove(2)


def test_attributes(lab: Lab) -> None:
    code = """
h, _ = connect()
names = ['SCARD_ATTR_VENDOR_NAME', 'SCARD_ATTR_ATR_STRING', 'SCARD_ATTR_VENDOR_IFD_TYPE', 'SCARD_ATTR_ICC_PRESENCE',
         'SCARD_ATTR_DEVICE_FRIENDLY_NAME_A', 'SCARD_ATTR_MAXINPUT']
say([bytes(check(scard.SCardGetAttrib(h, getattr(scard, n)))).hex() for n in names])
"""
    vendor, atr, kind, presence, name, most = ask(lab, code)
    assert bytes.fromhex(vendor) == b"cpxd project\0"
    assert atr == lab.card(0).card.atr.hex()
    assert bytes.fromhex(kind) == b"cpx-sim\0"
    assert presence == "02"
    assert bytes.fromhex(name).startswith(b"cpx-sim 00 00")
    assert int.from_bytes(bytes.fromhex(most), "little") == 65535


def test_insertion_and_removal_are_told_in_milliseconds(lab: Lab) -> None:
    code = """
ctx = context()
for line in sys.stdin:
    say("watching")
    say(wait_change(ctx, 'cpx-sim 00 02', line.strip() == 'in'))
"""
    inserted: list[float] = []
    removed: list[float] = []
    with start(lab, code) as client:
        for _ in range(5):
            for word, times in (("in", inserted), ("out", removed)):
                client.stdin.write(word + "\n")
                client.stdin.flush()
                assert json.loads(client.stdout.readline()) == "watching"
                time.sleep(0.02)  # let it reach SCardGetStatusChange
                moment = time.monotonic()
                if word == "in":
                    lab.insert(2, StubCard())
                else:
                    lab.remove(2)
                times.append(json.loads(client.stdout.readline()) - moment)
        client.stdin.close()
        assert client.wait(10) == 0
    assert statistics.median(inserted) < 0.05 and max(inserted) < 0.3
    assert statistics.median(removed) < 0.05 and max(removed) < 0.3


def test_a_swap_is_seen(lab: Lab) -> None:
    """The new card is connected before pcscd has looked at the slot again: it must still see the slot empty in between."""
    lab.insert(3, StubCard())
    ask(lab, "h, _ = connect(3); say(0)")
    code = """
h, _ = connect(3)
say("ready")
sys.stdin.readline()
say([transmit(h, '00A40400'), connect(3) and 'new']) if wait_change(context(), readers()[3], True) else None
"""
    with start(lab, code) as client:
        assert json.loads(client.stdout.readline()) == "ready"
        lab.card(3).pull()
        lab.insert(3, StubCard(CPS4_ATR))
        client.stdin.write("\n")
        client.stdin.flush()
        old, new = json.loads(client.stdout.readline())
        assert old.startswith("error 801000") and new == "new"
        client.stdin.close()
        assert client.wait(10) == 0
    assert lab.shown()[3].atr.hex().upper() == CPS4_ATR
    lab.remove(3)


@pytest.mark.parametrize("spec", ["pull@0", "pull-before@0"])
def test_a_card_pulled_by_a_fault(spec: str, lab: Lab) -> None:
    handle = lab.insert(2, StubCard(), fault=spec)
    got, seconds = ask(lab, "h, _ = connect(2); say(timed(h, '00A40400'))")
    assert got.startswith("error ") and seconds < 0.3
    assert not handle.session.running
    lab.remove(2)
    assert lab.shown()[2].present is False


def test_a_card_pulled_in_the_middle_of_an_exchange(lab: Lab) -> None:
    handle = lab.insert(2, StubCard(), fault="delay@0=30s")
    code = "h, _ = connect(2); say(0); r = transmit(h, '00A40400'); say([r, time.monotonic()]); say(transmit(h, '00A40400'))"
    with start(lab, code) as client:
        client.stdout.readline()
        time.sleep(0.05)
        moment = time.monotonic()
        handle.pull()
        got, seen = json.loads(client.stdout.readline())
        assert got.startswith("error ") and seen - moment < 0.3
        assert json.loads(client.stdout.readline()).startswith("error ")
        assert client.wait(10) == 0
    lab.remove(2)
    lab.insert(2, StubCard())
    assert ask(lab, "h, _ = connect(2); say(transmit(h, '00A40400'))") == "00a404009000"
    lab.remove(2)


AFTER = """
h, _ = connect(2)
first = timed(h, '00A40400')
second = timed(h, '00B00000')
p = check(scard.SCardReconnect(h, scard.SCARD_SHARE_SHARED, 3, scard.SCARD_RESET_CARD))
say([first, second, transmit(h, '00C00000')])
"""


@pytest.mark.parametrize("spec", ["mute@0", "delay@0=600ms"])
def test_a_mute_card_ends_in_an_error_and_a_reset_revives_it(spec: str, lab: Lab) -> None:
    """The second case answers too late, into the reset: that answer must not be taken for the next one's."""
    lab.insert(2, StubCard(), fault=spec)
    (first, seconds), (second, again), third = ask(lab, AFTER)
    assert first.startswith("error ") and 0.35 < seconds < 2
    assert second.startswith("error ") and again < 0.3  # not waited for: an answer is owed
    assert third == "00c000009000"
    lab.remove(2)


def test_odd_answers(lab: Lab) -> None:
    handle = lab.insert(2, StubCard(), fault="cut@0=0,cut@1=1,garbage@2=7,truncate@3=1")
    got = ask(lab, "h, _ = connect(2); say([transmit(h, '00A40400') for _ in range(5)])")
    assert got[0].startswith("error ") and got[1].startswith("error ")  # no status word: no answer
    assert len(got[2]) == 14 and got[3:] == ["009000", "00a404009000"]
    handle.set_fault("sw@0=6A82")
    assert ask(lab, "h, _ = connect(2); say(transmit(h, '00A40400'))") == "6a82"
    handle.set_fault(None)
    lab.remove(2)


@pytest.mark.parametrize("atr", ["", "3C00", "3B" * 40, "3B02AB"])
def test_a_card_without_a_proper_atr_is_there_but_mute(atr: str, lab: Lab) -> None:
    lab.insert(2, StubCard(atr))
    assert lab.shown()[2].present and lab.shown()[2].atr == b""
    assert (
        ask(lab, "r = scard.SCardConnect(context(), readers()[2], 2, 3); say(hex(r[0] & 0xFFFFFFFF))") == "0x80100067"
    )  # SCARD_W_UNPOWERED_CARD
    lab.remove(2)
    assert ask(lab, "h, _ = connect(0); say(transmit(h, '00A40400'))") == "00a404009000"


def test_a_busy_slot_does_not_hold_up_the_others() -> None:
    code = "h, _ = connect({}); say(0); sys.stdin.readline(); say([transmit(h, '00A40400'), time.monotonic()])"
    with Lab([StubCard(), StubCard()], slots=2, faults={0: "delay@0=1s"}) as lab:
        clients = [start(lab, code.format(slot)) for slot in (0, 1)]
        ended = []
        for client in clients:
            client.stdout.readline()
        for client in clients:
            client.stdin.write("\n")
            client.stdin.flush()
            time.sleep(0.1)
        for client in clients:
            with client:
                got, moment = json.loads(client.communicate(timeout=10)[0])
                assert got == "00a404009000"
                ended.append(moment)
        assert ended[1] < ended[0] - 0.5


def test_many_clients_at_once(lab: Lab) -> None:
    code = "h, _ = connect({slot}, 1); say([transmit(h, '00{n:02X}0000') for _ in range(200)] == ['00{n:02x}00009000'] * 200)"
    clients = [start(lab, code.format(slot=n % 2, n=n)) for n in range(4)]
    for client in clients:
        with client:
            assert client.communicate(timeout=30)[0].strip() == "true"


def test_pcscd_restarted_and_gone() -> None:
    with Lab([StubCard(), None, StubCard()], slots=3) as lab:
        lab.restart_pcscd()
        assert [reader.present for reader in lab.shown()] == [True, False, True]
        assert ask(lab, "h, _ = connect(2); say(transmit(h, '00A40400'))") == "00a404009000"
        lab.card(2).pull()
        lab.kill_pcscd()
        refused = "say(hex(scard.SCardEstablishContext(2)[0] & 0xFFFFFFFF))"
        assert ask(lab, refused) == "0x8010001d"  # SCARD_E_NO_SERVICE, at once
        lab.restart_pcscd()
        assert [reader.present for reader in lab.shown()] == [True, False, False]
        assert ask(lab, "h, _ = connect(0); say(transmit(h, '00A40400'))") == "00a404009000"


def test_sixteen_slots() -> None:
    with Lab([None] * 15 + [StubCard()], slots=16) as lab:
        assert len(ask(lab, "say(readers())")) == 16
        assert ask(lab, "h, _ = connect(15); say(transmit(h, '00A40400'))") == "00a404009000"
