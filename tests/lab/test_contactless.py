# SPDX-License-Identifier: Apache-2.0
"""A CPS3 read without contact, alone and beside its contact side."""

from __future__ import annotations

from cpxd_lab import PIN, card, card_schema, cpxd, degraded, fails, succeeds, with_codes

from simulator.lab import Lab


def test_it_says_what_its_certificate_says_and_no_more(desk: Lab) -> None:
    handle = desk.insert(0, card(model="cps3cl"))
    shown = succeeds(cpxd(desk, "card")).out
    assert "sans contact" in shown and "Situations" not in shown and "essais" not in shown
    record = succeeds(cpxd(desk, "card", "--json")).json
    assert card_schema().is_valid(record)
    assert record["pin"] is record["unblock"] is record["situations"] is record["specialty"] is None
    assert record["card"]["serial"] == "99701001" and [c["usage"] for c in record["certificates"]] == ["technical"]
    assert "sans contact" in succeeds(cpxd(desk, "status")).out
    assert succeeds(cpxd(desk, "readers", "--json")).json[0]["card"] == "CPS3 sans contact"
    assert with_codes(handle.trace) == []


def test_no_code_is_sent_to_it(desk: Lab) -> None:
    handle = desk.insert(0, card(model="cps3cl"))
    for arguments in (("pin", "verify"), ("pin", "change"), ("unblock",), ("card", "--pin"), ("pin", "status")):
        codes = None if arguments[-1] == "status" else [PIN, PIN, PIN]
        message = fails(cpxd(desk, *arguments, codes=codes), 13)
        assert "CPX-148" in message and "fente à contact" in message
    assert with_codes(handle.trace) == []


def test_one_holder_two_doors(desk: Lab) -> None:
    """Without --reader the contact side answers: it can do all that the other can. That it is one chip its number tells."""
    desk.insert(0, card(model="cps3cl"))
    desk.insert(1, card(model="cps3"))
    result = degraded(cpxd(desk, "card", "--json"))
    assert result.json["reader"] == desk.readers[1] and "sans contact" in result.err and desk.readers[0] in result.err
    assert "sans contact" in succeeds(cpxd(desk, "card")).out
    near, far = desk.readers[0], desk.readers[1]
    assert f"La même carte est dans « {far} », et lue sans contact par « {near} »" in succeeds(cpxd(desk, "readers")).out
    assert {e["reader"]: e["same_card"] for e in succeeds(cpxd(desk, "readers", "--json")).json[:2]} == {near: far, far: near}
    succeeds(cpxd(desk, "pin", "verify", codes=[PIN]))
    assert succeeds(cpxd(desk, "card", "--reader", desk.readers[0], "--json")).json["pin"] is None
    desk.insert(0, card("cpa", "cps3cl"))
    other = succeeds(cpxd(desk, "card"))
    assert "sans contact" not in other.out, "another chip is another card"
    assert [e["same_card"] for e in succeeds(cpxd(desk, "readers", "--json")).json] == [None] * 3
    seen = desk.insert(0, card("cpa"))
    assert "La même carte" not in succeeds(cpxd(desk, "readers")).out
    assert seen.apdu_count == 0, "nothing to tell apart: no card is touched"
